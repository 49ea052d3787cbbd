//! What a login or a step-up has begun, for a minute, in memory: only this process can end it, and a person whose server
//! was started again in between begins again. Nothing of it ever touches the disk.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lockstep_events::Micros;
use uuid::Uuid;
use zeroize::Zeroizing;

type Begun = HashMap<Uuid, (Zeroizing<Vec<u8>>, Micros)>;

/// Attempts under way. Their number is bounded by the limits of the actions that begin them.
#[derive(Default)]
pub(super) struct Attempts(Mutex<Begun>);

impl Attempts {
    fn all(&self) -> MutexGuard<'_, Begun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the state of one until a time.
    pub(super) fn put(&self, id: Uuid, state: Vec<u8>, until: Micros) {
        self.all().insert(id, (Zeroizing::new(state), until));
    }

    /// The state of one that has not expired.
    pub(super) fn get(&self, id: Uuid, now: Micros) -> Option<Vec<u8>> {
        self.all().get(&id).filter(|(_, until)| *until > now).map(|(state, _)| state.to_vec())
    }

    /// The same, once: it is gone afterwards.
    pub(super) fn take(&self, id: Uuid, now: Micros) -> Option<Vec<u8>> {
        let (state, until) = self.all().remove(&id)?;
        (until > now).then(|| state.to_vec())
    }

    /// Forgets those that have expired; how many.
    pub(super) fn sweep(&self, now: Micros) -> u64 {
        let mut all = self.all();
        let before = all.len();
        all.retain(|_, (_, until)| *until > now);
        (before - all.len()) as u64
    }
}

impl std::fmt::Debug for Attempts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempts").field("under_way", &self.all().len()).finish()
    }
}
