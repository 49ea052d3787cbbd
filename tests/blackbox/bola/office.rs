//! Administrators and auditors, and what only they may ask for.

use lockstep_api::{
    Code,
    account::LoggedIn,
    admin::{Bootstrap, Done, FindAccount, Invite, Invited, Reason, SetFlag, SetPlan, SetRole, Settle},
};
use lockstep_events::{AccountId, event::Role};
use lockstepd::config::Layer;
use reqwest::StatusCode;

use super::{For, Row};
use crate::support::{Node, Person, body};

const WHY: &str = "ticket 12";

/// The people of a server where grants and deletions take two.
pub struct Office {
    pub admin: Person,
    pub auditor: Person,
    deputy: Person,
}

fn role(role: Role) -> SetRole {
    SetRole { role, reason: WHY.into() }
}

fn why() -> Reason {
    Reason { reason: WHY.into() }
}

async fn grant(node: &Node, admin: &Person, to: AccountId, what: Role) -> Done {
    let path = format!("/v1/admin/accounts/{to}/role");
    body(admin.post(node, &path, &role(what)).await, StatusCode::OK).await
}

/// A change of role ends all sessions.
async fn again(node: &Node, person: Person) -> Person {
    let answer: LoggedIn = body(person.login(node, &person.password, true).await, StatusCode::OK).await;
    Person { tokens: answer.tokens.unwrap(), ..person }
}

impl Office {
    pub async fn open(node: &mut Node) -> Self {
        let admin = Person::register(node).await;
        let token = node.running().bootstrap.as_ref().unwrap().token.clone();
        let named = admin.post(node, "/v1/admin/bootstrap", &Bootstrap { token }).await;
        let _: Done = body(named, StatusCode::OK).await;
        let (deputy, auditor) = (Person::register(node).await, Person::register(node).await);
        grant(node, &admin, deputy.account, Role::Admin).await;
        grant(node, &admin, auditor.account, Role::Auditor).await;
        node.restart_with(Layer { two_admins: Some(true), ..Layer::default() }).await;
        let (admin, deputy) = (again(node, admin).await, again(node, deputy).await);
        Self { admin, deputy, auditor: again(node, auditor).await }
    }

    /// Every operation for administrators and auditors, each of which succeeds once.
    pub async fn rows(&self, node: &Node) -> Vec<Row> {
        let (subject, proposed) = (Person::register(node).await, Person::register(node).await);
        let on = |method, template: &'static str| {
            Row::new(method, template, For::Administrator).at("{account}", subject.account)
        };
        let look = |template| on("GET", template).header("lockstep-reason", WHY);
        let find = FindAccount { name: subject.name.clone(), reason: WHY.into() };
        let plan = SetPlan { plan: "paid".into(), until: None, reason: WHY.into() };
        let flag = SetFlag { flag: "beta".into(), on: Some(true), reason: WHY.into() };
        let mut rows = vec![
            look("/v1/admin/accounts"),
            look("/v1/admin/accounts/{account}"),
            look("/v1/admin/accounts/{account}/sessions"),
            on("POST", "/v1/admin/accounts/find").json(&find),
            on("POST", "/v1/admin/accounts/{account}/role").json(&role(Role::Auditor)),
            on("POST", "/v1/admin/accounts/{account}/plan").json(&plan),
            on("POST", "/v1/admin/accounts/{account}/flags").json(&flag),
            on("POST", "/v1/admin/accounts/{account}/sessions/end").json(&why()),
            on("POST", "/v1/admin/accounts/{account}/disable").json(&why()),
            on("POST", "/v1/admin/accounts/{account}/enable").json(&why()),
            on("POST", "/v1/admin/accounts/{account}/delete").json(&why()),
        ];
        rows.extend(self.beside(node, proposed.account).await);
        rows
    }

    /// Those that are about no account.
    async fn beside(&self, node: &Node, proposed: AccountId) -> Vec<Row> {
        let proposal = grant(node, &self.deputy, proposed, Role::Auditor).await.proposal.unwrap();
        let invite = Invite { plan: None, plan_until: None, hours: 1, reason: WHY.into() };
        let made = self.admin.post(node, "/v1/admin/invitations", &invite).await;
        let made: Invited = body(made, StatusCode::CREATED).await;
        let token = Bootstrap { token: "lsb_00".to_owned() };
        vec![
            Row::new("POST", "/v1/admin/proposals/{proposal}", For::Administrator)
                .at("{proposal}", proposal)
                .json(&Settle { approve: true, reason: WHY.into() }),
            Row::new("GET", "/v1/admin/proposals", For::Administrator).header("lockstep-reason", WHY),
            Row::new("GET", "/v1/admin/invitations", For::Administrator).header("lockstep-reason", WHY),
            Row::new("POST", "/v1/admin/invitations", For::Administrator).json(&invite),
            Row::new("DELETE", "/v1/admin/invitations/{invitation}", For::Administrator)
                .at("{invitation}", made.invitation)
                .header("lockstep-reason", WHY),
            Row::new("GET", "/v1/audit/events", For::Auditor).header("lockstep-reason", WHY),
            // Its token was used: there is an administrator.
            Row::new("POST", "/v1/admin/bootstrap", For::Itself)
                .json(&token)
                .used_up(Code::PreconditionFailed),
        ]
    }
}
