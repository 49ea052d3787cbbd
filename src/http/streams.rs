//! `/v1/streams`: what this account may follow, and how far each is.

use axum::extract::State;
use lockstep_api::sync::{StreamInfo, Streams};
use lockstep_events::StreamId;

use super::{Answer, Routes, caller::Caller, extract::Json, routes::routes};
use crate::state::Shared;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(streams))
}

/// The account's own stream, then its vaults.
#[utoipa::path(get, path = "/v1/streams", operation_id = "list_streams", tag = "sync", security(("token" = [])),
    responses((status = 200, description = "Heads of the account's streams", body = Streams)))]
async fn streams(State(server): State<Shared>, caller: Caller) -> Answer<Json<Streams>> {
    let mut ids = vec![StreamId::from(caller.account)];
    let vaults = match server.reads.account(caller.account).await? {
        Some(row) if !row.vaults.is_empty() => row.vaults,
        // Just registered: the read models are not there yet.
        _ => server.members.vaults(caller.account).await?,
    };
    ids.extend(vaults.into_iter().map(StreamId::from));
    let heads = server.log.stream_heads(&ids).await?;
    let streams = heads.into_iter().map(|head| StreamInfo {
        stream: head.stream,
        kind: head.kind,
        epoch: head.epoch,
        head: head.seq,
        chain: head.chain,
    });
    Ok(Json(Streams { streams: streams.collect() }))
}
