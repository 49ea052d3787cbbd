//! The sweep of what nobody names, in two phases: seen unnamed after a day, and deleted if it is seen so again in a
//! later cycle, at least four hours after. Nothing that an upload or a push has in its hands is ever that old.
//!
//! Before that the log is asked about blobs of which a naming began a day ago and did not end: whether a version keeps
//! them. After it, objects of which little is still named are rewritten.

use std::collections::BTreeSet;

use lockstep_events::{BlobHash, EventLog, LogError, Micros, VaultId};

use super::{BlobError, Listed, Pages, Settled, Shelf, keepers::kept, repack::repack};
use crate::causes::with_causes;

pub(super) const AGE_S: i64 = 24 * 3600;
const BETWEEN_S: i64 = 4 * 3600;
const PAGE: usize = 500;

/// What a cycle did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Blobs that were uploaded and never named.
    pub blobs: u64,
    /// Objects that were deleted.
    pub objects: u64,
    /// Objects whose blobs lie in smaller ones now.
    pub repacked: u64,
    /// Uploads in parts that were given up.
    pub uploads: u64,
}

/// One cycle. It may stop anywhere and be run again, and on several nodes at the same time.
///
/// # Errors
/// If the store, the index or the log does not answer.
pub async fn sweep(shelf: &Shelf, log: &dyn EventLog) -> Result<SweepReport, BlobError> {
    let now = shelf.clock.now();
    let (added_before, seen_before) = (now.plus_seconds(-AGE_S), now.plus_seconds(-BETWEEN_S));
    let mut report = SweepReport { objects: left_over(shelf).await?, ..SweepReport::default() };
    settle_namings(shelf, log, added_before).await?;
    report.blobs = shelf.index.sweep_unnamed(added_before, seen_before, now).await?;
    report.uploads = given_up(shelf, added_before).await?;
    let mut pages = Pages::of(&*shelf.store);
    while let Some(page) = pages.next().await? {
        let keys: Vec<String> = page.iter().map(|object| object.key.clone()).collect();
        // An object without a blob was seen first at least a day before it goes: it has to wait as long as a blob.
        let old = shelf.index.orphans(&keys, added_before, now).await?;
        shelf.delete(&old).await?;
        report.objects += old.len() as u64;
        report.repacked += repack_of(shelf, &page, &keys).await?;
    }
    // Now it is known which of them came to lie in an orphan: those take room until it is deleted.
    shelf.index.sweep_promises(added_before).await?;
    Ok(report)
}

/// Asks the log about blobs whose naming did not end: who named them died, or their version was refused after another one
/// had let them go. What no version keeps is unnamed, and waits like any such blob; what came after its version waits too,
/// but is not swept.
async fn settle_namings(shelf: &Shelf, log: &dyn EventLog, before: Micros) -> Result<(), BlobError> {
    let mut after = None;
    loop {
        let page = shelf.index.endless(before, after, PAGE).await?;
        for of_vault in page.chunk_by(|(one, ..), (other, ..)| one == other) {
            let blobs: Vec<_> = of_vault.iter().map(|(_, hash, mark)| (*hash, *mark)).collect();
            settle_namings_of(shelf, log, of_vault[0].0, &blobs).await?;
        }
        match page.last() {
            Some((vault, hash, _)) if page.len() == PAGE => after = Some((*vault, *hash)),
            _ => return Ok(()),
        }
    }
}

/// The marks were read before the log: a version that is appended later was named later, or is still being named.
async fn settle_namings_of(
    shelf: &Shelf,
    log: &dyn EventLog,
    vault: VaultId,
    blobs: &[(BlobHash, u64)],
) -> Result<(), BlobError> {
    let hashes: BTreeSet<_> = blobs.iter().map(|(hash, _)| *hash).collect();
    let kept = match kept(log, vault, &hashes, None).await {
        Ok(kept) => kept,
        Err(away @ LogError::Unavailable(_)) => return Err(away.into()),
        // A vault that cannot be read keeps all it has, and holds up no other.
        Err(error) => {
            tracing::warn!(cause = with_causes(&error), "it cannot be read which blobs a vault keeps");
            return Ok(());
        }
    };
    let said = |hash| match kept.get(hash) {
        None => Settled::Unnamed,
        Some(0) => Settled::Late,
        Some(_) => Settled::Named,
    };
    for settled in [Settled::Named, Settled::Late, Settled::Unnamed] {
        let blobs: Vec<_> = blobs.iter().filter(|(hash, _)| said(hash) == settled).copied().collect();
        shelf.index.naming_settled(vault, &blobs, settled).await?;
    }
    Ok(())
}

/// Deletes what an earlier process had doomed.
async fn left_over(shelf: &Shelf) -> Result<u64, BlobError> {
    let mut deleted = 0;
    loop {
        let doomed = shelf.index.doomed(PAGE).await?;
        if doomed.is_empty() {
            return Ok(deleted);
        }
        shelf.delete(&doomed).await?;
        deleted += doomed.len() as u64;
    }
}

/// Gives up uploads in parts that began long ago and did not end.
async fn given_up(shelf: &Shelf, before: Micros) -> Result<u64, BlobError> {
    let mut ended = 0;
    loop {
        let page = shelf.index.uploads_before(before, PAGE).await?;
        for (object, upload) in &page {
            shelf.store.abort_parts(object, upload).await?;
            shelf.index.upload_ended(object).await?;
        }
        ended += page.len() as u64;
        if page.len() < PAGE {
            return Ok(ended);
        }
    }
}

async fn repack_of(shelf: &Shelf, page: &[Listed], keys: &[String]) -> Result<u64, BlobError> {
    let mut repacked = 0;
    for (object, used) in shelf.index.used(keys).await? {
        let length = page.iter().find(|listed| listed.key == object).map_or(0, |listed| listed.length);
        repacked += u64::from(repack(shelf, &Listed { key: object, length }, used).await?);
    }
    Ok(repacked)
}
