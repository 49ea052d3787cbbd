//! What each device was served and has shown to have: up to which seq of which life of a stream.
//!
//! What was sent is no proof: a connection may have broken with it. So a place is noted by what comes after: the cursor
//! that the device asks from, or its answer to a ping that went out behind the frames. It is noted in memory and written
//! behind: what has changed since is kept in the database every few seconds, many places at once, a bounded number in
//! each round. It is read from there when a save names no parents, so another node knows it too, and a node that was
//! started again. What is not known (too young, or forgotten) counts as never served, and a save over it becomes a
//! branch. Forgetting can cost a branch, never an edit: a place is never further than what the device has, and a place of
//! another life counts for nothing.

#[cfg(test)]
pub(crate) mod testing;

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use lockstep_events::{DeviceId, Epoch, Micros, Seq, StreamId};
use lru::LruCache;

use crate::{auth::credentials::CredentialError, bounded::bounded};

/// Places in memory, about 150 bytes each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// Places that are written in one statement.
const AT_ONCE: usize = 500;

/// How far a device was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The device. Its id is enough: a stream is its account's alone, and nobody else is served it.
    pub device: DeviceId,
    /// The stream.
    pub stream: StreamId,
    /// Its life then.
    pub epoch: Epoch,
    /// Everything up to here.
    pub seq: Seq,
}

/// Keeps places for all nodes, over restarts.
///
/// 1. Of two places of the same life the further one stays, in whatever order they come.
/// 2. A place of another life replaces what was kept.
#[async_trait]
pub trait ServedPlaces: Send + Sync {
    /// Keeps places; no device and stream twice among them.
    async fn keep(&self, places: &[Place], now: Micros) -> Result<(), CredentialError>;

    /// The place of a device in a stream, of whatever life it is.
    async fn place(&self, device: DeviceId, stream: StreamId) -> Result<Option<Place>, CredentialError>;

    /// Deletes what was not kept anew since a time.
    async fn forget_before(&self, before: Micros) -> Result<u64, CredentialError>;
}

/// The places that this node knows, and the ones that all nodes know.
pub struct Served {
    kept: Arc<dyn ServedPlaces>,
    inner: Mutex<Inner>,
}

struct Inner {
    places: LruCache<(DeviceId, StreamId), Known>,
    /// Those that are further than what is kept, each once, the oldest first.
    unkept: VecDeque<(DeviceId, StreamId)>,
}

#[derive(Clone, Copy)]
struct Known {
    epoch: Epoch,
    seq: Seq,
    unkept: bool,
}

impl Served {
    /// Nothing is in memory yet.
    pub fn new(kept: Arc<dyn ServedPlaces>) -> Self {
        let inner = Inner { places: bounded(REMEMBERED), unkept: VecDeque::new() };
        Self { kept, inner: Mutex::new(inner) }
    }

    // Every change is one call under the lock; a panic leaves nothing half-done.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a device has everything of a life of a stream up to a seq, as it shows itself. Never waits.
    pub fn note(&self, device: DeviceId, stream: StreamId, epoch: Epoch, to: Seq) {
        let key = (device, stream);
        let mut inner = self.inner();
        let nothing = || Known { epoch, seq: Seq::ZERO, unkept: false };
        let known = inner.places.get_or_insert_mut(key, nothing);
        if known.epoch == epoch && known.seq >= to {
            return;
        }
        let waits = std::mem::replace(known, Known { epoch, seq: to, unkept: true }).unkept;
        if !waits {
            inner.unkept.push_back(key);
        }
    }

    /// Up to where a device was served in this life of a stream; 0 if that is not known. Asks the database.
    pub async fn to(&self, device: DeviceId, stream: StreamId, epoch: Epoch) -> Seq {
        let here = self.inner().places.get(&(device, stream)).map(|known| (known.epoch, known.seq));
        let kept = self.kept.place(device, stream).await.unwrap_or_else(|error| {
            tracing::debug!(cause = %error, "what a device was served is not known now; its save may be a branch");
            None
        });
        let all = here.into_iter().chain(kept.map(|place| (place.epoch, place.seq)));
        all.filter(|(of, _)| *of == epoch).map(|(_, seq)| seq).max().unwrap_or_default()
    }

    /// Forgets what this node has in memory about streams that end.
    pub fn forget(&self, streams: &[StreamId]) {
        let mut inner = self.inner();
        inner.unkept.retain(|(_, stream)| !streams.contains(stream));
        let of_them = inner.places.iter().map(|(key, _)| *key).filter(|(_, stream)| streams.contains(stream));
        for key in of_them.collect::<Vec<_>>() {
            inner.places.pop(&key);
        }
    }

    /// Keeps what is not kept yet, at most so many places; how many are left.
    ///
    /// # Errors
    /// If the database does not answer; nothing is forgotten for that.
    pub async fn keep(&self, now: Micros, at_most: usize) -> Result<usize, CredentialError> {
        let mut room = at_most;
        loop {
            let batch = self.take(room.min(AT_ONCE));
            if batch.is_empty() {
                return Ok(self.inner().unkept.len());
            }
            room -= batch.len();
            if let Err(error) = self.kept.keep(&batch, now).await {
                self.put_back(&batch);
                return Err(error);
            }
        }
    }

    /// Deletes what nobody was served since a time.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn forget_before(&self, before: Micros) -> Result<u64, CredentialError> {
        self.kept.forget_before(before).await
    }

    fn take(&self, at_most: usize) -> Vec<Place> {
        let mut inner = self.inner();
        let mut batch = Vec::with_capacity(at_most.min(inner.unkept.len()));
        while batch.len() < at_most {
            let Some((device, stream)) = inner.unkept.pop_front() else { break };
            // What fell out of memory meanwhile is forgotten.
            if let Some(known) = inner.places.peek_mut(&(device, stream)).filter(|known| known.unkept) {
                known.unkept = false;
                batch.push(Place { device, stream, epoch: known.epoch, seq: known.seq });
            }
        }
        batch
    }

    fn put_back(&self, batch: &[Place]) {
        let mut inner = self.inner();
        for Place { device, stream, .. } in batch.iter().rev() {
            let known = inner.places.peek_mut(&(*device, *stream)).filter(|known| !known.unkept);
            if known.map(|known| known.unkept = true).is_some() {
                inner.unkept.push_front((*device, *stream));
            }
        }
    }
}

#[cfg(test)]
mod tests;
