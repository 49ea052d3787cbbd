//! Whether what a server is started with belongs together. A part that was put back without the others, or not at all,
//! is noticed before anything is made anew in its place.

use std::path::Path;

use lockstep_events::{EventLog, Micros, Position};
use lockstep_projections::{Family, ReadError, store::ReadStore};

use super::{
    StartError,
    ports::{self, Databases, Port, Ports},
};
use crate::{
    adapters::form::Form,
    auth::credentials::CredentialStore,
    config::Config,
    erasure::scan,
    operate::moving::{arriving, moved},
    tables::TableStore,
};

/// Whether something is there. What may not be looked at is not taken for lost.
///
/// # Errors
/// [`StartError::Unseen`]
pub fn is_there(path: &Path) -> Result<bool, StartError> {
    path.try_exists().map_err(|source| StartError::Unseen { path: path.to_owned(), source })
}

/// A program that does not know the form of some tables would misread them; one that changed it would take them from the
/// server that uses them. For commands that only look: tables that are not there are not made either.
///
/// # Errors
/// [`StartError::OtherForm`], or if they cannot be looked at.
pub async fn of_this_form(config: &Config, all: &[Port]) -> Result<(), StartError> {
    of_a_form(config, all, true, |form| form == Form::Same).await
}

/// The same for commands that write: only a server that starts brings tables to another form, and these would too as they
/// open them. Before they do.
///
/// # Errors
/// As [`of_this_form`].
pub async fn of_no_other_form(config: &Config, all: &[Port]) -> Result<(), StartError> {
    of_a_form(config, all, false, |form| matches!(form, Form::Same | Form::Blank)).await
}

/// The same for a server that starts. Before any of its tables is brought to its form.
///
/// # Errors
/// As [`of_this_form`].
pub async fn of_no_newer_form(config: &Config) -> Result<(), StartError> {
    of_a_form(config, &Port::ALL, false, |form| form != Form::Newer).await
}

async fn of_a_form(
    config: &Config,
    all: &[Port],
    looks: bool,
    is_right: fn(Form) -> bool,
) -> Result<(), StartError> {
    for (at, port) in all.iter().enumerate() {
        if all[..at].iter().any(|asked| port.is_in_one_with(*asked, config)) {
            continue;
        }
        let (form, what) = ports::form(config, *port, looks).await?;
        if !is_right(form) {
            return Err(StartError::OtherForm { what, form });
        }
    }
    Ok(())
}

/// Before a store is opened, as opening makes it: a file that is gone though the log has events. An empty file in its
/// place is the word of whoever runs the server that it is gone for good.
///
/// # Errors
/// [`StartError::LostFile`], or what the log or the folder does not answer.
pub async fn nothing_lost(config: &Config) -> Result<(), StartError> {
    nothing_lost_of(config, &mut Databases::new(config)).await
}

/// The same, by a log that is opened as these are.
pub async fn nothing_lost_of(config: &Config, databases: &mut Databases<'_>) -> Result<(), StartError> {
    let mut lost = None;
    for file in ports::irreplaceable(config) {
        if !is_there(&file)? {
            lost.get_or_insert(file);
        }
    }
    let Some(lost) = lost else { return Ok(()) };
    if Config::is_sqlite(&config.log) && !is_there(&ports::log_file(config))? {
        return Ok(());
    }
    let log = ports::log(config, databases).await?;
    if log.tail().await?.position == Position::ZERO { Ok(()) } else { Err(StartError::LostFile(lost)) }
}

/// The same for a database of credentials, which is there whatever became of its rows: the first start of a server wrote
/// something into it before anything was appended. A file of them is made by whoever opens it, and was looked for before.
///
/// # Errors
/// [`StartError::LostCredentials`], or what a store does not answer.
pub async fn credentials_kept(
    config: &Config,
    log: &dyn EventLog,
    credentials: &dyn CredentialStore,
) -> Result<(), StartError> {
    // The log before the credentials: another node may be at its first start.
    if Config::is_sqlite(&config.credentials) || log.tail().await?.position == Position::ZERO {
        return Ok(());
    }
    if credentials.is_blank().await? { Err(StartError::LostCredentials) } else { Ok(()) }
}

/// An empty log beside a key file whose server has read events: the log of another database, or a lost one. Whoever goes
/// on with it makes the right one look as if it had been restored.
///
/// # Errors
/// [`StartError::EmptyLog`], or what the log does not answer.
pub async fn not_emptied(config: &Config, log: &dyn EventLog) -> Result<(), StartError> {
    // Before the log: another node may be at its first start.
    let key_file = config.key_path();
    let Some(mark) = scan::mark(&key_file).filter(|mark| !mark.restored) else { return Ok(()) };
    if log.tail().await?.position > Position::ZERO {
        return Ok(());
    }
    Err(StartError::EmptyLog { mark: scan::path(&key_file), position: mark.position.0 })
}

/// A server that was moved elsewhere, or whose move to here was cut off: whoever serves it lets two histories begin.
///
/// # Errors
/// [`StartError::Moved`], [`StartError::Arriving`], or what the store does not answer.
pub async fn not_moved(facts: &dyn TableStore) -> Result<(), StartError> {
    if let Some(moved) = moved(facts).await? {
        return Err(StartError::Moved(moved));
    }
    if arriving(facts).await?.is_some() { Err(StartError::Arriving) } else { Ok(()) }
}

/// Looks at the log, the credentials, the read models and the key file.
///
/// # Errors
/// [`StartError::Moved`], [`StartError::Arriving`], [`StartError::LostKeys`], [`StartError::LostCredentials`],
/// [`StartError::Ahead`], [`StartError::EmptyLog`], or what a store does not answer.
pub async fn check(config: &Config, ports: &Ports, now: Micros) -> Result<(), StartError> {
    not_moved(&*ports.facts).await?;
    // Before the log: other nodes go on with both meanwhile.
    let reads = read_position(&*ports.reads).await?;
    let tail = ports.log.tail().await?;
    if let Some(ms) = ahead_ms(tail.recorded_at, now) {
        tracing::warn!(
            ms,
            "the clock is behind the last event of the log: until it has caught up, each event is dated a microsecond \
             after the one before it"
        );
    }
    let log = tail.position;
    if log.0 > 0 && !is_there(&config.key_path())? {
        return Err(StartError::LostKeys(config.key_path()));
    }
    credentials_kept(config, &*ports.log, &*ports.credentials).await?;
    if reads > log {
        return Err(StartError::Ahead { reads: reads.0, log: log.0 });
    }
    not_emptied(config, &*ports.log).await
}

/// How far the read models have the log that have most of it.
///
/// # Errors
/// What they do not answer.
pub async fn read_position(reads: &dyn ReadStore) -> Result<Position, ReadError> {
    let mut position = Position::ZERO;
    for family in Family::ALL {
        position = position.max(reads.checkpoint_of(family).await?.position);
    }
    Ok(position)
}

/// By how much a time of the log is ahead of the clock, if by more than clocks of several nodes differ.
fn ahead_ms(recorded_at: Micros, now: Micros) -> Option<i64> {
    const APART_MS: i64 = 10_000;
    Some((recorded_at.0 - now.0) / 1000).filter(|ahead| *ahead > APART_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_the_log_is_told_and_one_of_another_node_is_not() {
        let now = Micros(1_000_000_000_000);
        assert_eq!(ahead_ms(now.plus_seconds(172_800), now), Some(172_800_000));
        assert_eq!(ahead_ms(now.plus_seconds(5), now), None);
        assert_eq!(ahead_ms(Micros(0), now), None);
    }
}
