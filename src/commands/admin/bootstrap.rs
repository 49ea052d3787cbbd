//! The first administrator: a server without one writes a one-time token to its console and to a file that only its
//! user may read. Whoever has an account and the token becomes administrator.
//!
//! Whether there is one is a question to the log, and the roll is claimed at the seq that was looked at: a wiped read
//! model opens nothing, and of many who use the token at once one is named.

use std::{
    io,
    path::{Path, PathBuf},
};

use lockstep_events::{
    AccountId, Event, EventId, EventLog, Hash32, LogError, Micros, NewEvent, Outcome, Seq, StreamId,
    StreamKind, Unit,
    canonical::sha256,
    event::{AccountEvent, AdminBootstrapped, BootstrapOpened, Role, RoleSet, SystemEvent},
    log::StreamExpect,
    standing::Standing,
};
use rand::{CryptoRng, RngCore};
use uuid::Uuid;

use super::act::{AdminError, Done, at};
use crate::{
    auth::server_keys::ServerKeys,
    commands::{
        account::in_effect,
        erase::{Erasure, ErasureState},
        facts::{Actor, claim, existing_account, new_event},
        rotate_key::system_epoch,
    },
    feed, no_room,
    private_file::{self, Begun},
    roll::{self, Roll},
    state::Server,
};

/// A token is valid so long, in seconds: half an hour.
pub const LIFE_S: i64 = 30 * 60;
/// How every token begins.
pub const PREFIX: &str = "lsb_";
/// 160 bits.
const SECRET: usize = 20;
/// Rounds against others who change the roll at the same moment.
const ROUNDS: usize = 8;

/// A token that was made.
pub struct Opened {
    /// As it is written down.
    pub token: String,
    /// Not valid after.
    pub until: Micros,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There may be none, or the log did not answer.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// It cannot be written down.
    #[error("the token of the first administrator cannot be written to {}", path.display())]
    File {
        /// Where it belongs.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether there is no room for it.
    pub fn is_full(&self) -> bool {
        match self {
            Self::File { source, .. } => no_room::is_full(source),
            Self::Admin(error) => matches!(error, AdminError::Log(LogError::Full(_))),
        }
    }
}

fn decide_open(roll: &Roll) -> Result<(), AdminError> {
    let closed = roll.admins() > 0 || roll.bootstrapped;
    if closed { Err(AdminError::Illegal("this server has had an administrator")) } else { Ok(()) }
}

fn is_token(roll: &Roll, token: Hash32, now: Micros) -> bool {
    roll.token.is_some_and(|(known, until)| known == token && now < until)
}

/// Whether a token would name the first administrator now. It is looked at and not used up.
///
/// # Errors
/// If the log does not answer.
pub async fn is_valid(log: &dyn EventLog, token: &str, now: Micros) -> Result<bool, LogError> {
    let roll = Roll::load(log).await?;
    Ok(decide_open(&roll).is_ok() && is_token(&roll, hash(token), now))
}

fn hash(token: &str) -> Hash32 {
    Hash32(sha256(token.trim().as_bytes()))
}

fn decide_use(
    roll: &Roll,
    (standing, erasure): (&Standing, ErasureState),
    token: Hash32,
    now: Micros,
) -> Result<(), AdminError> {
    decide_open(roll)?;
    if standing.disabled {
        return Err(AdminError::Illegal("a disabled account gets no role"));
    }
    // The first administrator would go, and no token would name another.
    if erasure != ErasureState::None {
        return Err(AdminError::Illegal("its erasure was asked for"));
    }
    if is_token(roll, token, now) {
        return Ok(());
    }
    Err(AdminError::Illegal("this token is not valid: `lockstepd admin bootstrap` makes a new one"))
}

/// Makes a token, if there was never an administrator; it takes the place of an earlier one. Works beside a running
/// server or without one.
///
/// # Errors
/// [`AdminError::Illegal`] if there was one; [`OpenError::File`] if it cannot be written down.
pub async fn open(
    log: &dyn EventLog,
    keys: &ServerKeys,
    file: &Path,
    now: Micros,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Opened, OpenError> {
    for _ in 0..ROUNDS {
        let roll = Roll::load(log).await.map_err(AdminError::from)?;
        decide_open(&roll)?;
        if let Some(opened) = make(log, keys, (&roll, file), now, rng).await? {
            return Ok(opened);
        }
    }
    Err(AdminError::Contended.into())
}

/// Makes a token after what was looked at; none if the roll has changed since. It is on the disk before the log knows it:
/// one that nobody could read would keep the next start from making another.
async fn make(
    log: &dyn EventLog,
    keys: &ServerKeys,
    (roll, file): (&Roll, &Path),
    now: Micros,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Option<Opened>, OpenError> {
    let mut secret = [0; SECRET];
    rng.fill_bytes(&mut secret);
    let token = format!("{PREFIX}{}", hex::encode(secret));
    let until = now.plus_seconds(LIFE_S);
    let opened = BootstrapOpened { token: Hash32(sha256(token.as_bytes())), until };
    let event = Event::System(SystemEvent::BootstrapOpened(opened));
    let id = EventId(Uuid::new_v4());
    let event =
        new_event(None, StreamId::SYSTEM, id, Some(roll::SUBJECT), &event).map_err(AdminError::from)?;
    let failed = |source| OpenError::File { path: file.to_owned(), source };
    if file.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    private_file::sweep(file);
    let written = Begun::with(file, format!("{token}\n").as_bytes()).map_err(failed)?;
    let outcome = log.append(&[on_roll(keys, roll, event)], now).await.map_err(AdminError::from)?.pop();
    if !matches!(outcome, Some(Outcome::Appended(_))) {
        return Ok(None);
    }
    written.replace().map_err(failed)?;
    Ok(Some(Opened { token, until }))
}

fn on_roll(keys: &ServerKeys, roll: &Roll, event: NewEvent) -> Unit {
    let epoch = system_epoch(keys);
    Unit {
        streams: vec![claim(StreamId::SYSTEM, StreamKind::System, StreamExpect::Any, epoch)],
        subjects: vec![at(StreamId::SYSTEM, roll::SUBJECT, roll.seq)],
        events: vec![event],
        ..Unit::default()
    }
}

/// What a start did about the first administrator.
pub enum Start {
    /// Nothing: there was one.
    Nothing,
    /// It made a token.
    Made(Opened),
    /// Nothing yet: an earlier token is valid until then.
    Waits(Micros),
}

/// Makes a token if one is wanted: there never was an administrator, and no token is valid still. Of several nodes that
/// start at once one makes it: what it says to its operator stays true.
///
/// # Errors
/// If the log does not answer, or the token cannot be written down.
pub async fn at_start(
    log: &dyn EventLog,
    keys: &ServerKeys,
    file: &Path,
    now: Micros,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Start, OpenError> {
    for _ in 0..ROUNDS {
        let roll = Roll::load(log).await.map_err(AdminError::from)?;
        match roll.token {
            _ if decide_open(&roll).is_err() => return Ok(Start::Nothing),
            Some((_, until)) if now < until => return Ok(Start::Waits(until)),
            _ => {}
        }
        if let Some(opened) = make(log, keys, (&roll, file), now, rng).await? {
            return Ok(Start::Made(opened));
        }
    }
    Err(AdminError::Contended.into())
}

/// Uses the token: the account becomes administrator.
///
/// # Errors
/// [`AdminError`]
pub async fn bootstrap(server: &Server, by: Actor, token: &str) -> Result<Done, AdminError> {
    let token = hash(token);
    for _ in 0..ROUNDS {
        let roll = Roll::load(server.log.as_ref()).await?;
        let (standing, seq) = feed::standing(server.log.as_ref(), by.account).await?;
        let erasure = Erasure::of(server.log.as_ref(), by.account).await?.state;
        decide_use(&roll, (&standing, erasure), token, server.clock.now())?;
        let unit = named(server, by, token, (&roll, seq))?;
        if let Outcome::Appended(placed) = server.batcher.append(unit).await? {
            let position = placed.iter().map(|placed| placed.position).max().unwrap_or_default();
            in_effect(server, position).await;
            return Ok(Done::at(position));
        }
    }
    Err(AdminError::Contended)
}

fn named(server: &Server, by: Actor, token: Hash32, seen: (&Roll, Seq)) -> Result<Unit, LogError> {
    let (roll, seq) = seen;
    let account: AccountId = by.account;
    let body = SystemEvent::Bootstrapped(AdminBootstrapped { account, token });
    let id = EventId(Uuid::new_v4());
    let event = by.event_in(StreamId::SYSTEM, id, Some(roll::SUBJECT), &Event::System(body))?;
    let mut unit = on_roll(&server.keys, roll, event);
    let subject = Standing::subject(account);
    unit.streams.push(existing_account(account));
    unit.subjects.push(at(account.into(), subject, seq));
    let set = AccountEvent::RoleSet(RoleSet { role: Role::Admin });
    unit.events.push(by.event(EventId(Uuid::new_v4()), Some(subject), set)?);
    Ok(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(100);

    fn roll(token: Option<(u8, i64)>) -> Roll {
        let token = token.map(|(n, until)| (Hash32([n; 32]), Micros(until)));
        Roll { token, ..Roll::default() }
    }

    fn used(roll: &Roll, token: u8) -> bool {
        let asked = (&Standing::default(), ErasureState::None);
        decide_use(roll, asked, Hash32([token; 32]), NOW).is_ok()
    }

    #[test]
    fn the_token_names_the_first_administrator() {
        assert!(used(&roll(Some((7, 101))), 7));
    }

    #[test]
    fn illegal_transitions_are_refused() {
        assert!(!used(&roll(None), 7));
        assert!(!used(&roll(Some((8, 101))), 7));
        assert!(!used(&roll(Some((7, 100))), 7));
        let mut had = roll(Some((7, 101)));
        had.bootstrapped = true;
        assert!(!used(&had, 7) && decide_open(&had).is_err());
        let mut has = roll(Some((7, 101)));
        has.members.insert(AccountId(Uuid::from_u128(1)), Role::Admin);
        assert!(!used(&has, 7) && decide_open(&has).is_err());
        let (valid, here) = (roll(Some((7, 101))), Standing::default());
        let refused = |whom| decide_use(&valid, whom, Hash32([7; 32]), NOW).is_err();
        let disabled = Standing { disabled: true, ..Standing::default() };
        assert!(refused((&disabled, ErasureState::None)));
        assert!(refused((&here, ErasureState::Due(Micros(1)))) && refused((&here, ErasureState::Erased)));
    }
}
