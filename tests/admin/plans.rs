//! Plans and quotas: exact under concurrency, told with what, limit and used; what stands stays readable and goes.

use lockstep_api::{
    Code,
    plan::Quota,
    sync::{Push, PushItem, PushOutcome, PushResult, Pushed},
};
use lockstep_events::{BatchId, Epoch, StreamId};
use lockstepd::config::Layer;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    in_both_modes,
    office::{WHY, first_admin},
    socket::{Socket, all},
    support::{Mode, Node, Person, body, problem},
};

in_both_modes! {
    over_the_limit_a_version_is_refused_by_name_and_what_stands_is_read_and_deleted;
    quota_race;
    a_plan_that_changes_reaches_open_sockets_and_counts_at_the_next_push;
    a_device_over_the_limit_is_refused_by_name;
    a_plan_counts_the_devices_that_an_enrolment_counts;
}

const PLANS: &str = "tiny = { entries = 10, storage_bytes = 4096, devices = 2 }\nroomy = { devices = 32 }";

async fn tiny(mode: Mode) -> Node {
    let plans =
        Layer { plans: Some(PLANS.parse().unwrap()), default_plan: Some("tiny".into()), ..Layer::default() };
    Node::start_with(mode, plans).await
}

impl Person {
    pub async fn push(&self, node: &Node, epoch: Epoch, items: Vec<PushItem>) -> Vec<PushResult> {
        let batch_id = BatchId(Uuid::new_v4());
        let push = Push { epoch, batch_id, items, groups: Vec::new(), reoffer: false };
        let path = format!("/v1/vaults/{}/versions", self.vault);
        body::<Pushed>(self.post(node, &path, &push).await, StatusCode::OK).await.results
    }

    async fn add(&self, node: &Node, epoch: Epoch, bytes: usize) -> PushResult {
        let ciphertext: Vec<u8> = Uuid::new_v4().as_bytes().iter().copied().cycle().take(bytes).collect();
        self.push(node, epoch, vec![self.entry(&ciphertext)]).await.remove(0)
    }

    pub fn tombstone(&self, of: &PushItem) -> PushItem {
        self.deletion(of.header.entry, vec![of.header.version_id()])
    }
}

fn exceeded(what: &str, limit: u64, used: u64) -> Option<Quota> {
    Some(Quota { what: what.into(), limit, used })
}

async fn over_the_limit_a_version_is_refused_by_name_and_what_stands_is_read_and_deleted(mode: Mode) {
    let node = tiny(mode).await;
    let ada = Person::register(&node).await;
    let epoch = ada.epoch(&node).await;
    let items: Vec<PushItem> = (0..10).map(|n| ada.entry(&[n; 64])).collect();
    let stood = ada.push(&node, epoch, items.clone()).await;
    assert!(stood.iter().all(|result| result.outcome == PushOutcome::Accepted));
    let refused = ada.add(&node, epoch, 64).await;
    assert_eq!(refused.outcome, PushOutcome::QuotaExceeded);
    assert_eq!(refused.quota, exceeded("entries", 10, 10));
    // A retry of what stands is recognised, not refused.
    let again = ada.push(&node, epoch, vec![items[0].clone()]).await.remove(0);
    assert_eq!(again.outcome, PushOutcome::Duplicate);
    assert_eq!(ada.changes(&node, "").await.events.len(), 11);
    let gone = ada.push(&node, epoch, vec![ada.tombstone(&items[0])]).await.remove(0);
    assert_eq!(gone.outcome, PushOutcome::Accepted);
    assert_eq!(ada.add(&node, epoch, 64).await.outcome, PushOutcome::Accepted);
    let gone = ada.push(&node, epoch, vec![ada.tombstone(&items[1])]).await.remove(0);
    assert_eq!(gone.outcome, PushOutcome::Accepted);
    let large = ada.add(&node, epoch, 4096).await;
    assert_eq!(large.quota, exceeded("storage_bytes", 4096, 11 * 64));
    let hash = lockstep_events::BlobHash([7; 32]);
    let upload = node
        .request("PUT", &format!("/v1/vaults/{}/blobs/{hash}?size=5000", ada.vault))
        .bearer_auth(&ada.tokens.access_token)
        .header("content-type", "application/octet-stream")
        .body(vec![0; 5000]);
    let refused = problem(upload.send().await.unwrap()).await;
    assert_eq!(refused.code, Code::QuotaExceeded);
    assert_eq!(refused.facts.unwrap()["what"], "storage_bytes");
}

async fn quota_race(mode: Mode) {
    let node = tiny(mode).await;
    let ada = Person::register(&node).await;
    let epoch = ada.epoch(&node).await;
    let answers = futures_util::future::join_all((0..40).map(|_| ada.add(&node, epoch, 64))).await;
    let accepted = answers.iter().filter(|result| result.outcome == PushOutcome::Accepted).count();
    let refused: Vec<_> = answers.iter().filter(|r| r.outcome == PushOutcome::QuotaExceeded).collect();
    assert_eq!((accepted, refused.len()), (10, 30));
    assert!(refused.iter().all(|result| result.quota == exceeded("entries", 10, 10)), "{refused:?}");
    assert_eq!(ada.plan(&node).await.limits.iter().find(|m| m.what == "entries").unwrap().limit, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_three_nodes_a_quota_is_passed_by_no_more_than_what_was_on_the_way() {
    let node = tiny(Mode::Distributed).await;
    let others = [node.second().await, node.second().await];
    let nodes = [&node, &others[0], &others[1]];
    let ada = Person::register(&node).await;
    let epoch = ada.epoch(&node).await;
    let adds = (0..60).map(|n| ada.add(nodes[n % 3], epoch, 64));
    let answers = futures_util::future::join_all(adds).await;
    let accepted = answers.iter().filter(|result| result.outcome == PushOutcome::Accepted).count();
    assert!((10..=30).contains(&accepted), "{accepted}");
    // Once every node has heard of all of it, all of them refuse.
    let head = ada.changes(&node, "?limit=1000").await.to;
    for at in nodes {
        let position = at.running().server.log.tail().await.unwrap().position;
        at.running().server.feed.position().wait_for(|known| *known >= position).await.unwrap();
        let progress = &at.running().server.progress;
        progress.wait_for(position, std::time::Duration::from_secs(60)).await.unwrap();
        assert_eq!(ada.add(at, epoch, 64).await.outcome, PushOutcome::QuotaExceeded);
    }
    assert_eq!(ada.changes(&node, "?limit=1000").await.to, head);
}

async fn a_plan_that_changes_reaches_open_sockets_and_counts_at_the_next_push(mode: Mode) {
    let node = tiny(mode).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    let epoch = ada.epoch(&node).await;
    let items: Vec<PushItem> = (0..10).map(|n| ada.entry(&[n; 64])).collect();
    ada.push(&node, epoch, items).await;
    assert_eq!(ada.add(&node, epoch, 64).await.outcome, PushOutcome::QuotaExceeded);
    let stream = StreamId::from(ada.account);
    let head = node.running().server.log.stream_heads(&[stream]).await.unwrap()[0].seq;
    let mut socket = Socket::hello(&node, &ada, &[all(ada.account)]).await;
    let until = lockstep_events::Clock::now(&*node.clock).plus_seconds(3600);
    let plan = lockstep_api::admin::SetPlan { plan: "roomy".into(), until: Some(until), reason: WHY.into() };
    admin.acts(&node, ada.account, "plan", &plan).await;
    let news = socket.events(stream, lockstep_events::Seq::ZERO, head.next()).await;
    assert_eq!(news.last().unwrap().kind, "account.plan_set");
    assert_eq!(ada.add(&node, epoch, 64).await.outcome, PushOutcome::Accepted);
    assert_eq!(ada.plan(&node).await.until, Some(until));
    // When it ends, the default one counts again; what is over its limits stays.
    node.clock.pass(3601);
    let ada = ada.again(&node).await;
    assert_eq!(ada.plan(&node).await.plan, "tiny");
    let refused = ada.add(&node, epoch, 64).await;
    assert_eq!(refused.quota, exceeded("entries", 10, 11));
    assert_eq!(ada.changes(&node, "?limit=100").await.events.len(), 12);
}

async fn a_device_over_the_limit_is_refused_by_name(mode: Mode) {
    let node = tiny(mode).await;
    let ada = Person::register(&node).await;
    let second = ada.enrol(&node).await;
    let refused = problem(ada.try_enrol(&node).await).await;
    assert_eq!(
        (refused.code, refused.facts),
        (Code::QuotaExceeded, { Some(serde_json::json!({ "what": "devices", "limit": 2, "used": 2 })) })
    );
    assert!(ada.revoke(&node, second.device).await.status().is_success());
    ada.enrol(&node).await;
}

async fn a_plan_counts_the_devices_that_an_enrolment_counts(mode: Mode) {
    let node = tiny(mode).await;
    let ada = Person::register(&node).await;
    let measured =
        async || ada.plan(&node).await.limits.into_iter().find(|one| one.what == "devices").unwrap();
    for _ in 0..2 {
        let other = ada.enrol(&node).await;
        let (limit, used) = (Some(2), 2);
        assert_eq!((measured().await.limit, measured().await.used), (limit, used));
        let refused = problem(ada.try_enrol(&node).await).await;
        assert_eq!(refused.facts.unwrap(), serde_json::json!({ "what": "devices", "limit": 2, "used": 2 }));
        // Who is logged out takes no place.
        let out = node.request("DELETE", &format!("/v1/sessions/{}", other.tokens.session));
        let out = out.bearer_auth(&other.tokens.access_token).send().await.unwrap();
        assert_eq!(out.status(), StatusCode::NO_CONTENT);
        assert_eq!(measured().await.used, 1);
    }
}
