//! What each device was last served: up to which seq of a stream.
//!
//! Kept in memory, for a bounded number of devices. A restart forgets it, and another node never knew it: then a
//! device was served nothing, and a save without parents becomes a branch. Forgetting can cost a branch, never an
//! edit.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lockstep_events::{DeviceId, Seq, StreamId};
use lru::LruCache;

const DEVICES: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// The places, by device and stream.
#[derive(Debug)]
pub struct Served(Mutex<LruCache<(DeviceId, StreamId), Seq>>);

impl Default for Served {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(DEVICES)))
    }
}

impl Served {
    /// Notes that a device was sent everything of a stream up to a seq. Called by whatever answers or pushes pages.
    pub fn note(&self, device: DeviceId, stream: StreamId, to: Seq) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.get_or_insert_mut((device, stream), Seq::default);
        *place = to.max(*place);
    }

    /// Up to where a device was served; 0 if that is not known.
    pub fn to(&self, device: DeviceId, stream: StreamId) -> Seq {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(&(device, stream)).copied().unwrap_or_default()
    }
}
