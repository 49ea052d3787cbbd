//! A head that adopts what this device does not hold: an entry that was set back to a version from before this device
//! joined. The version is fetched by its id, as the entry could not be opened without it.

use std::collections::BTreeSet;

use super::reconcile::MOST;
use crate::{engine::Engine, error::Error, model::AlarmKind, store::adopted};

impl Engine {
    /// Fetches what heads of the vault adopt and is not here. Its ciphertexts, where they are too long to come along,
    /// are fetched with all others.
    pub(crate) async fn fetch_adopted(&self) -> Result<(), Error> {
        let vault = self.vault();
        loop {
            let mut db = self.store.pool().acquire().await?;
            let missing = adopted::not_here(&mut db, vault, MOST).await?;
            drop(db);
            if missing.is_empty() {
                return Ok(());
            }
            let found = self.get_versions(vault, &missing).await?;
            let missing: BTreeSet<_> = missing.into_iter().collect();
            if found.iter().any(|version| !missing.contains(&version.header.version_id())) {
                return Err(self.alarm(AlarmKind::Page, &format!("versions of {vault}")).await);
            }
            // A server that does not give them is asked again by the next pull; entries show that content is missing.
            if found.is_empty() {
                return Ok(());
            }
            self.take_versions(vault, &found).await?;
        }
    }
}
