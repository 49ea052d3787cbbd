//! Places kept in memory, for tests of what stands on them; they can be made to fail.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use lockstep_events::{DeviceId, Micros, StreamId};

use super::{Place, ServedPlaces};
use crate::auth::credentials::CredentialError;

/// Keeps places and counts the calls.
#[derive(Default)]
pub struct MemoryPlaces {
    pub places: Mutex<HashMap<(DeviceId, StreamId), Place>>,
    pub fails: AtomicBool,
    pub writes: AtomicUsize,
    pub reads: AtomicUsize,
}

impl MemoryPlaces {
    fn call(&self, count: &AtomicUsize) -> Result<(), CredentialError> {
        count.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            Err(CredentialError::Unavailable("away".into()))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl ServedPlaces for MemoryPlaces {
    async fn keep(&self, places: &[Place], _: Micros) -> Result<(), CredentialError> {
        self.call(&self.writes)?;
        let mut kept = self.places.lock().unwrap();
        for place in places {
            let old = kept.entry((place.device, place.stream)).or_insert(*place);
            if old.epoch != place.epoch || old.seq < place.seq {
                *old = *place;
            }
        }
        Ok(())
    }

    async fn place(&self, device: DeviceId, stream: StreamId) -> Result<Option<Place>, CredentialError> {
        self.call(&self.reads)?;
        Ok(self.places.lock().unwrap().get(&(device, stream)).copied())
    }

    async fn forget_before(&self, _: Micros) -> Result<u64, CredentialError> {
        Ok(0)
    }
}
