//! `/v1/vaults/{vault}/snapshot`: the present state of a vault, page by page in order of entries.
//!
//! The place of the snapshot is read before its data, and the read models have reached it before they are asked: a
//! client that replays the changes from there ends with the present state, whatever is written meanwhile. A page
//! holds a bounded number of bytes, so the server's memory does not grow with the vault.

use std::{
    collections::{HashMap, HashSet},
    str::FromStr,
};

use axum::{extract::State, response::Response};
use lockstep_api::{
    Bytes64, Code, Cursor,
    sync::{Reset, ResetReason, Snapshot},
};
use lockstep_events::{BlobHash, Chain, EntryId, VaultId, VersionId, graph::Heads};
use lockstep_projections::rows::EntryRow;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Answer, Failure, Path, Query, Routes,
    caller::Caller,
    extract::json,
    routes::routes,
    snapshot_text::{EntryText, PageText},
    version_text::{Shown, VersionText},
    version_view::{caught_up, own},
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
#[utoipa::path(get, path = "/v1/vaults/{vault}/snapshot", operation_id = "get_snapshot", tag = "sync", security(("token" = [])),
    params(("vault" = VaultId, Path), Which), responses(
        (status = 200, description = "A page", body = Snapshot),
        (status = 410, description = "`cursor_reset`: the stream began another life since the first page; begin anew")))]
async fn snapshot(
    State(server): State<Shared>,
    caller: Caller,
    Path(vault): Path<VaultId>,
    Query(which): Query<Which>,
) -> Answer<Response> {
    own(&server, caller.account, vault).await?;
    let start = match which.page {
        None => first(&server, vault).await?,
        Some(page) => later(&server, vault, &page).await?,
    };
    let set_digest = server.digests.at(vault.into(), (start.place.seq, start.chain), &[]).await;
    let mut page = PageText::default();
    let last = fill(&server, vault, start.after, &mut page).await?;
    let body = page.finish(&Snapshot {
        vault,
        epoch: start.place.epoch,
        position: start.place.seq,
        chain: start.chain,
        set_digest,
        entries: Vec::new(),
        next: last.map(|entry| Start { after: Some(entry), ..start }.to_string()),
    })?;
    Ok(json(body))
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
    // Another node may answer this page than the one before: one that knows less would leave entries out unseen.
    let head = caught_up(server, vault).await?;
    if head.epoch == start.place.epoch {
        return Ok(start);
    }
    let reset = Reset { reason: ResetReason::EpochChanged, epoch: Some(head.epoch), head: Some(head.seq) };
    Err(Failure::from(Code::CursorReset).facts(reset))
}

/// Adds the entries after one to a page; the last of them if there may be more.
async fn fill(
    server: &Server,
    vault: VaultId,
    mut after: Option<EntryId>,
    page: &mut PageText,
) -> Answer<Option<EntryId>> {
    let mut rows_read = 0;
    let mut bytes = 0;
    while rows_read < PAGE_ENTRIES && bytes < PAGE_BYTES {
        let rows = server.reads.entries(vault, after, CHUNK).await?;
        let full = rows.len() == CHUNK;
        rows_read += rows.len();
        after = rows.last().map(|row| row.entry).or(after);
        bytes += add(server, vault, rows, page).await?;
        if !full {
            return Ok(None);
        }
    }
    Ok(after)
}

/// One entry as a snapshot shows it: its heads, and its JSON.
pub(super) async fn one_entry(
    server: &Server,
    vault: VaultId,
    entry: EntryId,
) -> Answer<Option<(Heads, Vec<u8>)>> {
    let rows = server.reads.entries_by_id(vault, &[entry]).await?;
    let Some(heads) = rows.first().map(|row| row.heads.clone()) else { return Ok(None) };
    let mut one = PageText::default();
    add(server, vault, rows, &mut one).await?;
    Ok((!one.is_empty()).then_some((heads, one.into_entries())))
}

/// Adds the entries of some rows; how many bytes of ciphertext that were. A purged entry has nothing to show.
async fn add(server: &Server, vault: VaultId, rows: Vec<EntryRow>, page: &mut PageText) -> Answer<usize> {
    let mut heads: Vec<VersionId> =
        rows.iter().flat_map(|row| row.heads.heads.iter().map(|head| head.version)).collect();
    // In the order of the index by which they are found.
    heads.sort_unstable();
    let (documents, others);
    documents = server.reads.version_documents(vault, &heads).await?;
    let mut shown = VersionText::all(&documents)?;
    let mut kept: Vec<VersionId> = shown.values().filter_map(VersionText::content_of).collect();
    kept.retain(|version| !shown.contains_key(version));
    kept.sort_unstable();
    kept.dedup();
    if !kept.is_empty() {
        others = server.reads.version_documents(vault, &kept).await?;
        shown.extend(VersionText::all(&others)?);
    }
    let contents = contents(server, vault, &shown).await?;
    for row in rows.into_iter().filter(|row| !row.heads.heads.is_empty()) {
        page.add(&entry_text(&row, &mut shown, &contents)?)?;
    }
    Ok(contents.values().map(|content| content.0.len()).sum())
}

fn entry_text<'a>(
    row: &EntryRow,
    shown: &mut Shown<'a>,
    contents: &'a HashMap<BlobHash, Bytes64>,
) -> Answer<EntryText<'a>> {
    let heads = row.heads.heads.iter().map(|head| head.version);
    let of = heads.clone().filter_map(|id| shown.get(&id)?.content_of()).collect::<Vec<_>>();
    let mut seen = HashSet::new();
    let ids = heads.chain(of).filter(|id| seen.insert(*id));
    let versions = ids.map(|id| Some(shown.remove(&id)?.with(contents)));
    Ok(EntryText {
        entry: row.entry,
        next_branch: row.heads.next_branch,
        heads: row.heads.heads.len(),
        versions: versions.collect::<Option<_>>().ok_or(Code::ReadsUnavailable)?,
    })
}

/// The short ciphertexts of versions by their hashes. Long ones are fetched as blobs.
async fn contents(server: &Server, vault: VaultId, shown: &Shown<'_>) -> Answer<HashMap<BlobHash, Bytes64>> {
    let mut hashes: Vec<_> = shown.values().filter_map(VersionText::content_hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    let found = server.log.contents(vault.into(), &hashes).await?;
    Ok(found.into_iter().map(|(hash, bytes)| (hash, Bytes64(bytes))).collect())
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
