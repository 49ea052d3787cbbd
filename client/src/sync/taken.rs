//! What the server says it has taken stands in the stream that it shows. If it does not, nobody else has it: it goes
//! out again, and an alarm is kept.

use std::collections::BTreeSet;

use lockstep_events::{SetDigest, VersionId};

use crate::{
    engine::Engine,
    error::Error,
    model::AlarmKind,
    store::{outbox, streams, versions},
};

impl Engine {
    /// What was taken before a pull begins: after it, each of them is placed.
    pub(super) async fn taken_unseen(&self) -> Result<BTreeSet<VersionId>, Error> {
        let mut db = self.store.pool().acquire().await?;
        Ok(versions::taken_unseen(&mut db, self.vault()).await?.into_iter().map(|kept| kept.id).collect())
    }

    /// Looks whether everything that was taken before this device read the stream to its head was in it.
    ///
    /// # Errors
    /// An alarm if it was not.
    pub(super) async fn demand_shown(&self, taken: BTreeSet<VersionId>) -> Result<(), Error> {
        if taken.is_empty() {
            return Ok(());
        }
        let vault = self.vault();
        let unseen: Vec<VersionId> = self.taken_unseen().await?.intersection(&taken).copied().collect();
        if unseen.is_empty() {
            return Ok(());
        }
        let place = streams::get(&mut *self.store.pool().acquire().await?, vault.into()).await?;
        // As it is before anything of what is fetched now is held.
        let whole = place.is_some_and(|place| place.digest.is_some() && place.absent == SetDigest::ZERO);
        // A device that began with a snapshot was not shown what was superseded before it.
        self.fetch_versions(vault, &unseen).await?;
        let mut tx = self.store.begin().await?;
        let mut withheld = Vec::new();
        for version in versions::get_many(&mut tx, &unseen).await? {
            let passed = version.seq.is_some_and(|seq| place.is_some_and(|place| seq <= place.seq));
            if version.seq.is_none() || (whole && passed) {
                versions::unplace(&mut tx, version.id).await?;
                outbox::add(&mut tx, (vault, version.id), None, version.signer != self.device()).await?;
                withheld.push(version.id);
            }
        }
        tx.commit().await?;
        match withheld.first() {
            None => Ok(()),
            Some(first) => {
                self.outbox.notify_one();
                let detail = format!("{vault}: {first} was taken and is not shown");
                Err(self.alarm(AlarmKind::SetDigest, &detail).await)
            }
        }
    }
}
