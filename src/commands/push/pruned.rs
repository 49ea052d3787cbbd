//! What was pruned a moment ago: its event stands, and its bytes may still be there, about to be deleted. Nothing new may
//! keep them.

use std::collections::BTreeSet;

use lockstep_events::{BlobHash, Event, EventLog, LogError, VaultId, VersionId, event::VaultEvent};

use super::decide::{Facts, Stood};

const PAGE: usize = 500;

/// Of these contents, those of versions that stand and were pruned. Only who keeps the content of an older version asks.
///
/// # Errors
/// If the log does not answer, or has an event that cannot be read.
pub(super) async fn pruned(
    log: &dyn EventLog,
    vault: VaultId,
    facts: &Facts,
    contents: &[BlobHash],
) -> Result<BTreeSet<BlobHash>, LogError> {
    let mut found = BTreeSet::new();
    for (version, stood) in &facts.versions {
        let Some(stood) = stood else { continue };
        if let Some(content) = stood.content.filter(|content| contents.contains(content))
            && was_pruned(log, vault, (*version, stood)).await?
        {
            found.insert(content);
        }
    }
    Ok(found)
}

async fn was_pruned(
    log: &dyn EventLog,
    vault: VaultId,
    (version, stood): (VersionId, &Stood),
) -> Result<bool, LogError> {
    let mut after = stood.seq;
    loop {
        let page = log.read_subject(vault.into(), stood.entry.into(), after, PAGE).await?;
        for recorded in &page {
            after = recorded.seq;
            let event = recorded.event().map_err(|error| LogError::Other(error.into()))?;
            if let Event::Vault(VaultEvent::ContentPruned(pruned)) = event
                && pruned.versions.contains(&version)
            {
                return Ok(true);
            }
        }
        if page.len() < PAGE {
            return Ok(false);
        }
    }
}
