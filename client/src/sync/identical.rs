//! The one conflict that needs no person: two branches that say the same. They become one by an adopt of the lower
//! branch, which has the same id on every device. Nothing else is automatic.

use std::collections::BTreeSet;

use lockstep_events::{EntryId, VersionId, VersionKind, graph::Head};

use crate::{
    crypto::wipe::Plaintext,
    engine::Engine,
    error::Error,
    model::Content,
    store::{entries, entries::EntryRow},
};

/// Branches with the same content: all of them, the lowest first.
fn same(heads: &[(Head, Plaintext)]) -> Option<Vec<VersionId>> {
    heads.iter().enumerate().find_map(|(at, (first, content))| {
        let equal = |(head, other): &(Head, Plaintext)| (other == content).then_some(head.version);
        let others: Vec<_> = heads[at + 1..].iter().filter_map(equal).collect();
        (!others.is_empty()).then(|| [vec![first.version], others].concat())
    })
}

impl Engine {
    /// Adopts the lower one of branches with the same content, anywhere in the vault. How many entries that settled.
    pub(crate) async fn adopt_identical(&self) -> Result<u64, Error> {
        let branched = entries::branched(&mut *self.store.pool().acquire().await?, self.vault()).await?;
        self.adopt_in_all(branched).await
    }

    /// The same in some entries, looking at no others.
    pub(crate) async fn adopt_identical_in(&self, some: &BTreeSet<EntryId>) -> Result<u64, Error> {
        let mut branched = Vec::new();
        let mut db = self.store.pool().acquire().await?;
        for entry in some {
            branched.push(entries::accepted(&mut db, self.vault(), *entry).await?);
        }
        drop(db);
        branched.retain(|row| row.heads.heads.len() > 1);
        self.adopt_in_all(branched).await
    }

    async fn adopt_in_all(&self, branched: Vec<EntryRow>) -> Result<u64, Error> {
        let mut settled = 0;
        for row in branched {
            let heads = row.heads.ids();
            // Looked at before: contents of versions do not change.
            if self.told_apart.lock().await.contains(&heads) {
                continue;
            }
            match self.adopt_in(&row).await? {
                Some(true) => settled += 1,
                Some(false) => {
                    self.told_apart.lock().await.insert(heads);
                }
                None => {}
            }
        }
        if settled > 0 {
            self.outbox.notify_one();
        }
        Ok(settled)
    }

    /// Whether an entry was settled; none if that cannot be told yet.
    async fn adopt_in(&self, row: &EntryRow) -> Result<Option<bool>, Error> {
        let shown = self.entry(row.entry).await?;
        let mut ids = shown.head_ids();
        ids.sort_unstable();
        // Something of this device waits: the branches are not the server's yet.
        if shown.pending || ids != row.heads.ids() {
            return Ok(None);
        }
        let mut live = Vec::new();
        for head in row.heads.heads.iter().filter(|head| head.kind != VersionKind::Tombstone) {
            let view = shown.heads.iter().find(|view| view.version == head.version);
            match view.map(|view| &view.content) {
                Some(Content::Here(content)) => live.push((head.clone(), content.clone())),
                Some(Content::Missing) | None => return Ok(None),
                Some(_) => {}
            }
        }
        let Some(same) = same(&live) else { return Ok(Some(false)) };
        let mut tx = self.store.begin().await?;
        // Somebody may have resolved it meanwhile.
        if entries::accepted(&mut tx, row.vault, row.entry).await?.heads.ids() != row.heads.ids() {
            return Ok(None);
        }
        self.adopt(&mut tx, row.entry, &same, same[0], None).await?;
        tx.commit().await?;
        Ok(Some(true))
    }
}

#[cfg(test)]
mod tests {
    use lockstep_events::Seq;

    use super::*;
    use crate::account::testing::two_devices;

    fn head(n: u8, content: &str) -> (Head, Plaintext) {
        let (version, branch, kind, seq) =
            (VersionId([n; 32]), u32::from(n), VersionKind::Edit, Seq(u64::from(n)));
        (Head { version, branch, kind, seq }, Plaintext::new(content.as_bytes().to_vec()))
    }

    #[test]
    fn the_lowest_of_equal_branches_is_kept_and_different_ones_are_left_alone() {
        let ids = |ns: &[u8]| Some(ns.iter().map(|n| VersionId([*n; 32])).collect::<Vec<_>>());
        assert_eq!(same(&[head(1, "a"), head(2, "b"), head(3, "c")]), None);
        assert_eq!(same(&[head(1, "a"), head(2, "b"), head(3, "b"), head(4, "b")]), ids(&[2, 3, 4]));
        assert_eq!(same(&[head(1, "a"), head(2, "a")]), ids(&[1, 2]));
    }

    #[tokio::test]
    async fn two_devices_that_wrote_the_same_apart_both_adopt_and_their_adopts_are_one_version() {
        let (a, b, _, mut vault) = two_devices().await;
        let entry = a.add(b"old").await.unwrap();
        vault.accept_all(&a).await;
        a.apply(&vault.page(0)).await.unwrap();
        b.apply(&vault.page(0)).await.unwrap();
        let base = a.entry(entry).await.unwrap().head_ids();
        for device in [&a, &b] {
            device.edit(entry, &base, b"new, twice").await.unwrap();
            assert_eq!(device.adopt_identical().await.unwrap(), 0, "nothing is accepted yet");
        }
        vault.accept_all(&a).await;
        vault.accept_all(&b).await;
        let mut adopts = Vec::new();
        for device in [&a, &b] {
            device.apply(&vault.page(1)).await.unwrap();
            assert!(device.entry(entry).await.unwrap().divergent);
            assert_eq!(device.adopt_identical().await.unwrap(), 1);
            assert_eq!(device.adopt_identical().await.unwrap(), 0, "once");
            let shown = device.entry(entry).await.unwrap();
            assert!(!shown.divergent);
            adopts.push(shown.head_ids());
        }
        assert_eq!(adopts[0], adopts[1]);
    }

    #[tokio::test]
    async fn branches_that_say_different_things_wait_for_a_person() {
        let (a, b, _, mut vault) = two_devices().await;
        let entry = a.add(b"old").await.unwrap();
        vault.accept_all(&a).await;
        a.apply(&vault.page(0)).await.unwrap();
        b.apply(&vault.page(0)).await.unwrap();
        let base = a.entry(entry).await.unwrap().head_ids();
        a.edit(entry, &base, b"one").await.unwrap();
        b.edit(entry, &base, b"two").await.unwrap();
        vault.accept_all(&a).await;
        vault.accept_all(&b).await;
        a.apply(&vault.page(1)).await.unwrap();
        assert_eq!(a.adopt_identical().await.unwrap(), 0);
        assert!(a.entry(entry).await.unwrap().divergent);
    }
}
