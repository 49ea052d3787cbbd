//! What ends access: eleven triggers, each made ready up to the one request that pulls it.

use lockstep_api::{
    Code,
    account::{LoggedIn, Refresh, RevokeDevice, Tokens, proof_message},
    live::close,
};
use lockstep_events::roster::Claim;
use rand::rngs::OsRng;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::json;

use crate::{
    keys::{kid, operator},
    support::{Node, Person, assert_problem, body, ways::press},
    ways::{begin_recovery, fresh, new_password, set_recovery},
};

/// What ends access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Password,
    Recovery,
    Email,
    Role,
    PlanBan,
    DeviceRemoval,
    LogOut,
    Admin,
    Deletion,
    SigningKey,
    RefreshReuse,
}

impl Trigger {
    pub const ALL: [Self; 11] = [
        Self::Password,
        Self::Recovery,
        Self::Email,
        Self::Role,
        Self::PlanBan,
        Self::DeviceRemoval,
        Self::LogOut,
        Self::Admin,
        Self::Deletion,
        Self::SigningKey,
        Self::RefreshReuse,
    ];

    /// What is said to whoever comes with something from before, and how a socket is closed.
    pub fn refusal(self) -> (Code, u16) {
        match self {
            // The session goes on: whoever has the refresh token renews and comes back.
            Self::SigningKey => (Code::Unauthenticated, close::TOKEN_EXPIRED),
            _ => (Code::Revoked, close::REVOKED),
        }
    }

    /// The route by which an administrator pulls it, and what is sent there.
    fn by_administrator(self) -> Option<(&'static str, serde_json::Value)> {
        match self {
            Self::Role => Some(("role", json!({"role": "auditor", "reason": "ticket 12"}))),
            Self::PlanBan => Some(("disable", json!({"reason": "ticket 12"}))),
            Self::Admin => Some(("sessions/end", json!({"reason": "ticket 12"}))),
            Self::Deletion => Some(("delete", json!({"reason": "ticket 12"}))),
            _ => None,
        }
    }

    /// Makes it ready: `person` is about to end the access of `lost`, another device of the same account. What is needed
    /// before has happened then: an address can only be changed if there was one, and a token only be used again if it was
    /// used.
    pub async fn ready<'a>(
        self,
        nodes: &[&'a Node],
        office: &Office,
        person: &Person,
        lost: &mut Person,
    ) -> Ready<'a> {
        let node = nodes[0];
        let request = match self {
            Self::SigningKey => return Ready::Key(node, kid(&lost.tokens.access_token)),
            Self::RefreshReuse => {
                let used = lost.tokens.refresh_token.clone();
                lost.tokens = body::<Tokens>(lost.refresh(node, &used).await, StatusCode::OK).await;
                node.clock.pass(61);
                let signature = lost.sign(&proof_message(used.as_bytes()));
                return Ready::Reuse(
                    node.post("/v1/sessions/refresh", &Refresh { refresh_token: used, signature }),
                );
            }
            Self::Password => {
                let person = fresh(node, person).await;
                let finish = new_password(node, &person, "another horse entirely", 2).await;
                by(&person, node.post("/v1/account/password/finish", &finish))
            }
            Self::Recovery => {
                let set = set_recovery(node, person, [7; 32], 1).await;
                assert_eq!(set.status(), StatusCode::NO_CONTENT);
                let (_, finish) = begin_recovery(node, person, [7; 32], "another horse entirely", 2).await;
                node.post("/v1/recovery/finish", &finish)
            }
            Self::Email => {
                assert_eq!(press(node, &mailed(nodes, person).await).await.status(), StatusCode::OK);
                node.request("POST", &mailed(nodes, person).await)
            }
            Self::DeviceRemoval => {
                let claim = Claim::DeviceRevoked { device: lost.device };
                let statement = person.state(&person.look(node).await, claim);
                let path = format!("/v1/devices/{}/revoke", lost.device);
                by(person, node.post(&path, &RevokeDevice { statement }))
            }
            Self::LogOut => {
                by(lost, node.request("DELETE", &format!("/v1/sessions/{}", lost.tokens.session)))
            }
            Self::Role | Self::PlanBan | Self::Admin | Self::Deletion => {
                let (route, sent) = self.by_administrator().unwrap();
                let path = format!("/v1/admin/accounts/{}/{route}", person.account);
                by(&office.present(node).await, node.post(&path, &sent))
            }
        };
        Ready::Request(request)
    }
}

fn by(person: &Person, request: RequestBuilder) -> RequestBuilder {
    request.bearer_auth(&person.tokens.access_token)
}

/// Names an address; the link that is mailed to it, by whichever node.
async fn mailed(nodes: &[&Node], person: &Person) -> String {
    let address = format!("{}@example.org", uuid::Uuid::new_v4());
    assert_eq!(person.name_email(nodes[0], &address).await.status(), StatusCode::ACCEPTED);
    let sent = nodes.iter().map(|node| Box::pin(node.letter(&address, "Confirm", 1)));
    let (letter, ..) = futures_util::future::select_all(sent).await;
    letter.link()
}

/// A trigger that is ready.
pub enum Ready<'a> {
    /// This request pulls it.
    Request(RequestBuilder),
    /// So does this one, which is refused.
    Reuse(RequestBuilder),
    /// An operator of this node revokes a key.
    Key(&'a Node, String),
}

impl Ready<'_> {
    pub async fn pull(self) {
        match self {
            Self::Request(request) => {
                let answer = request.send().await.unwrap();
                let status = answer.status();
                assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap());
            }
            Self::Reuse(request) => {
                assert_problem(request.send().await.unwrap(), Code::RefreshFailed).await;
            }
            Self::Key(node, kid) => drop(operator(node).revoke(&kid, &mut OsRng).await.unwrap()),
        }
    }
}

/// The first administrator of a server, whose session is never too old for what takes a fresh proof.
pub struct Office(Person);

impl Office {
    pub async fn open(node: &Node) -> Self {
        let admin = Person::register(node).await;
        let token = node.running().bootstrap.as_ref().unwrap().token.clone();
        let named = admin.post(node, "/v1/admin/bootstrap", &json!({ "token": token })).await;
        assert_eq!(named.status(), StatusCode::OK);
        Self(admin)
    }

    /// The administrator with a new session.
    async fn present(&self, node: &Node) -> Person {
        let login = self.0.login(node, &self.0.password, true).await;
        let tokens = body::<LoggedIn>(login, StatusCode::OK).await.tokens.unwrap();
        Person { tokens, ..self.0.clone() }
    }
}
