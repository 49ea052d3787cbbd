//! Which stores have no room left: told once when something is refused there for want of it, and once when that is over.
//!
//! Nobody asks a store whether it has room, for the next write may need more than the last. What counts is what was
//! refused of late: it is over when the same gets through again, or when nothing was refused for long.

use std::{
    io::{self, ErrorKind},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// A store that refused something less than this ago is still full: at the edge small things fit and large ones do not.
const EDGE: Duration = Duration::from_secs(5);
/// A store that has refused nothing for so long, four times what those who were refused wait, is full no more.
const OVER: Duration = Duration::from_mins(2);

/// Whether the system says that there is no room left for a file.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// A store that may be full. Named as in `/health/ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// The event log.
    Log,
    /// The read models.
    Reads,
    /// Credentials, keys of people, and the operational tables beside them.
    Credentials,
    /// Long ciphertexts, and uploads on their way.
    Blobs,
}

impl Store {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Log, Self::Reads, Self::Credentials, Self::Blobs];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Reads => "reads",
            Self::Credentials => "credentials",
            Self::Blobs => "blobs",
        }
    }

    /// What it holds, for people.
    pub fn holds(self) -> &'static str {
        match self {
            Self::Log => "events",
            Self::Reads => "read models",
            Self::Credentials => "credentials",
            Self::Blobs => "long ciphertexts",
        }
    }
}

/// The last refusal of a store.
#[derive(Debug)]
struct Refusal {
    store: Store,
    at: Instant,
    /// What was refused: a method and a route, or what the server does by itself.
    what: String,
}

/// The stores that have no room left.
#[derive(Debug, Default)]
pub struct NoRoom {
    refusals: Mutex<Vec<Refusal>>,
    /// Whether there are any: what gets through asks only this.
    any: AtomicBool,
}

impl NoRoom {
    fn refusals(&self) -> MutexGuard<'_, Vec<Refusal>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was refused because a store has no room.
    pub fn refused(&self, store: Store, what: &str, cause: &str, now: Instant) {
        let mut refusals = self.refusals();
        let known = refusals.len();
        refusals.retain(|refusal| refusal.store != store);
        if refusals.len() == known {
            tracing::error!(
                port = store.name(),
                cause,
                "no room is left: what is stored is served, what would be written is refused; it goes on when there is room"
            );
        }
        refusals.push(Refusal { store, at: now, what: what.to_owned() });
        self.any.store(true, Ordering::Relaxed);
    }

    /// Something got through: what that was is asked only while a store is full.
    pub fn taken(&self, what: impl FnOnce() -> String, now: Instant) {
        if self.any.load(Ordering::Relaxed) {
            let what = what();
            self.end(|refusal| refusal.what == what && now.duration_since(refusal.at) > EDGE);
        }
    }

    /// Ends what is long ago. Called from time to time.
    pub fn look(&self, now: Instant) {
        if self.any.load(Ordering::Relaxed) {
            self.end(|refusal| now.duration_since(refusal.at) > OVER);
        }
    }

    /// Whether a store has no room, as far as is known.
    pub fn is_full(&self, store: Store) -> bool {
        self.any.load(Ordering::Relaxed) && self.refusals().iter().any(|refusal| refusal.store == store)
    }

    fn end(&self, is_over: impl Fn(&Refusal) -> bool) {
        let mut refusals = self.refusals();
        for over in refusals.extract_if(.., |refusal| is_over(refusal)) {
            tracing::info!(port = over.store.name(), "nothing is refused any more for want of room");
        }
        self.any.store(!refusals.is_empty(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUSH: &str = "POST /v1/vaults/{vault}/versions";

    #[test]
    fn a_store_is_full_until_the_same_gets_through_and_not_at_the_edge() {
        let (room, start) = (NoRoom::default(), Instant::now());
        room.refused(Store::Log, PUSH, "", start);
        room.refused(Store::Blobs, "PUT", "", start);
        assert_eq!(Store::ALL.map(|store| room.is_full(store)), [true, false, false, true]);
        room.taken(|| PUSH.to_owned(), start + Duration::from_secs(1));
        assert!(room.is_full(Store::Log), "something small got through");
        room.taken(|| "POST /v1/sessions".to_owned(), start + Duration::from_secs(10));
        assert!(room.is_full(Store::Log), "something that writes elsewhere got through");
        room.taken(|| PUSH.to_owned(), start + Duration::from_secs(10));
        assert_eq!(Store::ALL.map(|store| room.is_full(store)), [false, false, false, true]);
    }

    #[test]
    fn a_store_that_nobody_writes_to_any_more_is_full_for_two_minutes_after_its_last_refusal() {
        let (room, start) = (NoRoom::default(), Instant::now());
        room.refused(Store::Log, PUSH, "", start);
        room.refused(Store::Log, PUSH, "", start + Duration::from_secs(100));
        room.look(start + Duration::from_secs(200));
        assert!(room.is_full(Store::Log));
        room.look(start + Duration::from_secs(221));
        assert!(!room.is_full(Store::Log));
    }
}
