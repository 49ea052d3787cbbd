//! Which foreign web pages may call the API: those of the configured origins, exactly as written, and no other. There
//! are no cookies, so credentials are never part of it.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};

use crate::config::Config;

const METHODS: &str = "GET, HEAD, POST, PUT, DELETE";
const HEADERS: &str = "authorization, content-type, idempotency-key, if-match, last-event-id, lockstep-reason, \
                       range, upload-offset";
const SHOWN: &str =
    "etag, location, ratelimit-limit, ratelimit-remaining, ratelimit-reset, retry-after, x-request-id";
/// A browser may remember an answer so long, in seconds.
const REMEMBERED: &str = "600";

/// The origin of a request, if there is exactly one and it is allowed.
fn allowed<'a>(config: &Config, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
    let mut known = config.cors_origins.split(',').map(str::trim).filter(|known| !known.is_empty());
    known.any(|known| known.as_bytes() == origin.as_bytes()).then_some(origin)
}

/// Whether a request comes from a web page that may not call.
pub fn is_foreign(config: &Config, headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) && allowed(config, headers).is_none()
}

/// The answer to a browser that asks whether a page may call; nothing if it may not, or does not ask.
pub fn preflight(config: &Config, parts: &Parts) -> Option<Response> {
    let asks =
        parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !asks {
        return None;
    }
    allowed(config, &parts.headers)?;
    let told = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED),
    ];
    Some((StatusCode::NO_CONTENT, told).into_response())
}

/// What an answer says about who may read it.
pub struct Grant(Option<HeaderValue>, bool);

impl Grant {
    /// For the answer to a request.
    pub fn new(config: &Config, headers: &HeaderMap) -> Self {
        Self(allowed(config, headers).cloned(), !config.cors_origins.is_empty())
    }

    /// Writes it into the headers of the answer.
    pub fn write(self, headers: &mut HeaderMap) {
        if self.1 {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = self.0 {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(SHOWN));
            // The page is of another origin, and may load what it asked for.
            headers.insert(POLICY, HeaderValue::from_static("cross-origin"));
        }
    }
}

const POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layer;

    fn config(origins: &str) -> Config {
        Config::with(Layer { cors_origins: Some(origins.to_owned()), ..Layer::default() }).unwrap()
    }

    fn is_allowed(origins: &str, given: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for origin in given {
            headers.append(header::ORIGIN, HeaderValue::from_static(origin));
        }
        allowed(&config(origins), &headers).is_some()
    }

    #[test]
    fn only_an_origin_that_is_written_out_is_allowed_and_nothing_that_looks_like_it() {
        let list = "https://a.example, https://b.example:8443";
        assert!(is_allowed(list, &["https://a.example"]) && is_allowed(list, &["https://b.example:8443"]));
        for other in [
            "https://a.example.evil",
            "https://evil-a.example",
            "https://b.example",
            "http://a.example",
            "HTTPS://A.EXAMPLE",
            "https://a.example/",
            "null",
            "*",
            "",
        ] {
            assert!(!is_allowed(list, &[other]), "{other}");
        }
        assert!(!is_allowed(list, &["https://a.example", "https://a.example"]));
        assert!(!is_allowed("", &["https://a.example"]) && !is_allowed("", &[""]));
    }

    #[test]
    fn a_page_may_send_every_header_that_a_route_takes() {
        let document = serde_json::to_value(crate::http::document()).unwrap();
        // The biller is no page, and the protocols of a socket are the browser's to send.
        let others = ["lockstep-signature", "sec-websocket-protocol"];
        let known: Vec<&str> = HEADERS.split(", ").collect();
        let operations = document["paths"].as_object().unwrap().values();
        let operations = operations.flat_map(|path| path.as_object().unwrap().values());
        let parameters =
            operations.flat_map(|operation| operation["parameters"].as_array().into_iter().flatten());
        let headers = parameters.filter(|parameter| parameter["in"] == "header");
        let mut asked = 0;
        for header in headers.map(|header| header["name"].as_str().unwrap().to_lowercase()) {
            asked += 1;
            assert!(others.contains(&&*header) || known.contains(&&*header), "{header}");
        }
        assert!(asked > 10, "{asked}");
    }

    #[test]
    fn a_list_with_a_wildcard_is_refused() {
        for bad in ["*", "https://*.example", "null", "https://a.example/path", "a.example"] {
            let layer = Layer { cors_origins: Some(bad.to_owned()), ..Layer::default() };
            assert!(Config::with(layer).is_err(), "{bad}");
        }
    }
}
