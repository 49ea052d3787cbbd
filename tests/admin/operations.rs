//! Every operation for administrators and auditors, as somebody asks for it who may.

use std::collections::BTreeSet;

use lockstep_api::admin::Invited;
use lockstep_events::event::Role;
use lockstepd::config::Layer;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    office::{WHY, first_admin, why},
    support::{Node, Person, body},
};

/// Long enough that every request is told what became of it: one that is cut off is not known to have failed.
pub fn patient() -> Layer {
    Layer { request_timeout_s: Some(120), ..Layer::default() }
}

/// One operation.
pub struct Operation {
    pub method: &'static str,
    pub template: &'static str,
    path: String,
    body: Value,
    by: Person,
}

impl Operation {
    pub async fn ask(&self, node: &Node) -> Response {
        let request = node.request(self.method, &self.path).bearer_auth(&self.by.tokens.access_token);
        let request = match &self.body {
            Value::Null => request.header("lockstep-reason", WHY.as_bytes()),
            body => request.json(body),
        };
        request.send().await.unwrap()
    }
}

/// The people of a server where roles and deletions take two, and those whom they look after.
pub struct Office {
    pub admin: Person,
    pub deputy: Person,
    pub auditor: Person,
    pub ada: Person,
    disabled: Person,
    leaving: Person,
    promoted: Person,
}

impl Office {
    pub async fn open(node: &mut Node) -> Self {
        let (admin, deputy) = (first_admin(node).await, Person::register(node).await);
        let (auditor, ada) = (Person::register(node).await, Person::register(node).await);
        let (disabled, leaving) = (Person::register(node).await, Person::register(node).await);
        admin.grants(node, deputy.account, Role::Admin).await;
        admin.grants(node, auditor.account, Role::Auditor).await;
        admin.acts(node, disabled.account, "disable", &why()).await;
        node.restart_with(Layer { two_admins: Some(true), ..patient() }).await;
        let (admin, deputy, auditor) =
            (admin.again(node).await, deputy.again(node).await, auditor.again(node).await);
        Self { admin, deputy, auditor, ada, disabled, leaving, promoted: Person::register(node).await }
    }

    /// Who is on the roll.
    pub fn roll(&self) -> [&Person; 3] {
        [&self.admin, &self.deputy, &self.auditor]
    }

    /// All operations but the first of all, which names the first administrator.
    pub async fn operations(&self, node: &Node) -> Vec<Operation> {
        let proposed = self.deputy.grants(node, self.promoted.account, Role::Auditor).await;
        let invite = json!({ "hours": 1, "reason": WHY });
        let made: Invited =
            body(self.admin.post(node, "/v1/admin/invitations", &invite).await, StatusCode::CREATED).await;
        let of = |method, template: &'static str, whom: &Person, body| Operation {
            method,
            template,
            path: template.replace("{account}", &whom.account.to_string()),
            body,
            by: self.admin.clone(),
        };
        let at = |method, template: &'static str, name: &str, id: uuid::Uuid, body| Operation {
            path: template.replace(name, &id.to_string()),
            ..of(method, template, &self.ada, body)
        };
        let (ada, none) = (&self.ada, Value::Null);
        let reason = || json!({ "reason": WHY });
        let audit = of("GET", "/v1/audit/events", ada, none.clone());
        vec![
            of("GET", "/v1/admin/accounts", ada, none.clone()),
            of("GET", "/v1/admin/accounts/{account}", ada, none.clone()),
            of("GET", "/v1/admin/accounts/{account}/sessions", ada, none.clone()),
            of("POST", "/v1/admin/accounts/find", ada, json!({ "name": ada.name, "reason": WHY })),
            of("POST", "/v1/admin/accounts/{account}/role", ada, json!({ "role": "auditor", "reason": WHY })),
            of("POST", "/v1/admin/accounts/{account}/plan", ada, json!({ "plan": "paid", "reason": WHY })),
            of(
                "POST",
                "/v1/admin/accounts/{account}/flags",
                ada,
                json!({ "flag": "beta", "on": true, "reason": WHY }),
            ),
            of("POST", "/v1/admin/accounts/{account}/sessions/end", ada, reason()),
            of("POST", "/v1/admin/accounts/{account}/disable", &self.leaving, reason()),
            of("POST", "/v1/admin/accounts/{account}/delete", &self.leaving, reason()),
            of("POST", "/v1/admin/accounts/{account}/enable", &self.disabled, reason()),
            of("GET", "/v1/admin/proposals", ada, none.clone()),
            at(
                "POST",
                "/v1/admin/proposals/{proposal}",
                "{proposal}",
                proposed.proposal.unwrap(),
                json!({ "approve": true, "reason": WHY }),
            ),
            of("GET", "/v1/admin/invitations", ada, none.clone()),
            of("POST", "/v1/admin/invitations", ada, invite),
            at("DELETE", "/v1/admin/invitations/{invitation}", "{invitation}", made.invitation, none),
            Operation { by: self.auditor.clone(), ..audit },
        ]
    }
}

/// What the API's document has for them.
pub fn documented() -> BTreeSet<(String, String)> {
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let theirs = paths.filter(|(path, _)| path.starts_with("/v1/admin/") || path.starts_with("/v1/audit/"));
    theirs
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}
