//! `/v1/vaults/{vault}/blobs/{hash}/complete`: the end of an upload in parts, which went straight to the object store.

use axum::{extract::State, http::StatusCode};
use lockstep_api::{Code, sync::CompleteBlob};
use lockstep_events::{BlobHash, VaultId};

use super::{
    Answer, Failure, Path, Routes, blobs::limit, caller::Caller, extract::Json, openapi::problems,
    routes::routes, version_view::own,
};
use crate::{
    blobs::{LargeError, PART, Ticket},
    state::Shared,
};

problems! {
    /// What may be wrong with an upload in parts.
    Unfinished: UploadGone, HashMismatch, BodyTooLarge;
}

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(complete))
}

/// All parts are there: the whole is compared with its hash, and stored. Doing it again is no error.
#[utoipa::path(post, path = "/v1/vaults/{vault}/blobs/{hash}/complete", operation_id = "complete_blob", tag = "blobs", security(("token" = [])),
    params(("vault" = VaultId, Path), ("hash" = BlobHash, Path)), request_body = CompleteBlob,
    responses((status = 204, description = "It is stored"), Unfinished))]
async fn complete(
    State(server): State<Shared>,
    caller: Caller,
    Path((vault, hash)): Path<(VaultId, BlobHash)>,
    Json(body): Json<CompleteBlob>,
) -> Answer<StatusCode> {
    own(&server, caller.account, vault).await?;
    if body.size > limit(&server, true) {
        return Err(Code::BodyTooLarge.into());
    }
    let ticket = Ticket::parse(&body.upload).ok_or(Code::UploadGone)?;
    if body.size == 0 || body.tags.len() as u64 != body.size.div_ceil(PART) {
        return Err(Failure::from(Code::InvalidField).detail("one tag per part"));
    }
    server.shelf.finish_large(vault, (hash, body.size), &ticket, &body.tags).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<LargeError> for Failure {
    fn from(error: LargeError) -> Self {
        match error {
            LargeError::NoUpload => Code::UploadGone.into(),
            LargeError::Hash => Code::HashMismatch.into(),
            LargeError::Blobs(error) => error.into(),
        }
    }
}
