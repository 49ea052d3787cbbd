//! How long history is kept, and the round through all entries that applies it.

use std::time::Duration;

use lockstep_events::{
    AccountId, Event, LogError, Micros, Position, VaultId,
    event::VaultEvent,
    log::{Contents, Filter},
};
use lockstep_projections::store::ReadError;
use tokio::time::{error::Elapsed, timeout};

use crate::{
    auth::credentials::CredentialError,
    blobs::Keepers,
    causes::with_causes,
    commands::{
        facts::derived,
        prune::{Pruner, Retention},
        purge::PurgeError,
    },
    mail::{outbox::Task, worker},
    plans::History,
    state::Server,
};

const PAGE: usize = 500;

/// Nothing takes longer: one page, or one vault.
const PATIENCE: Duration = Duration::from_mins(10);

/// Why a round is not whole. What it did stands, and the next one does the rest.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The read models.
    #[error(transparent)]
    Reads(#[from] ReadError),
    /// An entry.
    #[error(transparent)]
    Prune(#[from] PurgeError),
    /// The outbox.
    #[error(transparent)]
    Mail(#[from] CredentialError),
    /// A database is there and gives no answer.
    #[error("a database does not answer")]
    Silent(#[from] Elapsed),
}

impl RetentionError {
    /// Whether a store is away: then nobody's history can be looked at.
    fn is_everywhere(&self) -> bool {
        match self {
            Self::Log(error) => matches!(error, LogError::Unavailable(_) | LogError::Full(_)),
            Self::Reads(error) => matches!(error, ReadError::Unavailable(_) | ReadError::Full(_)),
            Self::Prune(error) => error.is_everywhere(),
            Self::Mail(error) => matches!(error, CredentialError::Unavailable(_) | CredentialError::Full(_)),
            Self::Silent(_) => true,
        }
    }
}

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Entries that were looked at closely.
    pub entries: u64,
    /// Versions whose ciphertext went.
    pub versions: u64,
}

/// How many days of history an account has. Its plan may say more or less than the option; of a plan that says nothing
/// the option counts.
///
/// # Errors
/// If its standing is not known and the log does not answer.
pub async fn history(server: &Server, account: AccountId) -> Result<History, LogError> {
    server.quotas.history(account, server.config.retention_days).await
}

/// One round through the vaults of everybody. What cannot be pruned holds up nobody else.
///
/// # Errors
/// [`RetentionError`]: the first, when all others were looked at, or a store that is away.
pub async fn prune(server: &Server) -> Result<PruneReport, RetentionError> {
    let pruner = Pruner {
        log: server.log.clone(),
        batcher: server.batcher.clone(),
        entries: server.entries.clone(),
        shelf: server.shelf.clone(),
        keepers: Keepers::new(server.log.clone()),
        clock: server.clock.clone(),
    };
    let vaults = Filter { kinds: vec!["vault.created".to_owned()], ..Filter::default() };
    let mut round = Round { server, pruner, report: PruneReport::default(), kept: 0, first: None };
    let outcome = round.all(&vaults).await;
    if round.kept > 0 {
        tracing::warn!(
            streams = round.kept,
            "the history of vaults is kept whole: their owners hold plans that the configuration does not have"
        );
    }
    if round.report.versions > 0 {
        // What went is not left in a journal either.
        timeout(PATIENCE, server.log.scrub()).await??;
    }
    outcome?;
    round.first.map_or(Ok(round.report), Err)
}

struct Round<'a> {
    server: &'a Server,
    pruner: Pruner,
    report: PruneReport,
    /// Vaults that are not pruned because the plan of their owner is not known.
    kept: u64,
    first: Option<RetentionError>,
}

impl Round<'_> {
    async fn all(&mut self, vaults: &Filter) -> Result<(), RetentionError> {
        let mut after = Position::ZERO;
        loop {
            let page =
                timeout(PATIENCE, self.server.log.read_all(after, PAGE, vaults, Contents::No)).await??;
            for recorded in &page {
                after = recorded.position;
                let Ok(Event::Vault(VaultEvent::Created(created))) = recorded.event() else { continue };
                let vault = timeout(PATIENCE, self.vault(created.vault, created.account)).await;
                let vault = vault.unwrap_or_else(|late| Err(late.into()));
                self.go_on(vault)?;
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// The entries of one vault that have more than one version.
    async fn vault(&mut self, vault: VaultId, owner: AccountId) -> Result<(), RetentionError> {
        // Whoever else reads the vault: its owner's plan decides.
        let History { days, fewer } = history(self.server, owner).await?;
        if days == 0 && fewer.is_none() {
            self.kept += u64::from(self.server.quotas.lacks_plan(owner).await?);
            return Ok(());
        }
        let (mut shorter, mut after) = (fewer.map(|(until, _)| until), None);
        loop {
            let page = self.server.reads.entries(vault, after, PAGE).await?;
            for row in page.iter().filter(|row| row.versions > 1 && !row.heads.purged) {
                if let Some(until) = shorter.take() {
                    self.tell(owner, until).await?;
                }
                if days == 0 {
                    return Ok(());
                }
                match self.pruner.prune(vault, row.entry, Retention { versions: 0, days }).await {
                    Ok(pruned) => {
                        self.report.entries += 1;
                        self.report.versions += pruned as u64;
                    }
                    Err(error) => self.go_on(Err(error.into()))?,
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
            after = page.last().map(|row| row.entry);
        }
    }

    /// Whoever has old versions hears by letter that they will be kept for a shorter time: once, however many rounds.
    async fn tell(&self, owner: AccountId, until: Micros) -> Result<(), CredentialError> {
        let id = derived("lockstep/v1/mail-history", &[owner.as_bytes(), &until.0.to_be_bytes()]);
        worker::leave(self.server, id.0, &Task::History { account: owner, until }).await
    }

    /// Keeps the first error, unless it is one for everybody.
    fn go_on(&mut self, outcome: Result<(), RetentionError>) -> Result<(), RetentionError> {
        match outcome {
            Err(error) if !error.is_everywhere() => {
                tracing::warn!(cause = with_causes(&error), "the history of an entry cannot be pruned");
                self.first.get_or_insert(error);
                Ok(())
            }
            other => other,
        }
    }
}
