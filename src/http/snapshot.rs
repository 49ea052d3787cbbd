//! `/v1/vaults/{vault}/snapshot`: the present state of a vault, page by page in order of entries.
//!
//! The place of the snapshot is read before its data, and the read models have reached it before they are asked: a
//! client that replays the changes from there ends with the present state, whatever is written meanwhile. A page
//! holds a bounded number of bytes, so the server's memory does not grow with the vault.

use std::{collections::HashMap, str::FromStr};

use axum::extract::State;
use lockstep_api::{
    Code, Cursor,
    sync::{Reset, ResetReason, Snapshot, SnapshotEntry},
};
use lockstep_events::{Chain, EntryId, VaultId, VersionId, graph::Heads};
use lockstep_projections::rows::{EntryRow, VersionRow};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{
    Answer, Failure, Path, Query, Routes,
    caller::Caller,
    extract::Json,
    version_view::{caught_up, own, shorts, view},
};
use crate::state::{Server, Shared};

/// A page has at most so many entries.
const PAGE_ENTRIES: usize = 1000;
/// A page takes no more entries once it holds so many bytes of ciphertext.
const PAGE_BYTES: usize = 1 << 20;
/// Entries are read so many at a time.
const CHUNK: usize = 250;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(snapshot))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// `next` of the page before; none: the first page.
    page: Option<String>,
}

/// The present state of a vault: all heads of every entry, with short ciphertexts.
#[utoipa::path(get, path = "/v1/vaults/{vault}/snapshot", tag = "sync", security(("token" = [])),
    params(("vault" = VaultId, Path), Which), responses(
        (status = 200, description = "A page", body = Snapshot),
        (status = 410, description = "The stream began another life since the first page")))]
async fn snapshot(
    State(server): State<Shared>,
    caller: Caller,
    Path(vault): Path<VaultId>,
    Query(which): Query<Which>,
) -> Answer<Json<Snapshot>> {
    own(&server, caller.account, vault).await?;
    let start = match which.page {
        None => first(&server, vault).await?,
        Some(page) => later(&server, vault, &page).await?,
    };
    let set_digest = server.digests.at(vault.into(), (start.place.seq, start.chain), &[]).await;
    let (entries, last) = page(&server, vault, start.after).await?;
    if last.is_none() {
        server.served.note(caller.device, vault.into(), start.place.epoch, start.place.seq);
    }
    Ok(Json(Snapshot {
        vault,
        epoch: start.place.epoch,
        position: start.place.seq,
        chain: start.chain,
        set_digest,
        entries,
        next: last.map(|entry| Start { after: Some(entry), ..start }.to_string()),
    }))
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    place: Cursor,
    chain: Chain,
    after: Option<EntryId>,
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.place, self.chain, self.after.unwrap_or(EntryId::NIL))
    }
}

impl FromStr for Start {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (rest, after) = text.rsplit_once('.').ok_or(())?;
        let (place, chain) = rest.rsplit_once('.').ok_or(())?;
        Ok(Self {
            place: place.parse().map_err(|_| ())?,
            chain: chain.parse().map_err(|_| ())?,
            after: Some(after.parse().map_err(|_| ())?),
        })
    }
}

async fn first(server: &Server, vault: VaultId) -> Answer<Start> {
    let head = caught_up(server, vault).await?;
    Ok(Start { place: Cursor { epoch: head.epoch, seq: head.seq }, chain: head.chain, after: None })
}

async fn later(server: &Server, vault: VaultId, page: &str) -> Answer<Start> {
    let start = Start::from_str(page)
        .map_err(|()| Failure::from(Code::InvalidParameter).detail("page is not one that was given out"))?;
    let head = server.members.head(vault).await?.ok_or(Code::NotFound)?;
    if head.epoch == start.place.epoch {
        return Ok(start);
    }
    let reset = Reset { reason: ResetReason::EpochChanged, epoch: Some(head.epoch), head: Some(head.seq) };
    Err(Failure::from(Code::CursorReset).facts(reset))
}

/// Entries after one, and the last of them if there may be more.
async fn page(
    server: &Server,
    vault: VaultId,
    mut after: Option<EntryId>,
) -> Answer<(Vec<SnapshotEntry>, Option<EntryId>)> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut rows_read = 0;
    while rows_read < PAGE_ENTRIES && bytes < PAGE_BYTES {
        let rows = server.reads.entries(vault, after, CHUNK).await?;
        let full = rows.len() == CHUNK;
        rows_read += rows.len();
        after = rows.last().map(|row| row.entry).or(after);
        bytes += fill(server, vault, rows, &mut entries).await?;
        if !full {
            return Ok((entries, None));
        }
    }
    Ok((entries, after))
}

/// One entry as a snapshot shows it, with its heads.
pub(super) async fn one_entry(
    server: &Server,
    vault: VaultId,
    entry: EntryId,
) -> Answer<Option<(Heads, SnapshotEntry)>> {
    let rows = server.reads.entries_by_id(vault, &[entry]).await?;
    let Some(heads) = rows.first().map(|row| row.heads.clone()) else { return Ok(None) };
    let mut entries = Vec::new();
    fill(server, vault, rows, &mut entries).await?;
    Ok(entries.pop().map(|entry| (heads, entry)))
}

/// Adds the entries of some rows; how many bytes of ciphertext that were. A purged entry has nothing to show.
async fn fill(
    server: &Server,
    vault: VaultId,
    rows: Vec<EntryRow>,
    entries: &mut Vec<SnapshotEntry>,
) -> Answer<usize> {
    let heads: Vec<VersionId> =
        rows.iter().flat_map(|row| row.heads.heads.iter().map(|head| head.version)).collect();
    let mut versions = by_id(server, vault, &heads).await?;
    let mut kept: Vec<VersionId> = versions.values().filter_map(|row| row.header.content_of).collect();
    kept.retain(|version| !versions.contains_key(version));
    kept.sort_unstable();
    kept.dedup();
    if !kept.is_empty() {
        versions.extend(by_id(server, vault, &kept).await?);
    }
    let shorts = shorts(server, vault, versions.values()).await?;
    for row in rows.into_iter().filter(|row| !row.heads.heads.is_empty()) {
        let mut ids: Vec<VersionId> = row.heads.heads.iter().map(|head| head.version).collect();
        let of = ids.iter().filter_map(|id| versions.get(id)?.header.content_of).collect::<Vec<_>>();
        ids.extend(of);
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(*id));
        let rows = ids.iter().map(|id| versions.remove(id).ok_or(Code::ReadsUnavailable));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        entries.push(SnapshotEntry {
            entry: row.entry,
            next_branch: row.heads.next_branch,
            heads: u32::try_from(row.heads.heads.len()).unwrap_or(u32::MAX),
            versions: rows.into_iter().map(|row| view(row, &shorts)).collect(),
        });
    }
    Ok(shorts.values().map(Vec::len).sum())
}

async fn by_id(server: &Server, vault: VaultId, ids: &[VersionId]) -> Answer<HashMap<VersionId, VersionRow>> {
    let rows = server.reads.versions_by_id(vault, ids).await?;
    Ok(rows.into_iter().map(|row| (row.version, row)).collect())
}

#[cfg(test)]
mod tests {
    use lockstep_events::{Epoch, Seq};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_place_of_a_page_survives_its_text_and_nothing_else_is_one() {
        let start = Start {
            place: Cursor { epoch: Epoch([7; 16]), seq: Seq(12) },
            chain: Chain([9; 32]),
            after: Some(EntryId(Uuid::from_u128(5))),
        };
        assert_eq!(start.to_string().parse(), Ok(start));
        for text in ["", ".", "..", "a.b.c", "07.1", &start.to_string()[1..]] {
            assert_eq!(text.parse::<Start>(), Err(()), "{text}");
        }
    }
}
