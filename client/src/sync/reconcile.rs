//! After a reset, and where digests disagree: which versions only one side has, found by hash ranges instead of by
//! reading everything again. What only the server has is fetched; what only this device has is offered again.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_api::sync::{Bucket, GetVersions, Reconcile, Reconciled, SnapshotVersion, Versions};
use lockstep_events::{Seq, SetDigest, StreamKind, VaultId, VersionId};
use sqlx::SqliteConnection;

use crate::{
    engine::Engine,
    error::Error,
    store::{
        attachments, entries, entries::EntryRow, fixed, keys, outbox, streams, streams::Place, versions,
    },
};

/// Versions of one request.
pub(super) const MOST: usize = 200;

/// Why the sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The stream has begun another life, which has this place in common with the one before.
    Reset(Seq),
    /// The digests disagree.
    Digest,
}

const DUE: &str = "reconcile/";

fn due(vault: VaultId) -> String {
    format!("{DUE}{vault}")
}

/// Whether the sides of any vault are still to be compared: what the server lost waits only once they are.
pub(crate) async fn any_due(db: &mut SqliteConnection) -> Result<bool, Error> {
    keys::any(db, DUE).await
}

/// After which place the server may have versions again and not their files: whoever offered them need not have had those.
fn fileless_after(vault: VaultId) -> String {
    format!("fileless/{vault}")
}

/// The sides are compared as soon as this device has read the stream to its head.
pub(crate) async fn make_due(db: &mut SqliteConnection, vault: VaultId, why: Why) -> Result<(), Error> {
    let name = due(vault);
    if let Why::Reset(common) = why {
        let files = fileless_after(vault);
        let before =
            keys::get(db, &files).await?.map(|kept| fixed(&kept).map(u64::from_be_bytes)).transpose()?;
        keys::set(db, &files, &common.0.min(before.unwrap_or(u64::MAX)).to_be_bytes()).await?;
    }
    // Of two reasons the one that fetches more.
    if why == Why::Digest || keys::get(db, &name).await?.is_none() {
        keys::set(db, &name, if why == Why::Digest { b"digest" } else { b"reset" }).await?;
    }
    Ok(())
}

impl Engine {
    /// Compares the sides if that is due, and settles what differs.
    pub(crate) async fn reconcile_if_due(&self) -> Result<(), Error> {
        let vault = self.vault();
        let mut db = self.store.pool().acquire().await?;
        let Some(why) = keys::get(&mut db, &due(vault)).await? else { return Ok(()) };
        let held: BTreeSet<VersionId> = versions::offerable_ids(&mut db, vault).await?.into_iter().collect();
        drop(db);
        let found = self.compare(vault, &held).await?;
        let place = self.place(vault.into(), StreamKind::Vault).await?;
        // A device that began with a snapshot never had the history before it. It asks for that only if it cannot
        // tell what it lost.
        if why == b"digest" || place.absent == SetDigest::ZERO {
            self.fetch_versions(vault, &found.server_only).await?;
        }
        self.offer_again(&place, &found.client_only).await
    }

    /// The two rounds.
    async fn compare(&self, vault: VaultId, held: &BTreeSet<VersionId>) -> Result<Reconciled, Error> {
        let path = format!("/v1/vaults/{vault}/reconcile");
        let first: Reconciled =
            self.post(&path, &Reconcile::Buckets { buckets: Bucket::all(held.iter().copied()) }).await?;
        let mut all = Reconciled { differ: Vec::new(), server_only: Vec::new(), client_only: Vec::new() };
        // So few buckets at a time that the ids fit into a request, whatever the size of the vault.
        for part in first.differ.chunks((2_000_000 / (held.len() + 1)).clamp(1, 256)) {
            let ids = held.iter().filter(|id| part.contains(&id.0[0])).copied().collect();
            let asked = Reconcile::Ids { buckets: part.to_vec(), ids };
            let found: Reconciled = self.post(&path, &asked).await?;
            all.server_only.extend(found.server_only);
            all.client_only.extend(found.client_only);
        }
        Ok(all)
    }

    /// Asks for versions, at most [`MOST`], of which the server gives those that it has.
    pub(super) async fn get_versions(
        &self,
        vault: VaultId,
        wanted: &[VersionId],
    ) -> Result<Vec<SnapshotVersion>, Error> {
        let path = format!("/v1/vaults/{vault}/versions/get");
        let found: Versions = self.post(&path, &GetVersions { versions: wanted.to_vec() }).await?;
        Ok(found.versions)
    }

    /// Asks for any number of versions, and keeps what comes.
    pub(super) async fn fetch_versions(&self, vault: VaultId, wanted: &[VersionId]) -> Result<(), Error> {
        for part in wanted.chunks(MOST) {
            self.take_versions(vault, &self.get_versions(vault, part).await?).await?;
        }
        Ok(())
    }

    /// Everything that the server does not have goes out again, in the order in which it came here, so that parents
    /// come before children.
    pub(crate) async fn offer_again(&self, place: &Place, client_only: &[VersionId]) -> Result<(), Error> {
        let vault = VaultId::from(place.stream);
        let lost = self.lost(vault, client_only).await?;
        let mut tx = self.store.begin().await?;
        for (before, _) in &lost {
            if entries::accepted(&mut tx, vault, before.entry).await? != *before {
                // Another process of this profile has read on meanwhile: what the server said is old. It is still due.
                return Ok(());
            }
        }
        let waiting: BTreeMap<_, _> =
            outbox::first(&mut tx, vault, u32::MAX).await?.into_iter().map(|w| (w.version, w)).collect();
        for version in waiting.keys() {
            outbox::remove(&mut tx, *version).await?;
        }
        for (_, row) in &lost {
            entries::put(&mut tx, row).await?;
        }
        for id in client_only {
            versions::unplace(&mut tx, *id).await?;
        }
        let offered: BTreeSet<_> = client_only.iter().chain(waiting.keys()).collect();
        for version in versions::unplaced(&mut tx, vault).await? {
            if !offered.contains(&version.id) {
                continue;
            }
            let known = waiting.get(&version.id);
            let unit = known.and_then(|waiting| waiting.unit);
            let reoffer = known.is_none_or(|waiting| waiting.reoffer);
            outbox::add(&mut tx, (vault, version.id), unit, reoffer).await?;
        }
        self.send_files_again(&mut tx, vault, &waiting).await?;
        // What the digest is, the next page says.
        if let Some(now) = streams::get(&mut tx, place.stream).await? {
            streams::put(&mut tx, &Place { digest: None, ..now }).await?;
        }
        keys::remove(&mut tx, &due(vault)).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(())
    }

    /// Versions that both sides have since a reset go out once more with the files that are here: the server takes those
    /// that it lacks, and says of the versions that they stand.
    async fn send_files_again(
        &self,
        db: &mut SqliteConnection,
        vault: VaultId,
        waiting: &BTreeMap<VersionId, outbox::Waiting>,
    ) -> Result<(), Error> {
        let before: Vec<_> = waiting.values().filter(|w| w.reoffer).map(|w| w.version).collect();
        for version in versions::get_many(db, &before).await? {
            if version.seq.is_some() {
                outbox::add(db, (vault, version.id), None, true).await?;
            }
        }
        let Some(after) = keys::get(db, &fileless_after(vault)).await? else { return Ok(()) };
        let after = Seq(u64::from_be_bytes(fixed(&after)?));
        for (version, hash) in attachments::placed_after(db, vault, after).await? {
            if tokio::fs::try_exists(self.sealed_file(&hash)).await? {
                outbox::add(db, (vault, version), None, true).await?;
            }
        }
        keys::remove(db, &fileless_after(vault)).await
    }

    /// The entries of versions that were taken for accepted and are not: as they are here, and as the server has them.
    async fn lost(
        &self,
        vault: VaultId,
        client_only: &[VersionId],
    ) -> Result<Vec<(EntryRow, EntryRow)>, Error> {
        let mut db = self.store.pool().acquire().await?;
        let placed = versions::get_many(&mut db, client_only).await?;
        let touched: BTreeSet<_> = placed
            .iter()
            .filter(|version| version.seq.is_some())
            .map(|version| version.header.entry)
            .collect();
        let mut before = Vec::with_capacity(touched.len());
        for entry in touched {
            before.push(entries::accepted(&mut db, vault, entry).await?);
        }
        drop(db);
        let mut rows = Vec::with_capacity(before.len());
        for before in before {
            let entry = before.entry;
            let (row, history) = self.accepted_by_server(vault, entry, Seq(u64::MAX)).await?;
            self.take_versions(vault, &history).await?;
            rows.push((before, row));
        }
        Ok(rows)
    }
}
