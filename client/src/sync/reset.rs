//! A stream that has begun another life: nothing is wiped. This device goes back to the last place at which the two
//! lives are the same, reads what came after it, and offers again what the server lost (C5, D1).

use std::collections::BTreeSet;

use lockstep_api::{
    Code, Cursor,
    sync::{Changes, History, SnapshotVersion, StreamInfo, Streams},
};
use lockstep_events::{Chain, EntryId, Epoch, Micros, Seq, SetDigest, StreamId, StreamKind, VaultId};
use sqlx::SqliteConnection;

use super::{graph::heads_of, lives, offer, reconcile};
use crate::{
    engine::Engine,
    error::Error,
    model::AlarmKind,
    store::{alarms, entries, entries::EntryRow, keys, streams, streams::Place, versions},
};

/// What the new life of a stream has in common with the old one, and what the server says about the rest.
#[derive(Debug)]
pub(crate) struct Life {
    /// Its name.
    pub(crate) epoch: Epoch,
    /// The last place that both lives have.
    pub(crate) common: (Seq, Chain),
    /// Entries of which something happened after it, as the server has them.
    pub(crate) entries: Vec<EntryRow>,
    /// Their versions after it.
    pub(crate) versions: Vec<SnapshotVersion>,
}

impl Engine {
    /// Goes to where the stream's new life is as the old one was. Keeps every version, the outbox and the old chains.
    pub(crate) async fn reset(&self, old: &Place) -> Result<(), Error> {
        let info = self.info(old.stream).await?;
        let common = self.common_place(old, &info).await?;
        let (mut entries, mut versions) = (Vec::new(), Vec::new());
        for entry in self.entries_after(old, common.0).await? {
            let (row, history) = self.accepted_by_server(old.stream.into(), entry, common.0).await?;
            entries.push(row);
            versions.extend(history.into_iter().filter(|version| version.seq > common.0));
        }
        self.begin_life(old, &Life { epoch: info.epoch, common, entries, versions }).await
    }

    /// The local half, in one transaction.
    pub(crate) async fn begin_life(&self, old: &Place, life: &Life) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        if streams::get(&mut tx, old.stream).await?.is_some_and(|now| now.epoch != old.epoch) {
            // Another process of this profile was here first.
            return Ok(());
        }
        let (seq, chain) = life.common;
        let (lives, recorded_at) = (old.lives + 1, Micros(0));
        let place = Place { epoch: life.epoch, seq, chain, lives, recorded_at, ..*old };
        streams::carry_chains(&mut tx, old.stream, (old.epoch, life.epoch), seq).await?;
        lives::begin(&mut tx, old.stream).await?;
        if old.kind == StreamKind::Vault {
            go_back(&mut tx, old.seq, place, &life.entries).await?;
            if let Err(found) = self.take_all(&mut tx, old.stream.into(), &life.versions).await? {
                drop(tx);
                return Err(self.alarms_of(&found).await);
            }
        } else {
            streams::put(&mut tx, &place).await?;
            if keys::erasure(&mut tx).await?.is_some_and(|(asked, _)| asked > seq) {
                // In this life nobody asked for it.
                keys::remove(&mut tx, keys::name::ERASURE).await?;
            }
            offer::make_due(&mut tx).await?;
        }
        let detail = format!("{} was at {} of {}", old.stream, old.seq, old.epoch);
        let alarm = alarms::raise(&mut tx, AlarmKind::Reset, self.now(), &detail).await?;
        tx.commit().await?;
        self.tell(alarm);
        Ok(())
    }

    /// Whether the stream is in the life that this device reads.
    pub(super) async fn goes_on(&self, stream: StreamId) -> Result<bool, Error> {
        let epoch = self.info(stream).await?.epoch;
        let place = streams::get(&mut *self.store.pool().acquire().await?, stream).await?;
        Ok(place.is_none_or(|place| place.epoch == epoch))
    }

    async fn info(&self, stream: StreamId) -> Result<StreamInfo, Error> {
        let all: Streams = self.fetch("/v1/streams").await?;
        let info = all.streams.into_iter().find(|info| info.stream == stream);
        info.ok_or(Error::Protocol("the account's stream is not in its list"))
    }

    /// The last place of this device's history that the new life has too: its chain binds everything before it. Found
    /// by halving, a dozen small requests whatever the length of the stream.
    async fn common_place(&self, old: &Place, info: &StreamInfo) -> Result<(Seq, Chain), Error> {
        let last = old.seq.min(info.head);
        let mut db = self.store.pool().acquire().await?;
        let known = streams::chains_up_to(&mut db, (old.stream, old.epoch), last).await?;
        drop(db);
        if known.last() == Some(&(info.head, info.chain)) {
            return Ok((info.head, info.chain));
        }
        let (mut same, mut differs) = (0, known.len());
        while same < differs {
            let middle = usize::midpoint(same, differs);
            let (seq, chain) = known[middle];
            if self.chain_at(old.stream, (info.epoch, seq)).await? == Some(chain) {
                same = middle + 1;
            } else {
                differs = middle;
            }
        }
        Ok(same.checked_sub(1).map_or((Seq::ZERO, Chain::ZERO), |last| known[last]))
    }

    async fn chain_at(&self, stream: StreamId, (epoch, seq): (Epoch, Seq)) -> Result<Option<Chain>, Error> {
        let before = Cursor { epoch, seq: Seq(seq.0.saturating_sub(1)) };
        let path = format!("/v1/streams/{stream}/changes?after={before}&limit=1&inline=0");
        let page: Changes = self.fetch(&path).await?;
        Ok((page.to == seq).then_some(page.chain))
    }

    /// The entries of which something happened after a place.
    async fn entries_after(&self, old: &Place, seq: Seq) -> Result<BTreeSet<EntryId>, Error> {
        if old.kind != StreamKind::Vault || seq == Seq::ZERO {
            return Ok(BTreeSet::new());
        }
        let vault = VaultId::from(old.stream);
        let mut db = self.store.pool().acquire().await?;
        let placed = versions::placed_after(&mut db, vault, seq).await?;
        let mut entries: BTreeSet<EntryId> = placed.into_iter().map(|(_, entry)| entry).collect();
        entries.extend(entries::changed_after(&mut db, vault, seq).await?);
        Ok(entries)
    }

    /// An entry as the server has it now, with its versions; nothing is accepted of one that it does not know. Events that come later
    /// and are counted here already change nothing (see `apply::fold`).
    pub(crate) async fn accepted_by_server(
        &self,
        vault: VaultId,
        entry: EntryId,
        seq: Seq,
    ) -> Result<(EntryRow, Vec<SnapshotVersion>), Error> {
        let mut versions = Vec::new();
        let mut after = 0;
        loop {
            let path = format!("/v1/vaults/{vault}/entries/{entry}/versions?after={after}&limit=200");
            let page: History = match self.fetch(&path).await {
                Ok(page) => page,
                Err(Error::Refused { problem, .. }) if problem.code == Code::NotFound => break,
                Err(other) => return Err(other),
            };
            versions.extend(page.versions);
            match page.next {
                Some(next) if next.0 > after => after = next.0,
                _ => break,
            }
        }
        let mut heads = heads_of(&versions);
        heads.last_seq = heads.last_seq.min(seq);
        Ok((EntryRow { entry, vault, heads, pinned: None }, versions))
    }
}

/// A vault goes back to its common place.
async fn go_back(
    db: &mut SqliteConnection,
    was: Seq,
    mut place: Place,
    rows: &[EntryRow],
) -> Result<(), Error> {
    let vault = VaultId::from(place.stream);
    if place.seq == Seq::ZERO {
        (place.digest, place.absent) = (Some(SetDigest::ZERO), SetDigest::ZERO);
        entries::clear_accepted(db, vault).await?;
    } else if let Some(digest) = &mut place.digest {
        for id in versions::ids_up_to(db, vault, was).await? {
            digest.remove(&id);
        }
        for id in versions::ids_up_to(db, vault, place.seq).await? {
            digest.add(&id);
        }
    }
    versions::unplace_after(db, vault, place.seq).await?;
    for row in rows {
        let pinned = entries::accepted(db, vault, row.entry).await?.pinned;
        entries::put(db, &EntryRow { pinned, ..row.clone() }).await?;
    }
    streams::put(db, &place).await?;
    reconcile::make_due(db, vault, reconcile::Why::Reset(place.seq)).await
}
