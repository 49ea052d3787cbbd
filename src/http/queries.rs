//! Which routes take a query. To all others a parameter is one that is not known, as it is to these.

use axum::http::{Method, Uri};
use lockstep_api::Code;

use super::problem::Failure;

/// Each with an extractor that knows its parameters.
const ROUTES: &[(Method, &str)] = &[
    (Method::GET, "/v1/admin/accounts"),
    (Method::GET, "/v1/admin/invitations"),
    (Method::GET, "/v1/admin/proposals"),
    (Method::GET, "/v1/audit/events"),
    (Method::GET, "/v1/me/activity"),
    (Method::GET, "/v1/streams/{stream}/changes"),
    (Method::GET, "/v1/vaults/{vault}/entries/{entry}/versions"),
    (Method::GET, "/v1/vaults/{vault}/snapshot"),
    (Method::PUT, "/v1/vaults/{vault}/blobs/{hash}"),
];

/// What else the same places answer to, and takes none. To any other method it is told that it is not allowed.
const BARE: &[(Method, &str)] =
    &[(Method::POST, "/v1/admin/invitations"), (Method::GET, "/v1/vaults/{vault}/blobs/{hash}")];

/// An identity provider adds what it wants.
const OPEN: &str = "/v1/oidc/callback";

/// Refuses a query where none is taken. What is outside `/v1` is for browsers and probes, which may add one.
///
/// # Errors
/// `invalid_parameter`
pub fn fits(method: &Method, template: Option<&str>, uri: &Uri) -> Result<(), Failure> {
    // A browser asks beforehand about what it wants to ask, query and all.
    let asked = uri.query().is_some_and(|query| !query.is_empty()) && method != Method::OPTIONS;
    // HEAD is answered by what answers GET.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let takes = |template: &str| {
        let place = ROUTES.iter().any(|(_, route)| *route == template);
        template == OPEN || (place && !BARE.iter().any(|(of, route)| of == method && *route == template))
    };
    match template {
        Some(template) if asked && template.starts_with("/v1/") && !takes(template) => {
            Err(Failure::from(Code::InvalidParameter).detail("a parameter of the query is not known"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_may_ask_beforehand_about_a_query_and_nobody_else_brings_one_that_is_not_taken() {
        let asked = |method, template| fits(&method, Some(template), &Uri::from_static("/x?after=1")).is_ok();
        let changes = "/v1/streams/{stream}/changes";
        assert!(
            asked(Method::OPTIONS, changes) && asked(Method::GET, changes) && asked(Method::HEAD, changes)
        );
        assert!(asked(Method::OPTIONS, "/v1/account") && asked(Method::TRACE, changes));
        assert!(!asked(Method::GET, "/v1/account") && !asked(Method::POST, "/v1/admin/invitations"));
        assert!(asked(Method::GET, "/v1/oidc/callback") && asked(Method::GET, "/health/live"));
    }

    #[test]
    fn exactly_the_routes_with_parameters_take_a_query() {
        let document = serde_json::to_value(crate::http::document()).unwrap();
        let (mut documented, mut bare) = (Vec::new(), Vec::new());
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let takes = parameters.into_iter().any(|parameter| parameter["in"] == "query");
                let list = if takes { &mut documented } else { &mut bare };
                list.push((method.to_uppercase(), path.clone()));
            }
        }
        bare.retain(|(_, path)| documented.iter().any(|(_, place)| place == path));
        for (listed, mut documented) in [(ROUTES, documented), (BARE, bare)] {
            let mut listed: Vec<_> =
                listed.iter().map(|(method, route)| (method.to_string(), (*route).to_owned())).collect();
            documented.sort();
            listed.sort();
            assert_eq!(listed, documented);
        }
    }
}
