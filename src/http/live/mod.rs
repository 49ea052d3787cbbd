//! `/v1/live`: the WebSocket of one device. The sub-protocol is described in `docs/asyncapi.json`.

mod document;
mod hello;
mod refusal;
mod sending;
mod socket;
mod subscription;
mod timing;
mod unsent;
mod upgrade;

pub use document::{document, meaning};

use axum::{Extension, extract::State, http::HeaderMap, response::Response};
use lockstep_api::{Code, live::PROTOCOL};

use self::upgrade::Upgrade;
use super::{Routes, cors, patience::Patience, problem::Failure, routes::routes};
use crate::state::Shared;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(live))
}

/// Opens the live feed: a WebSocket that speaks `lockstep.v1`. The first frame brings the token; the URL never does.
#[utoipa::path(get, path = "/v1/live", operation_id = "open_live", tag = "live",
    params(("Sec-WebSocket-Protocol" = String, Header, description = "`lockstep.v1`")),
    responses(
        (status = 101, description = "The socket is open; its frames are described in the AsyncAPI document"),
        (status = 400, description = "`invalid_header`: not a WebSocket upgrade to `lockstep.v1`"),
        (status = 403, description = "`forbidden`: a web page of another origin")))]
async fn live(
    State(server): State<Shared>,
    headers: HeaderMap,
    patience: Option<Extension<Patience>>,
    upgrade: Upgrade,
) -> Result<Response, Failure> {
    if cors::is_foreign(&server.config, &headers) {
        return Err(Failure::from(Code::Forbidden).detail("this page may not open a socket"));
    }
    if server.draining.is_cancelled() {
        return Err(Code::Draining.into());
    }
    if !upgrade.offers(PROTOCOL) {
        let detail = "offer the sub-protocol lockstep.v1";
        return Err(Failure::from(Code::InvalidHeader).detail(detail));
    }
    if let Some(Extension(patience)) = patience {
        // The socket has its own limit, and a farewell.
        patience.give_up();
    }
    Ok(upgrade.accept(PROTOCOL, move |socket| hello::welcome(server, socket)))
}
