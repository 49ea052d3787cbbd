//! What a person at this device has seen of the one encrypted file. Nobody merges a file: it is replaced as a whole, so a
//! new one stands on what was seen here, and what another device put meanwhile stays beside it, read or not.

use std::collections::BTreeSet;

use lockstep_events::{VersionId, VersionKind};
use sqlx::SqliteConnection;

use crate::{
    engine::Engine,
    error::Error,
    model::{Content, Entry, VersionView},
    store::{damaged, entries, keys, outbox, versions},
};

/// The single value with the ids of what was seen last.
const SEEN: &str = "file/seen";

/// From now on these are what was seen.
pub(crate) async fn see(db: &mut SqliteConnection, versions: &[VersionId]) -> Result<(), Error> {
    let ids: Vec<u8> = versions.iter().flat_map(|version| version.0).collect();
    keys::set(db, SEEN, &ids).await
}

/// What was seen; none if nothing ever was.
async fn seen(db: &mut SqliteConnection) -> Result<Option<Vec<VersionId>>, Error> {
    let Some(ids) = keys::get(db, SEEN).await? else { return Ok(None) };
    let (whole, rest) = ids.as_chunks::<32>();
    if rest.is_empty() { Ok(Some(whole.iter().map(|id| VersionId(*id)).collect())) } else { Err(damaged()) }
}

/// What of these can be built on: instead of what was refused for good, what it was put on.
async fn standing(db: &mut SqliteConnection, ids: &[VersionId]) -> Result<Vec<VersionId>, Error> {
    let refused = outbox::quarantined_ids(db).await?;
    let (mut open, mut looked_at, mut stand) = (ids.to_vec(), BTreeSet::new(), Vec::new());
    while let Some(id) = open.pop() {
        if !looked_at.insert(id) {
            continue;
        }
        match versions::get(db, id).await? {
            Some(version) if refused.contains(&id) => open.extend(version.parents),
            Some(_) => stand.push(id),
            None => {}
        }
    }
    Ok(stand)
}

/// Before a version of the file is given up that was refused: afterwards nobody could tell what it was put on.
pub(crate) async fn give_up_refused(db: &mut SqliteConnection) -> Result<(), Error> {
    match seen(db).await? {
        Some(known) => {
            let stand = standing(db, &known).await?;
            see(db, &stand).await
        }
        None => Ok(()),
    }
}

impl Engine {
    /// Replaces the file. Without a base while there is one: a branch, never an overwrite.
    pub(crate) async fn file_put(&self, base: &[VersionId], content: &[u8]) -> Result<VersionId, Error> {
        let first = self.at_first().await?;
        let mut tx = self.store.begin().await?;
        let id = first.replace_on(&mut tx, self.file_entry(), base, content).await?;
        see(&mut tx, &[id]).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(id)
    }

    /// A person was shown these versions of the file.
    pub(crate) async fn file_see(&self, versions: &[VersionId]) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        see(&mut tx, versions).await?;
        Ok(tx.commit().await?)
    }

    /// Replaces the file on top of what was seen of it here, and of nothing else.
    pub(crate) async fn file_put_on_seen(&self, content: &[u8]) -> Result<VersionId, Error> {
        let (first, entry) = (self.at_first().await?, self.file_entry());
        loop {
            let mut db = self.store.pool().acquire().await?;
            let noted = seen(&mut db).await?;
            let known = match &noted {
                Some(noted) => Some(standing(&mut db, noted).await?),
                None => None,
            };
            drop(db);
            let shown = match first.entry(entry).await {
                Err(Error::NotFound) => None,
                shown => Some(shown?),
            };
            let base = match &shown {
                Some(shown) => first.seen_of(shown, known.as_deref()).await?,
                None => Vec::new(),
            };
            let mut heads = shown.map(|shown| shown.head_ids()).unwrap_or_default();
            heads.sort_unstable();
            let mut tx = self.store.begin().await?;
            let now = entries::shown(&mut tx, entry).await?.map(|row| row.heads.ids()).unwrap_or_default();
            if now != heads || seen(&mut tx).await? != noted {
                // Another command of this profile was faster.
                continue;
            }
            let id = first.replace_on(&mut tx, entry, &base, content).await?;
            see(&mut tx, &[id]).await?;
            tx.commit().await?;
            self.outbox.notify_one();
            return Ok(id);
        }
    }

    /// The heads that were seen; if none was, what was seen of the versions before them.
    async fn seen_of(&self, shown: &Entry, known: Option<&[VersionId]>) -> Result<Vec<VersionId>, Error> {
        // Where nothing was noted, what this device put itself was seen.
        let is_known = |head: &VersionView| {
            head.kind == VersionKind::Tombstone
                || known.map_or(head.device == self.device(), |known| known.contains(&head.version))
        };
        if shown.heads.iter().all(is_known) {
            return Ok(shown.head_ids());
        }
        let held = self.held(shown.entry).await?;
        let known: Vec<&VersionView> = held
            .iter()
            .filter(|version| known.is_some_and(|known| known.contains(&version.version)))
            .collect();
        // A choice between versions, of whatever device, says what one of them said.
        let is_alike = |head: &VersionView| match &head.content {
            Content::Here(content) => known.iter().any(|one| one.content.bytes() == Some(&**content)),
            _ => false,
        };
        let heads = shown.heads.iter().filter(|head| is_known(head) || is_alike(head));
        let heads: Vec<VersionId> = heads.map(|head| head.version).collect();
        Ok(if heads.is_empty() { known.iter().map(|version| version.version).collect() } else { heads })
    }
}

#[cfg(test)]
mod tests {
    use lockstep_events::{Micros, VersionId};

    use crate::{
        account::testing::{Stream, TestDevice, two_devices},
        store::{outbox, versions},
    };

    async fn exchange(vault: &mut Stream, from: &TestDevice, all: [&TestDevice; 2]) {
        let before = vault.events.len() as u64;
        vault.accept_all(from).await;
        for device in all {
            device.apply(&vault.page(before)).await.unwrap();
        }
    }

    async fn heads(device: &TestDevice) -> usize {
        device.entry(device.file_entry()).await.unwrap().heads.len()
    }

    #[tokio::test]
    async fn a_file_is_put_on_what_was_seen_and_beside_what_was_only_fetched() {
        let (a, b, _, mut vault) = two_devices().await;
        a.file_put_on_seen(b"first").await.unwrap();
        exchange(&mut vault, &a, [&a, &b]).await;
        b.file_see(&b.file_get().await.unwrap().unwrap().1).await.unwrap();
        b.file_put_on_seen(b"of the other").await.unwrap();
        exchange(&mut vault, &b, [&a, &b]).await;
        assert_eq!((heads(&a).await, heads(&b).await), (1, 1));
        a.file_put_on_seen(b"of this one").await.unwrap();
        a.file_put_on_seen(b"of this one, again").await.unwrap();
        assert_eq!(heads(&a).await, 2);
        a.file_see(&a.file_get().await.unwrap().unwrap().1).await.unwrap();
        a.file_put_on_seen(b"of both").await.unwrap();
        assert_eq!(heads(&a).await, 1);
    }

    /// A put that is refused for good.
    async fn refused(device: &TestDevice, content: &[u8]) -> VersionId {
        let id = device.file_put_on_seen(content).await.unwrap();
        let mut tx = device.store.begin().await.unwrap();
        outbox::quarantine(&mut tx, id, "refused", Micros(1)).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    async fn parents(device: &TestDevice, id: VersionId) -> Vec<VersionId> {
        let mut db = device.store.pool().acquire().await.unwrap();
        versions::get(&mut db, id).await.unwrap().unwrap().parents
    }

    #[tokio::test]
    async fn after_a_file_that_was_refused_the_next_one_is_put_on_what_stands() {
        let (a, b, _, mut vault) = two_devices().await;
        let first = a.file_put_on_seen(b"first").await.unwrap();
        exchange(&mut vault, &a, [&a, &b]).await;
        refused(&a, b"refused").await;
        let second = refused(&a, b"refused as well").await;
        assert_eq!(parents(&a, second).await, [first]);
        let third = a.file_put_on_seen(b"third").await.unwrap();
        assert_eq!((parents(&a, third).await, heads(&a).await), (vec![first], 1));
    }

    #[tokio::test]
    async fn after_refused_files_were_given_up_the_next_one_is_put_on_what_stands() {
        let (a, b, _, mut vault) = two_devices().await;
        let first = a.file_put_on_seen(b"first").await.unwrap();
        exchange(&mut vault, &a, [&a, &b]).await;
        // Sent together: each on the one before, and all are refused.
        let mut all = Vec::new();
        for content in [b"one", b"two"] {
            all.push(a.file_put_on_seen(content).await.unwrap());
        }
        let mut tx = a.store.begin().await.unwrap();
        for id in &all {
            outbox::quarantine(&mut tx, *id, "refused", Micros(1)).await.unwrap();
        }
        tx.commit().await.unwrap();
        for id in all {
            a.release(id, true).await.unwrap();
        }
        let next = a.file_put_on_seen(b"next").await.unwrap();
        assert_eq!((parents(&a, next).await, heads(&a).await), (vec![first], 1));
    }

    #[tokio::test]
    async fn a_device_that_never_saw_the_file_puts_another_beside_it() {
        let (a, b, _, mut vault) = two_devices().await;
        a.file_put_on_seen(b"first").await.unwrap();
        exchange(&mut vault, &a, [&a, &b]).await;
        b.file_put_on_seen(b"of the other").await.unwrap();
        assert_eq!(heads(&b).await, 2);
    }

    #[tokio::test]
    async fn what_became_one_because_it_says_the_same_was_seen() {
        let (a, b, _, mut vault) = two_devices().await;
        a.file_put_on_seen(b"first").await.unwrap();
        exchange(&mut vault, &a, [&a, &b]).await;
        b.file_see(&b.file_get().await.unwrap().unwrap().1).await.unwrap();
        for device in [&a, &b] {
            device.file_put_on_seen(b"the same").await.unwrap();
        }
        vault.accept_all(&b).await;
        vault.accept_all(&a).await;
        for device in [&a, &b] {
            device.apply(&vault.page(1)).await.unwrap();
            assert_eq!(device.adopt_identical().await.unwrap(), 1);
            device.file_put_on_seen(b"another").await.unwrap();
            assert_eq!(heads(device).await, 1);
        }
    }
}
