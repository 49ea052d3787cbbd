//! What cannot be uploaded. If the plan has no room for it, it stays in the outbox, behind everything else, and is tried
//! again with every push; if the server takes nothing so long, it is refused for good. Neither stands in the way of the rest.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_api::{Code, MAX_INLINE, plan::Quota};
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
}

fn obstacle(error: &Error) -> Option<Obstacle> {
    let Error::Refused { problem, .. } = error else { return None };
    let facts = problem.facts.clone()?;
    match problem.code {
        Code::QuotaExceeded => serde_json::from_value(facts).ok().map(Obstacle::Full),
        Code::InvalidField => facts["longest"].as_u64().map(Obstacle::TooLong),
        _ => None,
    }
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
        let (mut full, mut refused) = (BTreeSet::new(), BTreeMap::new());
        for one in &batch {
            match self.upload_of(std::slice::from_ref(one), attached).await? {
                None => {}
                Some(Obstacle::Full(quota)) => {
                    full.insert(one.0.version);
                    report.no_room = Some(quota);
                }
                Some(Obstacle::TooLong(longest)) => {
                    let reason =
                        format!("a file of it is longer than the {longest} bytes that this server takes");
                    refused.insert(one.0.version, reason);
                }
            }
        }
        let mut tx = self.store.begin().await?;
        let behind = put_behind(&mut tx, &batch, &full).await?;
        let changes = self.refuse(&mut tx, &batch, refused).await?;
        let refused = outbox::quarantined_ids(&mut tx).await?;
        tx.commit().await?;
        report.quarantined = self.tell_all(changes);
        batch.retain(|(w, _)| !behind.contains(&w.version) && !refused.contains(&w.version));
        Ok((batch, report))
    }

    /// Uploads; what stands in the way.
    async fn upload_of(
        &self,
        some: &[(Waiting, Kept)],
        attached: &Attached,
    ) -> Result<Option<Obstacle>, Error> {
        let long =
            |version: &&Kept| version.ciphertext.as_ref().is_some_and(|bytes| bytes.len() > MAX_INLINE);
        let large: Vec<&Kept> = some.iter().map(|(_, version)| version).filter(long).collect();
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
