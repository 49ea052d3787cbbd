//! The documents of the interface, as they are committed.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::sources::root;

fn document(name: &str) -> (String, Value) {
    let text = std::fs::read_to_string(root().join("docs").join(name)).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

#[test]
fn every_operation_has_a_name_of_its_own_that_says_what_of_what() {
    let (_, document) = document("openapi.json");
    let mut names = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap_or_default();
            assert!(name.contains('_'), "{method} {path} is named `{name}`: a verb and a thing");
            assert!(names.insert(name.to_owned()), "{method} {path}: there is another `{name}`");
        }
    }
    assert!(names.len() > 90);
}

#[test]
fn every_token_that_an_operation_takes_is_described() {
    let (_, document) = document("openapi.json");
    let schemes = &document["components"]["securitySchemes"];
    let mut taken = BTreeSet::new();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
    for (_, operation) in operations {
        for named in operation["security"].as_array().into_iter().flatten() {
            taken.extend(named.as_object().unwrap().keys().cloned());
        }
    }
    assert_eq!(taken, BTreeSet::from(["enrolment", "identity", "token"].map(str::to_owned)));
    assert!(taken.iter().all(|name| schemes[name]["description"].is_string()), "{schemes}");
}

#[test]
fn no_document_has_marks_of_links_between_types_or_bytes_of_no_length() {
    for name in ["openapi.json", "asyncapi.json"] {
        let (text, document) = document(name);
        assert!(!text.contains("[`") && !text.contains("`]"), "{name} has a link that leads nowhere");
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for (schema, digits) in [("Chain", 64), ("Epoch", 32), ("SetDigest", 64)] {
            assert_eq!(schemas[schema]["pattern"], format!("^[0-9a-f]{{{digits}}}$"), "{schema} of {name}");
        }
    }
}
