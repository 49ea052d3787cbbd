//! What an operator's command that only looks opens: the stores as they are, beside a running server, without one, or in a
//! backup. Nothing is made, and no table is brought to another form.

use std::{fs::File, path::PathBuf, sync::Arc};

use lockstep_events::{EventLog, Position};
use lockstep_projections::store::ReadStore;

use super::{
    StartError, alone, fit,
    ports::{self, Databases, Port, Rights},
};
use crate::{adapters::form::Form, blobs::Shelf, clock::SystemClock, config::Config, tables::Family};

/// The log and the read store alone. Who `writes` brings their tables up to date.
///
/// # Errors
/// If one of them cannot be opened, or is only looked at and of another form.
pub async fn log_and_reads(
    config: &Config,
    writes: bool,
) -> Result<(Arc<dyn EventLog>, Arc<dyn ReadStore>), StartError> {
    has_run(config)?;
    let mut databases = if writes { Databases::new(config) } else { Databases::reading(config) };
    if writes {
        stays(config, &mut databases).await?;
    } else {
        of_this_form(config, &[Port::Log, Port::Reads]).await?;
    }
    Ok((ports::log(config, &mut databases).await?, ports::reads(config, &mut databases).await?))
}

/// How far read models have the log, whatever form they are of; 0 if that cannot be read. None are made.
pub async fn read_position(config: &Config) -> Position {
    if Config::is_sqlite(&config.reads) && !ports::reads_file(config).exists() {
        return Position::ZERO;
    }
    let Ok(reads) = ports::reads(config, &mut Databases::reading(config)).await else {
        return Position::ZERO;
    };
    fit::read_position(&*reads).await.unwrap_or_default()
}

/// The log, and nothing else is opened or made.
///
/// # Errors
/// If it cannot be opened, or is of another form.
pub async fn log_alone(config: &Config) -> Result<Arc<dyn EventLog>, StartError> {
    has_run(config)?;
    of_this_form(config, &[Port::Log]).await?;
    ports::log(config, &mut Databases::reading(config)).await
}

/// The log to be written to, while nobody else has it.
///
/// # Errors
/// If a server uses it, or it cannot be opened.
pub async fn log_held(config: &Config) -> Result<(Arc<dyn EventLog>, File), StartError> {
    has_run(config)?;
    let held = alone(config).await?;
    let mut databases = Databases::new(config);
    stays(config, &mut databases).await?;
    Ok((ports::log(config, &mut databases).await?, held))
}

/// Refuses to write where a server was moved from, or is being moved to. Where there are no credentials nothing says so.
async fn stays(config: &Config, databases: &mut Databases<'_>) -> Result<(), StartError> {
    if ports::irreplaceable(config).first().is_some_and(|file| !file.exists()) {
        return Ok(());
    }
    ports::credentials(config, databases).await?;
    fit::not_moved(&*ports::tables(config, databases, Family::Credentials, Rights::Server).await?).await
}

/// Where the long ciphertexts of a server that has run before lie, and nothing else is opened or made.
///
/// # Errors
/// [`StartError`]
pub async fn shelf_alone(config: &Config) -> Result<Shelf, StartError> {
    if !config.key_path().exists() {
        return Err(StartError::NoServer(config.key_path()));
    }
    let mut databases = Databases::reading(config);
    fit::nothing_lost_of(config, &mut databases).await?;
    of_this_form(config, &[Port::Operations]).await?;
    let index = ports::operations(config, &mut databases).await?.blob_index;
    Ok(Shelf { store: ports::blobs(config)?, index, clock: Arc::new(SystemClock) })
}

/// A log in a file is made by the first start of a server.
fn has_run(config: &Config) -> Result<(), StartError> {
    let file: PathBuf = ports::log_file(config);
    if Config::is_sqlite(&config.log) && !file.exists() { Err(StartError::NoServer(file)) } else { Ok(()) }
}

/// A program that does not know the form of some tables would misread them; one that changed it would take them from the
/// server that uses them.
async fn of_this_form(config: &Config, all: &[Port]) -> Result<(), StartError> {
    for port in all {
        let (form, what) = ports::form(config, *port).await?;
        if form != Form::Same {
            return Err(StartError::OtherForm { what, form });
        }
    }
    Ok(())
}
