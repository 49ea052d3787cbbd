//! What a passkey was asked for counts once, soon, and for who asked; and the page on which a browser is asked.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lockstep_api::{
    Bytes64, Code,
    factor::{Demanded, FactorIsSet, MadePasskey, NewPasskey, ShowFactor},
};
use lockstep_events::canonical::sha256;
use reqwest::{Response, StatusCode};

use crate::{
    authenticators::Authenticator,
    factors::proven,
    support::{Mode, Node, Person, assert_problem, body, problem},
    ways::fresh,
};

in_both_modes! {
    a_new_passkey_is_taken_once_within_five_minutes_in_the_session_that_asked,
    a_passkey_that_is_shown_is_taken_once_within_five_minutes,
    the_page_runs_its_own_script_and_loads_nothing,
}

over_three_nodes! {
    a_new_passkey_is_taken_once_within_five_minutes_in_the_session_that_asked,
    a_passkey_that_is_shown_is_taken_once_within_five_minutes,
}

const START: &str = "/v1/account/factors/passkey/start";
const FINISH: &str = "/v1/account/factors/passkey/finish";

async fn asked(node: &Node, person: &Person) -> NewPasskey {
    body(person.post(node, START, &()).await, StatusCode::OK).await
}

fn made(authenticator: &Authenticator, asked: &NewPasskey) -> MadePasskey {
    MadePasskey {
        attempt: asked.attempt,
        client_data: Bytes64(authenticator.client_data("webauthn.create", &asked.challenge.0)),
        attestation: Bytes64(authenticator.attestation()),
    }
}

async fn a_new_passkey_is_taken_once_within_five_minutes_in_the_session_that_asked(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let (other, stranger) = (person.enrol(&node).await, Person::register(&node).await);
    let mut key = Authenticator::new();
    for elsewhere in [&other, &stranger] {
        let asked = asked(&node, &person).await;
        let elsewhere = fresh(&node, elsewhere).await;
        let answer = elsewhere.post(&node, FINISH, &made(&key, &asked)).await;
        assert_problem(answer, Code::AttemptExpired).await;
    }
    let late = asked(&node, &person).await;
    node.clock.pass(301);
    let token = person.tokens.refresh_token.clone();
    let tokens = body(person.refresh(&node, &token).await, StatusCode::OK).await;
    let person = fresh(&node, &Person { tokens, ..person }).await;
    assert_problem(person.post(&node, FINISH, &made(&key, &late)).await, Code::AttemptExpired).await;
    // For another challenge than the one that was asked.
    let (one, two) = (asked(&node, &person).await, asked(&node, &person).await);
    let crossed = MadePasskey { attempt: two.attempt, ..made(&Authenticator::new(), &one) };
    assert_problem(person.post(&node, FINISH, &crossed).await, Code::SecondFactorFailed).await;
    let right = asked(&node, &person).await;
    let set = person.post(&node, FINISH, &made(&key, &right)).await;
    let _: FactorIsSet = body(set, StatusCode::CREATED).await;
    let person = proven(&node, &person, |asked| key.assert(&asked.challenge.0)).await;
    assert_problem(person.post(&node, FINISH, &made(&key, &right)).await, Code::AttemptExpired).await;
}

async fn demanded(node: &Node, person: &Person) -> Demanded {
    let problem = problem(person.login(node, &person.password, true).await).await;
    assert_eq!(problem.code, Code::SecondFactorRequired);
    serde_json::from_value(problem.facts.unwrap()).unwrap()
}

async fn show(node: &Node, asked: &Demanded, key: &mut Authenticator, challenge: &Demanded) -> Response {
    let shown = ShowFactor { attempt: asked.attempt, factor: key.assert(&challenge.challenge.0) };
    node.post("/v1/sessions/second-factor", &shown).send().await.unwrap()
}

async fn a_passkey_that_is_shown_is_taken_once_within_five_minutes(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let mut key = Authenticator::new();
    let new = asked(&node, &person).await;
    let set = person.post(&node, FINISH, &made(&key, &new)).await;
    let _: FactorIsSet = body(set, StatusCode::CREATED).await;
    let (one, two) = (demanded(&node, &person).await, demanded(&node, &person).await);
    assert_problem(show(&node, &one, &mut key, &two).await, Code::SecondFactorFailed).await;
    assert_eq!(show(&node, &one, &mut key, &one).await.status(), StatusCode::OK);
    assert_problem(show(&node, &one, &mut key, &one).await, Code::AttemptExpired).await;
    node.clock.pass(301);
    assert_problem(show(&node, &two, &mut key, &two).await, Code::AttemptExpired).await;
    let three = demanded(&node, &person).await;
    assert_eq!(show(&node, &three, &mut key, &three).await.status(), StatusCode::OK);
}

async fn the_page_runs_its_own_script_and_loads_nothing(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    assert_eq!(asked(&node, &person).await.page, "https://localhost:8443/passkey");
    let page = node.get("/passkey").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let header = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
    let (policy, permissions) = (header("content-security-policy"), header("permissions-policy"));
    assert_eq!(
        (header("cache-control"), header("referrer-policy")),
        ("no-store".into(), "no-referrer".into())
    );
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    let html = page.text().await.unwrap();
    let script = html.split("<script>").nth(1).unwrap().split("</script>").next().unwrap();
    let hash = STANDARD.encode(sha256(script.as_bytes()));
    let expected = format!(
        "default-src 'none'; script-src 'sha256-{hash}'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    );
    assert_eq!(policy, expected);
    assert_eq!(permissions, "publickey-credentials-create=(self), publickey-credentials-get=(self)");
    assert!(!html.contains("src=") && !html.contains("href=") && html.matches("<script").count() == 1);
}
