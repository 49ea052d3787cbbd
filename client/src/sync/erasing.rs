//! When an entry that was purged is erased here: a server alone makes nobody lose anything, nor hides it. What this
//! device holds of the entry must be deleted, and that a device of the account has signed.

use std::collections::BTreeSet;

use lockstep_events::{EntryId, Seq, VaultId, VersionId, VersionKind, graph::Heads};
use sqlx::SqliteConnection;

use crate::{
    error::Error,
    store::{entries, outbox, versions, versions::Kept},
};

/// Whether everything of an entry that an erasure takes from this device is deleted, by what this device holds and by
/// what a `history` says beside: every head is a tombstone. A version that has no place up to a seq counts, as what was
/// deleted before a restore of the server may have none, and a server that takes a version need not show it. What this
/// device wrote and never sent, and what is in quarantine, stays as it is (see [`versions::erase`]) and is not asked, but
/// for a choice: that needs what it chose. A deletion that was refused deletes nothing here.
pub(super) async fn may_erase(
    db: &mut SqliteConnection,
    (vault, entry): (VaultId, EntryId),
    (last, history): (Seq, &Heads),
) -> Result<bool, Error> {
    let all = versions::of_entry(db, entry).await?;
    if all.is_empty() {
        return Ok(true);
    }
    let stays = outbox::never_erased(db).await?;
    let refused = outbox::quarantined_ids(db).await?;
    let asked = |version: &Kept| match version.header.kind {
        VersionKind::Tombstone => !refused.contains(&version.id),
        kind => !kind.has_content() || !stays.contains(&version.id),
    };
    let held: Vec<Kept> = all.into_iter().filter(asked).collect();
    let used: BTreeSet<VersionId> = held.iter().flat_map(|version| version.parents.iter().copied()).collect();
    let mut heads = entries::accepted(db, vault, entry).await?.heads;
    for head in &history.heads {
        if !heads.has(&head.version) {
            heads.heads.push(head.clone());
        }
    }
    let unplaced: Vec<Kept> =
        held.into_iter().filter(|version| version.seq.is_none_or(|seq| seq > last)).collect();
    let left = entries::overlay(heads, &unplaced, &used);
    // No head at all says nothing: what is here has lost its place, or was never shown.
    Ok(!left.heads.is_empty() && left.is_deleted())
}

#[cfg(test)]
#[path = "erasing_tests.rs"]
mod tests;
