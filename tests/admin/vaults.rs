//! Further vaults: created once, exactly as many as the plan allows, on whichever nodes; what stands over a limit that
//! came later is read, written to and emptied.

use lockstep_api::{
    Code,
    account::{Account, CreateVault, Wrap},
    plan::Quota,
    sync::{Push, PushItem, PushOutcome, PushResult, Pushed},
};
use lockstep_events::{BatchId, VaultId, roster::Claim};
use lockstepd::config::{Config, Layer};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::{
    in_both_modes,
    office::{WHY, first_admin},
    support::{Mode, Node, Person, assert_problem, body, problem},
};

in_both_modes! {
    a_vault_is_created_once_and_one_over_the_limit_is_refused_by_name;
    a_vault_that_is_not_what_it_should_be_is_refused_and_nothing_is_written;
    of_vaults_created_at_the_same_time_no_more_stand_than_the_plan_allows;
    entries_of_a_vault_that_came_later_count_too;
    over_a_limit_that_came_later_every_vault_is_read_and_emptied;
    a_vault_in_which_everything_was_deleted_gives_its_place_back;
}

const PLANS: &str = "two = { vaults = 2, entries = 3 }\none = { vaults = 1 }\nroomy = {}";

async fn start(mode: Mode) -> Node {
    let plans =
        Layer { plans: Some(PLANS.parse().unwrap()), default_plan: Some("two".into()), ..Layer::default() };
    Node::start_with(mode, plans).await
}

impl Person {
    fn next_vault(&self, account: &Account) -> (VaultId, CreateVault) {
        let vault = VaultId(Uuid::new_v4());
        let statement = self.state(account, Claim::VaultKeyGen { vault, generation: 1 });
        let wrap = Wrap { name: format!("vault/{vault}"), generation: 1, bytes: vec![7; 104].into() };
        (vault, CreateVault { statement, wrap })
    }

    async fn create(&self, node: &Node, vault: &CreateVault) -> Response {
        self.post(node, "/v1/vaults", vault).await
    }

    /// The same person, about a vault that was just created.
    async fn with_another(&self, node: &Node) -> Self {
        let (vault, create) = self.next_vault(&self.look(node).await);
        assert_eq!(self.create(node, &create).await.status(), StatusCode::CREATED);
        Self { vault, ..self.clone() }
    }

    async fn send(&self, node: &Node, items: Vec<PushItem>) -> Vec<PushResult> {
        let (epoch, batch_id) = (self.epoch(node).await, BatchId(Uuid::new_v4()));
        let push = Push { epoch, batch_id, items, groups: Vec::new(), reoffer: false };
        let path = format!("/v1/vaults/{}/versions", self.vault);
        body::<Pushed>(self.post(node, &path, &push).await, StatusCode::OK).await.results
    }

    async fn send_new(&self, node: &Node) -> PushResult {
        self.send(node, vec![self.entry(Uuid::new_v4().as_bytes())]).await.remove(0)
    }
}

async fn a_vault_is_created_once_and_one_over_the_limit_is_refused_by_name(mode: Mode) {
    let node = start(mode).await;
    let ada = Person::register(&node).await;
    let (vault, create) = ada.next_vault(&ada.look(&node).await);
    for _ in 0..2 {
        assert_eq!(ada.create(&node, &create).await.status(), StatusCode::CREATED);
    }
    let account = ada.look(&node).await;
    assert_eq!((account.vaults.as_slice(), account.roster.len()), (&[ada.vault, vault][..], 4));
    assert!(account.wraps.contains(&create.wrap));
    let limits = ada.plan(&node).await.limits;
    let counted = limits.iter().find(|measure| measure.what == "vaults").unwrap();
    assert_eq!((counted.limit, counted.used), (Some(2), 2));
    let (_, third) = ada.next_vault(&account);
    let refused = problem(ada.create(&node, &third).await).await;
    let quota = serde_json::json!({ "what": "vaults", "limit": 2, "used": 2 });
    assert_eq!((refused.code, refused.facts), (Code::QuotaExceeded, Some(quota)));
    assert_eq!(ada.create(&node, &create).await.status(), StatusCode::CREATED, "a retry still is one");
    assert_eq!(ada.look(&node).await.vaults.len(), 2);
    // It is a vault like the first, and nobody else's.
    let second = Person { vault, ..ada.clone() };
    assert_eq!(second.send_new(&node).await.outcome, PushOutcome::Accepted);
    assert_eq!(second.changes(&node, "").await.events.len(), 2);
    let bob = Person { vault, ..Person::register(&node).await };
    let path = format!("/v1/vaults/{vault}/snapshot");
    assert_problem(bob.get(&node, &path).await, Code::NotFound).await;
}

async fn a_vault_that_is_not_what_it_should_be_is_refused_and_nothing_is_written(mode: Mode) {
    let node = start(mode).await;
    let (ada, bob) = (Person::register(&node).await, Person::register(&node).await);
    let account = ada.look(&node).await;
    let head = async || node.running().server.log.stream_heads(&[ada.account.into()]).await.unwrap()[0].seq;
    let before = head().await;
    let (_, right) = ada.next_vault(&account);
    let mut wrong = Vec::new();
    let claim = |claim| CreateVault { statement: ada.state(&account, claim), ..right.clone() };
    wrong.push((claim(Claim::VaultKeyGen { vault: ada.vault, generation: 2 }), Code::InvalidField));
    wrong.push((claim(Claim::SuiteRaised { suite: 2 }), Code::InvalidField));
    let own = claim(Claim::VaultKeyGen { vault: VaultId(ada.account.0), generation: 1 });
    wrong.push((own, Code::InvalidField));
    // Somebody else's vault, somebody else's statement, one that does not follow.
    let theirs = Claim::VaultKeyGen { vault: bob.vault, generation: 1 };
    let wrap = Wrap { name: format!("vault/{}", bob.vault), ..right.wrap.clone() };
    let taken = CreateVault { statement: ada.state(&account, theirs), wrap };
    wrong.push((taken, Code::RosterConflict));
    wrong.push((bob.next_vault(&bob.look(&node).await).1, Code::RosterConflict));
    let mut late = right.clone();
    late.statement.epoch += 1;
    wrong.push((late, Code::RosterConflict));
    for (name, generation, bytes) in
        [("ask", 1, 104), (&*right.wrap.name, 2, 104), (&*right.wrap.name, 1, 105), (&*right.wrap.name, 1, 0)]
    {
        let wrap = Wrap { name: name.to_owned(), generation, bytes: vec![7; bytes].into() };
        wrong.push((CreateVault { wrap, ..right.clone() }, Code::InvalidField));
    }
    for (create, code) in wrong {
        assert_problem(ada.create(&node, &create).await, code).await;
    }
    assert_eq!(head().await, before);
    assert_eq!(ada.create(&node, &right).await.status(), StatusCode::CREATED);
}

async fn of_vaults_created_at_the_same_time_no_more_stand_than_the_plan_allows(mode: Mode) {
    let node = start(mode).await;
    let other = if mode == Mode::Distributed { Some(node.second().await) } else { None };
    let nodes = [&node, other.as_ref().unwrap_or(&node)];
    let ada = Person::register(&node).await;
    let account = ada.look(&node).await;
    let racing: Vec<CreateVault> = (0..8).map(|_| ada.next_vault(&account).1).collect();
    let creating = racing.iter().enumerate().map(|(n, create)| ada.create(nodes[n % 2], create));
    let answers = futures_util::future::join_all(creating).await;
    let created = answers.iter().filter(|answer| answer.status() == StatusCode::CREATED).count();
    let codes: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(created, 1, "{codes:?}");
    for at in nodes {
        // Whoever was second signs again what follows now, and is counted.
        let account = ada.look(at).await;
        assert_eq!(account.vaults.len(), 2);
        let refused = problem(ada.create(at, &ada.next_vault(&account).1).await).await;
        assert_eq!(refused.code, Code::QuotaExceeded);
    }
    // The one that stands is still recognised, and the others are not.
    let again = futures_util::future::join_all(racing.iter().map(|create| ada.create(&node, create))).await;
    assert_eq!(again.iter().filter(|answer| answer.status() == StatusCode::CREATED).count(), 1);
}

async fn entries_of_a_vault_that_came_later_count_too(mode: Mode) {
    let node = start(mode).await;
    let ada = Person::register(&node).await;
    for _ in 0..2 {
        assert_eq!(ada.send_new(&node).await.outcome, PushOutcome::Accepted);
    }
    let second = ada.with_another(&node).await;
    assert_eq!(second.send_new(&node).await.outcome, PushOutcome::Accepted);
    for full in [&second, &ada] {
        let refused = full.send_new(&node).await;
        let quota = Quota { what: "entries".into(), limit: 3, used: 3 };
        assert_eq!((refused.outcome, refused.quota), (PushOutcome::QuotaExceeded, Some(quota)));
    }
}

async fn over_a_limit_that_came_later_every_vault_is_read_and_emptied(mode: Mode) {
    let node = start(mode).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    let second = ada.with_another(&node).await;
    let item = second.entry(b"kept");
    assert_eq!(second.send(&node, vec![item.clone()]).await[0].outcome, PushOutcome::Accepted);
    let plan = lockstep_api::admin::SetPlan { plan: "one".into(), until: None, reason: WHY.into() };
    admin.acts(&node, ada.account, "plan", &plan).await;
    let refused = problem(ada.create(&node, &ada.next_vault(&ada.look(&node).await).1).await).await;
    let quota = serde_json::json!({ "what": "vaults", "limit": 1, "used": 2 });
    assert_eq!((refused.code, refused.facts), (Code::QuotaExceeded, Some(quota)));
    assert_eq!(second.changes(&node, "").await.events.len(), 2);
    let gone = second.send(&node, vec![second.tombstone(&item)]).await.remove(0);
    assert_eq!(gone.outcome, PushOutcome::Accepted);
    assert_eq!(second.changes(&node, "").await.events.len(), 3);
}

async fn a_vault_in_which_everything_was_deleted_gives_its_place_back(mode: Mode) {
    let node = start(mode).await;
    let ada = Person::register(&node).await;
    let second = ada.with_another(&node).await;
    let used = async || {
        let limits = ada.plan(&node).await.limits;
        limits.into_iter().find(|measure| measure.what == "vaults").unwrap().used
    };
    let refused = async || {
        let answer = ada.create(&node, &ada.next_vault(&ada.look(&node).await).1).await;
        assert_eq!(problem(answer).await.code, Code::QuotaExceeded);
    };
    // One that has just begun is in use, and so is the first, whatever was deleted in it.
    assert_eq!(used().await, 2);
    refused().await;
    let items = [second.entry(b"its name"), second.entry(b"an entry")];
    let first = ada.entry(b"in the first");
    ada.send(&node, vec![first.clone(), ada.tombstone(&first)]).await;
    second.send(&node, items.to_vec()).await;
    second.send(&node, vec![second.tombstone(&items[1])]).await;
    refused().await;
    second.send(&node, vec![second.tombstone(&items[0])]).await;
    let third = ada.with_another(&node).await;
    assert_eq!(used().await, 2);
    refused().await;
    // What comes back counts again, and is refused to nobody.
    assert_eq!(second.send_new(&node).await.outcome, PushOutcome::Accepted);
    assert_eq!(third.send_new(&node).await.outcome, PushOutcome::Accepted);
    assert_eq!((used().await, ada.look(&node).await.vaults.len()), (3, 3));
}

#[test]
fn a_plan_without_a_vault_is_a_configuration_that_does_not_start() {
    let plans = "none = { vaults = 0 }".parse().unwrap();
    let options = Layer { plans: Some(plans), default_plan: Some("none".into()), ..Layer::default() };
    assert!(Config::with(options).unwrap_err().to_string().contains("vaults of a plan must be at least 1"));
}
