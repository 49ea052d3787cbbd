//! What waits because the plan has no room for it: it stays in the outbox, behind everything else, and is tried again with
//! every push.

use std::collections::BTreeSet;

use lockstep_api::{Code, MAX_INLINE, plan::Quota};
use lockstep_events::VersionId;
use sqlx::SqliteConnection;

use super::push::{Attached, Batch};
use crate::{
    engine::Engine,
    error::Error,
    model::NoRoom,
    store::{outbox, outbox::Waiting, versions::Kept},
};

/// The limit that stands in the way, if that is why something was refused.
fn limit(error: &Error) -> Option<Quota> {
    let Error::Refused { problem, .. } = error else { return None };
    let full = problem.code == Code::QuotaExceeded;
    serde_json::from_value(problem.facts.clone().filter(|_| full)?).ok()
}

/// Puts versions behind everything else that waits, with their groups. Which those are.
pub(super) async fn put_behind(
    db: &mut SqliteConnection,
    batch: &Batch,
    full: &BTreeSet<VersionId>,
) -> Result<BTreeSet<VersionId>, Error> {
    let is_full = |waiting: &Waiting| full.contains(&waiting.version);
    let groups: BTreeSet<i64> =
        batch.iter().filter(|(w, _)| is_full(w)).filter_map(|(w, _)| w.unit).collect();
    let mut behind = BTreeSet::new();
    for (waiting, _) in batch {
        if is_full(waiting) || waiting.unit.is_some_and(|group| groups.contains(&group)) {
            outbox::to_the_end(db, waiting.version).await?;
            behind.insert(waiting.version);
        }
    }
    Ok(behind)
}

impl Engine {
    /// Uploads what versions need that go out together: all of it, or if the plan has no room for that, what each needs.
    /// The versions that can go out then, and the limit that the others met.
    pub(super) async fn upload_what_fits(
        &self,
        mut batch: Batch,
        attached: &Attached,
    ) -> Result<(Batch, Option<Quota>), Error> {
        if self.upload_of(&batch, attached).await?.is_none() {
            return Ok((batch, None));
        }
        let (mut full, mut met) = (BTreeSet::new(), None);
        for one in &batch {
            if let Some(quota) = self.upload_of(std::slice::from_ref(one), attached).await? {
                full.insert(one.0.version);
                met = Some(quota);
            }
        }
        let mut tx = self.store.begin().await?;
        let behind = put_behind(&mut tx, &batch, &full).await?;
        tx.commit().await?;
        batch.retain(|(waiting, _)| !behind.contains(&waiting.version));
        Ok((batch, met))
    }

    /// Uploads; the limit that stands in the way.
    async fn upload_of(&self, some: &[(Waiting, Kept)], attached: &Attached) -> Result<Option<Quota>, Error> {
        let long =
            |version: &&Kept| version.ciphertext.as_ref().is_some_and(|bytes| bytes.len() > MAX_INLINE);
        let large: Vec<&Kept> = some.iter().map(|(_, version)| version).filter(long).collect();
        let files = some.iter().filter_map(|(w, _)| Some((w.version, attached.get(&w.version)?.clone())));
        match self.upload(&large, &files.collect()).await {
            Ok(()) => Ok(None),
            Err(error) => limit(&error).map_or(Err(error), |quota| Ok(Some(quota))),
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
