//! A vault whose history was not believed to its head when it was read last is sent nothing, whatever a person has seen:
//! what stands there now is not what this device has to add to. Other vaults are sent what they are to have.

use lockstep_events::{StreamKind, VaultId};
use sqlx::SqliteConnection;

use super::apply::{Applied, Page};
use crate::{
    engine::Engine,
    error::Error,
    store::{keys, streams, streams::Place},
};

const DISBELIEVED: &str = "disbelieved/";

fn name(vault: VaultId) -> String {
    format!("{DISBELIEVED}{vault}")
}

/// Whether any vault is not believed.
pub(crate) async fn any_disbelieved(db: &mut SqliteConnection) -> Result<bool, Error> {
    keys::any(db, DISBELIEVED).await
}

/// Whether the history was refused: after a restore of the server, or where it withholds what it took, what is here goes
/// out again.
pub(super) const fn is_lie<T>(read: &Result<T, Error>) -> bool {
    matches!(read, Err(Error::Alarm(kind)) if kind.holds_sending())
}

impl Engine {
    /// Keeps how the last reading of the vault ended, for every process of this profile.
    pub(crate) async fn note_believed(&self, believed: bool) -> Result<(), Error> {
        if self.is_believed().await? == believed {
            return Ok(());
        }
        let mut tx = self.store.begin().await?;
        if believed {
            keys::remove(&mut tx, &name(self.vault())).await?;
        } else {
            keys::set(&mut tx, &name(self.vault()), b"1").await?;
        }
        tx.commit().await?;
        self.outbox.notify_one();
        if believed {
            self.believed.notify_one();
        }
        Ok(())
    }

    /// Applies a page that came as news. Should it be a lie, the next pull tells whether the history is believed.
    pub(super) async fn apply_news(&self, page: &Page) -> Result<Applied, Error> {
        let applied = self.apply(page).await;
        if is_lie(&applied) && page.stream != self.account().into() {
            self.at(page.stream.into()).note_believed(false).await?;
        }
        applied
    }

    /// The places of everything that is believed, and whether that is all there is.
    pub(super) async fn believed_places(&self) -> Result<(Vec<Place>, bool), Error> {
        let places = streams::all(&mut *self.store.pool().acquire().await?).await?;
        let all = places.len();
        let mut believed = Vec::with_capacity(all);
        for place in places {
            if place.kind != StreamKind::Vault || self.at(place.stream.into()).is_believed().await? {
                believed.push(place);
            }
        }
        let whole = believed.len() == all;
        Ok((believed, whole))
    }

    /// Whether every vault is believed.
    pub(super) async fn all_believed(&self) -> Result<bool, Error> {
        Ok(self.believed_places().await?.1)
    }

    /// Whether the vault may be sent anything.
    pub(crate) async fn is_believed(&self) -> Result<bool, Error> {
        let mut db = self.store.pool().acquire().await?;
        Ok(keys::get(&mut db, &name(self.vault())).await?.is_none())
    }
}
