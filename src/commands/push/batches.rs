//! Which batches were pushed lately, so that an id that comes again with other versions is noticed.
//!
//! A batch id names one push for ever: it stands in every event as the origin. The versions themselves are recognised
//! by their own ids in the log; this only tells a client that it has mixed up its batches, before anything is done.
//! It is this node's memory of the last batches, and nothing depends on it.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lockstep_events::{AccountId, BatchId, DeviceId, canonical::Writer};
use lru::LruCache;

use crate::bounded::bounded;

use super::{Push, Ready};

const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Digests of the last batches, by account, device and id.
#[derive(Debug)]
pub struct Batches(Mutex<LruCache<(AccountId, DeviceId, BatchId), [u8; 32]>>);

impl Default for Batches {
    fn default() -> Self {
        Self(Mutex::new(bounded(REMEMBERED)))
    }
}

impl Batches {
    /// Whether this is the first push of its batch, or the same as the first.
    pub(super) fn admit(&self, push: &Push, ready: &[Ready]) -> bool {
        let digest = digest(push, ready);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known.get_or_insert((push.account, push.device, push.batch), || digest) == digest
    }
}

/// Over what is asked for: which versions, in which order and groups, under which conditions. A retry may come under
/// another epoch, after a reset.
fn digest(push: &Push, ready: &[Ready]) -> [u8; 32] {
    let mut digest = Writer::new("lockstep/batch/1").fixed(push.vault.as_bytes());
    for item in ready {
        digest = digest.fixed(&item.version.0);
        for head in item.expect_heads.iter().flatten() {
            digest = digest.u8(1).fixed(&head.0);
        }
        digest = digest.u8(if item.expect_heads.is_some() { 2 } else { 3 });
    }
    for group in &push.groups {
        digest = digest.u8(4);
        for index in group {
            digest = digest.u32(u32::try_from(*index).unwrap_or(u32::MAX));
        }
    }
    digest.sha256()
}
