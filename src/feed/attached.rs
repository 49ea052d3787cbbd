//! Which vaults an account has, as one node knows it: read from the log once, kept in memory, brought up to date by the
//! follower.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use lockstep_events::{AccountId, Event, EventLog, LogError, Recorded, VaultId, event::AccountEvent};
use lru::LruCache;

use crate::{bounded::bounded, members};

/// So many accounts, about 100 bytes each.
const KEPT: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// The stored name of the event that gives an account a vault.
const ATTACHED: &str = "account.vault_attached";

/// Vaults by account.
pub struct Attached {
    log: Arc<dyn EventLog>,
    kept: Mutex<LruCache<AccountId, Arc<[VaultId]>>>,
    /// Counts what the follower brought, so that a read that began before it is not kept after it.
    changes: AtomicU64,
}

impl Attached {
    /// Nothing is known yet.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log, kept: Mutex::new(bounded(KEPT)), changes: AtomicU64::new(0) }
    }

    fn kept(&self) -> MutexGuard<'_, LruCache<AccountId, Arc<[VaultId]>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The vaults of an account, as far as this node has followed the log, in the order in which they were attached.
    ///
    /// # Errors
    /// If they are not known and the log does not answer.
    pub async fn of(&self, account: AccountId) -> Result<Arc<[VaultId]>, LogError> {
        if let Some(known) = self.kept().get(&account) {
            return Ok(Arc::clone(known));
        }
        let before = self.changes.load(Ordering::Acquire);
        let vaults: Arc<[VaultId]> = members::vaults(self.log.as_ref(), account).await?.into();
        let mut kept = self.kept();
        if self.changes.load(Ordering::Acquire) == before {
            kept.put(account, Arc::clone(&vaults));
        }
        Ok(vaults)
    }

    /// Takes in events in the order of the log.
    pub fn apply(&self, events: &[Recorded]) {
        for recorded in events.iter().filter(|recorded| recorded.kind == ATTACHED) {
            let account = AccountId::from(recorded.stream);
            let mut kept = self.kept();
            self.changes.fetch_add(1, Ordering::AcqRel);
            let Some(known) = kept.peek_mut(&account) else { continue };
            match recorded.event() {
                Ok(Event::Account(AccountEvent::VaultAttached(body))) if known.contains(&body.vault) => {}
                Ok(Event::Account(AccountEvent::VaultAttached(body))) => {
                    *known = known.iter().copied().chain([body.vault]).collect();
                }
                // What cannot be read is read again from the log, which says why.
                _ => drop(kept.pop(&account)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_events::{StreamKind, event::VaultAttached, testing::MemoryLog};
    use uuid::Uuid;

    use super::*;
    use crate::feed::testing::some_event;

    fn attached(account: AccountId, n: u128) -> Recorded {
        let body = VaultAttached { vault: VaultId(Uuid::from_u128(n)) };
        let encoded = Event::Account(AccountEvent::VaultAttached(body)).encode().unwrap();
        Recorded {
            stream: account.into(),
            stream_kind: StreamKind::Account,
            kind: encoded.kind.into(),
            schema: encoded.schema,
            public: encoded.public,
            ..some_event(1)
        }
    }

    #[tokio::test]
    async fn a_vault_that_is_attached_later_is_known_and_known_once() {
        let view = Attached::new(Arc::new(MemoryLog::new(Uuid::nil())));
        let account = AccountId(Uuid::from_u128(1));
        view.apply(&[attached(account, 7)]);
        assert!(view.of(account).await.unwrap().is_empty(), "what nobody asked for is not kept");
        view.apply(&[attached(account, 8), attached(account, 8), attached(AccountId::NIL, 9)]);
        assert_eq!(view.of(account).await.unwrap()[..], [VaultId(Uuid::from_u128(8))]);
    }
}
