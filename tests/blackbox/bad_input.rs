//! Bad input at every route for accounts, devices and sessions: its own problem code, and nothing changes.

use lockstep_api::{
    Code, MAX_JSON_BYTES, Problem,
    account::{EnrolDevice, LoggedIn, OfferRoster},
};
use lockstep_events::{
    DeviceId,
    ids::PublicKey,
    roster::{Claim, Statement},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Mode, Node, Person, assert_problem, body, problem};

in_both_modes! {
    many threads:
    every_route_refuses_a_body_that_is_not_its_own,
    messages_that_are_not_of_the_password_protocol_are_refused,
    a_registration_whose_parts_do_not_belong_together_is_refused,
    no_device_joins_with_a_key_that_verifies_nothing_and_no_suite_that_nobody_knows_is_raised,
}

/// Every route of this part that takes a body, with a body of the right shape.
fn routes(person: &Person) -> Vec<(String, Value)> {
    let uuid = uuid::Uuid::nil();
    let signature = "0".repeat(128);
    let statement = json!({"account": uuid, "epoch": 3, "previous": "0".repeat(64), "signature": signature,
        "claim": {"says": "device_revoked", "device": person.device}});
    vec![
        ("/v1/accounts/start".to_owned(), json!({"name": "a", "request": ""})),
        (
            "/v1/accounts/finish".to_owned(),
            json!({"attempt": uuid, "upload": "", "suite": 1, "statements": [], "device": uuid, "vault": uuid, "wraps": []}),
        ),
        ("/v1/sessions/start".to_owned(), json!({"name": "a", "request": ""})),
        ("/v1/sessions/finish".to_owned(), json!({"attempt": uuid, "finalization": ""})),
        ("/v1/sessions/refresh".to_owned(), json!({"refresh_token": "lsr_", "signature": signature})),
        (format!("/v1/devices/{}/revoke", person.device), json!({ "statement": statement })),
    ]
}

async fn send(
    node: &Node,
    person: &Person,
    path: &str,
    kind: Option<&str>,
    body: Vec<u8>,
) -> reqwest::Response {
    let request = node.request("POST", path).bearer_auth(&person.tokens.access_token).body(body);
    let request = kind.into_iter().fold(request, |request, kind| request.header("content-type", kind));
    request.send().await.unwrap()
}

async fn every_route_refuses_a_body_that_is_not_its_own(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let log = &node.running().server.log;
    // The system's own events come whenever they are due.
    let streams = [person.account.into(), person.vault.into()];
    let before = log.stream_heads(&streams).await.unwrap();
    let json_type = Some("application/json");
    for (path, right) in routes(&person) {
        let right_text = right.to_string();
        let mut unknown = right.clone();
        unknown["surprise"] = json!(1);
        let mut missing = right.clone();
        let first = right.as_object().unwrap().keys().next().unwrap().clone();
        missing.as_object_mut().unwrap().remove(&first);
        let mut wrong = right.clone();
        wrong[&first] = json!({"not": ["this"]});
        let (no_field, wrong_field) = (format!("missing field {first} at line 1"), format!("{first}: "));
        for (body, begins) in [
            (unknown, "unknown field at line 1"),
            (missing, &no_field),
            (wrong, &wrong_field),
            (json!([]), ""),
            (json!("text"), ""),
            (Value::Null, ""),
        ] {
            let answer = send(&node, &person, &path, json_type, body.to_string().into_bytes()).await;
            let Problem { code, detail, .. } = problem(answer).await;
            let detail = detail.unwrap();
            assert_eq!(code, Code::InvalidField);
            assert!(detail.starts_with(begins) && !detail.contains("surprise"), "{path}: {detail}");
        }
        let mut invalid_utf8 = right_text.clone().into_bytes();
        invalid_utf8.insert(2, 0xff);
        let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
        for body in [invalid_utf8, b"{".to_vec(), Vec::new(), deep.into_bytes()] {
            assert_problem(send(&node, &person, &path, json_type, body).await, Code::InvalidJson).await;
        }
        for kind in
            [None, Some("text/plain"), Some("application/json; charset=latin-1"), Some("application/xml")]
        {
            let answer = send(&node, &person, &path, kind, right_text.clone().into_bytes()).await;
            assert_problem(answer, Code::UnsupportedMediaType).await;
        }
        let mut padded = right_text.into_bytes();
        padded.resize(MAX_JSON_BYTES + 1, b' ');
        assert_problem(send(&node, &person, &path, json_type, padded.clone()).await, Code::BodyTooLarge)
            .await;
        padded.truncate(MAX_JSON_BYTES);
        let fits = send(&node, &person, &path, json_type, padded).await;
        assert_ne!(fits.status().as_u16(), Code::BodyTooLarge.status(), "{path}");
    }
    assert_eq!(log.stream_heads(&streams).await.unwrap(), before, "nothing was appended");
}

async fn messages_that_are_not_of_the_password_protocol_are_refused(mode: Mode) {
    let node = Node::start(mode).await;
    for path in ["/v1/accounts/start", "/v1/sessions/start"] {
        for request in ["", "AAAA", &"A".repeat(128), "not base64"] {
            let answer =
                node.post(path, &json!({"name": "someone", "request": request})).send().await.unwrap();
            assert_problem(answer, Code::InvalidField).await;
        }
        for name in ["", " ", &"x".repeat(255), "a\u{0}b"] {
            let answer = node.post(path, &json!({"name": name, "request": ""})).send().await.unwrap();
            assert_problem(answer, Code::InvalidField).await;
        }
    }
}

async fn a_registration_whose_parts_do_not_belong_together_is_refused(mode: Mode) {
    let node = Node::start(mode).await;
    let right = Person::start(&node, "parts@example.org").await.finish;
    let stranger = Person::start(&node, "stranger@example.org").await.finish;
    let mut wrong = Vec::new();
    let mut change = |change: &dyn Fn(&mut lockstep_api::account::RegisterFinish)| {
        let mut body = right.clone();
        change(&mut body);
        wrong.push(body);
    };
    change(&|body| body.statements.truncate(2));
    change(&|body| body.statements.swap(1, 2));
    change(&|body| body.statements.clone_from(&stranger.statements));
    change(&|body| body.statements[1].signature = stranger.statements[1].signature);
    change(&|body| body.device = stranger.device);
    change(&|body| body.vault = stranger.vault);
    change(&|body| body.suite = 2);
    change(&|body| body.wraps.truncate(2));
    change(&|body| body.wraps[0].generation = 2);
    change(&|body| body.wraps[0].bytes = vec![0; 1025].into());
    change(&|body| body.wraps[0].bytes = Vec::new().into());
    change(&|body| body.wraps[1].name = "ark/password".to_owned());
    change(&|body| body.upload = vec![0; 191].into());
    for body in wrong {
        let answer = node.post("/v1/accounts/finish", &body).send().await.unwrap();
        assert_problem(answer, Code::InvalidField).await;
    }
    let answer = node.post("/v1/accounts/finish", &right).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 201, "the right one still registers");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_methods_and_parameters_are_problems_too() {
    let node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    assert_problem(node.get("/v1/nothing").send().await.unwrap(), Code::NotFound).await;
    assert_problem(node.request("PUT", "/v1/account").send().await.unwrap(), Code::MethodNotAllowed).await;
    let end = node.request("DELETE", "/v1/sessions/not-a-uuid").bearer_auth(&person.tokens.access_token);
    assert_problem(end.send().await.unwrap(), Code::InvalidParameter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_security_headers() {
    let node = Node::start(Mode::Embedded).await;
    for path in ["/health/live", "/v1/account", "/nothing"] {
        let answer = node.get(path).send().await.unwrap();
        let headers = answer.headers();
        for (name, value) in [
            ("strict-transport-security", "max-age=31536000"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("permissions-policy", "()"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        assert!(headers.get("server").is_none());
    }
}

async fn no_device_joins_with_a_key_that_verifies_nothing_and_no_suite_that_nobody_knows_is_raised(
    mode: Mode,
) {
    let node = Node::start(mode).await;
    let ada = Person::register(&node).await;
    let before = ada.look(&node).await;
    // No point of the curve; all zero, which has order 4; the identity.
    let (mut none, mut identity) = ([0; 32], [0; 32]);
    (none[0], identity[0]) = (2, 1);
    for key in [none, [0; 32], identity] {
        let device = DeviceId(uuid::Uuid::new_v4());
        let statement = ada.state(&before, Claim::DeviceAdded { device, public_key: PublicKey(key) });
        let login: LoggedIn = body(ada.login(&node, &ada.password, false).await, StatusCode::OK).await;
        let enrol = EnrolDevice { statement: statement.clone() };
        let asked = node.post("/v1/devices", &enrol).bearer_auth(login.enrol_token.unwrap());
        refused(asked.send().await.unwrap(), "public_key: no signature can hold under it").await;
        let offer = OfferRoster { statements: vec![statement], wraps: Vec::new() };
        let offered = ada.post(&node, "/v1/roster", &offer).await;
        refused(offered, "public_key: no signature can hold under it").await;
        let mut new = Person::start(&node, &format!("{device}@example.org")).await;
        let [first, second, third] = &mut new.finish.statements[..] else { panic!("three statements") };
        let claim = Claim::DeviceAdded { device: new.finish.device, public_key: PublicKey(key) };
        *second = Statement::sign(&new.person.ask, first.account, 1, first.hash(), claim);
        *third = Statement::sign(&new.person.ask, first.account, 2, second.hash(), third.claim.clone());
        let finished = node.post("/v1/accounts/finish", &new.finish).send().await.unwrap();
        refused(finished, "public_key: no signature can hold under it").await;
    }
    for suite in [2, 3, u16::MAX] {
        let statements = vec![ada.state(&before, Claim::SuiteRaised { suite })];
        let offer = OfferRoster { statements, wraps: Vec::new() };
        refused(ada.post(&node, "/v1/roster", &offer).await, "suite: only 1 is known").await;
    }
    assert_eq!(ada.look(&node).await.roster, before.roster);
}

/// A problem with this detail.
async fn refused(answer: reqwest::Response, detail: &str) {
    let problem = problem(answer).await;
    assert_eq!((problem.code, problem.detail.as_deref()), (Code::InvalidField, Some(detail)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_with_a_lock_on_it_asks_for_a_token() {
    let node = Node::start(Mode::Embedded).await;
    let document = serde_json::to_value(lockstepd::http::document()).unwrap();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"].is_null() {
                continue;
            }
            let path = path.replace("{seq}", "1").replace("{hash}", &"0".repeat(64));
            let mut concrete = String::new();
            for part in path.split('/').skip(1) {
                let part = if part.starts_with('{') { "00000000-0000-0000-0000-000000000000" } else { part };
                concrete = format!("{concrete}/{part}");
            }
            let request = node.request(&method.to_uppercase(), &concrete);
            assert_problem(request.send().await.unwrap(), Code::Unauthenticated).await;
            asked += 1;
        }
    }
    assert!(asked > 10, "{asked}");
}
