//! Extractors: the same checks and the same problems on every route.

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, FromRequestParts, Request, path::ErrorKind, rejection::PathRejection},
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Response},
};
use lockstep_api::{Code, MAX_JSON_BYTES};
use serde::{Serialize, de::DeserializeOwned};

use super::{pace::was_too_slow, problem::Failure};

/// How deep arrays and objects of a body may be nested.
const MAX_DEPTH: usize = 32;

/// A JSON body of at most `LIMIT` bytes; as an answer: a JSON body.
#[derive(Debug, Clone, Copy)]
pub struct Json<T, const LIMIT: usize = MAX_JSON_BYTES>(pub T);

impl<S: Send + Sync, T: DeserializeOwned, const LIMIT: usize> FromRequest<S> for Json<T, LIMIT> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        check_content_type(&parts.headers, "application/json")?;
        let bytes = read_body(&parts.headers, body, LIMIT).await?;
        parse(&bytes).map(Self)
    }
}

impl<T: Serialize, const LIMIT: usize> IntoResponse for Json<T, LIMIT> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => json(bytes),
            Err(error) => Failure::caused(Code::Internal, error).into_response(),
        }
    }
}

/// An answer whose JSON is there already.
pub fn json(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// Checks that a request names its content type, and names this one.
///
/// # Errors
/// `unsupported_media_type`.
pub fn check_content_type(headers: &HeaderMap, wanted: &str) -> Result<(), Failure> {
    let mut all = headers.get_all(header::CONTENT_TYPE).iter();
    // Of two, whoever stands before this server may have looked at the other one.
    let given = all.next().filter(|_| all.next().is_none()).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut parts = given.split(';').map(str::trim);
    let right = parts.next().is_some_and(|mime| mime.eq_ignore_ascii_case(wanted));
    let charset = parts.all(|p| p.is_empty() || p.eq_ignore_ascii_case("charset=utf-8"));
    if !right || !charset || headers.contains_key(header::CONTENT_ENCODING) {
        let detail = format!("expected {wanted}, not compressed");
        return Err(Failure::from(Code::UnsupportedMediaType).detail(detail));
    }
    Ok(())
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// `body_too_large`, before anything is read where the length is announced; `body_too_slow`; `invalid_json` if it
/// breaks off.
pub async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<bytes::Bytes, Failure> {
    let too_large = || Failure::from(Code::BodyTooLarge).detail(format!("at most {limit} bytes"));
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    to_bytes(body, limit).await.map_err(|error| {
        if was_too_slow(&error) {
            return Code::BodyTooSlow.into();
        }
        let limited = error.into_inner().is::<http_body_util::LengthLimitError>();
        if limited { too_large() } else { Failure::from(Code::InvalidJson).detail("the body broke off") }
    })
}

/// Reads a body that was read already.
///
/// # Errors
/// `invalid_json`, `invalid_field`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Failure::from(Code::InvalidJson).detail("the body is not UTF-8"))?;
    if depth(text) > MAX_DEPTH {
        let detail = format!("nested deeper than {MAX_DEPTH}");
        return Err(Failure::from(Code::InvalidJson).detail(detail));
    }
    serde_json::from_str(text).map_err(|error| {
        let code = if error.is_data() { Code::InvalidField } else { Code::InvalidJson };
        Failure::from(code).detail(harmless(&error))
    })
}

/// What serde met, without a word of what the caller wrote.
fn harmless(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // What is read twice, like one of several kinds of object, has no place any more.
    let place = match error.line() {
        0 => String::new(),
        line => format!(" at line {line} column {}", error.column()),
    };
    let ours = ["missing field", "duplicate field"];
    match text.split('`').nth(1) {
        Some(field) if ours.iter().any(|start| text.starts_with(start)) => {
            let what = if text.starts_with("missing") { "missing" } else { "duplicate" };
            format!("{what} field {field}{place}")
        }
        _ if text.starts_with("unknown") => format!("unknown field or variant{place}"),
        _ if error.is_data() => format!("wrong type or value{place}"),
        _ => format!("not JSON{place}"),
    }
}

/// How deep the text is nested, strings left out.
fn depth(text: &str) -> usize {
    let (mut now, mut most, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !quoted => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// Path parameters.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Failure::from(Code::InvalidParameter).detail(match of_path(&rejection) {
                Some(name) => format!("{name}, in the path, has a value that does not fit"),
                None => "in the path".to_owned(),
            })),
        }
    }
}

/// The parameter of a path that is not valid, by the name that the route gives it.
fn of_path(rejection: &PathRejection) -> Option<&str> {
    let PathRejection::FailedToDeserializePathParams(error) = rejection else { return None };
    match error.kind() {
        ErrorKind::DeserializeError { key, .. }
        | ErrorKind::ParseErrorAtKey { key, .. }
        | ErrorKind::InvalidUtf8InPathParam { key } => Some(key),
        _ => None,
    }
}

/// Query parameters.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                Err(Failure::from(Code::InvalidParameter).detail(of_query(&rejection.body_text())))
            }
        }
    }
}

/// What is not valid in a query, without a word of what the caller wrote: the name of a parameter stands before what is
/// wrong with its value, and a value is only looked at if the name is one of ours.
fn of_query(text: &str) -> String {
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    let is_name = |name: &str| name.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_');
    let own = |text: &str| text.split('`').nth(1).map(str::to_owned).unwrap_or_default();
    match text.split_once(": ") {
        _ if text.contains("unknown field") => "a parameter of the query is not known".to_owned(),
        _ if text.contains("missing field") => format!("{}, in the query, is missing", own(text)),
        _ if text.contains("duplicate field") => format!("{}, in the query, stands there twice", own(text)),
        Some((name, _)) if is_name(name) => format!("{name}, in the query, has a value that does not fit"),
        _ => "in the query".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_api::account::LoginFinish;

    #[test]
    fn a_defect_of_a_body_is_told_without_repeating_the_body() {
        let cases = [
            (r#"{"attempt": 7, "finalization": ""}"#, Code::InvalidField),
            (r#"{"attempt": "canary-canary", "finalization": ""}"#, Code::InvalidField),
            (r#"{"canary-canary": 1}"#, Code::InvalidField),
            (r#"{"attempt": "00000000-0000-0000-0000-000000000000"}"#, Code::InvalidField),
            ("{canary-canary", Code::InvalidJson),
            ("", Code::InvalidJson),
        ];
        for (body, code) in cases {
            let failure = parse::<LoginFinish>(body.as_bytes()).unwrap_err();
            assert_eq!(failure.code(), code, "{body}");
            assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        assert_eq!(depth(r#"{"a":["[[[\"[["]}"#), 2);
        let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
        assert_eq!(parse::<serde_json::Value>(deep.as_bytes()).unwrap_err().code(), Code::InvalidJson);
        assert!(parse::<serde_json::Value>(&deep.as_bytes()[1..65]).is_ok());
    }

    #[test]
    fn the_content_type_is_required_and_matched() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            check_content_type(&headers, "application/json").is_ok()
        };
        assert!(with("application/json") && with("Application/JSON; charset=UTF-8"));
        assert!(
            !with("text/plain") && !with("application/json; charset=latin-1") && !with("application/jsonx")
        );
        assert!(check_content_type(&HeaderMap::new(), "application/json").is_err());
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(header::CONTENT_TYPE, "application/json".parse().unwrap());
        }
        assert!(check_content_type(&twice, "application/json").is_err());
    }
}
