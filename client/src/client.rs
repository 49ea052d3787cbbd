//! The client of one profile on one device: what a user interface calls.
//!
//! Everything but [`Client::register`], [`Client::login`] and the calls marked *online* works without a server:
//! what is written goes to the local database first (durable before the call returns) and out later.

mod access;
mod files;
mod following;
mod ordered;
mod outbox;
mod vaults;
mod ways;

use std::{path::Path, sync::Arc};

use lockstep_events::{DeviceId, EntryId, SessionId, VersionId};
use zeroize::Zeroizing;

use crate::{
    account,
    crypto::{password::Password, wipe::Plaintext},
    engine::Engine,
    error::Error,
    keystore::{self, Place},
    model::{Alarm, Conflict, Entry, Resolution, Status, SyncReport, VersionView},
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
    /// By what [`Client::keep_unlocked`] keeps.
    Kept,
}

pub use files::NewEntry;
pub use following::{Follow, Loops};

/// An unlocked profile. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) engine: Arc<Engine>,
}

impl Client {
    /// Registers an account and makes this device its first. *Online.*
    ///
    /// # Errors
    /// [`Error::ProfileExists`], [`Error::Password`] for a weak password, what the server refuses.
    pub async fn register(
        home: &Path,
        server: &Server,
        name: &str,
        password: &Password,
    ) -> Result<Self, Error> {
        account::register(home, server, name, password, None).await.map(|engine| Self { engine })
    }

    /// As [`Client::register`], where registration takes an invitation. *Online.*
    ///
    /// # Errors
    /// As [`Client::register`].
    pub async fn register_invited(
        home: &Path,
        server: &Server,
        name: &str,
        password: &Password,
        invitation: &str,
    ) -> Result<Self, Error> {
        let invitation = Some(invitation);
        account::register(home, server, name, password, invitation).await.map(|engine| Self { engine })
    }

    /// Logs in: enrols this device if the directory is empty, or opens a new session for the device that is there.
    /// *Online.*
    ///
    /// # Errors
    /// [`Error::LoginFailed`], [`Error::ProfileExists`] if the profile is another account's.
    pub async fn login(home: &Path, server: &Server, name: &str, password: &Password) -> Result<Self, Error> {
        Self::login_with(home, server, name, (password, None), &mut access::no_factor).await
    }

    /// Unlocks the profile in a directory.
    ///
    /// # Errors
    /// [`Error::NoProfile`], [`Error::WrongPassword`].
    pub async fn open(home: &Path, unlock: &Unlock) -> Result<Self, Error> {
        account::open(home, unlock).await.map(|engine| Self { engine })
    }

    /// Closes the local database. To be awaited before the process ends: the database's threads must not be cut off
    /// while its cipher library cleans up.
    pub async fn close(&self) {
        self.engine.store.close().await;
    }

    /// What stands in the open about a profile: server, name, account, device.
    ///
    /// # Errors
    /// [`Error::NoProfile`].
    pub fn profile(home: &Path) -> Result<Profile, Error> {
        Profile::read(home)
    }

    /// A text that opens this profile without its password, for an agent.
    pub fn unlock_token(&self) -> Zeroizing<String> {
        self.engine.keys.local.to_token()
    }

    /// Keeps this profile open from now on: [`Unlock::Kept`] opens it, until [`Client::forget_unlocked`].
    ///
    /// # Errors
    /// [`Error::KeyStore`] if the place cannot be used; nothing is changed then.
    pub async fn keep_unlocked(&self, place: Place) -> Result<(), Error> {
        keystore::keep(&self.engine.home, &self.engine.profile, &self.engine.keys.local, place).await
    }

    /// Where something keeps a profile open.
    ///
    /// # Errors
    /// If the file that says so is damaged.
    pub fn kept_unlocked(home: &Path) -> Result<Option<Place>, Error> {
        keystore::place(home)
    }

    /// Keeps a profile open no longer; whether it was.
    ///
    /// # Errors
    /// If the place cannot be asked to forget; what it still has opens nothing.
    pub async fn forget_unlocked(home: &Path) -> Result<bool, Error> {
        keystore::forget(home, Profile::read(home)?.device).await
    }

    /// Ends the session on the server (if it can be reached) and deletes the profile's files; whether the server knows
    /// that the session has ended.
    ///
    /// # Errors
    /// [`Error::Invalid`] if something may be on this device alone and `discard` is not set: versions wait or were refused,
    /// the server was restored and has not been compared, or was caught. Nothing is deleted then.
    pub async fn logout(self, discard: bool) -> Result<bool, Error> {
        self.engine.logout(discard, true).await
    }

    /// The same without a word to the server.
    ///
    /// # Errors
    /// As [`Self::logout`].
    pub async fn logout_here(self, discard: bool) -> Result<(), Error> {
        self.engine.logout(discard, false).await.map(drop)
    }

    /// Adds an entry. Durable when this returns.
    ///
    /// # Errors
    /// If the content is too long (about 56 KB) or the local database fails.
    pub async fn add(&self, content: &[u8]) -> Result<EntryId, Error> {
        self.engine.add(content).await
    }

    /// New content for an entry, on top of `base`: the head (or, to resolve, the heads) that the person was shown.
    ///
    /// # Errors
    /// [`Error::NotFound`] if a base is not a version of the entry.
    pub async fn edit(&self, entry: EntryId, base: &[VersionId], content: &[u8]) -> Result<VersionId, Error> {
        self.engine.edit(entry, base, content).await
    }

    /// Deletes an entry; `shown` are all heads that the person was shown (see [`Entry::head_ids`]).
    ///
    /// # Errors
    /// [`Error::NotFound`] if a head is not a version of the entry.
    pub async fn remove(&self, entry: EntryId, shown: &[VersionId]) -> Result<VersionId, Error> {
        self.engine.remove(entry, shown).await
    }

    /// All entries that are not deleted, with their content, in order of id.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn entries(&self) -> Result<Vec<Entry>, Error> {
        self.engine.entries().await
    }

    /// All entries that are deleted and can be restored, in order of id; their heads have no content.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn deleted(&self) -> Result<Vec<Entry>, Error> {
        self.engine.deleted().await
    }

    /// One entry with all its heads, deleted ones too.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn get(&self, entry: EntryId) -> Result<Entry, Error> {
        self.engine.entry(entry).await
    }

    /// All versions of an entry that this device or (if it can be reached) the server has, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn history(&self, entry: EntryId) -> Result<Vec<VersionView>, Error> {
        self.engine.history(entry).await
    }

    /// Makes an older version the head again (an `adopt` over all present heads); also undeletes.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not a version of the entry.
    pub async fn restore(&self, entry: EntryId, version: VersionId) -> Result<VersionId, Error> {
        self.engine.restore(entry, version).await
    }

    /// The same over the heads that a person was shown: one that came meanwhile stays beside it, as a branch.
    ///
    /// # Errors
    /// [`Error::NotFound`] if one of them is not a version of the entry.
    pub async fn restore_over(
        &self,
        entry: EntryId,
        shown: &[VersionId],
        version: VersionId,
    ) -> Result<VersionId, Error> {
        self.engine.restore_over(entry, shown, version).await
    }

    /// All divergent entries, with their common ancestors.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn conflicts(&self) -> Result<Vec<Conflict>, Error> {
        self.engine.conflicts().await
    }

    /// One divergent entry with its common ancestors.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn conflict(&self, entry: EntryId) -> Result<Conflict, Error> {
        self.engine.conflict(entry).await
    }

    /// Resolves the heads that the person was shown. A head that arrived meanwhile stays open.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the resolution names a version that is not among the heads shown.
    pub async fn resolve(
        &self,
        entry: EntryId,
        shown: &[VersionId],
        resolution: &Resolution,
    ) -> Result<VersionId, Error> {
        self.engine.resolve(entry, shown, resolution).await
    }

    /// Shows this head first on this device until the conflict is resolved; `None` takes it back.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn pin(&self, entry: EntryId, version: Option<VersionId>) -> Result<(), Error> {
        self.engine.pin(entry, version).await
    }

    /// Pulls, pushes and pulls once more. *Online.*
    ///
    /// # Errors
    /// [`Error::Offline`], [`Error::Revoked`], [`Error::Alarm`]; [`Error::Held`] if something waits, and does so until a
    /// person has seen an alarm.
    pub async fn sync(&self) -> Result<SyncReport, Error> {
        Box::pin(self.engine.sync_once()).await
    }

    /// The state of the profile.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn status(&self) -> Result<Status, Error> {
        self.engine.status().await
    }

    /// All alarms, newest first.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        self.engine.alarms().await
    }

    /// Marks all alarms as seen. What they held (see [`Status::held`]) is sent from now on.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn acknowledge_alarms(&self) -> Result<(), Error> {
        self.engine.acknowledge_alarms(i64::MAX).await
    }

    /// As [`Client::acknowledge_alarms`], for those that a person was shown: one that came meanwhile is still to be seen.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn acknowledge(&self, shown: &[Alarm]) -> Result<(), Error> {
        match shown.iter().map(|alarm| alarm.id).max() {
            Some(last) => self.engine.acknowledge_alarms(last).await,
            None => Ok(()),
        }
    }

    /// Sets aside what an alarm says of a version that a device of the account signed, when a person knows that the
    /// device's app was wrong and not the server: from then on exactly this is held against nobody on this device, and its
    /// vault is read on. The version stays what it is, and what cannot be opened of it is shown so.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the alarm is about no such version.
    pub async fn set_aside(&self, alarm: &Alarm) -> Result<(), Error> {
        self.engine.set_aside(alarm).await
    }

    /// The devices of the account. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn devices(&self) -> Result<Vec<lockstep_api::account::Device>, Error> {
        self.engine.devices().await
    }

    /// Revokes a device, and turns the key of every vault: what is written from now on is sealed under one that it never
    /// had. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), Error> {
        self.engine.revoke_device(device).await
    }

    /// The sessions of the account. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn sessions(&self) -> Result<Vec<lockstep_api::account::Session>, Error> {
        self.engine.sessions().await
    }

    /// Ends a session. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn end_session(&self, session: SessionId) -> Result<(), Error> {
        self.engine.end_session(session).await
    }

    /// The one encrypted file of this account: its winner's bytes and the heads to build the next on. None if there
    /// is no file yet.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn file_get(&self) -> Result<Option<(Plaintext, Vec<VersionId>)>, Error> {
        self.engine.file_get().await
    }

    /// The entry that holds the file: for its history, its conflict and its resolution.
    pub fn file_entry(&self) -> EntryId {
        self.engine.file_entry()
    }

    /// Replaces the file as a whole, on top of the heads that [`Client::file_get`] gave (none for the first).
    ///
    /// # Errors
    /// If the content is too long.
    pub async fn file_put(&self, base: &[VersionId], content: &[u8]) -> Result<VersionId, Error> {
        self.engine.file_put(base, content).await
    }

    /// Calls the server with this device's token; any status is an answer. *Online.*
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn api(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(u16, String), Error> {
        self.engine.call(method, path, body).await
    }

    /// Asks a path of the server for JSON. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn fetch<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.engine.fetch(path).await
    }

    /// Says where the server serves administrators, if not where it serves everybody. It must show the server's
    /// certificate. Holds for as long as this client is open; the first word counts.
    pub fn serve_administrators_at(&self, url: &str) {
        // Told twice, it was told.
        let _ = self.engine.office.set(url.to_owned());
    }

    /// As [`Client::fetch`], saying why: what an administrator looks at. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn look<T: serde::de::DeserializeOwned>(&self, path: &str, reason: &str) -> Result<T, Error> {
        self.engine.look(path, reason).await
    }

    /// Sends JSON to a path of the server and reads JSON. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn act<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T, Error> {
        self.engine.act(path, body).await
    }

    /// Deletes a path of the server. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn take_away(&self, path: &str) -> Result<(), Error> {
        self.engine.take_away(path).await
    }

    /// The access token that this device's requests carry, for another program; valid for two minutes at least.
    /// *Online* if it has to be renewed.
    ///
    /// # Errors
    /// If there is no session, or it cannot be renewed.
    pub async fn access_token(&self) -> Result<Zeroizing<String>, Error> {
        self.engine.lasting_access_token().await.map(Zeroizing::new)
    }
}
