//! What of an account's news a person has to be told, whatever was asked for.

use lockstep_client::{Client, model::Change};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use super::ui::Ui;

/// Listens to what is applied from here on.
pub struct Alerts(Receiver<Change>);

impl Alerts {
    /// Begins to listen.
    pub fn of(client: &Client) -> Self {
        Self(client.changes())
    }

    /// Says what came meanwhile: the last of each kind.
    pub fn tell(mut self, ui: Ui) {
        let (mut reused, mut erasure) = (false, None);
        loop {
            match self.0.try_recv() {
                Ok(Change::Account { kind }) => match kind.as_str() {
                    "session.refresh_reused" => reused = true,
                    "account.erasure_requested" => erasure = Some(true),
                    "account.erasure_cancelled" => erasure = Some(false),
                    _ => {}
                },
                Ok(_) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if reused {
            ui.warn(
                "a session of this account was used from two places: a profile was copied, or its token stolen. \
                 If it was not you: lockstep passwd, then lockstep devices",
            );
        }
        match erasure {
            Some(true) => ui.warn("this account is going to be erased: lockstep account keep calls that off"),
            Some(false) => ui.say("The erasure of this account was called off."),
            None => {}
        }
    }
}
