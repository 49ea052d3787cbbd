//! What an answer to a push does to the outbox.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_api::{
    plan::Quota,
    sync::{PushOutcome, PushResult, Pushed},
};
use lockstep_events::VersionId;
use sqlx::SqliteConnection;

use super::{
    push::{Batch, PushReport},
    room,
};
use crate::{
    engine::Engine,
    error::Error,
    model::Change,
    store::{attachments, outbox, outbox::Waiting, versions, versions::Kept},
};

/// What is done about one version.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It stands.
    Stands { forked: bool },
    /// Refused for good.
    Refused(String),
    /// Its parents go first.
    ParentsFirst,
    /// What it names goes first, if it is here.
    FilesFirst,
    /// The plan has no room for it: it waits until there is.
    NoRoom(Quota),
    /// Try again as it is.
    Again,
}

fn verdict(result: &PushResult) -> Verdict {
    let why = |words: &str| {
        Verdict::Refused(
            result.error.as_ref().map_or_else(|| words.to_owned(), |error| format!("{words}: {error}")),
        )
    };
    match result.outcome {
        PushOutcome::Accepted | PushOutcome::Duplicate => Verdict::Stands { forked: false },
        PushOutcome::AcceptedForked => Verdict::Stands { forked: true },
        PushOutcome::MissingParents => Verdict::ParentsFirst,
        PushOutcome::BlobMissing => Verdict::FilesFirst,
        PushOutcome::NotAttempted => Verdict::Again,
        PushOutcome::PreconditionFailed => why("the heads are not the expected ones"),
        PushOutcome::HashMismatch => why("the ciphertext does not have its hash"),
        PushOutcome::EntryPurged => why("the entry was erased"),
        PushOutcome::TooManyBranches => why("the entry has too many open branches"),
        PushOutcome::QuotaExceeded => {
            result.quota.clone().map_or_else(|| why("the limit of the plan is reached"), Verdict::NoRoom)
        }
        PushOutcome::KeyEpochStale => why("the vault has a newer key"),
        PushOutcome::Forbidden => why("not allowed"),
    }
}

impl Engine {
    /// Takes what stands out of the outbox, and what is refused for good into quarantine, with its whole group.
    pub(crate) async fn settle(&self, batch: &Batch, answer: &Pushed) -> Result<PushReport, Error> {
        let fits = batch.len() == answer.results.len()
            && batch
                .iter()
                .zip(&answer.results)
                .all(|((_, version), result)| version.id == result.version_id);
        if !fits {
            return Err(Error::Protocol("results of other versions than were pushed"));
        }
        let mut report = PushReport::default();
        let lost = self.lost_files(batch, answer).await?;
        let mut tx = self.store.begin().await?;
        let (mut refused, mut behind) = (BTreeMap::new(), BTreeSet::new());
        for ((waiting, version), result) in batch.iter().zip(&answer.results) {
            let verdict = match verdict(result) {
                Verdict::ParentsFirst => self.parents_first(&mut tx, batch, waiting, result).await?,
                Verdict::FilesFirst => files_first(waiting, version, lost.get(&version.id).copied()),
                other => other,
            };
            match verdict {
                Verdict::Stands { forked } => {
                    outbox::remove(&mut tx, version.id).await?;
                    report.pushed += 1;
                    report.forked += u64::from(forked);
                }
                Verdict::Refused(reason) => {
                    refused.insert(version.id, reason);
                }
                Verdict::NoRoom(quota) => {
                    behind.insert(version.id);
                    report.no_room = Some(quota);
                }
                Verdict::FilesFirst => {
                    behind.insert(version.id);
                    report.fileless.insert(version.id);
                }
                Verdict::ParentsFirst | Verdict::Again => {}
            }
        }
        room::put_behind(&mut tx, batch, &behind).await?;
        let changes = self.refuse(&mut tx, batch, refused).await?;
        tx.commit().await?;
        report.quarantined = self.tell_all(changes);
        Ok(report)
    }

    /// Moves versions into quarantine, for these reasons, each with its whole group. One that stands went out for its files
    /// alone: it only waits no more.
    pub(super) async fn refuse(
        &self,
        db: &mut SqliteConnection,
        batch: &Batch,
        mut refused: BTreeMap<VersionId, String>,
    ) -> Result<Vec<Change>, Error> {
        let is_refused = |waiting: &&Waiting| refused.contains_key(&waiting.version);
        let waiting = || batch.iter().map(|(waiting, _)| waiting);
        let dead: BTreeSet<i64> = waiting().filter(is_refused).filter_map(|waiting| waiting.unit).collect();
        for waiting in waiting().filter(|waiting| waiting.unit.is_some_and(|unit| dead.contains(&unit))) {
            let reason = "another version of its group was refused";
            refused.entry(waiting.version).or_insert_with(|| reason.to_owned());
        }
        let mut changes = Vec::with_capacity(refused.len());
        let stands = |id| batch.iter().any(|(_, version)| version.id == id && version.seq.is_some());
        for (version, reason) in refused {
            if stands(version) {
                outbox::remove(db, version).await?;
                continue;
            }
            outbox::quarantine(db, version, &reason, self.now()).await?;
            changes.push(Change::Quarantined { version, reason });
        }
        Ok(changes)
    }

    /// Tells whoever listens; how many changes.
    pub(super) fn tell_all(&self, changes: Vec<Change>) -> u64 {
        let number = changes.len() as u64;
        for change in changes {
            let _ = self.changes.send(change);
        }
        number
    }

    /// Which versions the server wants files of that are not here any more. Hashing them takes a while: other commands of
    /// the profile write meanwhile.
    async fn lost_files(&self, batch: &Batch, answer: &Pushed) -> Result<BTreeMap<VersionId, Lost>, Error> {
        let mut lost = BTreeMap::new();
        for ((waiting, version), result) in batch.iter().zip(&answer.results) {
            if !waiting.reoffer && matches!(verdict(result), Verdict::FilesFirst) {
                let mut db = self.store.pool().acquire().await?;
                for hash in self.not_whole(&mut db, version.id).await? {
                    let had_by_server = attachments::is_named_by_a_placed_one(&mut db, &hash).await?;
                    let which = if had_by_server { Lost::Everywhere } else { Lost::Here };
                    let worst = lost.entry(version.id).or_insert(which);
                    *worst = which.max(*worst);
                }
            }
        }
        Ok(lost)
    }

    /// Parents that the server lost and this device has go out again, before their child.
    async fn parents_first(
        &self,
        db: &mut SqliteConnection,
        batch: &Batch,
        waiting: &Waiting,
        result: &PushResult,
    ) -> Result<Verdict, Error> {
        let here = versions::get_many(db, &result.missing).await?;
        let quarantined = outbox::quarantined_ids(db).await?;
        if here.len() < result.missing.len() || here.iter().any(|parent| quarantined.contains(&parent.id)) {
            return Ok(Verdict::Refused("it builds on a version that the server does not have".to_owned()));
        }
        let vault = self.vault();
        for parent in here {
            outbox::add(db, (vault, parent.id), None, true).await?;
        }
        // With its whole group: what stands far apart would not go out together.
        room::put_behind(db, batch, &BTreeSet::from([waiting.version])).await?;
        Ok(Verdict::Again)
    }
}

/// A file that a version names and this device does not have whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lost {
    /// The server had it once, and has it no more.
    Everywhere,
    /// No server ever had it.
    Here,
}

/// An own version whose files are gone from this device would wait for ever; one that is offered again after a restore
/// may wait for the device that has them.
fn files_first(waiting: &Waiting, version: &Kept, lost: Option<Lost>) -> Verdict {
    let reason = match (waiting.reoffer, version.header.content_of.is_some(), lost) {
        (false, true, _) => "the server keeps the content no longer that it chose: write it anew with `edit`",
        (false, false, Some(Lost::Here)) => {
            "an attachment of it is lost or damaged on this device: add it again"
        }
        (false, false, Some(Lost::Everywhere)) => {
            "the server keeps an attachment no longer that it was made with, and this device does not have it: make the \
             change again"
        }
        (true, ..) => return Verdict::FilesFirst,
        (false, false, None) => return Verdict::Again,
    };
    Verdict::Refused(reason.to_owned())
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
