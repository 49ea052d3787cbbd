//! The client of one profile on one device: what a user interface calls.
//!
//! Everything but [`Client::register`], [`Client::login`] and the calls marked *online* works without a server:
//! what is written goes to the local database first (durable before the call returns) and out later.

use std::path::Path;

use lockstep_events::{DeviceId, EntryId, SessionId, VersionId};
use zeroize::Zeroizing;

use crate::{
    crypto::{password::Password, wipe::Plaintext},
    error::Error,
    model::{Alarm, Change, Conflict, Entry, Link, Quarantined, Resolution, Status, SyncReport, VersionView},
    profile::Profile,
    server::Server,
};

/// How a profile is unlocked.
#[derive(Debug, Clone)]
pub enum Unlock {
    /// By its password: about half a second.
    Password(Password),
    /// By what [`Client::unlock_token`] gave.
    Token(Zeroizing<String>),
}

/// An unlocked profile. Cheap to clone.
#[derive(Clone)]
pub struct Client {}

/// The background loops of [`Client::follow`]; they end when this is dropped.
pub struct Follow {
    /// Everything that happens. A receiver that lags more than 1,024 changes is told so by `Lagged`.
    pub changes: tokio::sync::broadcast::Receiver<Change>,
    /// How fresh this device is, at any time.
    pub link: tokio::sync::watch::Receiver<Link>,
}

const NOT_YET: Error = Error::Invalid("not there yet");

impl Client {
    /// Registers an account and makes this device its first. *Online.*
    ///
    /// # Errors
    /// [`Error::ProfileExists`], [`Error::Password`] for a weak password, what the server refuses.
    pub async fn register(
        _home: &Path,
        _server: &Server,
        _name: &str,
        _password: &Password,
    ) -> Result<Self, Error> {
        Err(NOT_YET)
    }

    /// Logs in: enrols this device if the directory is empty, or opens a new session for the device that is there.
    /// *Online.*
    ///
    /// # Errors
    /// [`Error::LoginFailed`], [`Error::ProfileExists`] if the profile is another account's.
    pub async fn login(
        _home: &Path,
        _server: &Server,
        _name: &str,
        _password: &Password,
    ) -> Result<Self, Error> {
        Err(NOT_YET)
    }

    /// Unlocks the profile in a directory.
    ///
    /// # Errors
    /// [`Error::NoProfile`], [`Error::WrongPassword`].
    pub async fn open(_home: &Path, _unlock: &Unlock) -> Result<Self, Error> {
        Err(NOT_YET)
    }

    /// What stands in the open about a profile: server, name, account, device.
    ///
    /// # Errors
    /// [`Error::NoProfile`].
    pub fn profile(home: &Path) -> Result<Profile, Error> {
        Profile::read(home)
    }

    /// A text that opens this profile without its password, for an agent or the key store of the system.
    pub fn unlock_token(&self) -> Zeroizing<String> {
        Zeroizing::new(String::new())
    }

    /// Ends the session on the server (if it can be reached) and deletes the profile's files.
    ///
    /// # Errors
    /// [`Error::Invalid`] if versions wait in the outbox and `discard` is not set; nothing is deleted then.
    pub async fn logout(self, _discard: bool) -> Result<(), Error> {
        Err(NOT_YET)
    }

    /// Adds an entry. Durable when this returns.
    ///
    /// # Errors
    /// If the content is too long (about 56 KB) or the local database fails.
    pub async fn add(&self, _content: &[u8]) -> Result<EntryId, Error> {
        Err(NOT_YET)
    }

    /// Adds many entries in one local transaction; they go out as atomic groups of at most 200.
    /// `progress` is told how many are saved.
    ///
    /// # Errors
    /// As [`Client::add`]; nothing is saved then.
    pub async fn add_many(
        &self,
        _contents: &[Plaintext],
        _progress: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<EntryId>, Error> {
        Err(NOT_YET)
    }

    /// New content for an entry, on top of `base`: the head (or, to resolve, the heads) that the person was shown.
    ///
    /// # Errors
    /// [`Error::NotFound`] if a base is not a version of the entry.
    pub async fn edit(
        &self,
        _entry: EntryId,
        _base: &[VersionId],
        _content: &[u8],
    ) -> Result<VersionId, Error> {
        Err(NOT_YET)
    }

    /// Deletes an entry; `shown` are all heads that the person was shown (see [`Entry::head_ids`]).
    ///
    /// # Errors
    /// [`Error::NotFound`] if a head is not a version of the entry.
    pub async fn remove(&self, _entry: EntryId, _shown: &[VersionId]) -> Result<VersionId, Error> {
        Err(NOT_YET)
    }

    /// All entries that are not deleted, with their content, in order of id.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn entries(&self) -> Result<Vec<Entry>, Error> {
        Err(NOT_YET)
    }

    /// One entry with all its heads, deleted ones too.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn get(&self, _entry: EntryId) -> Result<Entry, Error> {
        Err(NOT_YET)
    }

    /// All versions of an entry that this device or (if it can be reached) the server has, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn history(&self, _entry: EntryId) -> Result<Vec<VersionView>, Error> {
        Err(NOT_YET)
    }

    /// Makes an older version the head again (an `adopt` over all present heads); also undeletes.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not a version of the entry.
    pub async fn restore(&self, _entry: EntryId, _version: VersionId) -> Result<VersionId, Error> {
        Err(NOT_YET)
    }

    /// All divergent entries, with their common ancestors.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn conflicts(&self) -> Result<Vec<Conflict>, Error> {
        Err(NOT_YET)
    }

    /// One divergent entry with its common ancestors.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn conflict(&self, _entry: EntryId) -> Result<Conflict, Error> {
        Err(NOT_YET)
    }

    /// Resolves the heads that the person was shown. A head that arrived meanwhile stays open.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the resolution names a version that is not among the heads shown.
    pub async fn resolve(
        &self,
        _entry: EntryId,
        _shown: &[VersionId],
        _resolution: &Resolution,
    ) -> Result<VersionId, Error> {
        Err(NOT_YET)
    }

    /// Shows this head first on this device until the conflict is resolved; `None` takes it back.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn pin(&self, _entry: EntryId, _version: Option<VersionId>) -> Result<(), Error> {
        Err(NOT_YET)
    }

    /// Pulls, pushes and pulls once more. *Online.*
    ///
    /// # Errors
    /// [`Error::Offline`], [`Error::Revoked`], [`Error::Alarm`].
    pub async fn sync(&self) -> Result<SyncReport, Error> {
        Err(NOT_YET)
    }

    /// Starts the background loops: live feed with fall-back to long-poll, and push. They retry for ever.
    pub fn follow(&self) -> Follow {
        Follow {
            changes: tokio::sync::broadcast::channel(1024).1,
            link: tokio::sync::watch::channel(Link::Stale).1,
        }
    }

    /// The state of the profile.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn status(&self) -> Result<Status, Error> {
        Err(NOT_YET)
    }

    /// All alarms, newest first.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        Err(NOT_YET)
    }

    /// Marks all alarms as seen.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn acknowledge_alarms(&self) -> Result<(), Error> {
        Err(NOT_YET)
    }

    /// Versions that the server refused for good.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn quarantine(&self) -> Result<Vec<Quarantined>, Error> {
        Err(NOT_YET)
    }

    /// Offers a quarantined version again, or (`discard`) deletes it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn release(&self, _version: VersionId, _discard: bool) -> Result<(), Error> {
        Err(NOT_YET)
    }

    /// The devices of the account. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn devices(&self) -> Result<Vec<lockstep_api::account::Device>, Error> {
        Err(NOT_YET)
    }

    /// Revokes a device. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn revoke_device(&self, _device: DeviceId) -> Result<(), Error> {
        Err(NOT_YET)
    }

    /// The sessions of the account. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn sessions(&self) -> Result<Vec<lockstep_api::account::Session>, Error> {
        Err(NOT_YET)
    }

    /// Ends a session. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn end_session(&self, _session: SessionId) -> Result<(), Error> {
        Err(NOT_YET)
    }

    /// The one encrypted file of this account: its winner's bytes and the heads to build the next on. None if there
    /// is no file yet.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn file_get(&self) -> Result<Option<(Plaintext, Vec<VersionId>)>, Error> {
        Err(NOT_YET)
    }

    /// Replaces the file as a whole, on top of the heads that [`Client::file_get`] gave (none for the first).
    ///
    /// # Errors
    /// If the content is too long.
    pub async fn file_put(&self, _base: &[VersionId], _content: &[u8]) -> Result<VersionId, Error> {
        Err(NOT_YET)
    }

    /// Calls the server with this device's token; any status is an answer. *Online.*
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn api(
        &self,
        _method: &str,
        _path: &str,
        _body: Option<&serde_json::Value>,
    ) -> Result<(u16, String), Error> {
        Err(NOT_YET)
    }
}
