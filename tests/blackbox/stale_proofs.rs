//! A password that was proven before a second factor was set does nothing that the factor is there to prevent: it takes
//! none away, adds none by which one could be taken away, and opens no session that counts as proven.

use lockstep_api::{
    Code,
    factor::{ConfirmTotp, Factors},
};
use reqwest::{Response, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::{
    authenticators::Authenticator,
    factors::{begin_app, begin_passkey, finish_passkey, proven, with_passkey},
    still::Held,
    support::{Mode, Node, Person, assert_problem, body},
    ways::fresh,
};

in_both_modes! {
    many threads:
    who_proved_the_password_before_a_factor_was_set_changes_no_factor_and_no_way_in,
    a_password_proven_while_an_app_waits_for_its_first_code_does_not_remove_it,
    a_factor_that_is_set_while_a_body_is_on_its_way_makes_its_proof_an_old_one,
    who_proved_the_password_alone_enrols_no_device_once_a_factor_is_set,
}

over_three_nodes! {
    who_proved_the_password_before_a_factor_was_set_changes_no_factor_and_no_way_in,
    a_password_proven_while_an_app_waits_for_its_first_code_does_not_remove_it,
    who_proved_the_password_alone_enrols_no_device_once_a_factor_is_set,
}

const FACTORS: &str = "/v1/account/factors";

/// The factors, and how many codes are left.
async fn listed(node: &Node, person: &Person) -> Vec<(Uuid, Option<u32>)> {
    let listed: Factors = body(person.get(node, FACTORS).await, StatusCode::OK).await;
    listed.factors.into_iter().map(|factor| (factor.factor, factor.left)).collect()
}

async fn ask(node: &Node, person: &Person, method: &str, path: &str) -> Response {
    let request = node.request(method, path).bearer_auth(&person.tokens.access_token);
    request.json(&json!({})).send().await.unwrap()
}

async fn remove(node: &Node, person: &Person, factor: Uuid) -> Response {
    ask(node, person, "DELETE", &format!("{FACTORS}/{factor}")).await
}

/// The password and a session: all that a thief may have.
async fn thief(node: &Node, owner: &Person) -> Person {
    fresh(node, &owner.enrol(node).await).await
}

async fn who_proved_the_password_before_a_factor_was_set_changes_no_factor_and_no_way_in(mode: Mode) {
    let node = Node::start(mode).await;
    let owner = Person::register(&node).await;
    let thief = thief(&node, &owner).await;
    let app = begin_app(&node, &thief).await;
    let made = begin_passkey(&node, &thief, &Authenticator::new()).await;
    let mut key = with_passkey(&node, &owner).await;
    let before = listed(&node, &owner).await;

    let confirm = ConfirmTotp { factor: app.factor, code: app.digits(&node) };
    let refused = [
        thief.post(&node, &format!("{FACTORS}/codes"), &()).await,
        thief.post(&node, &format!("{FACTORS}/totp"), &()).await,
        thief.post(&node, &format!("{FACTORS}/totp/confirm"), &confirm).await,
        thief.post(&node, &format!("{FACTORS}/passkey/start"), &()).await,
        finish_passkey(&node, &thief, &made).await,
        remove(&node, &thief, before[0].0).await,
        ask(&node, &thief, "PUT", "/v1/account/recovery").await,
        ask(&node, &thief, "POST", "/v1/account/password/start").await,
        ask(&node, &thief, "GET", "/v1/me/export").await,
    ];
    for answer in refused {
        assert_problem(answer, Code::StepUpRequired).await;
    }
    assert_eq!(listed(&node, &owner).await, before);

    // What the owner proves with the passkey counts, for as many factors as there are then.
    let owner = proven(&node, &owner, |asked| key.assert(&asked.challenge.0)).await;
    let codes = owner.post(&node, &format!("{FACTORS}/codes"), &()).await;
    assert_eq!(codes.status(), StatusCode::CREATED);
    with_passkey(&node, &owner).await;
}

/// A factor is as old as its first code, not as its secret: until then nobody is asked for it.
async fn a_password_proven_while_an_app_waits_for_its_first_code_does_not_remove_it(mode: Mode) {
    let node = Node::start(mode).await;
    let owner = Person::register(&node).await;
    let app = begin_app(&node, &owner).await;
    node.clock.pass(30);
    let thief = thief(&node, &owner).await;
    node.clock.pass(30);
    let confirm = ConfirmTotp { factor: app.factor, code: app.digits(&node) };
    let set = owner.post(&node, &format!("{FACTORS}/totp/confirm"), &confirm).await;
    assert_eq!(set.status(), StatusCode::OK);
    assert_problem(remove(&node, &thief, app.factor).await, Code::StepUpRequired).await;
    assert_eq!(listed(&node, &owner).await.len(), 2, "the app and its codes");
    let owner = proven(&node, &owner, |_| app.shown(&node)).await;
    assert_eq!(remove(&node, &owner, app.factor).await.status(), StatusCode::NO_CONTENT);
}

async fn a_factor_that_is_set_while_a_body_is_on_its_way_makes_its_proof_an_old_one(mode: Mode) {
    let node = Node::start(mode).await;
    let owner = Person::register(&node).await;
    let thief = thief(&node, &owner).await;
    let (_, token, request) = owner.enrolling(&node).await;
    let recovery = ("PUT", "/v1/account/recovery");
    let recovery = Held::send(&node, recovery, &thief.tokens.access_token, &json!({})).await;
    let enrolment = Held::send(&node, ("POST", "/v1/devices"), &token, &request).await;
    with_passkey(&node, &owner).await;
    assert_eq!(recovery.finish().await.code, Code::StepUpRequired);
    assert_eq!(enrolment.finish().await.code, Code::Forbidden);
    assert_eq!(owner.look(&node).await.roster.len(), 4, "account, two devices, vault");
}

/// A session of theirs would be younger than the factor, and counted as proven when it was opened.
async fn who_proved_the_password_alone_enrols_no_device_once_a_factor_is_set(mode: Mode) {
    let node = Node::start(mode).await;
    let owner = Person::register(&node).await;
    let (_, token, request) = owner.enrolling(&node).await;
    with_passkey(&node, &owner).await;
    node.clock.pass(60);
    let answer = node.post("/v1/devices", &request).bearer_auth(token).send().await.unwrap();
    assert_problem(answer, Code::Forbidden).await;
    assert_eq!(owner.look(&node).await.roster.len(), 3, "account, device, vault");
}
