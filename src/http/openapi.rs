//! The `OpenAPI` document: what every route has in common. What is special about a route stands on its handler.

use std::collections::BTreeMap;

use lockstep_api::{
    Code,
    sync::{Reset, ResetReason},
};
use utoipa::{
    PartialSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, Info, OpenApi, OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder,
        Schema,
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
    // Also of what only looks: that an administrator looked is written down.
    Code::NoRoom,
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
];
/// A request with parameters may meet these; so may any other under `/v1` that brings one.
const WITH_PARAMETERS: &[Code] = &[Code::InvalidParameter];

/// A request with headers of its own may meet these.
const WITH_HEADERS: &[Code] = &[Code::InvalidHeader];

/// A request that names something in its path may meet this.
const WITH_PLACE: &[Code] = &[Code::NotFound];

/// The tokens that routes take, by scope. Each is a bearer.
const BEARERS: [(&str, &str); 3] = [
    ("token", "The access token of an enrolled device: `access_token` of `Tokens`"),
    ("enrolment", "Of somebody who proved the password on a device that is not enrolled yet: `enrol_token`"),
    ("identity", "Of somebody who proved who they are, but no key: `identity_token`"),
];

/// Headers that come with problems, and with those of which status. What begins as code is a text, the others are numbers.
const HEADERS: [(&str, &[&str], &str); 6] = [
    ("content-range", &["416"], "`bytes */N`: there are N bytes"),
    ("ratelimit-limit", &["429"], "So many may be asked at once"),
    ("ratelimit-remaining", &["429"], "So many are left"),
    ("ratelimit-reset", &["429"], "Seconds until all are there again"),
    ("retry-after", &["429", "503", "507"], "Seconds after which the same may work, where that is known"),
    ("www-authenticate", &["401"], "`Bearer`"),
];

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
    let components = document.components.get_or_insert_with(Default::default);
    for (name, what) in BEARERS {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
        components.add_security_scheme(name, SecurityScheme::Http(bearer.description(Some(what)).build()));
    }
    for (name, _, what) in HEADERS {
        let schema = if what.starts_with('`') { String::schema() } else { u32::schema() };
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(what)).build();
        components.headers.insert(name.to_owned(), header.into());
    }
    components.schemas.insert("Problem".to_owned(), lockstep_api::Problem::schema());
    components.schemas.insert("Code".to_owned(), codes());
    // Facts of a problem, which no operation names.
    components.schemas.insert("Reset".to_owned(), Reset::schema());
    components.schemas.insert("ResetReason".to_owned(), ResetReason::schema());
    for (path, item) in &mut document.paths.paths {
        operations(item).for_each(|operation| complete(path, operation));
    }
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
fn complete(path: &str, operation: &mut Operation) {
    let mut codes = ALWAYS.to_vec();
    if operation.security.is_some() {
        codes.extend(WITH_TOKEN);
    }
    if operation.request_body.is_some() {
        codes.extend(WITH_BODY);
    }
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    if !parameters.is_empty() || path.starts_with("/v1/") {
        codes.extend(WITH_PARAMETERS);
    }
    let any_in = |place: ParameterIn| {
        parameters
            .iter()
            .any(|one| matches!(one, RefOr::T(Parameter { parameter_in, .. }) if *parameter_in == place))
    };
    if any_in(ParameterIn::Path) {
        codes.extend(WITH_PLACE);
    }
    if any_in(ParameterIn::Header) {
        codes.extend(WITH_HEADERS);
    }
    let own = &mut operation.responses.responses;
    for (status, general) in responses(&codes) {
        let response = match (own.remove(&status), general) {
            (Some(RefOr::T(special)), RefOr::T(general)) => RefOr::T(both(special, &general)),
            (_, general) => general,
        };
        own.insert(status, response);
    }
    for (status, response) in own.iter_mut().filter(|(status, _)| status.starts_with(['4', '5'])) {
        if let RefOr::T(special) = response
            && !codes_of(special).is_empty()
        {
            *special = problem(status, special.description.clone());
        }
    }
}

/// A response that a route describes itself, with what any route of its shape may meet beside it.
fn both(mut special: Response, general: &Response) -> Response {
    let named = codes_of(&special);
    // An answer that is no problem, like that of `/health/ready`, is left alone.
    if !named.is_empty() {
        for code in codes_of(general).into_iter().filter(|code| !named.contains(code)) {
            special.description.push_str("; ");
            special.description.push_str(&line(code));
        }
    }
    special
}

/// The codes that a response names: none, if it is not one of problems.
fn codes_of(response: &Response) -> Vec<Code> {
    let named = |code: &&Code| response.description.contains(&format!("`{}`", code.as_str()));
    Code::ALL.iter().filter(named).copied().collect()
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
    let response = |status: &str, codes: Vec<Code>| {
        let lines: Vec<String> = codes.into_iter().map(line).collect();
        problem(status, lines.join("; "))
    };
    by_status
        .into_iter()
        .map(|(status, codes)| (status.clone(), RefOr::T(response(&status, codes))))
        .collect()
}

fn line(code: Code) -> String {
    format!("`{}`: {}", code.as_str(), code.title())
}

fn problem(status: &str, description: String) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let mut response =
        ResponseBuilder::new().description(description).content("application/problem+json", content);
    for (name, ..) in HEADERS.iter().filter(|(_, of, _)| of.contains(&status)) {
        response = response.header_ref(*name, Ref::new(format!("#/components/headers/{name}")));
    }
    response.build()
}

/// A text of a document without the marks of links between types of ours.
pub fn plain(text: &str) -> String {
    let mut parts = text.split("[`");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once("`]") {
            Some((path, rest)) => {
                let name = path.rsplit("::").next().unwrap_or(path);
                plain.extend(["`", name, "`", rest]);
            }
            None => plain.extend(["[`", part]),
        }
    }
    plain
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
    fn every_refusal_is_a_problem_that_names_its_codes_unless_it_is_a_page_or_a_state() {
        let document = serde_json::to_value(crate::http::document()).unwrap_or_default();
        let mut others = Vec::new();
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                    let described = response["description"].as_str().unwrap_or_default();
                    let named =
                        Code::ALL.iter().any(|code| described.contains(&format!("`{}`", code.as_str())));
                    let is_problem = response["content"]["application/problem+json"].is_object();
                    if status.starts_with(['4', '5']) && !(named && is_problem) {
                        others.push(format!("{method} {path} {status}"));
                    }
                }
            }
        }
        let pages = [
            "get /health/ready 503",
            "get /link/{secret} 410",
            "post /link/{secret} 409",
            "post /link/{secret} 410",
        ];
        assert_eq!(others, pages);
    }

    #[test]
    fn a_route_says_in_its_own_words_what_a_code_means_and_the_document_adds_the_others_and_the_headers() {
        let document = serde_json::to_value(crate::http::document()).unwrap_or_default();
        let response = |method: &str, path: &str, status: &str| {
            document["paths"][path][method]["responses"][status].clone()
        };
        let conflict = response("put", "/v1/file", "409");
        let described = conflict["description"].as_str().unwrap_or_default();
        assert!(
            described.contains("`epoch_mismatch`: the stream has another epoch, which facts name"),
            "{described}"
        );
        let invalid = response("post", "/v1/vaults/{vault}/versions", "422");
        let described = invalid["description"].as_str().unwrap_or_default();
        assert!(
            described.contains("`idempotency_key_reused`") && described.contains("`invalid_field`"),
            "{described}"
        );
        let busy = response("get", "/v1/account", "429");
        for header in ["retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
            assert_eq!(busy["headers"][header]["$ref"], format!("#/components/headers/{header}"), "{busy}");
            assert_eq!(document["components"]["headers"][header]["schema"]["type"], "integer");
        }
        let unknown = response("get", "/v1/account", "401");
        assert!(unknown["headers"]["www-authenticate"]["$ref"].is_string(), "{unknown}");
    }

    #[test]
    fn links_between_types_are_words_in_a_document() {
        let text = "Answer to [`Ask`], see [`crate::sync::Reset`]. [`x";
        assert_eq!(plain(text), "Answer to `Ask`, see `Reset`. [`x");
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
