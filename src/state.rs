//! What every request may use: the ports and what stands on them.

use std::sync::Arc;

use lockstep_events::{Clock, EventLog, Micros};
use lockstep_projections::{progress::Progress, store::ReadStore};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{
        addresses::Addresses,
        credentials::{CredentialError, CredentialStore},
        identities::Identities,
        minting::Tokens,
        oidc::Idps,
        server_keys::ServerKeys,
    },
    batcher::Batcher,
    blobs::{Shelf, Uploads, Watch},
    bus::Bus,
    clock_watch::ClockWatch,
    commands::{admin::pending::Office, erase::Desk, purge::Purger, push::Pusher},
    config::Config,
    digests::Digests,
    entries::EntryStates,
    erasure::{queue::ErasureQueue, shred_list::ShredList},
    export::Exporter,
    feed::Feed,
    http::{access_log::Readiness, untaken::Untaken},
    kept_answers::KeptAnswers,
    limits::{Limits, Seats},
    mail::{outbox::Outbox, worker::Post},
    members::Members,
    metrics::Metrics,
    no_room::NoRoom,
    pseudonyms::Pseudonyms,
    quotas::Quotas,
    served::Served,
    subjects::{Subjects, holding::Holding},
};

/// What is kept about ways in that are not a password, and about mail.
pub trait Ways: Addresses + Identities + Outbox {}

impl<T: Addresses + Identities + Outbox> Ways for T {}

/// One running server.
pub struct Server {
    /// The options.
    pub config: Config,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether the database's clock says the same.
    pub clock_watch: ClockWatch,
    /// The event log, for reading. Appends go through the batcher.
    pub log: Arc<dyn EventLog>,
    /// Appends.
    pub batcher: Batcher,
    /// The read models.
    pub reads: Arc<dyn ReadStore>,
    /// How far the read models are.
    pub progress: Progress,
    /// Credentials.
    pub credentials: Arc<dyn CredentialStore>,
    /// Personal data: sealed, opened, destroyed.
    pub subjects: Arc<Subjects>,
    /// Addresses, identities elsewhere, mail that waits.
    pub ways: Arc<dyn Ways>,
    /// Letters.
    pub post: Post,
    /// Identity providers.
    pub idps: Idps,
    /// Erasures on their way.
    pub erasures: Arc<dyn ErasureQueue>,
    /// What was erased, outside the databases.
    pub shred_list: Arc<ShredList>,
    /// What lies about people beside the log.
    pub holdings: Vec<Arc<dyn Holding>>,
    /// Long ciphertexts.
    pub shelf: Arc<Shelf>,
    /// Whether the store behind the shelf answers.
    pub blob_watch: Arc<Watch>,
    /// Those that are on their way.
    pub uploads: Uploads,
    /// Answers to commands with an idempotency key.
    pub kept_answers: Arc<dyn KeptAnswers>,
    /// Who may write where.
    pub members: Arc<Members>,
    /// Heads of entries, for those who write.
    pub entries: Arc<EntryStates>,
    /// Digests of the vaults, for devices to compare theirs with.
    pub digests: Arc<Digests>,
    /// What each device was last served.
    pub served: Arc<Served>,
    /// Takes purges.
    pub purger: Purger,
    /// Takes pushes.
    pub pusher: Pusher,
    /// Invitations, and what waits for a second administrator.
    pub office: Office,
    /// What plans have room for.
    pub quotas: Arc<Quotas>,
    /// News of other nodes.
    pub bus: Arc<dyn Bus>,
    /// What this node knows of the end of the log, who listens to it, and whose tokens are refused.
    pub feed: Arc<Feed>,
    /// Access tokens.
    pub tokens: Tokens,
    /// How much anybody may ask for.
    pub limits: Limits,
    /// What this node has done.
    pub metrics: Metrics,
    /// Which stores have no room left.
    pub no_room: Arc<NoRoom>,
    /// Whether this node was ready when that was last asked.
    pub readiness: Readiness,
    /// What accounts and sessions are called in the log.
    pub pseudonyms: Pseudonyms,
    /// Places for password proofs: only so many are worked on at the same time.
    pub proofs: Semaphore,
    /// Places for bodies of several blobs, of each account: each is in memory as a whole.
    pub packs: Seats,
    /// Long answers that wait to be taken.
    pub untaken: Untaken,
    /// The server's secret keys.
    pub keys: ServerKeys,
    /// Cancelled when the server begins to stop: long-polls, streams and sockets end by it.
    pub draining: CancellationToken,
}

impl Server {
    /// The time, for what this node does by itself and nothing takes back; none while its clock is too far off to decide
    /// that. Nodes whose clock is right do it.
    ///
    /// # Errors
    /// If the database does not answer that says whether the clock is right.
    pub async fn sure_time(&self) -> Result<Option<Micros>, CredentialError> {
        self.clock_watch.sure_time(&*self.credentials, &*self.clock).await
    }

    /// What asks for an erasure.
    pub fn desk(&self) -> Desk {
        Desk {
            log: Arc::clone(&self.log),
            batcher: self.batcher.clone(),
            subjects: Arc::clone(&self.subjects),
            erasures: Arc::clone(&self.erasures),
        }
    }

    /// What collects everything about a person.
    pub fn exporter(&self) -> Exporter {
        Exporter {
            log: Arc::clone(&self.log),
            members: Arc::clone(&self.members),
            subjects: Arc::clone(&self.subjects),
            shelf: Arc::clone(&self.shelf),
            addresses: self.ways.clone(),
            holdings: self.holdings.clone(),
            clock: Arc::clone(&self.clock),
        }
    }
}

/// How handlers hold it.
pub type Shared = Arc<Server>;
