//! Writing in order. Two commands of one profile may read the same heads and write one after the other: the second must
//! stand on the first and not beside it, or the device would be in conflict with itself. So what was read is looked at
//! again in the transaction that writes, and if it is old nothing is written.

use lockstep_events::{BlobHash, EntryId, VersionId};
use sqlx::SqliteConnection;

use crate::{engine::Engine, error::Error, model::Resolution, one_file, store::entries};

/// Whether what somebody was shown of an entry is still what this device shows: each of it is a head; or nothing was
/// there, and nothing is.
async fn are_heads(db: &mut SqliteConnection, entry: EntryId, shown: &[VersionId]) -> Result<bool, Error> {
    let heads = entries::shown(db, entry).await?.map(|row| row.heads.ids()).unwrap_or_default();
    Ok(if shown.is_empty() { heads.is_empty() } else { shown.iter().all(|id| heads.contains(id)) })
}

impl Engine {
    /// An older version becomes the head again, over the heads that a person was shown.
    pub(crate) async fn restore_over(
        &self,
        entry: EntryId,
        shown: &[VersionId],
        version: VersionId,
    ) -> Result<VersionId, Error> {
        let mut tx = self.store.begin().await?;
        self.check_versions(&mut tx, entry, shown).await?;
        self.restore_on(tx, entry, shown, version).await
    }

    /// As [`Self::edit_with`], while `base` are heads.
    pub(crate) async fn edit_heads(
        &self,
        entry: EntryId,
        base: &[VersionId],
        content: &[u8],
        exactly: Option<&[BlobHash]>,
    ) -> Result<Option<VersionId>, Error> {
        let mut tx = self.store.begin().await?;
        if !are_heads(&mut tx, entry, base).await? {
            return Ok(None);
        }
        let id = self.write_on(&mut tx, (entry, base), content, exactly).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(Some(id))
    }

    /// As [`Self::remove`], while `shown` are heads.
    pub(crate) async fn remove_heads(
        &self,
        entry: EntryId,
        shown: &[VersionId],
    ) -> Result<Option<VersionId>, Error> {
        let mut tx = self.store.begin().await?;
        if !are_heads(&mut tx, entry, shown).await? {
            return Ok(None);
        }
        let id = self.delete_on(&mut tx, entry, shown).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(Some(id))
    }

    /// As [`Self::resolve`], while `shown` are heads.
    pub(crate) async fn resolve_heads(
        &self,
        entry: EntryId,
        shown: &[VersionId],
        resolution: &Resolution,
    ) -> Result<Option<VersionId>, Error> {
        let beside = self.beside((entry, shown), resolution).await?;
        let mut tx = self.store.begin().await?;
        if !are_heads(&mut tx, entry, shown).await? {
            return Ok(None);
        }
        let id = self.resolve_on(&mut tx, (entry, shown), resolution, beside).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(Some(id))
    }

    /// As [`Self::file_put`], while `base` are heads.
    pub(crate) async fn file_put_heads(
        &self,
        base: &[VersionId],
        content: &[u8],
    ) -> Result<Option<VersionId>, Error> {
        let (first, entry) = (self.at_first().await?, self.file_entry());
        let mut tx = self.store.begin().await?;
        if !are_heads(&mut tx, entry, base).await? {
            return Ok(None);
        }
        let id = first.replace_on(&mut tx, entry, base, content).await?;
        one_file::see(&mut tx, &[id]).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(Some(id))
    }
}

#[cfg(test)]
mod tests {
    use crate::{account::testing::two_devices, crypto::wipe::Plaintext, model::Resolution};

    #[tokio::test]
    async fn what_was_read_before_another_command_wrote_is_written_on_no_more() {
        let (a, ..) = two_devices().await;
        let entry = a.add(b"first").await.unwrap();
        let read = a.entry(entry).await.unwrap().head_ids();
        let second = a.edit_heads(entry, &read, b"second", None).await.unwrap().unwrap();
        assert_eq!(a.edit_heads(entry, &read, b"third", None).await.unwrap(), None);
        assert_eq!(a.remove_heads(entry, &read).await.unwrap(), None);
        assert_eq!(a.entry(entry).await.unwrap().head_ids(), [second]);
        let third = a.edit_heads(entry, &[second], b"third", None).await.unwrap().unwrap();
        let gone = a.remove_heads(entry, &[third]).await.unwrap().unwrap();
        assert_eq!(a.entry(entry).await.unwrap().head_ids(), [gone]);
        // The one file, of which there is none at first.
        let first = a.file_put_heads(&[], b"one").await.unwrap().unwrap();
        assert_eq!(a.file_put_heads(&[], b"two").await.unwrap(), None);
        let second = a.file_put_heads(&[first], b"two").await.unwrap().unwrap();
        assert_eq!(a.file_get().await.unwrap().unwrap().1, [second]);
    }

    #[tokio::test]
    async fn of_two_resolutions_of_what_was_shown_the_second_is_not_made() {
        let (a, ..) = two_devices().await;
        let entry = a.add(b"old").await.unwrap();
        let base = a.entry(entry).await.unwrap().head_ids();
        a.edit(entry, &base, b"one").await.unwrap();
        a.edit(entry, &base, b"two").await.unwrap();
        let shown = a.entry(entry).await.unwrap().head_ids();
        let merged = Resolution::Merge(Plaintext::new(b"one, two".to_vec()));
        let first = a.resolve_heads(entry, &shown, &merged).await.unwrap().unwrap();
        for late in [Resolution::Keep(shown[0]), Resolution::KeepBoth(shown[0]), merged] {
            assert_eq!(a.resolve_heads(entry, &shown, &late).await.unwrap(), None);
        }
        assert_eq!(a.entry(entry).await.unwrap().head_ids(), [first]);
        assert_eq!(a.entries().await.unwrap().len(), 1);
    }

    /// Every one of many that write reads, and reads again if another was faster.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_that_change_one_entry_at_once_end_with_one_head_and_nothing_is_lost() {
        let (a, ..) = two_devices().await;
        let entry = a.add(b"").await.unwrap();
        let one = |n: u8| {
            let engine = a.engine.clone();
            async move {
                loop {
                    let shown = engine.entry(entry).await.unwrap();
                    let content = [shown.heads[0].content.bytes().unwrap(), &[n]].concat();
                    if engine.edit_heads(entry, &shown.head_ids(), &content, None).await.unwrap().is_some() {
                        return;
                    }
                }
            }
        };
        let all: Vec<_> = (0..16).map(|n| tokio::spawn(one(n))).collect();
        for one in all {
            one.await.unwrap();
        }
        let shown = a.entry(entry).await.unwrap();
        assert_eq!(shown.heads.len(), 1);
        let mut written = shown.heads[0].content.bytes().unwrap().to_vec();
        written.sort_unstable();
        assert_eq!(written, (0..16).collect::<Vec<u8>>());
    }
}
