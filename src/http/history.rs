//! `/v1/vaults/{vault}/entries/{entry}/versions`: every version an entry ever had.

use axum::extract::State;
use lockstep_api::{Code, sync::History};
use lockstep_events::{EntryId, Seq, VaultId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Answer, Failure, Path, Query, Routes,
    caller::Caller,
    extract::Json,
    routes::routes,
    version_view::{Shorts, caught_up, own, shorts, view},
};
use crate::state::Shared;

const PAGE: usize = 200;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(history))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Versions after this seq.
    #[serde(default)]
    #[param(minimum = 0)]
    after: u64,
    /// At most so many; 100 if not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// 1: with short ciphertexts.
    #[serde(default)]
    #[param(minimum = 0, maximum = 1)]
    content: u8,
}

/// The versions of an entry in order of seq.
#[utoipa::path(get, path = "/v1/vaults/{vault}/entries/{entry}/versions", operation_id = "list_entry_versions", tag = "sync", security(("token" = [])),
    params(("vault" = VaultId, Path), ("entry" = EntryId, Path), Which),
    responses((status = 200, description = "A page of versions", body = History)))]
async fn history(
    State(server): State<Shared>,
    caller: Caller,
    Path((vault, entry)): Path<(VaultId, EntryId)>,
    Query(which): Query<Which>,
) -> Answer<Json<History>> {
    own(&server, caller.account, vault).await?;
    caught_up(&server, vault).await?;
    let limit = which.limit.unwrap_or(100);
    if !(1..=PAGE).contains(&limit) || which.content > 1 || i64::try_from(which.after).is_err() {
        return Err(Failure::from(Code::InvalidParameter).detail("limit is 1 to 200, content 0 or 1"));
    }
    let row = server.reads.entries_by_id(vault, &[entry]).await?.pop().ok_or(Code::NotFound)?;
    let mut rows = server.reads.versions_of(vault, entry, Seq(which.after), limit + 1).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let shorts = if which.content == 1 { shorts(&server, vault, rows.iter()).await? } else { Shorts::new() };
    let next = rows.last().filter(|_| more).map(|row| row.seq);
    Ok(Json(History {
        entry,
        heads: row.heads.heads,
        versions: rows.into_iter().map(|row| view(row, &shorts)).collect(),
        next,
    }))
}
