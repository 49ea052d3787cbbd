//! What every request may use: the ports and what stands on them.

use std::sync::Arc;

use lockstep_events::{Clock, EventLog};
use lockstep_projections::store::ReadStore;
use tokio_util::sync::CancellationToken;

use crate::{auth::credentials::CredentialStore, blobs::BlobStore, bus::Bus, config::Config};

/// One running server.
pub struct Server {
    /// The options.
    pub config: Config,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The event log, for reading. Appends go through the batcher.
    pub log: Arc<dyn EventLog>,
    /// The read models.
    pub reads: Arc<dyn ReadStore>,
    /// Credentials.
    pub credentials: Arc<dyn CredentialStore>,
    /// Large ciphertexts.
    pub blobs: Arc<dyn BlobStore>,
    /// News of other nodes.
    pub bus: Arc<dyn Bus>,
    /// Cancelled when the server begins to stop: long-polls, streams and sockets end by it.
    pub draining: CancellationToken,
}

/// How handlers hold it.
pub type Shared = Arc<Server>;
