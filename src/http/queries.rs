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

/// An identity provider adds what it wants.
const OPEN: &str = "/v1/oidc/callback";

/// Refuses a query where none is taken. What is outside `/v1` is for browsers and probes, which may add one.
///
/// # Errors
/// `invalid_parameter`
pub fn fits(method: &Method, template: Option<&str>, uri: &Uri) -> Result<(), Failure> {
    let asked = uri.query().is_some_and(|query| !query.is_empty());
    // HEAD is answered by what answers GET.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let takes = |template: &str| {
        template == OPEN || ROUTES.iter().any(|(of, route)| of == method && *route == template)
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
    fn exactly_the_routes_with_parameters_take_a_query() {
        let document = serde_json::to_value(crate::http::document()).unwrap();
        let mut documented = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                if parameters.into_iter().any(|parameter| parameter["in"] == "query") {
                    documented.push((method.to_uppercase(), path.clone()));
                }
            }
        }
        let mut listed: Vec<_> =
            ROUTES.iter().map(|(method, route)| (method.to_string(), (*route).to_owned())).collect();
        documented.sort();
        listed.sort();
        assert_eq!(listed, documented);
    }
}
