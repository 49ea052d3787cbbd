//! What is wrong with a version that a device of the account did sign. Its author's app may be wrong, or the server has
//! shown its author, or shows this device, something else: nobody but a person can tell. Until they have set exactly this
//! aside, nothing of what came with it is applied; from then on it is held against nobody, and everything else is checked
//! as before. The version itself counts as the log has it: in chain, digest, heads and history.

use lockstep_events::{Header, VersionId};
use sqlx::SqliteConnection;

use super::check::Refusal;
use crate::{
    crypto::version::generation_of,
    engine::Engine,
    error::Error,
    model::{About, AlarmKind, Change},
    store::{
        alarms,
        keys::{self, Trusted},
        versions::Kept,
    },
};

/// By what is received is judged, and what was found that a person has not set aside.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) trusted: Trusted,
    found: Vec<Refusal>,
}

impl Judge {
    pub(super) async fn new(db: &mut SqliteConnection) -> Result<Self, Error> {
        Ok(Self { trusted: keys::trusted(db).await?, found: Vec::new() })
    }

    /// Counts a finding, unless a person has set it aside.
    pub(super) async fn weigh(&mut self, db: &mut SqliteConnection, finding: Refusal) -> Result<(), Error> {
        if !alarms::is_set_aside(db, finding.kind, &finding.detail).await? {
            self.found.push(finding);
        }
        Ok(())
    }

    /// What was found: all of it at once, so that a person who looks sees all of it.
    pub(super) fn verdict(self) -> Result<(), Vec<Refusal>> {
        if self.found.is_empty() { Ok(()) } else { Err(self.found) }
    }
}

/// Whether any of it may be explained by what is new in the account's stream.
pub(super) fn wants_keys(found: &[Refusal]) -> bool {
    found.iter().any(|refusal| refusal.kind == AlarmKind::Keys)
}

/// A finding about a version.
pub(super) fn finding(
    kind: AlarmKind,
    (id, header, signer): (VersionId, &Header, lockstep_events::DeviceId),
    what: &str,
) -> Refusal {
    let about = About { version: id, vault: header.vault, entry: header.entry, device: signer };
    Refusal { kind, detail: format!("{id}: {what}"), about: Some(about) }
}

/// Of every generation that the roster names there is a key; of no other (E18, E20).
pub(super) fn unstated(
    trusted: &Trusted,
    (id, header, signer): (VersionId, &Header, lockstep_events::DeviceId),
    wrapped_key: Option<&[u8]>,
) -> Option<Refusal> {
    let generation = generation_of(wrapped_key?).ok()?;
    let newest = trusted.roster.vault_generations.get(&header.vault).copied().unwrap_or(0);
    let what =
        format!("its key is of generation {generation}, which the account has not stated for this vault");
    (generation > newest).then(|| finding(AlarmKind::Keys, (id, header, signer), &what))
}

impl Engine {
    /// A content that is here does not open. An alarm is kept, if a person has not set it aside, and the entry stays
    /// readable beside it. Under a generation that was never stated it cannot: that was weighed when it came.
    pub(crate) async fn does_not_open(&self, version: &Kept) -> Result<(), Error> {
        let mut db = self.store.pool().acquire().await?;
        let trusted = keys::trusted(&mut db).await?;
        let this = (version.id, &version.header, version.signer);
        let finding = finding(AlarmKind::Content, this, "its content does not open");
        if unstated(&trusted, this, version.wrapped_key.as_deref()).is_some()
            || alarms::is_set_aside(&mut db, finding.kind, &finding.detail).await?
        {
            return Ok(());
        }
        drop(db);
        let raised = self.keep_all(&[finding]).await?;
        self.tell_all(raised);
        Ok(())
    }

    /// Keeps an alarm that stops nothing, if a person has not set it aside: whoever watches is to be told of it.
    pub(super) async fn note(
        &self,
        db: &mut SqliteConnection,
        finding: &Refusal,
    ) -> Result<Option<Change>, Error> {
        if alarms::is_set_aside(db, finding.kind, &finding.detail).await? {
            return Ok(None);
        }
        let what = (finding.detail.as_str(), finding.about);
        Ok(alarms::raise_about(db, finding.kind, self.now(), what).await?.map(Change::Alarm))
    }

    /// Keeps an alarm for each of them, which were found in one answer, and tells whoever watches. Gives the error to
    /// return.
    pub(crate) async fn alarms_of(&self, found: &[Refusal]) -> Error {
        match self.keep_all(found).await {
            Ok(changes) => {
                self.tell_all(changes);
                found.first().map_or(Error::NotFound, |first| Error::Alarm(first.kind))
            }
            Err(error) => error,
        }
    }

    async fn keep_all(&self, found: &[Refusal]) -> Result<Vec<Change>, Error> {
        let mut tx = self.store.begin().await?;
        let mut changes = Vec::with_capacity(found.len());
        for finding in found {
            changes.extend(self.note(&mut tx, finding).await?);
        }
        tx.commit().await?;
        Ok(changes)
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
