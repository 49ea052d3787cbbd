//! What a token's scope and the age of its proof allow, and the end of all sessions of an account.

use lockstep_api::{Code, account::SteppedUp};
use lockstep_events::{
    Clock, DeviceId, SessionId,
    event::{Method, RevokeReason},
};
use lockstepd::{
    auth::{minting::Bearer, token::Scope},
    commands::{account::in_effect, end_access::EndAccess},
};
use reqwest::StatusCode;
use serde_json::json;
use uuid::Uuid;

use crate::{
    support::{Mode, Node, Person, assert_problem, body},
    ways::step_up,
};

in_both_modes! {
    many threads:
    identity_scope_denied,
    an_identity_token_lives_a_quarter_of_an_hour_and_cannot_be_refreshed,
}

/// Routes that may be asked with scope `identity`. Whatever is not here must refuse it.
const FOR_AN_IDENTITY: &[&str] = &["post /v1/sessions/vault", "post /v1/sessions/vault/second-factor"];
/// Routes whose token is an enrolment's.
const FOR_AN_ENROLMENT: &[&str] = &["post /v1/devices", "post /v1/roster"];

/// A token of an identity alone, as a magic link or an identity provider gives it, in the life of the person's own.
pub fn identity_token(node: &Node, person: &Person) -> String {
    let (server, now) = (&node.running().server, node.clock.now());
    let own = server.tokens.verify(&person.tokens.access_token, now).unwrap();
    let bearer = Bearer {
        account: person.account,
        device: DeviceId::NIL,
        session: SessionId(Uuid::new_v4()),
        scope: Scope::Identity,
        method: Method::MagicLink,
        proven_at: lockstep_events::Micros(0),
        auth_epoch: own.aep,
    };
    server.tokens.mint(bearer, now).unwrap()
}

/// Every route that takes a token: method, and path with something of the right form in every place.
fn guarded_routes(person: &Person) -> Vec<(String, String, String)> {
    let document = serde_json::to_value(lockstepd::http::document()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation.get("security").is_some() {
                let filled = path
                    .replace("{vault}", &person.vault.to_string())
                    .replace("{stream}", &person.vault.to_string())
                    .replace("{device}", &person.device.to_string())
                    .replace("{session}", &person.tokens.session.to_string())
                    .replace("{hash}", &"00".repeat(32));
                let filled = filled.split('{').map(|part| match part.split_once('}') {
                    Some((_, rest)) => format!("{}{rest}", Uuid::new_v4()),
                    None => part.to_owned(),
                });
                routes.push((format!("{method} {path}"), method.clone(), filled.collect()));
            }
        }
    }
    routes
}

async fn identity_scope_denied(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let token = identity_token(&node, &person);
    let routes = guarded_routes(&person);
    assert!(routes.len() >= 20, "the document has lost its guarded routes");
    for (name, method, path) in routes {
        let request = node.request(&method.to_uppercase(), &path).bearer_auth(&token);
        let answer = request.json(&json!({})).send().await.unwrap();
        if FOR_AN_IDENTITY.contains(&name.as_str()) {
            assert_ne!(answer.status(), StatusCode::FORBIDDEN, "{name}");
        } else if FOR_AN_ENROLMENT.contains(&name.as_str()) {
            assert_problem(answer, Code::Forbidden).await;
        } else {
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name}");
            assert_problem(answer, Code::VaultProofRequired).await;
        }
    }
}

async fn an_identity_token_lives_a_quarter_of_an_hour_and_cannot_be_refreshed(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let token = identity_token(&node, &person);
    let ask = async || node.get("/v1/account").bearer_auth(&token).send().await.unwrap();
    node.clock.pass(15 * 60);
    assert_problem(ask().await, Code::VaultProofRequired).await;
    node.clock.pass(6);
    assert_problem(ask().await, Code::TokenExpired).await;
    assert_problem(person.refresh(&node, &token).await, Code::RefreshFailed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_up_proves_the_password_again_in_the_same_session_and_only_with_the_right_one() {
    for mode in [Mode::Embedded, Mode::Distributed] {
        let node = Node::start(mode).await;
        let person = Person::register(&node).await;
        let stepped: SteppedUp =
            body(step_up(&node, &person, &person.password, &person).await, StatusCode::OK).await;
        let claims = node.running().server.tokens.verify(&stepped.access_token, node.clock.now()).unwrap();
        assert_eq!((claims.sid, claims.did), (person.tokens.session, person.device));
        assert!(claims.auth_time >= claims.iat);
        assert_problem(step_up(&node, &person, "another password", &person).await, Code::LoginFailed).await;
        let other = Person::register(&node).await;
        let stolen = step_up(&node, &person, &person.password, &other).await;
        assert_problem(stolen, Code::LoginFailed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_sessions_of_an_account_end_but_one_the_others_are_refused_and_that_one_goes_on() {
    for mode in [Mode::Embedded, Mode::Distributed] {
        let node = Node::start(mode).await;
        let person = Person::register(&node).await;
        let (other, stranger) = (person.enrol(&node).await, Person::register(&node).await);
        let server = &node.running().server;
        let end = EndAccess {
            account: person.account,
            reason: RevokeReason::Admin,
            keep: Some(person.tokens.session),
            actor: None,
            cause: b"test".to_vec(),
            at: node.clock.now(),
        };
        let position = end.clone().run(server).await.unwrap().unwrap();
        in_effect(server, position).await;
        assert_problem(other.get(&node, "/v1/account").await, Code::Revoked).await;
        assert_problem(other.refresh(&node, &other.tokens.refresh_token).await, Code::Revoked).await;
        for goes_on in [&person, &stranger] {
            assert_eq!(goes_on.get(&node, "/v1/account").await.status(), StatusCode::OK);
            let refreshed = goes_on.refresh(&node, &goes_on.tokens.refresh_token).await;
            assert_eq!(refreshed.status(), StatusCode::OK);
        }
        // The same cause again changes nothing; a new log-in is not refused by what was before it.
        end.run(server).await.unwrap();
        let back: lockstep_api::account::LoggedIn =
            body(other.login(&node, &other.password, true).await, StatusCode::OK).await;
        let token = back.tokens.unwrap().access_token;
        let again = node.get("/v1/account").bearer_auth(token).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::OK);
    }
}
