//! `/link/{secret}`: the page that a mailed link opens.
//!
//! Opening it changes nothing, so a mail scanner that follows every link does no harm: only the button does, once.
//! What the button brings about goes to the client that asked, never to this browser.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockstep_api::{Code, words};
use lockstep_events::canonical::sha256;

use super::{Answer, Failure, Path, Routes, around::Written, routes::routes};
use crate::{
    auth::addresses::{MailedLink, Purpose},
    commands::address::{AddressError, ConfirmAddress},
    mail::letter::escaped,
    state::{Server, Shared},
};

/// Nothing is loaded, and the form leads back here.
const POLICY: &str = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(show, press))
}

/// The page of a mailed link. Opening it changes nothing.
#[utoipa::path(get, path = "/link/{secret}", operation_id = "show_link", tag = "sign-in",
    params(("secret" = String, Path, description = "From the letter")),
    responses((status = 200, description = "A page with two words and a button", content_type = "text/html"),
        (status = 410, description = "A page that says that the link is not valid", content_type = "text/html")))]
async fn show(State(server): State<Shared>, Path(secret): Path<String>) -> Answer<Response> {
    let Some(link) = outstanding(&server, &secret).await? else { return Ok(over()) };
    let (title, what, button) = match link.purpose {
        Purpose::SignIn => (
            "Sign in",
            "Go on only if the program where you asked to sign in shows these two words:",
            "Sign in",
        ),
        Purpose::Confirm => {
            ("Confirm this address", "Go on only if your program shows these two words:", "Confirm")
        }
    };
    let body = format!(
        "<p>{what}</p><p><strong>{}</strong></p><form method=\"post\"><button>{button}</button></form>\
         <p>If it was not you who asked, close this page.</p>",
        escaped(&words::of(&link.initiator, 2))
    );
    Ok(page(StatusCode::OK, title, &body))
}

/// The button of the page: works once.
#[utoipa::path(post, path = "/link/{secret}", operation_id = "open_link", tag = "sign-in",
    params(("secret" = String, Path, description = "From the letter")),
    responses((status = 200, description = "A page that says what happened", content_type = "text/html"),
        (status = 409, description = "A page: another account has the address", content_type = "text/html"),
        (status = 410, description = "A page that says that the link is not valid", content_type = "text/html")))]
async fn press(State(server): State<Shared>, Path(secret): Path<String>) -> Answer<Response> {
    let Some(link) = outstanding(&server, &secret).await? else { return Ok(over()) };
    match link.purpose {
        Purpose::SignIn => {
            let pressed = server.ways.press_link(link.token_hash, server.clock.now()).await?;
            let done =
                "<p>Go back to the program where you asked: it goes on there. You can close this page.</p>";
            Ok(pressed.map_or_else(over, |_| page(StatusCode::OK, "Done", done)))
        }
        Purpose::Confirm => match (ConfirmAddress { token_hash: link.token_hash }).run(&server).await {
            Ok(()) => {
                let done = "<p>The address is confirmed. You can close this page.</p>";
                Ok(page(StatusCode::OK, "Done", done))
            }
            Err(AddressError::Gone) => Ok(over()),
            Err(AddressError::Taken) => {
                let taken = "<p>Another account has this address already.</p>";
                Ok(page(StatusCode::CONFLICT, "Not confirmed", taken))
            }
            Err(other) => Err(other.into()),
        },
    }
}

async fn outstanding(server: &Server, secret: &str) -> Answer<Option<MailedLink>> {
    let Ok(secret) = URL_SAFE_NO_PAD.decode(secret) else { return Ok(None) };
    Ok(server.ways.link(sha256(&secret), server.clock.now()).await?)
}

fn over() -> Response {
    let body =
        "<p>This link was used, is older than it may be, or was never one of ours. Ask for a new one.</p>";
    page(StatusCode::GONE, "This link is not valid", body)
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
         <title>{title} - Lockstep</title></head><body><h1>{title}</h1>{body}</body></html>\n"
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response.extensions_mut().insert(Written);
    response
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        match error {
            AddressError::Shape => Self::from(Code::InvalidField).detail("email: not an e-mail address"),
            AddressError::Unclear => Self::from(Code::InvalidField)
                .detail("email: it has characters that cannot be seen, or that stand for others"),
            AddressError::Gone | AddressError::NoAccount => Code::NotFound.into(),
            AddressError::Taken => Code::NameTaken.into(),
            AddressError::Log(error) => error.into(),
            AddressError::Credentials(error) => error.into(),
            AddressError::Subject(error) => Self::caused(Code::CredentialsUnavailable, error),
            AddressError::EndAccess(error) => Self::caused(Code::LogUnavailable, error),
        }
    }
}
