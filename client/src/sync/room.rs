//! What cannot be uploaded. If the plan has no room for it, or the server's blob store is away or full, it stays in the outbox,
//! behind everything else, and is tried again with every push; if the server takes nothing so long, it is refused for
//! good. None of it stands in the way of the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lockstep_api::{Code, MAX_INLINE, Problem, plan::Quota};
use lockstep_events::VersionId;
use sqlx::SqliteConnection;

use super::push::{Attached, Batch, PushReport};
use crate::{
    engine::Engine,
    error::Error,
    model::NoRoom,
    store::{outbox, outbox::Waiting, versions::Kept},
};

/// What stands in the way of an upload.
enum Obstacle {
    /// A limit of the plan.
    Full(Quota),
    /// The server takes no file of more bytes.
    TooLong(u64),
    /// The server cannot reach where it keeps files, or has no room left there.
    Away(Away),
}

/// The server's words where its blob store is away or full. What needs no upload goes out all the same.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Away {
    problem: Box<Problem>,
    retry_after: Option<Duration>,
}

impl From<Away> for Error {
    fn from(Away { problem, retry_after }: Away) -> Self {
        Self::Refused { problem, retry_after }
    }
}

fn obstacle(error: &Error) -> Option<Obstacle> {
    let Error::Refused { problem, retry_after } = error else { return None };
    if error.is_blobs_away() || error.is_full() {
        return Some(Obstacle::Away(Away { problem: problem.clone(), retry_after: *retry_after }));
    }
    let facts = problem.facts.clone()?;
    match problem.code {
        Code::QuotaExceeded => serde_json::from_value(facts).ok().map(Obstacle::Full),
        Code::InvalidField => facts["longest"].as_u64().map(Obstacle::TooLong),
        _ => None,
    }
}

fn is_long(version: &Kept) -> bool {
    version.ciphertext.as_ref().is_some_and(|bytes| bytes.len() > MAX_INLINE)
}

/// Puts versions behind everything else that waits, with their groups. Which those are.
pub(super) async fn put_behind(
    db: &mut SqliteConnection,
    batch: &Batch,
    which: &BTreeSet<VersionId>,
) -> Result<BTreeSet<VersionId>, Error> {
    let named = |waiting: &Waiting| which.contains(&waiting.version);
    let groups: BTreeSet<i64> = batch.iter().filter(|(w, _)| named(w)).filter_map(|(w, _)| w.unit).collect();
    let mut behind = BTreeSet::new();
    for (waiting, _) in batch {
        if named(waiting) || waiting.unit.is_some_and(|group| groups.contains(&group)) {
            outbox::to_the_end(db, waiting.version).await?;
            behind.insert(waiting.version);
        }
    }
    Ok(behind)
}

impl Engine {
    /// Uploads what versions need that go out together: all of it, or if something stands in the way, what each needs.
    /// The versions that can go out then, and what became of the others.
    pub(super) async fn upload_what_fits(
        &self,
        mut batch: Batch,
        attached: &Attached,
    ) -> Result<(Batch, PushReport), Error> {
        let mut report = PushReport::default();
        if self.upload_of(&batch, attached).await?.is_none() {
            return Ok((batch, report));
        }
        let (mut waits, mut refused) = (BTreeSet::new(), BTreeMap::new());
        for one in &batch {
            // Of a store that is away nobody asks once more with every file.
            if report.away.is_some() && (is_long(&one.1) || attached.contains_key(&one.0.version)) {
                waits.insert(one.0.version);
                continue;
            }
            match self.upload_of(std::slice::from_ref(one), attached).await? {
                None => {}
                Some(Obstacle::Full(quota)) => {
                    waits.insert(one.0.version);
                    report.no_room = Some(quota);
                }
                Some(Obstacle::Away(away)) => {
                    waits.insert(one.0.version);
                    report.away = Some(away);
                }
                Some(Obstacle::TooLong(longest)) => {
                    let reason =
                        format!("a file of it is longer than the {longest} bytes that this server takes");
                    refused.insert(one.0.version, reason);
                }
            }
        }
        let mut tx = self.store.begin().await?;
        let behind = put_behind(&mut tx, &batch, &waits).await?;
        let changes = self.refuse(&mut tx, &batch, refused).await?;
        let refused = outbox::quarantined_ids(&mut tx).await?;
        tx.commit().await?;
        report.quarantined = self.tell_all(changes);
        batch.retain(|(w, _)| !behind.contains(&w.version) && !refused.contains(&w.version));
        Ok((batch, report))
    }

    /// Puts all of these behind everything else that waits.
    pub(super) async fn put_all_behind(&self, batch: &Batch) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        for (waiting, _) in batch {
            outbox::to_the_end(&mut tx, waiting.version).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Uploads; what stands in the way.
    async fn upload_of(
        &self,
        some: &[(Waiting, Kept)],
        attached: &Attached,
    ) -> Result<Option<Obstacle>, Error> {
        let large: Vec<&Kept> = some.iter().map(|(_, version)| version).filter(|one| is_long(one)).collect();
        let files = some.iter().filter_map(|(w, _)| Some((w.version, attached.get(&w.version)?.clone())));
        match self.upload(&large, &files.collect()).await {
            Ok(()) => Ok(None),
            Err(error) => obstacle(&error).map_or(Err(error), |obstacle| Ok(Some(obstacle))),
        }
    }

    /// Keeps for [`Engine::status`] what the last push met.
    pub(super) async fn note_room(&self, met: Option<&Quota>) -> Result<(), Error> {
        let mut db = self.store.begin().await?;
        let met = met.map(|quota| NoRoom {
            what: quota.what.clone(),
            limit: quota.limit,
            used: quota.used,
            at: self.now(),
        });
        outbox::set_no_room(&mut db, met.as_ref()).await?;
        Ok(db.commit().await?)
    }
}
