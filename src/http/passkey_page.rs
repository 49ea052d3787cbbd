//! `/passkey`: the page on which a browser is asked for a passkey by a program on the same machine.
//!
//! What is asked stands in the fragment of the address, which no browser sends; the answer goes from the browser to the
//! loopback address of the machine that it runs on. So the page is the same for everybody, this server learns nothing by
//! it, and whoever lures somebody here from elsewhere gets nothing (ADR 19).

use std::sync::LazyLock;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lockstep_events::canonical::sha256;

use super::{Routes, routes::routes};
use crate::config::Config;

/// Where the page is.
const PATH: &str = "/passkey";
const SCRIPT: &str = include_str!("passkey_page.js");
/// Only here may a browser be asked for a passkey.
const PERMISSIONS: &str = "publickey-credentials-create=(self), publickey-credentials-get=(self)";

/// Nothing is loaded, and this script alone runs.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(sha256(SCRIPT.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{hash}'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(page))
}

/// The address of the page: at the first of the origins from which passkeys may be asked.
pub fn address(config: &Config) -> String {
    let origin = config.passkey_origins.split(',').next().unwrap_or_default().trim();
    format!("{origin}{PATH}")
}

/// The page on which a browser is asked for a passkey. What is asked stands in its fragment, and the answer goes to
/// the program that asked, on the machine of the browser.
#[utoipa::path(get, path = "/passkey", operation_id = "show_passkey_page", tag = "factors",
    responses((status = 200, description = "A page with a button", content_type = "text/html")))]
async fn page() -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
         <title>Passkey - Lockstep</title></head><body><h1>Passkey</h1><p id=\"say\">This page needs JavaScript.</p>\
         <button id=\"go\" hidden></button><script>{SCRIPT}</script></body></html>\n"
    );
    let mut response = (StatusCode::OK, html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    let permissions = HeaderValue::from_static(PERMISSIONS);
    headers.insert(HeaderName::from_static("permissions-policy"), permissions);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_cannot_end_its_element_and_is_the_only_one_that_runs() {
        assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("<!--"));
        assert!(POLICY.to_str().is_ok_and(|policy| policy.contains("script-src 'sha256-")));
    }
}
