//! Extractors: the same checks and the same problems on every route.

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, FromRequestParts, Request, path::ErrorKind, rejection::PathRejection},
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Response},
};
use lockstep_api::{Code, MAX_JSON_BYTES};
use serde::{Serialize, de::DeserializeOwned};

use super::{caller::LetIn, pace::was_too_slow, problem::Failure, refusal};

/// How deep arrays and objects of a body may be nested.
const MAX_DEPTH: usize = 32;

/// A JSON body of at most `LIMIT` bytes, if whoever sends it has access still when it is there; as an answer: a JSON body.
#[derive(Debug, Clone, Copy)]
pub struct Json<T, const LIMIT: usize = MAX_JSON_BYTES>(pub T);

impl<S: Send + Sync, T: DeserializeOwned, const LIMIT: usize> FromRequest<S> for Json<T, LIMIT> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        check_content_type(&parts.headers, "application/json")?;
        let bytes = read_body(&parts.headers, body, LIMIT).await?;
        LetIn::still(&parts.extensions).await?;
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
        if error.is_data() {
            Failure::from(Code::InvalidField)
                .detail(refusal::of_body(&error, &refusal::path::<T>(text, &error)))
        } else {
            Failure::from(Code::InvalidJson).detail(format!("not JSON{}", refusal::place(&error)))
        }
    })
}

/// How deep the text is nested, strings left out.
fn depth(text: &str) -> usize {
    let (mut now, mut most, mut rest) = (0_usize, 0, text.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => rest = after_string(rest),
            b'{' | b'[' => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// What comes after a string that has begun. By itself, because nearly all of a large body is strings.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        let escaped = rest[at] == b'\\';
        rest = rest.get(at + 1 + usize::from(escaped)..).unwrap_or_default();
        if !escaped {
            return rest;
        }
    }
    &[]
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
    use lockstep_api::account::{LoginFinish, OfferRoster};

    #[test]
    fn a_defect_of_a_body_is_told_without_repeating_the_body() {
        let cases = [
            (r#"{"attempt": 7, "finalization": ""}"#, "attempt: wrong type or value at line 1 column 13"),
            (
                r#"{"attempt": "canary", "finalization": ""}"#,
                "attempt: wrong type or value at line 1 column 20",
            ),
            (r#"{"canary": 1}"#, "unknown field at line 1 column 9; known are attempt, finalization, device"),
            (
                r#"{"attempt": "00000000-0000-0000-0000-000000000000"}"#,
                "missing field finalization at line 1 column 51",
            ),
            (
                r#"{"finalization": "", "finalization": "canary"}"#,
                "duplicate field finalization at line 1 column 35",
            ),
            (r#"["canary"]"#, "[0]: wrong type or value at line 1 column 9"),
            (r#""canary""#, "wrong type or value at line 1 column 8"),
        ];
        for (body, detail) in cases {
            assert_eq!(told::<LoginFinish>(body), (Code::InvalidField, detail.to_owned()), "{body}");
        }
        for body in ["{canary", ""] {
            let (code, detail) = told::<LoginFinish>(body);
            assert!(code == Code::InvalidJson && detail.starts_with("not JSON at line 1"), "{detail}");
        }
    }

    /// What is told about a body that is none.
    fn told<T: DeserializeOwned + std::fmt::Debug>(body: &str) -> (Code, String) {
        let failure = parse::<T>(body.as_bytes()).unwrap_err();
        let shown = format!("{failure:?}");
        assert!(!shown.contains("canary"), "{shown}");
        (failure.code(), failure.told().to_owned())
    }

    #[test]
    fn a_field_inside_another_is_named_with_all_that_it_stands_in() {
        let statement = |claim: &str| {
            let zero = uuid::Uuid::nil();
            let (hash, signature) = ("0".repeat(64), "0".repeat(128));
            format!(
                r#"{{"statements":[{{"account":"{zero}","epoch":0,"previous":"{hash}","claim":{claim},"signature":"{signature}"}},7],"wraps":[]}}"#
            )
        };
        let cases = [
            (r#"{"statements": [{"epoch": 1}]}"#.to_owned(), "missing field statements[0].account"),
            (
                r#"{"statements": [{"epoch": "canary"}]}"#.to_owned(),
                "statements[0].epoch: wrong type or value",
            ),
            (r#"{"statements": [{"canary": {}}]}"#.to_owned(), "statements[0]: unknown field"),
            (statement(r#"{"says": "canary"}"#), "statements[0].claim.says: unknown variant"),
            (statement(r#"{"says": "suite_raised", "suite": "canary"}"#), "statements[0].claim: wrong type"),
            (statement(r#"{"says": "suite_raised", "suite": 2}"#), "statements[1]: wrong type or value"),
            (
                r#"{"statements": [], "wraps": [{"name": "ask", "generation": -1}]}"#.to_owned(),
                "wraps[0].generation: wrong",
            ),
        ];
        for (body, begins) in cases {
            let (code, detail) = told::<OfferRoster>(&body);
            assert!(code == Code::InvalidField && detail.starts_with(begins), "{body}: {detail}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        assert_eq!(depth(r#"{"a":["[[[\"[["]}"#), 2);
        assert_eq!(depth(r#"{"a\\":[{"b\\\"[":[]}]}"#), 4);
        assert_eq!([r#""[["#, r#"["[\"#, r#"["\"[""#].map(depth), [0, 1, 1], "a string without an end");
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
