//! `/.well-known/jwks.json`: the keys that verify access tokens, for whoever stands beside this server.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{Routes, extract::Json, routes::routes};
use crate::{auth::signing_keys::Jwks, state::Shared};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(jwks))
}

/// The public keys that access tokens are signed with, now, before and next.
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "get_jwks", tag = "sessions",
    responses((status = 200, description = "A JSON Web Key Set", body = Jwks)))]
async fn jwks(State(server): State<Shared>) -> Response {
    let body = Json::<_>(server.tokens.jwks());
    ([(header::CACHE_CONTROL, "public, max-age=600")], body).into_response()
}
