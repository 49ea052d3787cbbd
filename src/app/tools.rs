//! What commands of an operator open: the stores of a server, beside a running one or without one.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use lockstep_events::{Clock, EventLog};
use rand::rngs::OsRng;

use super::{
    StartError,
    fit::{self, of_no_other_form},
    ports::{self, Port},
    reading::has_keys,
};
use crate::{
    auth::{credentials::CredentialStore, server_keys::ServerKeys, signing_keys::load_or_turn},
    blobs::Shelf,
    clock::SystemClock,
    config::Config,
    erasure::queue::ErasureQueue,
    export::Exporter,
    members::Members,
    subjects::Subjects,
    tables::Family,
};

/// What an operator's command works with, beside a running server or without one.
pub struct Tools {
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// Credentials.
    pub credentials: Arc<dyn CredentialStore>,
    /// The server's secret keys.
    pub keys: ServerKeys,
}

/// Opens the stores of a server that has run before.
///
/// # Errors
/// [`StartError`]
pub async fn tools(config: &Config) -> Result<Tools, StartError> {
    has_keys(config)?;
    of_no_other_form(config, &[Port::Log, Port::Credentials]).await?;
    fit::nothing_lost(config).await?;
    let keys = ServerKeys::load_or_make(&config.key_path(), &mut OsRng)?;
    let mut databases = ports::Databases::new(config);
    let tools = Tools {
        log: ports::log(config, &mut databases).await?,
        credentials: ports::credentials(config, &mut databases).await?,
        keys,
    };
    let facts = ports::tables(config, &mut databases, Family::Credentials, ports::Rights::Server).await?;
    fit::not_moved(&*facts).await?;
    fit::not_emptied(config, &*tools.log).await?;
    fit::credentials_kept(config, &*tools.log, &*tools.credentials).await?;
    if tools.credentials.key_commitment(tools.keys.commitment()).await? != tools.keys.commitment() {
        return Err(StartError::ForeignKeys(config.key_path()));
    }
    Ok(tools)
}

/// What an operator's command about a person works with, beside a running server or without one.
pub struct SubjectTools {
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// What hashes names.
    pub keys: ServerKeys,
    /// Everything about a person.
    pub exporter: Exporter,
    /// What signs it.
    pub signer: (String, SigningKey),
    /// Erasures on their way.
    pub erasures: Arc<dyn ErasureQueue>,
}

/// Opens what there is about people, of a server that has run before.
///
/// # Errors
/// [`StartError`]
pub async fn subject_tools(config: &Config) -> Result<SubjectTools, StartError> {
    let Tools { log, credentials, keys } = tools(config).await?;
    of_no_other_form(config, &[Port::Operations]).await?;
    let mut databases = ports::Databases::new(config);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (signing, _) = load_or_turn(&*credentials, &keys, clock.now(), &mut OsRng).await?;
    let (subject_keys, erasures) = ports::subject_keys(config, &mut databases).await?;
    let index = ports::operations(config, &mut databases).await?.blob_index;
    let exporter = Exporter {
        log: Arc::clone(&log),
        members: Arc::new(Members::new(Arc::clone(&log))),
        subjects: Arc::new(Subjects::new(subject_keys, &keys, Arc::clone(&clock), config.key_path())),
        shelf: Arc::new(Shelf { store: ports::blobs(config)?, index, clock: Arc::clone(&clock) }),
        addresses: ports::ways(config, &mut databases).await?,
        holdings: ports::holdings(config, &mut databases).await?,
        clock,
    };
    let signer = signing.signer().ok_or(StartError::NoKey)?;
    Ok(SubjectTools { log, keys, exporter, signer, erasures })
}
