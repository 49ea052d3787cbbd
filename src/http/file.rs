//! `/v1/file`: one encrypted file for each account, read and replaced whole.
//!
//! It is an ordinary entry of the account's default vault, of an id that every device computes. So a stale save is
//! a branch and never an overwrite, and older files stay readable in the entry's history. The body of a save is a
//! push of one version: the header is made and signed by the device, as for any other entry. Who reads and who saves it
//! stands in the access log; what was saved is an event besides.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use lockstep_api::{
    Code, MAX_PUSH_BYTES,
    sync::{self, SnapshotEntry},
};
use lockstep_events::{
    AccountId, EntryId, VaultId, VersionId,
    canonical::{Writer, sha256},
};
use serde_json::json;

use super::{
    Answer, Failure, Routes,
    caller::Caller,
    extract::{Json, json},
    routes::routes,
    snapshot::one_entry,
    version_view::caught_up,
    versions::{answered, command},
};
use crate::state::{Server, Shared};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(get_file, put_file))
}

/// The entry of an account's file: UUID (version 8) of SHA-256(lp("lockstep/v1/file") | account).
pub fn file_entry(account: AccountId) -> EntryId {
    let hash = Writer::new("lockstep/v1/file").fixed(account.as_bytes()).sha256();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    EntryId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// Names the state of the file: its heads.
fn etag(heads: &[VersionId]) -> Answer<HeaderValue> {
    let bytes: Vec<u8> = heads.iter().flat_map(|head| head.0).collect();
    HeaderValue::from_str(&format!("\"{}\"", hex::encode(sha256(&bytes))))
        .map_err(|error| Failure::caused(Code::Internal, error))
}

async fn default_vault(server: &Server, account: AccountId) -> Answer<VaultId> {
    let vaults = match server.reads.account(account).await? {
        Some(row) if !row.vaults.is_empty() => row.vaults,
        _ => server.members.vaults(account).await?,
    };
    vaults.first().copied().ok_or_else(|| Code::NotFound.into())
}

/// The file: all heads, usually one, with their ciphertexts. `ETag` names this state.
#[utoipa::path(get, path = "/v1/file", tag = "file", security(("token" = [])), responses(
    (status = 200, description = "The file", body = SnapshotEntry, headers(("etag" = String))),
    (status = 404, description = "`not_found`: nothing was saved yet")))]
async fn get_file(State(server): State<Shared>, caller: Caller) -> Answer<Response> {
    let vault = default_vault(&server, caller.account).await?;
    caught_up(&server, vault).await?;
    let (heads, file) = one_entry(&server, vault, file_entry(caller.account)).await?.ok_or(Code::NotFound)?;
    Ok(([(header::ETAG, etag(&heads.ids())?)], json(file)).into_response())
}

/// Saves the file: a push of exactly one version of it. With `If-Match` only over the state that the tag names;
/// without, a save over an older state becomes a branch. A save that stands already is a `duplicate` whatever the tag.
#[utoipa::path(put, path = "/v1/file", tag = "file", security(("token" = [])),
    params(("if-match" = Option<String>, Header, description = "`ETag` of the state that is replaced")),
    request_body = sync::Push, responses(
        (status = 200, description = "What became of it", body = sync::Pushed, headers(("etag" = String))),
        (status = 409, description = "`epoch_mismatch`: the stream has another epoch, which facts name; nothing was done"),
        (status = 412, description = "`precondition_failed`: the file has another state; facts name its heads"),
        (status = 422, description = "`idempotency_key_reused`: this `batch_id` came with another version")))]
async fn put_file(
    State(server): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Json(mut body): Json<sync::Push, MAX_PUSH_BYTES>,
) -> Answer<Response> {
    let (vault, entry) = (default_vault(&server, caller.account).await?, file_entry(caller.account));
    if body.items.len() != 1 || body.items[0].header.entry != entry {
        return Err(Failure::from(Code::InvalidField).detail("exactly one version, of the file's entry"));
    }
    if let Some(wanted) = headers.get(header::IF_MATCH) {
        // A save that stands already comes again: its answer did not arrive. What it expected held then, and is
        // the same once more, as the batch is.
        let version = body.items[0].header.version_id();
        let (heads, stands) = server.entries.before(vault, entry, version).await?;
        if !stands && *wanted != etag(&heads.ids())? {
            return Err(Failure::from(Code::PreconditionFailed).facts(json!({ "heads": heads.heads })));
        }
        body.items[0].expect_heads = Some(heads.ids());
    }
    let conditional = headers.contains_key(header::IF_MATCH);
    let pushed = answered(server.pusher.push(command(&caller, vault, body)?).await?);
    let heads = pushed.results[0].heads.clone().unwrap_or_default();
    if conditional && pushed.results[0].outcome == sync::PushOutcome::PreconditionFailed {
        return Err(Failure::from(Code::PreconditionFailed).facts(json!({ "heads": heads })));
    }
    let mut ids: Vec<_> = heads.iter().map(|head| head.version).collect();
    ids.sort_unstable();
    Ok(([(header::ETAG, etag(&ids)?)], Json::<_>(pushed)).into_response())
}
