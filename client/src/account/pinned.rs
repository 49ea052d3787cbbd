//! What a login shows of the server and the account, held against what this profile knows of both. What does not fit is
//! an alarm that is kept, and nothing further is sent.

use lockstep_api::account::Account;
use lockstep_events::canonical::sha256;

use super::{Engine, Error, fold};
use crate::{
    model::AlarmKind,
    store::{alarms, keys},
};

impl Engine {
    /// The login key of the server is the one of the first login or registration here. One that a person has seen the
    /// alarm about, and let pass, takes its place.
    ///
    /// # Errors
    /// An alarm if it is another.
    pub(crate) async fn same_server(&self, shown: &[u8]) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        let known = keys::get(&mut tx, keys::name::SERVER_KEY).await?.filter(|known| !known.is_empty());
        let detail = format!("login key {}", hex::encode(&sha256(shown)[..8]));
        let passes = match known {
            // A device that was approved by another has not seen one yet.
            None => true,
            Some(known) if known == shown => return Ok(()),
            Some(_) => alarms::was_seen(&mut tx, AlarmKind::ServerKey, &detail).await?,
        };
        if !passes {
            drop(tx);
            return Err(self.alarm(AlarmKind::ServerKey, &detail).await);
        }
        keys::set(&mut tx, keys::name::SERVER_KEY, shown).await?;
        Ok(tx.commit().await?)
    }

    /// The account that a login shows has every statement that this device knows, and follows from itself. A server that
    /// was restored may have fewer: it gets them back.
    ///
    /// # Errors
    /// An alarm if it has others.
    pub(crate) async fn same_roster(&self, shown: &Account) -> Result<(), Error> {
        self.keep_alarm(fold(shown), "the statements of a login").await?;
        let known = keys::statements(&mut *self.store.pool().acquire().await?).await?;
        match known.iter().zip(&shown.roster).find(|(known, shown)| known.hash() != shown.hash()) {
            None => Ok(()),
            Some((known, _)) => {
                let detail = format!("statement {} of a login", known.epoch);
                Err(self.alarm(AlarmKind::Roster, &detail).await)
            }
        }
    }

    /// Keeps the alarm that something ended in, if it did.
    pub(crate) async fn keep_alarm<T>(&self, ended: Result<T, Error>, detail: &str) -> Result<T, Error> {
        match ended {
            Err(Error::Alarm(kind)) => Err(self.alarm(kind, detail).await),
            other => other,
        }
    }
}
