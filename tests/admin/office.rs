//! An administrator at work.

use std::collections::HashMap;

use lockstep_api::{
    Code,
    account::LoggedIn,
    admin::{
        AccountList, AccountView, Bootstrap, Done, LoggedEvent, Reason, SessionViews, SetFlag, SetPlan,
        SetRole,
    },
    plan::{Activities, Activity, ActorKind, MyPlan},
};
use lockstep_events::{
    AccountId, Chain, Seq,
    canonical::{Writer, sha256},
    event::Role,
};
use reqwest::{Response, StatusCode};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    in_both_modes,
    support::{Mode, Node, Person, assert_problem, body},
};

pub const WHY: &str = "Ticket 12: äußerst eilig";

/// Somebody becomes the first administrator of a node.
pub async fn first_admin(node: &Node) -> Person {
    let person = Person::register(node).await;
    let token = node.running().bootstrap.as_ref().unwrap().token.clone();
    let answer = person.post(node, "/v1/admin/bootstrap", &Bootstrap { token }).await;
    let _: Done = body(answer, StatusCode::OK).await;
    person
}

impl Person {
    /// Logs in again at the same device: what a change of role makes necessary.
    pub async fn again(&self, node: &Node) -> Self {
        let answer: LoggedIn = body(self.login(node, &self.password, true).await, StatusCode::OK).await;
        Self { tokens: answer.tokens.unwrap(), ..self.clone() }
    }

    /// An act on an account.
    pub async fn act(&self, node: &Node, on: AccountId, verb: &str, what: &impl Serialize) -> Response {
        self.post(node, &format!("/v1/admin/accounts/{on}/{verb}"), what).await
    }

    /// An act that has to be done.
    pub async fn acts(&self, node: &Node, on: AccountId, verb: &str, what: &impl Serialize) -> Done {
        body(self.act(node, on, verb, what).await, StatusCode::OK).await
    }

    /// A look, with a reason.
    pub async fn looks(&self, node: &Node, path: &str) -> Response {
        let request = node.get(path).bearer_auth(&self.tokens.access_token);
        request.header("lockstep-reason", WHY.as_bytes()).send().await.unwrap()
    }

    /// Withdraws something, with a reason.
    pub async fn withdraws(&self, node: &Node, path: &str) -> Response {
        let request = node.request("DELETE", path).bearer_auth(&self.tokens.access_token);
        request.header("lockstep-reason", WHY.as_bytes()).send().await.unwrap()
    }

    /// Another role for somebody.
    pub async fn grants(&self, node: &Node, to: AccountId, role: Role) -> Done {
        self.acts(node, to, "role", &SetRole { role, reason: WHY.into() }).await
    }

    /// Everything that happened to the account, newest first.
    pub async fn activity(&self, node: &Node) -> Vec<Activity> {
        let page: Activities = body(self.get(node, "/v1/me/activity?limit=500").await, StatusCode::OK).await;
        page.activity
    }

    /// The plan as the person sees it.
    pub async fn plan(&self, node: &Node) -> MyPlan {
        body(self.get(node, "/v1/me/plan").await, StatusCode::OK).await
    }
}

/// How much has happened to an account.
pub async fn head(node: &Node, account: AccountId) -> Seq {
    node.running().server.log.stream_heads(&[account.into()]).await.unwrap()[0].seq
}

/// A reason alone.
pub fn why() -> Reason {
    Reason { reason: WHY.into() }
}

in_both_modes! {
    what_an_administrator_does_and_looks_at_stands_in_the_owner_s_activity_with_its_reason;
    an_auditor_looks_and_changes_nothing;
    an_act_without_a_reason_or_on_nobody_is_refused;
    steps_that_do_not_follow_are_refused_and_change_nothing;
}

async fn what_an_administrator_does_and_looks_at_stands_in_the_owner_s_activity_with_its_reason(mode: Mode) {
    let node = Node::start(mode).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    let of = format!("/v1/admin/accounts/{}", ada.account);
    let list: AccountList = body(admin.looks(&node, "/v1/admin/accounts").await, StatusCode::OK).await;
    assert!(list.accounts.iter().any(|view| view.account == ada.account && view.role == Role::User));
    let view: AccountView = body(admin.looks(&node, &of).await, StatusCode::OK).await;
    assert_eq!((view.plan.as_str(), view.limits.len()), ("standard", 4));
    let sessions = admin.looks(&node, &format!("{of}/sessions")).await;
    assert_eq!(body::<SessionViews>(sessions, StatusCode::OK).await.sessions.len(), 1);
    let plan = SetPlan { plan: "paid".into(), until: None, reason: WHY.into() };
    admin.acts(&node, ada.account, "plan", &plan).await;
    let flag = SetFlag { flag: "beta".into(), on: Some(true), reason: WHY.into() };
    admin.acts(&node, ada.account, "flags", &flag).await;
    let seen = ada.plan(&node).await;
    assert_eq!(
        (seen.plan.as_str(), seen.flags["beta"], seen.flags["priority_support"]),
        ("paid", true, true)
    );
    admin.acts(&node, ada.account, "sessions/end", &why()).await;
    assert_problem(ada.get(&node, "/v1/account").await, Code::Revoked).await;
    let activity = ada.again(&node).await.activity(&node).await;
    let done: Vec<&Activity> = activity.iter().filter(|item| item.by == ActorKind::Administrator).collect();
    let kinds: Vec<&str> = done.iter().map(|item| item.kind.as_str()).collect();
    let viewed = "account.viewed";
    let newest_first =
        ["account.sessions_ended", "account.flag_set", "account.plan_set", viewed, viewed, viewed];
    assert_eq!(kinds, newest_first);
    assert!(done.iter().all(|item| item.reason.as_deref() == Some(WHY)), "{done:?}");
    assert!(done.iter().all(|item| item.actor == Some(admin.account)));
    // And nobody else's.
    let own = admin.activity(&node).await;
    assert!(own.iter().all(|item| item.kind != "account.flag_set"), "{own:?}");
}

async fn an_auditor_looks_and_changes_nothing(mode: Mode) {
    let node = Node::start(mode).await;
    let (admin, bob) = (first_admin(&node).await, Person::register(&node).await);
    admin.grants(&node, bob.account, Role::Auditor).await;
    let bob = bob.again(&node).await;
    let of = admin.account;
    assert_eq!(bob.looks(&node, &format!("/v1/admin/accounts/{of}")).await.status(), StatusCode::OK);
    let events = bob.looks(&node, "/v1/audit/events?after=0&limit=1000").await;
    let events: lockstep_api::admin::LoggedEvents = body(events, StatusCode::OK).await;
    assert!(events.events.windows(2).all(|pair| pair[1].position == pair[0].position.next()));
    assert_chained(&events.events);
    assert_problem(bob.get(&node, "/v1/audit/events").await, Code::InvalidHeader).await;
    assert_problem(admin.looks(&node, "/v1/audit/events").await, Code::Forbidden).await;
    let before = head(&node, of).await;
    for verb in ["disable", "enable", "sessions/end", "delete"] {
        assert_problem(bob.act(&node, of, verb, &why()).await, Code::Forbidden).await;
    }
    let role = SetRole { role: Role::User, reason: WHY.into() };
    assert_problem(bob.act(&node, of, "role", &role).await, Code::Forbidden).await;
    let invite = lockstep_api::admin::Invite { plan: None, plan_until: None, hours: 1, reason: WHY.into() };
    assert_problem(bob.post(&node, "/v1/admin/invitations", &invite).await, Code::Forbidden).await;
    assert_eq!(head(&node, of).await, before, "nothing was written");
}

async fn an_act_without_a_reason_or_on_nobody_is_refused(mode: Mode) {
    let node = Node::start(mode).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    let none = Reason { reason: "  ".into() };
    assert_problem(admin.act(&node, ada.account, "disable", &none).await, Code::InvalidField).await;
    let of = format!("/v1/admin/accounts/{}", ada.account);
    assert_problem(admin.get(&node, &of).await, Code::InvalidHeader).await;
    for empty in ["", "  "] {
        let look = node.get(&of).bearer_auth(&admin.tokens.access_token).header("lockstep-reason", empty);
        assert_problem(look.send().await.unwrap(), Code::InvalidHeader).await;
    }
    let nobody = AccountId(uuid::Uuid::new_v4());
    assert_problem(admin.act(&node, nobody, "disable", &why()).await, Code::NotFound).await;
    assert_problem(admin.looks(&node, &format!("/v1/admin/accounts/{nobody}")).await, Code::NotFound).await;
    assert_problem(ada.act(&node, admin.account, "disable", &why()).await, Code::Forbidden).await;
    assert_problem(ada.looks(&node, "/v1/admin/accounts").await, Code::Forbidden).await;
    assert_eq!(ada.look(&node).await.account, ada.account);
}

async fn steps_that_do_not_follow_are_refused_and_change_nothing(mode: Mode) {
    let node = Node::start(mode).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    let before = (head(&node, ada.account).await, head(&node, admin.account).await);
    let refused = async |on: AccountId, verb: &str, what: serde_json::Value| {
        assert_problem(admin.act(&node, on, verb, &what).await, Code::PreconditionFailed).await;
    };
    let reason = || serde_json::json!({ "reason": WHY });
    let role = |role: &str| serde_json::json!({ "role": role, "reason": WHY });
    refused(ada.account, "enable", reason()).await;
    refused(ada.account, "role", role("user")).await;
    refused(admin.account, "role", role("user")).await;
    refused(admin.account, "disable", reason()).await;
    refused(admin.account, "delete", reason()).await;
    let plan = serde_json::json!({ "plan": "no-such", "reason": WHY });
    assert_problem(admin.act(&node, ada.account, "plan", &plan).await, Code::InvalidField).await;
    let after = (head(&node, ada.account).await, head(&node, admin.account).await);
    assert_eq!(after, before, "nothing was written");
    admin.acts(&node, ada.account, "disable", &why()).await;
    refused(ada.account, "disable", reason()).await;
    refused(ada.account, "role", role("admin")).await;
    admin.acts(&node, ada.account, "enable", &why()).await;
    admin.grants(&node, ada.account, Role::Auditor).await;
    refused(ada.account, "disable", reason()).await;
}

/// Every chain follows from what an auditor is told, and from nothing else: of all streams, from their first events on.
fn assert_chained(events: &[LoggedEvent]) {
    let mut chains: HashMap<Uuid, Chain> = HashMap::new();
    for event in events {
        let before = chains.get(&event.stream).copied().unwrap_or(Chain::ZERO);
        let optional = |writer: Writer, id: Option<Uuid>| {
            writer.optional(id.map(Uuid::into_bytes).as_ref().map(<[u8; 16]>::as_slice))
        };
        let core =
            Writer::new("lockstep/v1/leaf").fixed(event.event.as_bytes()).fixed(event.stream.as_bytes());
        let core = optional(core.u64(event.seq.0), event.subject).lp(event.kind.as_bytes());
        let core = core.u16(event.schema).i64(event.recorded_at.0);
        let core = optional(core, event.actor.map(|actor| actor.0));
        let core =
            optional(core, event.device.map(|device| device.0)).fixed(&sha256(event.public.as_bytes()));
        let core = core.optional(event.sealed_hash.as_ref().map(|hash| hash.0.as_slice())).finish();
        let leaf = sha256(&[&[0], &core[..]].concat());
        assert_eq!(event.chain, Chain(sha256(&[&[2], &before.0[..], &leaf].concat())), "{event:?}");
        chains.insert(event.stream, event.chain);
    }
    assert!(events.iter().any(|event| event.subject.is_some()) && chains.len() > 2);
}
