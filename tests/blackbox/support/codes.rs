//! Codes as the `OpenAPI` document lists them. Every problem that these tests meet is held against it.

use std::sync::LazyLock;

use lockstep_api::Code;
use serde_json::{Map, Value};

static PATHS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let document = serde_json::to_value(lockstepd::http::document()).unwrap();
    document["paths"].as_object().unwrap().clone()
});

/// Panics if the route of this path answers with a code that it does not list. By which method it was asked an answer does
/// not say: one of them lists it.
pub fn are_listed(path: &str, status: u16, code: Code) {
    // Of a method that the route does not have, and of a listener that serves others.
    if matches!(code, Code::MethodNotAllowed | Code::NotFound) {
        return;
    }
    let Some((template, route)) = route(path) else { return };
    let word = format!("`{}`", code.as_str());
    let mut operations = route.as_object().unwrap().values();
    let listed = operations.any(|operation| {
        let described = &operation["responses"][status.to_string()]["description"];
        described.as_str().is_some_and(|described| described.contains(&word))
    });
    assert!(listed, "{template} answers {status} {word}, which the document does not say");
}

/// The route that answers a path: of several the one that is written out furthest.
fn route(path: &str) -> Option<(&String, &Value)> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        template.len() == parts.len()
            && template.iter().zip(&parts).all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
    };
    let fitting = PATHS.iter().filter(|(template, _)| fits(template));
    fitting.min_by_key(|(template, _)| template.matches('{').count())
}
