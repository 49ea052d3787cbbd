//! `/v1/vaults/{vault}/entries/{entry}/purge`: erasing an entry for good.

use axum::{extract::State, http::HeaderMap, response::Response};
use lockstep_api::{
    Code,
    sync::{self, Purged},
};
use lockstep_events::{EntryId, EventId, VaultId};
use serde_json::json;

use super::{
    Answer, Failure, Path, Routes,
    caller::Caller,
    extract::Json,
    idempotency::{KeyHeader, Keyed},
    routes::routes,
    version_view::own,
};
use crate::{
    commands::purge::{Purge, PurgeError},
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(purge))
}

/// Erases an entry: the ciphertexts of all its versions; their wrapped keys stand in the log and open nothing without
/// them. Nothing more is accepted for it, ever. All its heads are tombstones: devices erase only what a device of the account deleted.
#[utoipa::path(post, path = "/v1/vaults/{vault}/entries/{entry}/purge", operation_id = "purge_entry", tag = "sync", security(("token" = [])),
    params(("vault" = VaultId, Path), ("entry" = EntryId, Path),
        KeyHeader),
    request_body = sync::Purge,
    responses((status = 200, description = "It is erased", body = Purged),
        (status = 412, description = "`precondition_failed`: the entry has other heads, or is not deleted; facts name its heads"),
        (status = 422, description = "`idempotency_key_reused`: the key was used with another body")))]
async fn purge(
    State(server): State<Shared>,
    caller: Caller,
    Path((vault, entry)): Path<(VaultId, EntryId)>,
    headers: HeaderMap,
    Json(body): Json<sync::Purge>,
) -> Answer<Response> {
    own(&server, caller.account, vault).await?;
    let keyed = Keyed::new(&headers, &caller, &format!("purge/{vault}/{entry}"), &body)?;
    if let Some(answer) = keyed.before(&server).await? {
        return Ok(answer);
    }
    if body.expect_heads.is_empty() || !body.expect_heads.is_sorted_by(|a, b| a < b) {
        return Err(Failure::from(Code::InvalidField).detail("expect_heads: at least one, ascending"));
    }
    let event_id = EventId(uuid::Builder::from_custom_bytes(keyed.seed()).into_uuid());
    let (account, device) = (caller.account, caller.device);
    let command = Purge { account, device, vault, entry, expect_heads: body.expect_heads, event_id };
    let seq = server.purger.purge(&command).await?;
    keyed.answer(&server, &Purged { seq }).await
}

impl From<PurgeError> for Failure {
    fn from(error: PurgeError) -> Self {
        match error {
            PurgeError::NotFound => Code::NotFound.into(),
            PurgeError::Heads(heads) => Self::from(Code::PreconditionFailed).facts(json!({ "heads": heads })),
            PurgeError::Alive(heads) => Self::from(Code::PreconditionFailed)
                .detail("the entry is not deleted: push a tombstone over all its heads first")
                .facts(json!({ "heads": heads })),
            PurgeError::Contended => Self::caused(Code::LogUnavailable, error),
            PurgeError::List(_) => Self::caused(Code::Internal, error),
            PurgeError::Log(error) => error.into(),
            PurgeError::Blobs(error) => error.into(),
        }
    }
}
