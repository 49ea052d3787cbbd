//! Push: the outbox in order, in batches; groups as a whole.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_api::{
    Bytes64, Code, MAX_INLINE, MAX_ITEMS, MAX_PUSH_BYTES,
    plan::Quota,
    sync::{Push, PushItem, Pushed},
};
use lockstep_events::{BatchId, BlobHash, StreamKind, VersionId};

use crate::{
    crypto::{os_random, version::new_id},
    engine::Engine,
    error::Error,
    store::{
        alarms, attachments, keys, outbox,
        outbox::Waiting,
        versions::{self, Kept},
    },
    sync::room::Away,
};

/// Bytes of JSON that an item takes beside its parents, key and ciphertext.
const ITEM_OVERHEAD: usize = 1400;
/// Bytes of JSON that a hash takes in a list.
pub(crate) const HASH: usize = 70;
/// Left free for the frame around the items.
const ROOM: usize = MAX_PUSH_BYTES - 4096;

/// What a push did.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PushReport {
    pub(crate) pushed: u64,
    pub(crate) forked: u64,
    pub(crate) quarantined: u64,
    /// A limit of the plan that stands in the way of what waits.
    pub(crate) no_room: Option<Quota>,
    /// The server's blob store is away or full, and something that waits needs it.
    pub(super) away: Option<Away>,
    /// What is offered again and waits for a file that another device has.
    pub(crate) fileless: BTreeSet<VersionId>,
}

impl PushReport {
    pub(crate) fn add(&mut self, other: Self) {
        self.pushed += other.pushed;
        self.forked += other.forked;
        self.quarantined += other.quarantined;
        self.no_room = other.no_room.or(self.no_room.take());
        self.away = other.away.or(self.away.take());
        self.fileless.extend(other.fileless);
    }
}

/// The attachments of some versions.
pub(super) type Attached = BTreeMap<VersionId, Vec<BlobHash>>;

/// The versions of one push, each with its place in the outbox.
pub(super) type Batch = Vec<(Waiting, Kept)>;

/// How many bytes of JSON a version takes in a push.
pub(crate) fn wire_size(version: &Kept) -> usize {
    let inline = version.ciphertext.as_ref().map_or(0, Vec::len);
    let inline = if inline <= MAX_INLINE { inline.div_ceil(3) * 4 } else { 0 };
    ITEM_OVERHEAD + version.header.parents.len() * HASH + inline
}

/// As many as fit into one push, groups whole, in order. What is offered again goes by itself: a push says of all its
/// versions that they are, and what is new is to be held to having its files on the server.
pub(super) fn cut(waiting: Vec<(Waiting, Kept)>, attached: &Attached) -> Batch {
    let mut batch: Batch = Vec::new();
    let mut bytes = 0;
    let mut rest = waiting.into_iter().peekable();
    while let Some(first) = rest.next() {
        let mut unit = vec![first];
        while let (Some(group), Some((next, _))) = (unit[0].0.unit, rest.peek())
            && next.unit == Some(group)
        {
            unit.extend(rest.next());
        }
        let files = |version: &Kept| attached.get(&version.id).map_or(0, |files| files.len() * HASH);
        let size: usize = unit.iter().map(|(_, version)| wire_size(version) + files(version)).sum();
        let full = batch.len() + unit.len() > MAX_ITEMS || bytes + size > ROOM;
        if batch.first().is_some_and(|(first, _)| full || first.reoffer != unit[0].0.reoffer) {
            break;
        }
        bytes += size;
        batch.extend(unit);
    }
    batch
}

/// How many entries these make, if they make nothing but entries, all of them or none.
pub(super) fn makes(batch: &Batch) -> Option<usize> {
    let group = batch.first()?.0.unit?;
    let of_one = batch
        .iter()
        .all(|(waiting, version)| waiting.unit == Some(group) && version.header.parents.is_empty());
    of_one.then_some(batch.len())
}

fn item(version: &Kept, wrapped_key: Option<&[u8]>, attachments: Option<&Vec<BlobHash>>) -> PushItem {
    let inline = version.ciphertext.as_ref().filter(|bytes| bytes.len() <= MAX_INLINE);
    PushItem {
        header: version.header.clone(),
        signer: version.signer,
        signature: version.signature,
        wrapped_key: wrapped_key.map(hex::encode),
        inline: inline.map(|bytes| Bytes64(bytes.clone())),
        expect_heads: None,
        infer_parents: false,
        attachments: attachments.cloned().unwrap_or_default(),
    }
}

fn groups(batch: &Batch) -> Vec<Vec<u32>> {
    let mut groups: Vec<(i64, Vec<u32>)> = Vec::new();
    for (index, (waiting, _)) in (0..).zip(batch) {
        let Some(unit) = waiting.unit else { continue };
        match groups.iter_mut().find(|(known, _)| *known == unit) {
            Some((_, members)) => members.push(index),
            None => groups.push((unit, vec![index])),
        }
    }
    groups.into_iter().map(|(_, members)| members).filter(|members| members.len() > 1).collect()
}

impl Engine {
    /// Sends what waits of every vault until nothing does or a round settles nothing; of those whose history is not
    /// believed, nothing.
    pub(crate) async fn push(&self) -> Result<PushReport, Error> {
        let _one = self.pushing.lock().await;
        let mut report = PushReport::default();
        self.sending_is_free().await?;
        let vaults = outbox::vaults(&mut *self.store.pool().acquire().await?).await?;
        for vault in vaults {
            report.add(self.at(vault).push_vault().await?);
        }
        self.note_room(report.no_room.as_ref()).await?;
        // The rest is out: whoever asked is told what is not.
        report.away.take().map_or(Ok(report), |away| Err(away.into()))
    }

    async fn push_vault(&self) -> Result<PushReport, Error> {
        let mut report = PushReport::default();
        if !self.is_believed().await? {
            return Ok(report);
        }
        self.hold_stated_key(self.vault()).await?;
        let mut tried = BTreeSet::new();
        // A group that makes so many entries has no room, and one that makes more need not be asked for.
        let mut full = None;
        loop {
            let batch = self.next_batch().await?;
            if batch.is_empty() {
                return Ok(report);
            }
            let new = batch.iter().filter(|(waiting, _)| tried.insert(waiting.version)).count();
            let made = makes(&batch);
            if made.zip(full).is_some_and(|(made, full)| made >= full) {
                self.put_all_behind(&batch).await?;
                if new == 0 {
                    return Ok(report);
                }
                continue;
            }
            let before = self.waiting().await?;
            // Somebody who reads beside this may have met a lie.
            self.sending_is_free().await?;
            match self.push_batch(batch).await {
                Ok(done) => {
                    let is_full = done.no_room.as_ref().is_some_and(|quota| quota.what == "entries");
                    full = if done.pushed > 0 { None } else { made.filter(|_| is_full).or(full) };
                    report.add(done);
                }
                Err(Error::Refused { problem, .. }) if problem.code == Code::EpochMismatch => {
                    // Pulling meets the reset, reads the new life and orders the outbox anew.
                    self.pull_all().await?;
                    self.sending_is_free().await?;
                    if !self.is_believed().await? {
                        return Ok(report);
                    }
                    self.push_batch(self.next_batch().await?).await.map(|done| report.add(done))?;
                }
                Err(other) => return Err(other),
            }
            // What cannot go out now was put behind the rest, which may.
            if self.waiting().await? >= before && new == 0 {
                return Ok(report);
            }
        }
    }

    /// Nothing leaves this device while something waits to be seen that says that the server cheats.
    ///
    /// # Errors
    /// [`Error::Held`], if there is anything to send.
    async fn sending_is_free(&self) -> Result<(), Error> {
        if self.waiting().await? > 0 { self.may_ask().await } else { Ok(()) }
    }

    /// What a person asks for that changes something on the server at once, without waiting in the outbox, is held by the
    /// same alarms.
    ///
    /// # Errors
    /// [`Error::Held`].
    pub(crate) async fn may_ask(&self) -> Result<(), Error> {
        let holding = alarms::holding(&mut *self.store.pool().acquire().await?).await?;
        holding.map_or(Ok(()), |kind| Err(Error::Held(kind)))
    }

    /// How many versions wait.
    pub(crate) async fn waiting(&self) -> Result<u64, Error> {
        outbox::count(&mut *self.store.pool().acquire().await?).await
    }

    async fn next_batch(&self) -> Result<Batch, Error> {
        let mut db = self.store.pool().acquire().await?;
        let limit = u32::try_from(MAX_ITEMS * 2).unwrap_or(u32::MAX);
        let waiting = outbox::first(&mut db, self.vault(), limit).await?;
        let ids: Vec<VersionId> = waiting.iter().map(|waiting| waiting.version).collect();
        let mut found: BTreeMap<_, _> =
            versions::get_many(&mut db, &ids).await?.into_iter().map(|kept| (kept.id, kept)).collect();
        let attached = attachments::of(&mut db, &ids).await?;
        let pairs = waiting.into_iter().filter_map(|w| found.remove(&w.version).map(|kept| (w, kept)));
        Ok(cut(pairs.collect(), &attached))
    }

    /// What a device wrote or chose that was revoked since, this one signs: nothing is taken any more that the other signed.
    async fn sign_for_the_revoked(&self, items: &mut [PushItem]) -> Result<(), Error> {
        let roster = keys::trusted(&mut *self.store.pool().acquire().await?).await?.roster;
        let revoked =
            |item: &&mut PushItem| roster.devices.get(&item.signer).is_some_and(|signer| signer.revoked);
        for item in items.iter_mut().filter(revoked) {
            item.signer = self.device();
            item.signature = self.keys.device_key.sign_version(&item.header.version_id());
        }
        Ok(())
    }

    async fn push_batch(&self, batch: Batch) -> Result<PushReport, Error> {
        let ids: Vec<VersionId> = batch.iter().map(|(_, version)| version.id).collect();
        let mut db = self.store.pool().acquire().await?;
        let attached = attachments::of(&mut db, &ids).await?;
        let newest = self.newest_vault_key(&mut db, self.vault()).await?;
        drop(db);
        let (batch, mut report) = self.upload_what_fits(batch, &attached).await?;
        if batch.is_empty() {
            return Ok(report);
        }
        let vault = self.vault();
        let place = self.place(vault.into(), StreamKind::Vault).await?;
        let batch_id: BatchId = new_id(&mut os_random());
        let mut items = Vec::with_capacity(batch.len());
        for (_, version) in &batch {
            let wrapped = self.wrapped_by_newest(version, &newest)?;
            items.push(item(version, wrapped.as_deref(), attached.get(&version.id)));
        }
        let reoffer = batch[0].0.reoffer;
        if reoffer {
            self.sign_for_the_revoked(&mut items).await?;
        }
        // What names a place that this life does not have yet was written in an earlier one.
        let reoffer = reoffer || batch.iter().any(|(_, version)| version.header.observed_seq > place.seq);
        let push = Push { epoch: place.epoch, batch_id, items, groups: groups(&batch), reoffer };
        let answer: Pushed = self.post(&format!("/v1/vaults/{vault}/versions"), &push).await?;
        report.add(self.settle(&batch, &answer).await?);
        Ok(report)
    }
}

#[cfg(test)]
#[path = "push_tests.rs"]
mod tests;
