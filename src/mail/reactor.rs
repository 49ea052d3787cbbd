//! Turns events into tasks: what a person should be told about, whichever node or program made it happen.
//!
//! Every node reacts to every event. A task's id is made from its event's, so that it is one task, however many react.

use std::{sync::Arc, time::Duration};

use lockstep_events::{
    Event, LogError, Position, Recorded,
    event::{AccountEvent, RevokeReason},
    log::{Contents, Filter},
};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{error::Elapsed, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    outbox::{About, Task},
    worker,
};
use crate::{
    auth::credentials::CredentialError,
    bus::CommittedBatch,
    commands::{facts::derived, recovery::ARK_BY_RECOVERY},
    state::{Server, Shared},
};

/// The events that make a task.
const KINDS: [&str; 9] = [
    "device.added",
    "account.credential_set",
    "account.sessions_ended",
    "factor.set",
    "factor.removed",
    "account.identity_linked",
    "account.identity_unlinked",
    "account.erasure_requested",
    ERASED,
];
/// Whoever is erased gets no letter of what happened before.
const ERASED: &str = "account.subject_erased";
/// Events read at once.
const PAGE: usize = 500;
/// Some pages of the log take no longer than this.
const PATIENCE: Duration = Duration::from_mins(2);
/// How far is noted at least after so many events.
const NOTE: u64 = 10_000;

/// Why events could not be turned into tasks; they are at the next try.
#[derive(Debug, thiserror::Error)]
enum ReactError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] CredentialError),
    #[error("a database does not answer")]
    Silent(#[from] Elapsed),
}

/// The task that an event makes.
fn task(recorded: &Recorded) -> Option<(Uuid, Task)> {
    if !KINDS.contains(&recorded.kind.as_str()) {
        return None;
    }
    let about = match recorded.event().ok()? {
        // The first device is the one that registers.
        Event::Account(AccountEvent::DeviceAdded(body)) if body.statement.epoch > 1 => About::DeviceAdded,
        Event::Account(AccountEvent::SessionsEnded(body)) => match body.reason {
            RevokeReason::PasswordChanged => About::PasswordChanged,
            RevokeReason::Recovered => About::Recovered,
            _ => return None,
        },
        Event::Account(AccountEvent::CredentialSet(body)) if body.credential == ARK_BY_RECOVERY => {
            About::RecoverySet
        }
        Event::Account(AccountEvent::FactorSet(_)) => About::FactorSet,
        Event::Account(AccountEvent::FactorRemoved(_)) => About::FactorRemoved,
        Event::Account(AccountEvent::IdentityLinked(_)) => About::IdentityLinked,
        Event::Account(AccountEvent::IdentityUnlinked(_)) => About::IdentityUnlinked,
        Event::Account(AccountEvent::ErasureRequested(_)) => About::ErasureAsked,
        _ => return None,
    };
    let id = derived("lockstep/v1/mail-task", &[recorded.event_id.0.as_bytes()]);
    Some((id.0, Task::Notice { account: recorded.stream.into(), about }))
}

struct Reactor {
    server: Shared,
    at: Position,
    noted: Position,
}

/// Reacts until the server stops.
pub async fn run(server: Shared, stop: CancellationToken) {
    let mut news = server.feed.applied();
    let mut reactor = Reactor { server, at: Position::default(), noted: Position::default() };
    let (mut begun, mut behind) = (false, true);
    loop {
        let mut batch = None;
        if begun && !behind {
            batch = tokio::select! {
                () = stop.cancelled() => return,
                batch = news.recv() => match batch {
                    Ok(batch) => Some(batch),
                    Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return,
                },
            };
        }
        let work = async {
            match &batch {
                _ if !begun => reactor.begin().await,
                Some(batch) => reactor.take(batch).await,
                None => reactor.catch_up().await,
            }
        };
        // Whatever is cut off is done again.
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = timeout(PATIENCE, work) => outcome.unwrap_or_else(|late| Err(late.into())),
        };
        behind = outcome.is_err() || !begun;
        begun = begun || outcome.is_ok();
        if let Err(error) = outcome {
            tracing::warn!(cause = %error, "events cannot be turned into mail at the moment");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }
}

impl Reactor {
    /// From where the last run was; a first run begins at the end of the log.
    async fn begin(&mut self) -> Result<(), ReactError> {
        self.at = match self.server.ways.reacted().await? {
            Some(at) => at,
            None => self.server.log.tail().await?.position,
        };
        self.note().await
    }

    async fn note(&mut self) -> Result<(), ReactError> {
        self.server.ways.set_reacted(self.at).await?;
        self.noted = self.at;
        Ok(())
    }

    async fn take(&mut self, batch: &Arc<CommittedBatch>) -> Result<(), ReactError> {
        let last = batch.events.last().map_or(self.at, |last| last.position);
        let made = leave_all(&self.server, batch.events.iter().filter(|e| e.position > self.at)).await?;
        self.at = self.at.max(last);
        if made || self.at.0 > self.noted.0 + NOTE { self.note().await } else { Ok(()) }
    }

    async fn catch_up(&mut self) -> Result<(), ReactError> {
        let end = self.server.log.tail().await?.position;
        let filter = Filter { kinds: KINDS.map(str::to_owned).to_vec(), ..Filter::default() };
        loop {
            let page = self.server.log.read_all(self.at, PAGE, &filter, Contents::No).await?;
            leave_all(&self.server, page.iter()).await?;
            self.at = page.last().map_or(self.at, |e| e.position);
            if page.len() < PAGE {
                self.at = self.at.max(end);
                return self.note().await;
            }
        }
    }
}

/// Leaves the tasks of some events; whether there was one.
async fn leave_all(
    server: &Server,
    events: impl Iterator<Item = &Recorded>,
) -> Result<bool, CredentialError> {
    let mut made = false;
    for recorded in events {
        if recorded.kind == ERASED {
            server.ways.forget_tasks(recorded.stream.into()).await?;
        }
        if let Some((id, task)) = task(recorded) {
            worker::leave(server, id, &task).await?;
            made = true;
        }
    }
    Ok(made)
}
