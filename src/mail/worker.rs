//! The worker: takes tasks from the outbox, makes letters of them, hands them over.
//!
//! A link's secret is derived from its task's id and a key of the server: a letter that is sent again after a kill is
//! the same letter with the same link, and a copied database makes no links.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockstep_api::words;
use lockstep_events::{AccountId, LogError, Micros, canonical::sha256};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Letter, MailError, Mailer, PATIENCE, letter,
    outbox::{About, Claimed, REMEMBERED_S, Task},
};
use crate::{
    auth::{
        addresses::{Address, MailedLink, Purpose, Standing},
        credentials::{CredentialError, NameIndex},
    },
    commands::{
        address::{self, AddressError},
        erase::Erasure,
        facts::derived,
    },
    retention,
    state::{Server, Shared},
};

/// A sign-in link is valid for so long, in seconds.
pub const SIGN_IN_S: i64 = 600;
/// An address can be confirmed for so long, in seconds.
pub const CONFIRM_S: i64 = 24 * 3600;
/// Nobody else takes a task that a worker has for so long, in seconds: all that are taken at once, each with the whole
/// patience that the mail server gets.
const LEASE_S: i64 = 120;
/// The same: what lasts longer belongs to somebody else by then. A database that is silent for good ends with it.
const LEASE: Duration = Duration::from_secs(LEASE_S.unsigned_abs());
/// A database that says nothing for so long is gone: no statement takes longer.
const SILENCE: Duration = Duration::from_secs(35);
/// A server that stops finishes the letter that it has in its hands, if that takes no longer.
const LAST_LETTER: Duration = Duration::from_secs(5);
/// Tasks that are taken at once.
const AT_ONCE: u32 = 8;
const _: () = assert!(PATIENCE.as_secs() * (AT_ONCE as u64) < LEASE.as_secs());
/// Between two looks at the outbox.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two sweeps.
const SWEEP: u32 = 300;
/// The last letter to somebody may take so long.
const FAREWELL: Duration = Duration::from_secs(20);
/// A letter that was not taken so often is given up: half a day of tries.
const TRIES: u32 = 18;

/// What the rest of the server has of the mail: where links lead, and how to wake the worker.
pub struct Post {
    mailer: Box<dyn Mailer>,
    base: String,
    nudge: Notify,
}

/// Why a task is not done yet.
#[derive(Debug, thiserror::Error)]
enum TaskError {
    #[error(transparent)]
    Store(#[from] CredentialError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Mail(#[from] MailError),
    #[error(transparent)]
    Subject(#[from] crate::subjects::SubjectError),
    #[error("what follows from an address that was confirmed waits")]
    Address(#[source] AddressError),
}

impl Post {
    /// Letters go out by this mailer, and links lead to this address of the server.
    pub fn new(mailer: Box<dyn Mailer>, base: &str) -> Self {
        Self { mailer, base: base.trim_end_matches('/').to_owned(), nudge: Notify::new() }
    }

    /// Where the server is for people with a browser.
    pub fn base(&self) -> &str {
        &self.base
    }
}

/// Leaves a task. The same id again changes nothing.
///
/// # Errors
/// If the outbox does not answer.
pub async fn leave(server: &Server, id: Uuid, task: &Task) -> Result<(), CredentialError> {
    server.ways.put_task(id, task.account(), &task.to_bytes(), server.clock.now()).await?;
    server.post.nudge.notify_one();
    Ok(())
}

/// Tells a person that their account is being erased, in the last moment in which there is an address. One try: the
/// erasure does not wait for a mail server, and its announcement was a task.
///
/// # Errors
/// If the address cannot be read.
pub async fn farewell(server: &Server, account: AccountId) -> Result<(), CredentialError> {
    let Some(address) = server.ways.address(account, Standing::Confirmed).await? else { return Ok(()) };
    let id = derived("lockstep/v1/mail-farewell", &[account.as_bytes()]).0;
    let sent = async {
        let Some(to) = opened(server, &address).await? else { return Ok(()) };
        server.post.mailer.send(&letter::farewell((account, &id.to_string()), &to)).await?;
        Ok::<_, TaskError>(())
    };
    let cause = match timeout(FAREWELL, sent).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => detail(&error),
        Err(_) => "the mail server took too long".to_owned(),
    };
    tracing::warn!(%cause, "somebody could not be told that their account is being erased");
    Ok(())
}

/// The secret of the link that a task mails.
pub fn secret(server: &Server, task: Uuid) -> [u8; 32] {
    server.keys.stable("mailed-link", task.as_bytes())
}

/// Works until the server stops.
pub async fn run(server: Shared, stop: CancellationToken) {
    let mut failing = false;
    for look in 0_u32.. {
        let outcome = tokio::select! {
            outcome = timeout(LEASE, round(&server, look.is_multiple_of(SWEEP), &stop)) => {
                outcome.unwrap_or_else(|late| Err(CredentialError::Unavailable(late.into())))
            }
            // What is given up now is sent when its lease is over.
            () = async { stop.cancelled().await; sleep(LAST_LETTER).await } => return,
        };
        if let Err(error) = &outcome
            && !failing
        {
            tracing::warn!(cause = %error, "the outbox cannot be read at the moment; mail waits");
        }
        failing = outcome.is_err();
        if matches!(outcome, Ok(taken) if taken > 0) && !stop.is_cancelled() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = server.post.nudge.notified() => {}
            () = sleep(LOOK) => {}
        }
    }
}

/// Does what is due; how many tasks that were.
async fn round(server: &Server, sweep: bool, stop: &CancellationToken) -> Result<usize, CredentialError> {
    let now = server.clock.now();
    let claimed = timeout(SILENCE, claim(server, sweep, now)).await;
    let claimed = claimed.map_err(|late| CredentialError::Unavailable(late.into()))??;
    for one in &claimed {
        if stop.is_cancelled() {
            // Put back at once: the next process need not wait until the lease is over.
            server.ways.postpone_task(one.id, now).await?;
            continue;
        }
        done(server, one).await?;
    }
    Ok(claimed.len())
}

/// Forgets what is over, and frees addresses that were held long enough. By a clock that is far off nothing is.
///
/// # Errors
/// If the store does not answer.
pub async fn sweep(server: &Server) -> Result<(), CredentialError> {
    let Some(now) = server.sure_time().await? else { return Ok(()) };
    server.ways.sweep_tasks(now.plus_seconds(-REMEMBERED_S)).await?;
    // A link that ran out is kept for as long as its task may be tried again: or the same link would begin anew.
    server.ways.sweep_links(now.plus_seconds(-REMEMBERED_S)).await?;
    server.ways.free_addresses(now.plus_seconds(-lockstep_api::FORMER_ADDRESS_S)).await?;
    server.ways.sweep_flows(now).await.map(drop)
}

/// Takes what is due.
async fn claim(server: &Server, sweep: bool, now: Micros) -> Result<Vec<Claimed>, CredentialError> {
    if sweep {
        self::sweep(server).await?;
    }
    server.ways.claim_tasks(now, now.plus_seconds(LEASE_S), AT_ONCE).await
}

async fn done(server: &Server, claimed: &Claimed) -> Result<(), CredentialError> {
    let now = server.clock.now();
    let lasts = Task::from_bytes(&claimed.task).and_then(|task| task.lasts());
    let over = lasts.map_or(now, |until| until.max(now));
    match work(server, claimed).await {
        Ok(()) => server.ways.finish_task(claimed.id, over).await,
        Err(TaskError::Store(error)) => Err(error),
        Err(error @ TaskError::Mail(MailError::Refused(_))) => {
            tracing::warn!(cause = %detail(&error), task = %claimed.id, "a letter was refused for good");
            server.ways.finish_task(claimed.id, over).await
        }
        Err(error) if claimed.tries >= TRIES && !matches!(error, TaskError::Address(_)) => {
            tracing::warn!(cause = %detail(&error), task = %claimed.id, "a letter could not be handed over and is given up");
            server.ways.finish_task(claimed.id, over).await
        }
        Err(error) => {
            tracing::warn!(cause = %detail(&error), task = %claimed.id, "a task of the mail waits and is tried again");
            server.ways.postpone_task(claimed.id, now.plus_seconds(pause(claimed.tries))).await
        }
    }
}

/// Seconds until the next try: from ten seconds to an hour.
fn pause(tries: u32) -> i64 {
    (5_i64 << tries.min(10)).min(3600)
}

/// The error with what lies beneath it.
fn detail(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut beneath = error.source();
    while let Some(source) = beneath {
        text = format!("{text}: {source}");
        beneath = source.source();
    }
    text
}

async fn work(server: &Server, claimed: &Claimed) -> Result<(), TaskError> {
    let Some(letter) = (match Task::from_bytes(&claimed.task) {
        Some(Task::SignIn { name, initiator }) => sign_in(server, claimed.id, name, initiator).await?,
        Some(Task::Confirm { account, initiator }) => confirm(server, claimed.id, account, initiator).await?,
        Some(Task::Notice { account, about }) => notice(server, claimed.id, account, about).await?,
        Some(Task::History { account, until }) => history(server, claimed.id, account, until).await?,
        Some(Task::Confirmed { what }) => match address::finish(server, &what).await {
            // Whose account is gone meanwhile needs nothing more.
            Ok(_) | Err(AddressError::Gone | AddressError::NoAccount) => None,
            Err(error) => return Err(TaskError::Address(error)),
        },
        // A newer program's: it sends it.
        None => return Err(MailError::Options("a task of a newer program").into()),
    }) else {
        return Ok(());
    };
    Ok(server.post.mailer.send(&letter).await?)
}

async fn sign_in(
    server: &Server,
    task: Uuid,
    name: [u8; 32],
    initiator: [u8; 32],
) -> Result<Option<Letter>, TaskError> {
    let Some(account) = server.ways.account_of(NameIndex(name)).await? else { return Ok(None) };
    let Some(address) = server.ways.address(account, Standing::Confirmed).await? else { return Ok(None) };
    let link = Link { purpose: Purpose::SignIn, initiator, life: SIGN_IN_S };
    let Some(url) = link.keep(server, task, &address).await? else { return Ok(None) };
    let Some(to) = opened(server, &address).await? else { return Ok(None) };
    Ok(Some(letter::sign_in((account, &task.to_string()), &to, &words::of(&initiator, 2), &url)))
}

async fn confirm(
    server: &Server,
    task: Uuid,
    account: AccountId,
    initiator: [u8; 32],
) -> Result<Option<Letter>, TaskError> {
    let Some(address) = server.ways.address(account, Standing::Pending).await? else { return Ok(None) };
    let link = Link { purpose: Purpose::Confirm, initiator, life: CONFIRM_S };
    let Some(url) = link.keep(server, task, &address).await? else { return Ok(None) };
    let Some(to) = opened(server, &address).await? else { return Ok(None) };
    Ok(Some(letter::confirm((account, &task.to_string()), &to, &words::of(&initiator, 2), &url)))
}

async fn notice(
    server: &Server,
    task: Uuid,
    account: AccountId,
    about: About,
) -> Result<Option<Letter>, TaskError> {
    let whose = if about == About::AddressChanged { Standing::Former } else { Standing::Confirmed };
    let Some(address) = server.ways.address(account, whose).await? else { return Ok(None) };
    let Some(to) = opened(server, &address).await? else { return Ok(None) };
    let asked = match about {
        About::ErasureAsked => {
            let erasure = Erasure::of(&*server.log, account).await?;
            (erasure.state.due(), erasure.by)
        }
        _ => (None, None),
    };
    Ok(Some(letter::notice_before((account, &task.to_string()), &to, about, asked)))
}

/// None if nothing gets shorter at that time any more: the plan was renewed meanwhile.
async fn history(
    server: &Server,
    task: Uuid,
    account: AccountId,
    until: Micros,
) -> Result<Option<Letter>, TaskError> {
    let fewer = retention::history(server, account).await?.fewer;
    let Some((until, days)) = fewer.filter(|(at, _)| *at == until) else { return Ok(None) };
    let Some(address) = server.ways.address(account, Standing::Confirmed).await? else { return Ok(None) };
    let Some(to) = opened(server, &address).await? else { return Ok(None) };
    Ok(Some(letter::history((account, &task.to_string()), &to, until, days)))
}

/// A link that is about to be mailed.
struct Link {
    purpose: Purpose,
    initiator: [u8; 32],
    life: i64,
}

impl Link {
    /// Keeps the link's hash and gives its URL; none if too many are outstanding, or it has run out.
    async fn keep(&self, server: &Server, task: Uuid, to: &Address) -> Result<Option<String>, TaskError> {
        let (now, secret) = (server.clock.now(), secret(server, task));
        let link = MailedLink {
            token_hash: sha256(&secret),
            purpose: self.purpose,
            account: to.account,
            index: to.index,
            initiator: self.initiator,
            expires_at: now.plus_seconds(self.life),
        };
        let kept = server.ways.put_link(&link, now).await?
            && server.ways.link(link.token_hash, now).await?.is_some();
        Ok(kept.then(|| format!("{}/link/{}", server.post.base, URL_SAFE_NO_PAD.encode(secret))))
    }
}

/// The address itself; none if its key was destroyed.
async fn opened(server: &Server, address: &Address) -> Result<Option<String>, TaskError> {
    address::open(&server.subjects, address).await.map_err(TaskError::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_grow_apart_to_an_hour_and_end_within_a_day() {
        let pauses: Vec<i64> = (1..TRIES).map(pause).collect();
        assert_eq!((pauses[0], *pauses.last().unwrap()), (10, 3600));
        assert!(pauses.is_sorted() && pauses.iter().sum::<i64>() < 24 * 3600);
    }
}
