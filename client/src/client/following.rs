//! Following: the background loops, and what whoever follows is told.

use tokio::task::JoinSet;

use super::Client;
use crate::{
    error::Error,
    model::{Change, Link},
    sync::follow::{feed_loop, pull_loop, push_loop},
};

/// The background loops of [`Client::follow`]; they end when this is dropped.
pub struct Follow {
    /// Everything that happens. A receiver that lags more than 1,024 changes is told so by `Lagged`.
    pub changes: tokio::sync::broadcast::Receiver<Change>,
    /// How fresh this device is, at any time.
    pub link: tokio::sync::watch::Receiver<Link>,
    /// The loops, which say why they ended.
    pub loops: Loops,
}

/// Loops that keep a device fresh; aborted when this is dropped.
pub struct Loops(JoinSet<Error>);

impl Loops {
    /// Waits until there is nothing to follow any more, and says why: [`Error::Revoked`] if the session has ended or the
    /// device was revoked, [`Error::UpdateNeeded`], [`Error::Certificate`] if the server shows another certificate than the
    /// one that the profile trusts. Whatever may pass by itself ends nothing.
    pub async fn ended(&mut self) -> Error {
        match self.0.join_next().await {
            Some(Ok(why)) => why,
            Some(Err(_)) | None => Error::Invalid("following has ended"),
        }
    }
}

impl Client {
    /// What is applied from here on, by whatever syncs.
    pub fn changes(&self) -> tokio::sync::broadcast::Receiver<Change> {
        self.engine.changes.subscribe()
    }

    /// Nothing is asked of the server from now on, by nobody who has this client: what needs it ends with
    /// [`Error::Offline`].
    pub fn leave_server_alone(&self) {
        self.engine.transport.silent.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Starts the background loops: live feed with fall-back to long-poll, and push. They retry until the session has
    /// ended (see [`Loops::ended`]). While an alarm holds the sending, they read, and send nothing; a vault whose history is
    /// not believed is left out until it is, and the others are followed. Another that follows with the same profile takes
    /// the live feed over; this one goes on by long-poll until that one has ended.
    pub fn follow(&self) -> Follow {
        // Subscribed before the loops start, so that nothing is missed.
        let (changes, link) = (self.engine.changes.subscribe(), self.engine.link.subscribe());
        let mut loops = JoinSet::new();
        loops.spawn(feed_loop(self.engine.clone()));
        loops.spawn(pull_loop(self.engine.clone()));
        loops.spawn(push_loop(self.engine.clone()));
        Follow { changes, link, loops: Loops(loops) }
    }
}
