//! Opens two sets of stores for a move, and makes sure that nobody uses either.

use std::{collections::HashMap, fs::File, sync::Arc};

use lockstep_events::{Clock, EventLog, Position};

use super::{
    StartError,
    fit::{self, of_no_other_form},
    lock_data,
    ports::{self, Port, Rights},
    read_position,
    reading::has_keys,
};
use crate::{
    auth::server_keys::ServerKeys,
    blobs::Shelf,
    clock::SystemClock,
    config::{Config, Secret},
    erasure::scan,
    operate::{
        log::Known,
        moving::{Move, MoveError, Moved, Place, Report, Watch, is_same, keep_moved, moved},
    },
    tables::{Family, TableStore},
};

/// What a move opens of each place.
const OPENED: [Port; 4] = [Port::Log, Port::Credentials, Port::Operations, Port::Rates];

/// A move whose both places are open and held.
pub struct OpenMove {
    the: Move,
    /// How its connections are called.
    name: String,
    _locks: Vec<File>,
}

impl OpenMove {
    /// Carries everything.
    ///
    /// # Errors
    /// [`MoveError`]
    pub async fn run(self, watch: &mut Watch<'_>) -> Result<Report, MoveError> {
        let from = self.the.from.config.clone();
        let nobody_serves = async || {
            ports::nobody_connected(&from, &self.name).await.map_err(|error| match error {
                #[cfg(feature = "distributed")]
                StartError::Running => MoveError::Running,
                other => MoveError::Unknown(other.into()),
            })
        };
        let report = self.the.run(watch, nobody_serves).await;
        let Move { from, to, .. } = self.the;
        let configs = [from.config.clone(), to.config.clone()];
        // Nobody has a file open any more when it is brought to rest.
        drop((from, to));
        for config in &configs {
            ports::settle(config).await;
        }
        report
    }
}

/// Opens both places.
///
/// # Errors
/// If one is in use or cannot be opened; if there is nothing to move.
pub async fn open_move(from: &Config, to: &Config, name: String) -> Result<OpenMove, StartError> {
    has_keys(from)?;
    let is_one_folder = is_same(&from.data, &to.data);
    let rows = is_elsewhere(&from.log, &to.log, is_one_folder);
    if rows != is_elsewhere(&from.credentials, &to.credentials, is_one_folder) {
        return Err(MoveError::Apart.into());
    }
    let objects = has_other_objects(from, to, is_one_folder);
    if !rows && !objects {
        return Err(MoveError::Same.into());
    }
    let mut locks = vec![super::alone(from).await?];
    if !is_one_folder {
        locks.push(lock_data(to)?);
    }
    of_no_other_form(from, &OPENED).await?;
    if rows {
        ports::nobody_connected(to, "").await?;
        of_no_other_form(to, &OPENED).await?;
    }
    fit::nothing_lost(from).await?;
    let keys = ServerKeys::load_or_make(&from.key_path(), &mut rand::rngs::OsRng)?;
    let called = ports::move_name();
    let old = open(from, &keys, &called).await?;
    let new = if rows { place(to, &called).await? } else { beside(&old, to)? };
    let mark = scan::mark(&from.key_path()).filter(|mark| !mark.restored);
    let known = Known { mark, reads: read_position(from).await, ..Known::default() };
    let has_own_reads = rows && is_elsewhere(&from.reads, &to.reads, is_one_folder);
    let reads = if has_own_reads { read_position(to).await } else { Position::ZERO };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let the = Move { from: old, to: new, keys, known, reads, rows, objects, name, clock };
    Ok(OpenMove { the, name: called, _locks: locks })
}

/// Lets a server be served again where it was moved from; what was kept about the move, if there was one.
///
/// # Errors
/// If it is in use or cannot be opened.
pub async fn take_back(config: &Config) -> Result<Option<Moved>, StartError> {
    has_keys(config)?;
    let _alone = super::alone(config).await?;
    of_no_other_form(config, &[Port::Log, Port::Credentials]).await?;
    fit::nothing_lost(config).await?;
    let mut databases = ports::Databases::new(config);
    ports::credentials(config, &mut databases).await?;
    let facts = ports::tables(config, &mut databases, Family::Credentials, Rights::Server).await?;
    let kept = moved(&*facts).await?;
    keep_moved(&*facts, None).await?;
    Ok(kept)
}

/// Whether the one port names another place than the other. What is two names of one database is found to be not empty.
fn is_elsewhere(from: &Secret, to: &Secret, is_one_folder: bool) -> bool {
    from != to || (Config::is_sqlite(from) && !is_one_folder)
}

fn has_other_objects(from: &Config, to: &Config, is_one_folder: bool) -> bool {
    if from.blobs.expose() == "filesystem" && to.blobs.expose() == "filesystem" {
        return !is_one_folder;
    }
    (&from.blobs, &from.s3_endpoint) != (&to.blobs, &to.s3_endpoint)
}

/// The stores of a server that has run, and whose keys these are.
async fn open(config: &Config, keys: &ServerKeys, called: &str) -> Result<Place, StartError> {
    let place = place(config, called).await?;
    let credentials = ports::credentials(config, &mut ports::Databases::new(config)).await?;
    fit::not_emptied(config, &*place.log).await?;
    fit::credentials_kept(config, &*place.log, &*credentials).await?;
    if credentials.key_commitment(keys.commitment()).await? != keys.commitment() {
        return Err(StartError::ForeignKeys(config.key_path()));
    }
    Ok(place)
}

/// The stores that these options name, made where they are not there.
async fn place(config: &Config, called: &str) -> Result<Place, StartError> {
    let mut databases = ports::Databases::new(config).named(called);
    let log: Arc<dyn EventLog> = ports::log(config, &mut databases).await?;
    // Each makes its tables.
    ports::credentials(config, &mut databases).await?;
    ports::rates(config, &mut databases).await?;
    let index = ports::operations(config, &mut databases).await?.blob_index;
    let mut tables: HashMap<Family, Arc<dyn TableStore>> = HashMap::new();
    for family in Family::ALL {
        tables.insert(family, ports::tables(config, &mut databases, family, Rights::Owner).await?);
    }
    let shelf = Shelf { store: ports::blobs(config)?, index, clock: Arc::new(SystemClock) };
    Ok(Place { config: config.clone(), log, tables, shelf })
}

/// The same databases, with another blob store.
fn beside(place: &Place, config: &Config) -> Result<Place, StartError> {
    let (store, index) = (ports::blobs(config)?, Arc::clone(&place.shelf.index));
    let shelf = Shelf { store, index, clock: Arc::clone(&place.shelf.clock) };
    Ok(Place { config: config.clone(), log: Arc::clone(&place.log), tables: place.tables.clone(), shelf })
}
