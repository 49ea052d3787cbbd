//! How long history is kept, and the round through all entries that applies it.

use lockstep_events::{
    AccountId, Event, LogError, Position, VaultId,
    event::VaultEvent,
    log::{Contents, Filter},
};
use lockstep_projections::store::ReadError;

use crate::{
    commands::{
        prune::{Pruner, Retention},
        purge::PurgeError,
    },
    state::Server,
};

const PAGE: usize = 500;

/// Why a round stopped. What it did stands, and the next one does the rest.
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
}

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Entries that were looked at closely.
    pub entries: u64,
    /// Versions whose ciphertext went.
    pub versions: u64,
}

/// How many days of history an account has; none: all of it. Its plan may say more or less than the option; of a plan
/// that says nothing the option counts.
///
/// # Errors
/// If its standing is not known and the log does not answer.
pub async fn history_days(server: &Server, account: AccountId) -> Result<Option<u32>, LogError> {
    let by_plan = server.quotas.history_days(account).await?;
    Ok(Some(by_plan.unwrap_or(server.config.retention_days)).filter(|days| *days > 0))
}

/// One round through the vaults of everybody.
///
/// # Errors
/// [`RetentionError`]
pub async fn prune(server: &Server) -> Result<PruneReport, RetentionError> {
    let pruner = Pruner {
        log: server.log.clone(),
        batcher: server.batcher.clone(),
        entries: server.entries.clone(),
        shelf: server.shelf.clone(),
        clock: server.clock.clone(),
    };
    let vaults = Filter { kinds: vec!["vault.created".to_owned()], ..Filter::default() };
    let mut report = PruneReport::default();
    let mut after = Position::ZERO;
    loop {
        let page = server.log.read_all(after, PAGE, &vaults, Contents::No).await?;
        for recorded in &page {
            after = recorded.position;
            let Ok(Event::Vault(VaultEvent::Created(created))) = recorded.event() else { continue };
            // Whoever else reads the vault: its owner's plan decides.
            if let Some(days) = history_days(server, created.account).await? {
                vault(server, &pruner, (created.vault, days), &mut report).await?;
            }
        }
        if page.len() < PAGE {
            break;
        }
    }
    if report.versions > 0 {
        // What went is not left in a journal either.
        server.log.scrub().await?;
    }
    Ok(report)
}

/// The entries of one vault that have more than one version.
async fn vault(
    server: &Server,
    pruner: &Pruner,
    (vault, days): (VaultId, u32),
    report: &mut PruneReport,
) -> Result<(), RetentionError> {
    let mut after = None;
    loop {
        let page = server.reads.entries(vault, after, PAGE).await?;
        for row in page.iter().filter(|row| row.versions > 1 && !row.heads.purged) {
            let pruned = pruner.prune(vault, row.entry, Retention { versions: 0, days }).await?;
            report.entries += 1;
            report.versions += pruned as u64;
        }
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.last().map(|row| row.entry);
    }
}
