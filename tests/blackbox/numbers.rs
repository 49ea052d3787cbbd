//! Numbers in queries: whatever is outside what the API document says of them is refused, at every route that takes one.

use lockstep_api::Code;
use serde_json::Value;

use crate::bola::office::Office;
use crate::support::{Mode, Node, Person, problem};

in_both_modes! {
    many threads:
    a_number_beyond_what_the_document_says_is_refused_at_every_route_that_takes_one,
}

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// A number in the query of an operation: method, path, name, and a number that is one too high.
struct Number {
    method: String,
    path: String,
    name: String,
    too_high: String,
}

/// All of the document.
fn numbers() -> Vec<Number> {
    let document = serde_json::to_value(lockstepd::http::document()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let here = parameters.filter(|one| one["in"] == "query" && one["schema"]["type"] == "integer");
            all.extend(here.map(|one| Number {
                method: method.to_uppercase(),
                path: path.clone(),
                name: one["name"].as_str().unwrap().to_owned(),
                too_high: too_high(&one["schema"]),
            }));
        }
    }
    all
}

fn too_high(schema: &Value) -> String {
    let most = schema["maximum"].as_u64();
    let most = most.or((schema["format"] == "int64").then_some(i64::MAX.unsigned_abs()));
    (most.expect("the document says how high it may be") + 1).to_string()
}

async fn a_number_beyond_what_the_document_says_is_refused_at_every_route_that_takes_one(mode: Mode) {
    let mut node = Node::start(mode).await;
    let office = Office::open(&mut node).await;
    let person = Person::register(&node).await;
    let all = numbers();
    for Number { method, path, name, too_high } in &all {
        let asks = match path {
            _ if path.starts_with("/v1/admin/") => &office.admin,
            _ if path.starts_with("/v1/audit/") => &office.auditor,
            _ => &person,
        };
        let place = path.replace("{vault}", &person.vault.to_string());
        let place = place.replace("{stream}", &person.vault.to_string()).replace("{entry}", NOBODY);
        let place = format!("{}?{name}={too_high}", place.replace("{hash}", &"0".repeat(64)));
        let asked = node.request(method, &place).bearer_auth(&asks.tokens.access_token);
        let asked = asked.header("lockstep-reason", "ticket 12");
        let asked = match method.as_str() {
            "GET" => asked,
            _ => asked.header("content-type", "application/octet-stream").body("x"),
        };
        let refused = problem(asked.send().await.unwrap()).await;
        // As the length of what is sent it is first of all too long.
        let expected = if name == "size" { Code::BodyTooLarge } else { Code::InvalidParameter };
        assert_eq!(refused.code, expected, "{method} {place}: {refused:?}");
    }
    assert!(all.len() >= 10, "{}", all.len());
}
