//! Personal data: sealed under keys that can be destroyed.
//!
//! Every person has a random key for each purpose (and month, where the data ends by its age). What is sealed with it
//! may stand in events, rows and backups: once the key is destroyed, it is noise wherever it lies. This is the front;
//! nobody else sees a key.

pub mod cipher;
pub mod epochs;
pub mod holding;
pub mod keys;
pub mod purpose;

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use lockstep_events::{AccountId, Clock, EventId, NewEvent, Sealed, canonical::Writer};
use rand::{RngCore, rngs::OsRng};
use uuid::Uuid;
use zeroize::Zeroizing;

pub use self::purpose::Purpose;
use self::{
    cipher::{Key, Rejected},
    epochs::{EpochKeys, epoch_at},
    keys::{KeyName, KeyStoreError, Standing, StoredKey, SubjectKeys},
};
use crate::auth::server_keys::{KeyFileError, ServerKeys};

/// How many keys are sealed anew before the store is asked for more.
const PAGE: u32 = 256;

/// Why personal data could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// The person was erased: nothing is written about them any more.
    #[error("the person was erased")]
    Erased,
    /// The key was sealed under an epoch whose key is destroyed: the database is older than the key file.
    #[error(
        "a subject key is sealed under a key that was destroyed: the database is older than the key file"
    )]
    Outdated,
    /// A key or data was changed, or belongs to another key file.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    /// The key file cannot be written.
    #[error(transparent)]
    File(#[from] KeyFileError),
}

/// Seals, opens and destroys personal data.
pub struct Subjects {
    keys: Arc<dyn SubjectKeys>,
    epochs: RwLock<EpochKeys>,
    clock: Arc<dyn Clock>,
    /// The key file, where epochs that are over are destroyed.
    file: PathBuf,
}

impl Subjects {
    /// Over a store, with the epoch keys of the key file.
    pub fn new(
        keys: Arc<dyn SubjectKeys>,
        server: &ServerKeys,
        clock: Arc<dyn Clock>,
        file: PathBuf,
    ) -> Self {
        Self { keys, epochs: RwLock::new(server.epoch_keys().clone()), clock, file }
    }

    /// Seals data about a person. The context says where it belongs (an event's id, a table and column): it opens
    /// only with the same one. The same data in the same context gives the same bytes as long as the period lasts.
    ///
    /// # Errors
    /// [`SubjectError::Erased`] if the person was erased, or if the store does not answer.
    pub async fn seal(
        &self,
        subject: AccountId,
        purpose: Purpose,
        context: &[u8],
        data: &[u8],
    ) -> Result<Sealed, SubjectError> {
        let name = KeyName { subject, purpose, period: purpose.period(self.clock.now()) };
        let key = self.key_or_new(&name).await?;
        let bytes = cipher::seal(&key, &place(&name, context), data)?;
        Ok(Sealed { subject, purpose: purpose.name().to_owned(), period: name.period, bytes })
    }

    /// Opens sealed data; none if its key was destroyed or ran out.
    ///
    /// # Errors
    /// If it was not sealed with this key and context, or if the store does not answer.
    pub async fn open(
        &self,
        sealed: &Sealed,
        context: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, SubjectError> {
        let purpose = Purpose::from_name(&sealed.purpose).ok_or(Rejected)?;
        let name = KeyName { subject: sealed.subject, purpose, period: sealed.period.clone() };
        match self.keys.find(&name).await? {
            Standing::None | Standing::Destroyed => Ok(None),
            Standing::Key(stored) => {
                let key = self.opened(&stored)?;
                Ok(Some(cipher::open(&key, &place(&name, context), &sealed.bytes)?))
            }
        }
    }

    /// Gives an event its sealed part: data about a person, bound to this event.
    ///
    /// # Errors
    /// As [`Subjects::seal`].
    pub async fn seal_into(
        &self,
        event: NewEvent,
        subject: AccountId,
        purpose: Purpose,
        data: &[u8],
    ) -> Result<NewEvent, SubjectError> {
        let sealed = self.seal(subject, purpose, event.event_id.as_bytes(), data).await?;
        Ok(event.with_sealed(sealed))
    }

    /// Opens the sealed part of an event.
    ///
    /// # Errors
    /// As [`Subjects::open`].
    pub async fn open_of(
        &self,
        event: EventId,
        sealed: &Sealed,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, SubjectError> {
        self.open(sealed, event.as_bytes()).await
    }

    /// Destroys a person's keys for some purposes, for ever; the ids of all that there ever were.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn destroy(&self, subject: AccountId, purposes: &[Purpose]) -> Result<Vec<Uuid>, SubjectError> {
        Ok(self.keys.destroy(subject, purposes, self.clock.now()).await?)
    }

    /// The store itself, for export and erasure.
    pub fn store(&self) -> &dyn SubjectKeys {
        &*self.keys
    }

    /// Deletes keys whose data ends by its age; how many.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn expire(&self) -> Result<u64, SubjectError> {
        let now = self.clock.now();
        let mut gone = 0;
        for purpose in Purpose::ALL {
            if let Some(first_kept) = purpose.first_kept(now) {
                gone += self.keys.expire(purpose, &first_kept).await?;
            }
        }
        Ok(gone)
    }

    /// Seals living keys under the current epoch, then destroys the keys of epochs before the last one. Every node
    /// does it; doing it again changes nothing.
    ///
    /// # Errors
    /// If the store does not answer, or the key file cannot be written.
    pub async fn turn_epochs(&self) -> Result<u64, SubjectError> {
        let current = epoch_at(self.clock.now());
        let first = self.epochs.read().unwrap_or_else(PoisonError::into_inner).first();
        let mut resealed = 0;
        loop {
            // What is sealed under an earlier epoch than the first is lost, and not asked for.
            let old = self.keys.sealed_under(first..current, PAGE).await?;
            if old.is_empty() {
                break;
            }
            for stored in &old {
                let anew = self.sealed_anew(stored, current)?;
                resealed += u64::from(self.keys.reseal(stored, &anew).await?);
            }
        }
        self.forget_before(current.saturating_sub(1))?;
        Ok(resealed)
    }

    fn forget_before(&self, epoch: u32) -> Result<(), SubjectError> {
        let shorter = self.epochs.read().unwrap_or_else(PoisonError::into_inner).from_epoch(epoch);
        ServerKeys::keep_epochs(&self.file, &shorter)?;
        *self.epochs.write().unwrap_or_else(PoisonError::into_inner) = shorter;
        Ok(())
    }

    async fn key_or_new(&self, name: &KeyName) -> Result<Key, SubjectError> {
        let standing = match self.keys.find(name).await? {
            Standing::None => self.keys.add(&self.new_key(name)?).await?,
            standing => standing,
        };
        match standing {
            Standing::Key(stored) => self.opened(&stored),
            Standing::None | Standing::Destroyed => Err(SubjectError::Erased),
        }
    }

    fn new_key(&self, name: &KeyName) -> Result<StoredKey, SubjectError> {
        let mut key = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(&mut *key);
        self.stored(name.clone(), Uuid::new_v4(), epoch_at(self.clock.now()), &key)
    }

    fn sealed_anew(&self, from: &StoredKey, epoch: u32) -> Result<StoredKey, SubjectError> {
        self.stored(from.name.clone(), from.id, epoch, &self.opened(from)?)
    }

    fn stored(&self, name: KeyName, id: Uuid, epoch: u32, key: &Key) -> Result<StoredKey, SubjectError> {
        let mut nonce = [0; 12];
        OsRng.fill_bytes(&mut nonce);
        let bytes = cipher::seal_with(&self.epoch_key(epoch)?, nonce, &key_context(&name, id), &**key)?;
        Ok(StoredKey { name, id, epoch, bytes })
    }

    fn opened(&self, stored: &StoredKey) -> Result<Key, SubjectError> {
        let context = key_context(&stored.name, stored.id);
        let bytes = cipher::open(&self.epoch_key(stored.epoch)?, &context, &stored.bytes)?;
        Ok(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| Rejected)?))
    }

    fn epoch_key(&self, epoch: u32) -> Result<Key, SubjectError> {
        let epochs = self.epochs.read().unwrap_or_else(PoisonError::into_inner);
        epochs.key(epoch).ok_or(SubjectError::Outdated)
    }
}

fn place(name: &KeyName, context: &[u8]) -> Vec<u8> {
    Writer::new("lockstep/v1/personal")
        .fixed(name.subject.as_bytes())
        .lp(name.purpose.name().as_bytes())
        .lp(name.period.as_bytes())
        .lp(context)
        .finish()
}

fn key_context(name: &KeyName, id: Uuid) -> Vec<u8> {
    Writer::new("lockstep/v1/subject-key")
        .fixed(name.subject.as_bytes())
        .lp(name.purpose.name().as_bytes())
        .lp(name.period.as_bytes())
        .fixed(id.as_bytes())
        .finish()
}
