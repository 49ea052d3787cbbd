//! What accounts may do, as one node knows it: read from the log once, kept in memory, brought up to date by the
//! follower. A token says nothing of it, and a push asks no database for it.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use lockstep_events::{
    AccountId, Event, EventLog, LogError, Recorded, Seq, StreamKind,
    standing::{FormerPlans, Standing},
};
use lru::LruCache;

use crate::bounded::bounded;

/// So many accounts, about 200 bytes each.
const KEPT: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
const PAGE: usize = 500;

/// Standings by account.
pub struct Standings {
    log: Arc<dyn EventLog>,
    kept: Mutex<LruCache<AccountId, Known>>,
    /// Counts the changes that the follower brought, so that a read that began before one is not kept after it.
    changes: AtomicU64,
}

/// A standing with the plans before its present one, and the seq of its last event.
type Known = (Arc<Standing>, Arc<FormerPlans>, Seq);

/// A standing as the log has it, with the seq of its last event.
///
/// # Errors
/// If the log does not answer.
pub async fn load(log: &dyn EventLog, account: AccountId) -> Result<(Standing, Seq), LogError> {
    let (standing, _, at) = load_all(log, account).await?;
    Ok((standing, at))
}

async fn load_all(log: &dyn EventLog, account: AccountId) -> Result<(Standing, FormerPlans, Seq), LogError> {
    let (mut standing, mut former, mut at) = (Standing::default(), FormerPlans::default(), Seq::ZERO);
    loop {
        let page = log.read_subject(account.into(), Standing::subject(account), at, PAGE).await?;
        for recorded in &page {
            at = recorded.seq;
            match recorded.event() {
                Ok(Event::Account(event)) => {
                    former.apply(&standing, &event, recorded.recorded_at);
                    standing.apply(&event);
                }
                Ok(_) => {}
                Err(error) => return Err(LogError::Other(error.into())),
            }
        }
        if page.len() < PAGE {
            return Ok((standing, former, at));
        }
    }
}

impl Standings {
    /// Nothing is known yet.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log, kept: Mutex::new(bounded(KEPT)), changes: AtomicU64::new(0) }
    }

    fn kept(&self) -> MutexGuard<'_, LruCache<AccountId, Known>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The standing of an account, as far as this node has followed the log.
    ///
    /// # Errors
    /// If it is not known and the log does not answer.
    pub async fn of(&self, account: AccountId) -> Result<Arc<Standing>, LogError> {
        Ok(self.with_former(account).await?.0)
    }

    /// The same, with the plans that the account had before.
    ///
    /// # Errors
    /// As [`Standings::of`].
    pub async fn with_former(
        &self,
        account: AccountId,
    ) -> Result<(Arc<Standing>, Arc<FormerPlans>), LogError> {
        if let Some((known, former, _)) = self.kept().get(&account) {
            return Ok((Arc::clone(known), Arc::clone(former)));
        }
        let before = self.changes.load(Ordering::Acquire);
        let (standing, former, at) = load_all(self.log.as_ref(), account).await?;
        let (standing, former) = (Arc::new(standing), Arc::new(former));
        let mut kept = self.kept();
        if self.changes.load(Ordering::Acquire) == before {
            kept.put(account, (Arc::clone(&standing), Arc::clone(&former), at));
        }
        Ok((standing, former))
    }

    /// Takes in events in the order of the log.
    pub fn apply(&self, events: &[Recorded]) {
        for recorded in events.iter().filter(|recorded| changes_standing(recorded)) {
            let account = AccountId::from(recorded.stream);
            let mut kept = self.kept();
            self.changes.fetch_add(1, Ordering::AcqRel);
            match (kept.get_mut(&account), recorded.event()) {
                (Some((.., at)), _) if *at >= recorded.seq => {}
                (Some((standing, former, at)), Ok(Event::Account(event))) => {
                    *at = recorded.seq;
                    Arc::make_mut(former).apply(standing, &event, recorded.recorded_at);
                    Arc::make_mut(standing).apply(&event);
                }
                // What cannot be read is read again from the log, which says why.
                (Some(_), _) => drop(kept.pop(&account)),
                (None, _) => {}
            }
        }
    }
}

/// The envelope says it: its subject is the account itself.
fn changes_standing(recorded: &Recorded) -> bool {
    recorded.stream_kind == StreamKind::Account
        && recorded.subject.is_some_and(|subject| subject.0 == recorded.stream.0)
}
