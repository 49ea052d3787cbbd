//! What the server says it has taken stands in the stream that it shows. If it does not, nobody else has it: it goes
//! out again, and an alarm is kept.

use std::collections::BTreeSet;

use lockstep_api::sync::SnapshotVersion;
use lockstep_events::VersionId;

use super::{
    places::{Told, cannot_stand},
    reconcile::MOST,
};
use crate::{
    engine::Engine,
    error::Error,
    model::AlarmKind,
    store::{alarms, streams, streams::Place, versions},
};

impl Engine {
    /// Looks whether everything that the server had said before this device read the stream to its head was in it.
    ///
    /// # Errors
    /// An alarm if it was not.
    pub(super) async fn demand_shown(&self, told: &Told) -> Result<(), Error> {
        let reached = self.demand_reached(told).await;
        let shown = self.demand_taken(told).await;
        reached.and(shown)
    }

    async fn demand_taken(&self, told: &Told) -> Result<(), Error> {
        if told.taken.is_empty() {
            return Ok(());
        }
        let vault = self.vault();
        let mut db = self.store.pool().acquire().await?;
        let unseen = versions::taken_unseen(&mut db, vault).await?.into_iter().map(|kept| kept.id);
        let unseen: Vec<VersionId> = unseen.filter(|id| told.taken.contains(id)).collect();
        let place = streams::get(&mut db, vault.into()).await?.filter(|place| place.epoch == told.epoch);
        drop(db);
        let Some(place) = place.filter(|_| !unseen.is_empty()) else { return Ok(()) };
        // A device that began with a snapshot was not shown what was superseded before it.
        for part in unseen.chunks(MOST) {
            let found = self.get_versions(vault, part).await?;
            let found = self.believable(&place, found).await?;
            self.take_versions(vault, &found).await?;
        }
        let mut tx = self.store.begin().await?;
        if streams::get(&mut tx, vault.into()).await?.is_none_or(|now| now.epoch != told.epoch) {
            // Another process of this profile met a reset.
            return Ok(());
        }
        let withheld = versions::get_many(&mut tx, &unseen).await?.into_iter();
        let withheld: BTreeSet<VersionId> =
            withheld.filter(|version| version.seq.is_none()).map(|version| version.id).collect();
        let Some(first) = withheld.first() else { return Ok(()) };
        self.withhold(&mut tx, &withheld).await?;
        let detail = format!("{vault}: {first} was taken and is not shown");
        let alarm = alarms::raise(&mut tx, AlarmKind::SetDigest, self.now(), &detail).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        self.tell(alarm);
        Err(Error::Alarm(AlarmKind::SetDigest))
    }

    /// Those that may stand where they are said to: up to the head that was read, and not where everything else was.
    async fn believable(
        &self,
        place: &Place,
        found: Vec<SnapshotVersion>,
    ) -> Result<Vec<SnapshotVersion>, Error> {
        let mut db = self.store.pool().acquire().await?;
        let mut all = Vec::with_capacity(found.len());
        for version in found {
            let known = versions::get(&mut db, version.header.version_id()).await?;
            if version.seq <= place.seq
                && !cannot_stand(&mut db, &version, known.as_ref(), self.device()).await?
            {
                all.push(version);
            }
        }
        Ok(all)
    }
}
