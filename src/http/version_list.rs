//! `/v1/vaults/{vault}/versions/get`: versions by their ids, for a device that found out by `reconcile` what it misses.

use axum::extract::State;
use lockstep_api::{
    Code,
    sync::{GetVersions, Versions},
};
use lockstep_events::VaultId;

use super::{
    Answer, Failure, Path, Routes,
    caller::Caller,
    extract::Json,
    routes::routes,
    version_view::{caught_up, own, shorts, view},
};
use crate::state::Shared;

const MOST: usize = 200;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(get))
}

/// Versions by id, with short ciphertexts.
#[utoipa::path(post, path = "/v1/vaults/{vault}/versions/get", operation_id = "get_versions", tag = "sync", security(("token" = [])),
    params(("vault" = VaultId, Path)), request_body = GetVersions,
    responses((status = 200, description = "Those that the vault has", body = Versions)))]
async fn get(
    State(server): State<Shared>,
    caller: Caller,
    Path(vault): Path<VaultId>,
    Json(body): Json<GetVersions>,
) -> Answer<Json<Versions>> {
    own(&server, caller.account, vault).await?;
    if !(1..=MOST).contains(&body.versions.len()) {
        return Err(Failure::from(Code::InvalidField).detail("versions: 1 to 200"));
    }
    caught_up(&server, vault).await?;
    let mut rows = server.reads.versions_by_id(vault, &body.versions).await?;
    rows.sort_unstable_by_key(|row| row.seq);
    rows.dedup_by_key(|row| row.seq);
    let shorts = shorts(&server, vault, rows.iter()).await?;
    Ok(Json(Versions { versions: rows.into_iter().map(|row| view(row, &shorts)).collect() }))
}
