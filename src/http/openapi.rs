//! The `OpenAPI` document: what every route has in common. What is special about a route stands on its handler.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_api::Code;
use utoipa::{
    PartialSchema,
    openapi::{
        ContentBuilder, Info, OpenApi, OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder, Schema,
        path::{Operation, Parameter, ParameterIn, PathItem},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

/// Any request may meet these.
const ALWAYS: &[Code] = &[
    Code::Internal,
    Code::LogUnavailable,
    Code::ReadsUnavailable,
    Code::BlobsUnavailable,
    Code::CredentialsUnavailable,
    Code::TimedOut,
    Code::Draining,
    Code::TooManyRequests,
    Code::UrlTooLong,
    Code::HeadTooLarge,
];
/// A request with a token may meet these.
const WITH_TOKEN: &[Code] =
    &[Code::Unauthenticated, Code::TokenExpired, Code::Revoked, Code::VaultProofRequired];
/// A request with a body may meet these.
const WITH_BODY: &[Code] = &[
    Code::InvalidJson,
    Code::InvalidField,
    Code::UnsupportedMediaType,
    Code::BodyTooLarge,
    Code::BodyTooSlow,
    Code::NoRoom,
];
/// A request with parameters may meet these.
const WITH_PARAMETERS: &[Code] = &[Code::InvalidParameter];

/// A request that names something in its path may meet this.
const WITH_PLACE: &[Code] = &[Code::NotFound];

/// The head of the document.
pub fn start() -> OpenApi {
    let mut info = Info::new("Lockstep", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Sync engine for zero-knowledge password vaults. Errors are problem details (RFC 9457) with a stable `code`. \
         The live feed at `/v1/live` is a WebSocket and is described apart."
            .to_owned(),
    );
    OpenApiBuilder::new().info(info).build()
}

/// The document with what all routes share.
pub fn finished(mut document: OpenApi) -> OpenApi {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components = document.components.get_or_insert_with(Default::default);
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    components.schemas.insert("Problem".to_owned(), lockstep_api::Problem::schema());
    components.schemas.insert("Code".to_owned(), codes());
    document.paths.paths.values_mut().flat_map(operations).for_each(complete);
    document
}

/// The schema of the codes; its description has each with its status and meaning.
fn codes() -> RefOr<Schema> {
    let mut schema = Code::schema();
    let line = |code: &Code| format!("- `{}` ({}): {}", code.as_str(), code.status(), code.title());
    let lines: Vec<String> = Code::ALL.iter().map(line).collect();
    if let RefOr::T(Schema::Object(codes)) = &mut schema {
        codes.description = Some(format!("What went wrong, as a stable word.\n\n{}", lines.join("\n")));
    }
    schema
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// Adds to an operation the problems that every operation of its shape may meet.
fn complete(operation: &mut Operation) {
    let mut codes = ALWAYS.to_vec();
    if operation.security.is_some() {
        codes.extend(WITH_TOKEN);
    }
    if operation.request_body.is_some() {
        codes.extend(WITH_BODY);
    }
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    if !parameters.is_empty() {
        codes.extend(WITH_PARAMETERS);
    }
    let in_path =
        |parameter: &_| matches!(parameter, RefOr::T(Parameter { parameter_in: ParameterIn::Path, .. }));
    if parameters.iter().any(in_path) {
        codes.extend(WITH_PLACE);
    }
    let own = &operation.responses.responses;
    let mut all: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for code in codes {
        all.entry(code.status().to_string()).or_default().insert(code.as_str());
    }
    let mut added = Vec::new();
    for (status, general) in all {
        let named = own.get(&status).and_then(problem_codes).unwrap_or_default();
        if own.contains_key(&status) && named.is_empty() {
            // An answer that is no problem, like that of `/health/ready`.
            continue;
        }
        let known = Code::ALL.iter().filter(|code| code.status().to_string() == status);
        let codes = known.filter(|c| general.contains(c.as_str()) || named.contains(&c.as_str()));
        let codes: Vec<Code> = codes.copied().collect();
        added.push((status, RefOr::T(response(&codes))));
    }
    operation.responses.responses.extend(added);
}

/// The codes that a response names, if it is one of problems.
fn problem_codes(of: &RefOr<Response>) -> Option<Vec<&'static str>> {
    let RefOr::T(response) = of else { return None };
    let named = Code::ALL.iter().map(|code| code.as_str());
    Some(named.filter(|code| response.description.contains(&format!("`{code}`"))).collect())
}

/// Names sets of problems, so that a handler can say which ones are its own.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $($code:ident),+;)+) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses()
            -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                $crate::http::openapi::responses(&[$(lockstep_api::Code::$code),+])
            }
        }
    )+};
}
pub(crate) use problems;

/// The responses of some problems: one per status, which names its codes.
pub fn responses(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status().to_string()).or_default().push(*code);
    }
    by_status.into_iter().map(|(status, codes)| (status, RefOr::T(response(&codes)))).collect()
}

fn response(codes: &[Code]) -> Response {
    let line = |code: &Code| format!("`{}`: {}", code.as_str(), code.title());
    let description = codes.iter().map(line).collect::<Vec<_>>().join("; ");
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_never_said_to_be_ordinary_json() {
        let document = serde_json::to_value(crate::http::document()).unwrap_or_default();
        let mut problems = 0;
        let operations = document["paths"].as_object().into_iter().flatten();
        for (path, operation) in operations.flat_map(|(path, methods)| {
            methods.as_object().into_iter().flatten().map(move |(_, operation)| (path, operation))
        }) {
            for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                for (kind, content) in response["content"].as_object().into_iter().flatten() {
                    if content["schema"]["$ref"] == "#/components/schemas/Problem" {
                        assert_eq!(kind, "application/problem+json", "{path} {status}");
                        problems += 1;
                    }
                }
            }
        }
        assert!(problems > 100, "{problems}");
    }

    #[test]
    fn the_document_has_every_code_with_its_status_and_what_it_means() {
        let document = serde_json::to_value(crate::http::document()).unwrap_or_default();
        let schema = &document["components"]["schemas"]["Code"];
        let described = schema["description"].as_str().unwrap_or_default();
        for code in Code::ALL {
            let line = format!("- `{}` ({}): {}", code.as_str(), code.status(), code.title());
            assert!(described.lines().any(|described| described == line), "{line}");
            assert!(schema["enum"].as_array().is_some_and(|all| all.iter().any(|one| one == code.as_str())));
        }
    }
}
