//! What an operator's command that only looks opens: the stores as they are, beside a running server, without one, or in a
//! backup. Nothing is made, and no table is brought to another form.

use std::{fs::File, path::PathBuf, sync::Arc};

use lockstep_events::{EventLog, Position};
use lockstep_projections::store::ReadStore;

use super::{
    StartError, alone,
    fit::{self, is_there, of_no_other_form, of_this_form},
    ports::{self, Databases, Port, Rights},
};
use crate::{blobs::Shelf, clock::SystemClock, config::Config, tables::Family};

/// The log and the read store alone. Who `writes` makes their tables where there are none.
///
/// # Errors
/// If one of them cannot be opened, or is of another form.
pub async fn log_and_reads(
    config: &Config,
    writes: bool,
) -> Result<(Arc<dyn EventLog>, Arc<dyn ReadStore>), StartError> {
    has_run(config)?;
    let mut databases = if writes { Databases::new(config) } else { Databases::reading(config) };
    if writes {
        of_no_other_form(config, &[Port::Log, Port::Reads]).await?;
        stays(config, &mut databases).await?;
    } else {
        of_this_form(config, &[Port::Log, Port::Reads]).await?;
    }
    Ok((ports::log(config, &mut databases).await?, ports::reads(config, &mut databases).await?))
}

/// How far read models have the log, whatever form they are of; 0 if that cannot be read. None are made.
pub async fn read_position(config: &Config) -> Position {
    if Config::is_sqlite(&config.reads) && !is_there(&ports::reads_file(config)).unwrap_or_default() {
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
/// If a server uses it, or it cannot be opened, or is of another form.
pub async fn log_held(config: &Config) -> Result<(Arc<dyn EventLog>, File), StartError> {
    has_run(config)?;
    let held = alone(config).await?;
    of_no_other_form(config, &[Port::Log]).await?;
    let mut databases = Databases::new(config);
    stays(config, &mut databases).await?;
    Ok((ports::log(config, &mut databases).await?, held))
}

/// Refuses to write where a server was moved from, or is being moved to. Where there are no credentials nothing says so.
async fn stays(config: &Config, databases: &mut Databases<'_>) -> Result<(), StartError> {
    if let Some(file) = ports::irreplaceable(config).first()
        && !is_there(file)?
    {
        return Ok(());
    }
    of_no_other_form(config, &[Port::Credentials]).await?;
    ports::credentials(config, databases).await?;
    fit::not_moved(&*ports::tables(config, databases, Family::Credentials, Rights::Server).await?).await
}

/// Where the long ciphertexts of a server that has run before lie, and the log that names them; nothing else is opened or
/// made.
///
/// # Errors
/// [`StartError`]
pub async fn shelf_and_log(config: &Config) -> Result<(Shelf, Arc<dyn EventLog>), StartError> {
    has_keys(config)?;
    let mut databases = Databases::reading(config);
    fit::nothing_lost_of(config, &mut databases).await?;
    of_this_form(config, &[Port::Operations, Port::Log]).await?;
    let index = ports::operations(config, &mut databases).await?.blob_index;
    let shelf = Shelf { store: ports::blobs(config)?, index, clock: Arc::new(SystemClock) };
    Ok((shelf, ports::log(config, &mut databases).await?))
}

/// A key file is made by the first start of a server.
pub(super) fn has_keys(config: &Config) -> Result<(), StartError> {
    let file = config.key_path();
    if is_there(&file)? { Ok(()) } else { Err(StartError::NoServer(file)) }
}

/// A log in a file is made by the first start of a server.
fn has_run(config: &Config) -> Result<(), StartError> {
    let file: PathBuf = ports::log_file(config);
    if Config::is_sqlite(&config.log) && !is_there(&file)? { Err(StartError::NoServer(file)) } else { Ok(()) }
}
