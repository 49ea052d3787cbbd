//! How far the read models are, for those who wait for them and those who watch them.

use std::{sync::Arc, time::Duration};

use lockstep_events::Position;
use tokio::sync::watch;

use crate::key::Family;

/// Where one family stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The last position that is in its rows.
    pub position: Position,
    /// Why it does not go on, if it met an event that it cannot fold.
    pub stopped: Option<String>,
}

/// Why the rows did not become visible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// They are not there yet.
    #[error("the read models had not reached position {wanted} in time; they are at {reached}")]
    Timeout {
        /// What was waited for.
        wanted: Position,
        /// How far they are.
        reached: Position,
    },
    /// The family stopped before that position.
    #[error("the read models {family} stopped at position {position}: {why}")]
    Stopped {
        /// The read models of the family.
        family: &'static str,
        /// Where it stands.
        position: Position,
        /// What it met.
        why: String,
    },
    /// The runner is gone: the server is shutting down.
    #[error("the read models are not followed any more")]
    Ended,
}

/// A view on a [`crate::Runner`] that can be cloned and given away.
#[derive(Debug, Clone)]
pub struct Progress {
    pub(crate) standings: watch::Receiver<[Standing; 2]>,
    pub(crate) wanted: Arc<watch::Sender<Position>>,
}

impl Progress {
    /// Where a family stands.
    pub fn of(&self, family: Family) -> Standing {
        self.standings.borrow()[index(family)].clone()
    }

    /// The last position that is in all read models.
    pub fn position(&self) -> Position {
        self.standings.borrow().iter().map(|standing| standing.position).min().unwrap_or_default()
    }

    /// How far each family is.
    pub fn positions(&self) -> [Position; Family::ALL.len()] {
        Family::ALL.map(|family| self.of(family).position)
    }

    /// Waits until a position is in all read models: then queries see what was written there.
    ///
    /// # Errors
    /// [`WaitError`].
    pub async fn wait_for(&self, position: Position, at_most: Duration) -> Result<(), WaitError> {
        self.wait(&Family::ALL, position, at_most).await
    }

    /// Waits until a position is in the read models of one family.
    ///
    /// # Errors
    /// [`WaitError`].
    pub async fn wait_for_family(
        &self,
        family: Family,
        position: Position,
        at_most: Duration,
    ) -> Result<(), WaitError> {
        self.wait(&[family], position, at_most).await
    }

    /// Waits until somebody waits for what is not in the read models yet: whoever folds need not gather more first.
    pub async fn awaited(&self) {
        let mut wanted = self.wanted.subscribe();
        // The sender lives as long as this view.
        let _ = wanted.wait_for(|wanted| *wanted > self.going()).await;
    }

    /// The last position that is in all read models that have not stopped.
    fn going(&self) -> Position {
        let standings = self.standings.borrow();
        let going = standings.iter().filter(|standing| standing.stopped.is_none());
        going.map(|standing| standing.position).min().unwrap_or(Position(u64::MAX))
    }

    async fn wait(&self, families: &[Family], wanted: Position, at_most: Duration) -> Result<(), WaitError> {
        self.wanted.send_if_modified(|before| {
            let further = wanted > *before;
            *before = wanted.max(*before);
            further
        });
        let mut standings = self.standings.clone();
        let reached =
            tokio::time::timeout(at_most, standings.wait_for(|now| verdict(families, wanted, now).is_some()))
                .await;
        match reached {
            Ok(Ok(now)) => verdict(families, wanted, &now).unwrap_or(Ok(())),
            Ok(Err(_)) => Err(WaitError::Ended),
            Err(_) => Err(WaitError::Timeout { wanted, reached: self.position() }),
        }
    }
}

fn verdict(families: &[Family], wanted: Position, now: &[Standing; 2]) -> Option<Result<(), WaitError>> {
    let mut reached = true;
    for family in families {
        let standing = &now[index(*family)];
        if standing.position >= wanted {
            continue;
        }
        reached = false;
        if let Some(why) = &standing.stopped {
            return Some(Err(WaitError::Stopped {
                family: family.name(),
                position: standing.position,
                why: why.clone(),
            }));
        }
    }
    reached.then_some(Ok(()))
}

pub(crate) const fn index(family: Family) -> usize {
    match family {
        Family::Account => 0,
        Family::Vault => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_what_is_not_there_yet_calls_for_it_and_nobody_else_does() {
        let standings = watch::Sender::<[Standing; 2]>::default();
        let at = |n| Standing { position: Position(n), stopped: None };
        standings.send_replace([at(5), at(5)]);
        let progress = Progress { standings: standings.subscribe(), wanted: Arc::default() };
        let soon = Duration::from_millis(20);
        progress.wait_for(Position(5), soon).await.unwrap();
        assert!(tokio::time::timeout(soon, progress.awaited()).await.is_err(), "it is there already");
        let waiting = tokio::spawn({
            let progress = progress.clone();
            async move { progress.wait_for(Position(7), Duration::from_secs(60)).await }
        });
        progress.awaited().await;
        standings.send_replace([at(7), at(6)]);
        progress.awaited().await;
        standings.send_replace([at(7), at(7)]);
        waiting.await.unwrap().unwrap();
        assert!(tokio::time::timeout(soon, progress.awaited()).await.is_err(), "nobody waits any more");
    }
}
