//! The sweep of what nobody names, in two phases: seen unnamed after a day, and deleted if it is seen so again in a
//! later cycle, at least four hours after. Nothing that an upload or a push has in its hands is ever that old.

use super::{BlobError, Shelf};

const AGE_S: i64 = 24 * 3600;
const BETWEEN_S: i64 = 4 * 3600;
const PAGE: usize = 500;

/// What a cycle did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Blobs that were uploaded and never named.
    pub blobs: u64,
    /// Objects that were deleted.
    pub objects: u64,
}

/// One cycle. It may stop anywhere and be run again.
///
/// # Errors
/// If the store or the index does not answer.
pub async fn sweep(shelf: &Shelf) -> Result<SweepReport, BlobError> {
    let now = shelf.clock.now();
    let (added_before, seen_before) = (now.plus_seconds(-AGE_S), now.plus_seconds(-BETWEEN_S));
    let mut report = SweepReport {
        blobs: shelf.index.sweep_unnamed(added_before, seen_before, now).await?,
        ..SweepReport::default()
    };
    let mut after: Option<String> = None;
    loop {
        let page = shelf.store.list("", after.as_deref(), PAGE).await?;
        // An object without a blob was seen first at least a day before it goes: it has to wait as long as a blob.
        let old = shelf.index.orphans(&page, added_before, now).await?;
        for object in &old {
            shelf.store.delete(object).await?;
            report.objects += 1;
        }
        shelf.index.forget_orphans(&old).await?;
        if page.len() < PAGE {
            return Ok(report);
        }
        after = page.last().cloned();
    }
}
