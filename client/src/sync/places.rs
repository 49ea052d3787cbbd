//! Where a version stands, by answers that are not the feed: the snapshot, the history of an entry, what was asked for by
//! its id. Nothing binds them but what the feed says too: what they place where this device has read already was not
//! there, and what they place further on is there when the feed has come to its end (E09).

use std::collections::BTreeSet;

use lockstep_api::sync::SnapshotVersion;
use lockstep_events::{DeviceId, EntryId, Epoch, Seq, SetDigest, StreamKind, VaultId, VersionId};
use sqlx::SqliteConnection;

use super::lives;
use crate::{
    engine::Engine,
    error::Error,
    model::AlarmKind,
    store::{alarms, entries, outbox, streams, streams::Place, versions, versions::Kept},
};

/// What the server has said before a pull begins: after it, all of it is shown.
#[derive(Debug)]
pub(super) struct Told {
    /// In this life of the stream.
    pub(super) epoch: Epoch,
    /// What it took and did not show.
    pub(super) taken: BTreeSet<VersionId>,
    /// What it said to stand after the cursor.
    ahead: BTreeSet<VersionId>,
}

/// Whether a version cannot stand where an answer says that it does, up to which this device has read: a server that
/// took it would show it to nobody, and nobody would send it again.
pub(super) async fn cannot_stand(
    db: &mut SqliteConnection,
    version: &SnapshotVersion,
    known: Option<&Kept>,
    me: DeviceId,
) -> Result<bool, Error> {
    let header = &version.header;
    if version.seq == Seq::ZERO {
        return Ok(true);
    }
    let Some(place) = streams::get(db, header.vault.into()).await? else { return Ok(false) };
    if version.seq > place.seq {
        return Ok(false);
    }
    // Its author saw in this very life what stands there, before there was this version.
    if header.kind.has_content() && version.seq <= header.observed_seq {
        let seen = streams::chains_at(db, place.stream, header.observed_seq).await?;
        if seen.contains(&(place.epoch, header.observed_chain)) {
            return Ok(true);
        }
    }
    let Some(known) = known.filter(|known| known.seq.is_none()) else { return Ok(false) };
    // Who holds all that stands up to here holds it in its place.
    let whole = place.digest.is_some() && place.absent == SetDigest::ZERO;
    // What this device wrote since it reads every event stands at none of those that it has read.
    let own = known.signer == me || known.header.author_device == me;
    let new = own && known.accepted_at.is_none() && lives::kept_since(db, place.stream, known.n).await?;
    Ok(whole || new)
}

impl Engine {
    /// What the server has said before a pull begins.
    pub(super) async fn told(&self) -> Result<Told, Error> {
        let vault = self.vault();
        let place = self.place(vault.into(), StreamKind::Vault).await?;
        let mut db = self.store.pool().acquire().await?;
        let taken = versions::taken_unseen(&mut db, vault).await?.into_iter().map(|kept| kept.id).collect();
        let ahead = versions::placed_after(&mut db, vault, place.seq).await?;
        let ahead = ahead.into_iter().map(|(id, _)| id).collect();
        Ok(Told { epoch: place.epoch, taken, ahead })
    }

    /// Looks whether the feed, read to its head, has come to everything that was said to stand further on. What it has
    /// not come to has no place, and goes out again.
    ///
    /// # Errors
    /// An alarm if it has not.
    pub(super) async fn demand_reached(&self, told: &Told) -> Result<(), Error> {
        if told.ahead.is_empty() {
            return Ok(());
        }
        let vault = self.vault();
        let mut tx = self.store.begin().await?;
        let place = streams::get(&mut tx, vault.into()).await?.filter(|place| place.epoch == told.epoch);
        let Some(place) = place else { return Ok(()) };
        let beyond = versions::placed_after(&mut tx, vault, place.seq).await?;
        let beyond: Vec<_> = beyond.into_iter().filter(|(id, _)| told.ahead.contains(id)).collect();
        let Some((first, _)) = beyond.first() else { return Ok(()) };
        let detail = format!("{vault}: {first} was said to stand after {}", place.seq);
        let ids: BTreeSet<VersionId> = beyond.iter().map(|(id, _)| *id).collect();
        self.withhold(&mut tx, &ids).await?;
        for entry in beyond.iter().map(|(_, entry)| *entry).collect::<BTreeSet<_>>() {
            count_again(&mut tx, &place, entry, &ids).await?;
        }
        let alarm = alarms::raise(&mut tx, AlarmKind::Page, self.now(), &detail).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        self.tell(alarm);
        Err(Error::Alarm(AlarmKind::Page))
    }

    /// Versions that the server did not show have no place, and go out again in the order in which they came here.
    pub(super) async fn withhold(
        &self,
        db: &mut SqliteConnection,
        ids: &BTreeSet<VersionId>,
    ) -> Result<(), Error> {
        let ids: Vec<VersionId> = ids.iter().copied().collect();
        let mut all = versions::get_many(db, &ids).await?;
        all.sort_by_key(|version| version.n);
        for version in all {
            versions::withhold(db, version.id).await?;
            let reoffer = version.signer != self.device();
            outbox::add(db, (version.header.vault, version.id), None, reoffer).await?;
        }
        Ok(())
    }
}

/// Accepted heads whose places were none stood in the way of all events of their entry: these count now. The heads
/// themselves stay, for whatever builds on them; where they stand is not known.
async fn count_again(
    db: &mut SqliteConnection,
    place: &Place,
    entry: EntryId,
    placeless: &BTreeSet<VersionId>,
) -> Result<(), Error> {
    let mut row = entries::accepted(db, VaultId::from(place.stream), entry).await?;
    if !row.heads.heads.iter().any(|head| placeless.contains(&head.version)) {
        return Ok(());
    }
    for head in row.heads.heads.iter_mut().filter(|head| placeless.contains(&head.version)) {
        head.seq = Seq::ZERO;
    }
    let since = streams::begun_at(db, (place.stream, place.epoch)).await?;
    let mut later = versions::of_entry(db, entry).await?;
    later.retain(|version| version.seq.is_some_and(|seq| since < seq && seq <= place.seq));
    later.sort_by_key(|version| version.seq);
    for version in later {
        let seq = version.seq.unwrap_or_default();
        if row.heads.heads.iter().all(|head| head.seq < seq) {
            row.heads.accept(version.id, version.header.kind, &version.parents, seq);
        }
    }
    row.heads.last_seq = row.heads.last_seq.min(place.seq);
    if !row.heads.is_divergent() {
        row.pinned = None;
    }
    entries::put(db, &row).await
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
