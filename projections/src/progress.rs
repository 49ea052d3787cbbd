//! How far the read models are, for those who wait for them and those who watch them.

use std::time::Duration;

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
pub struct Progress(pub(crate) watch::Receiver<[Standing; 2]>);

impl Progress {
    /// Where a family stands.
    pub fn of(&self, family: Family) -> Standing {
        self.0.borrow()[index(family)].clone()
    }

    /// The last position that is in all read models.
    pub fn position(&self) -> Position {
        self.0.borrow().iter().map(|standing| standing.position).min().unwrap_or_default()
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

    async fn wait(&self, families: &[Family], wanted: Position, at_most: Duration) -> Result<(), WaitError> {
        let mut standings = self.0.clone();
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
