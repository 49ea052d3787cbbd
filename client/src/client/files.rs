//! Attachments: files beside the versions of an entry; and many entries at once, with their files.

use std::sync::atomic::Ordering;

use lockstep_events::{EntryId, VersionId};

use super::Client;
use crate::{
    crypto::{attachment::Attachment, os_random, version::new_id, wipe::Plaintext},
    edit::NewVersion,
    error::Error,
};

/// A new entry, ready to be written.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Its id, from [`Client::new_entry`]: what its attachments were sealed for.
    pub entry: EntryId,
    /// What it holds.
    pub content: Plaintext,
    /// The sealed files that its content speaks of, from [`Client::attach`].
    pub attachments: Vec<Attachment>,
}

impl Client {
    /// The id of an entry that is to be, to seal its files for.
    pub fn new_entry(&self) -> EntryId {
        new_id(&mut os_random())
    }

    /// Adds many entries in one local transaction; they go out as atomic groups of at most 250.
    /// `progress` is told how many are saved.
    ///
    /// # Errors
    /// As [`Client::add`]; nothing is saved then.
    pub async fn add_many(
        &self,
        contents: &[Plaintext],
        progress: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<EntryId>, Error> {
        let new = |content| NewVersion { entry: self.new_entry(), content, attachments: Vec::new() };
        let all: Vec<NewVersion<'_>> = contents.iter().map(|content| new(content)).collect();
        self.engine.add_many(&all, progress).await?;
        Ok(all.into_iter().map(|new| new.entry).collect())
    }

    /// As [`Client::add_many`], with files. What has files goes out by itself.
    ///
    /// # Errors
    /// As [`Client::add`]; nothing is saved then.
    pub async fn add_prepared(
        &self,
        entries: &[NewEntry],
        progress: &mut (dyn FnMut(usize) + Send),
    ) -> Result<(), Error> {
        let new = |new: &'_ NewEntry| new.attachments.iter().map(|attachment| attachment.hash).collect();
        let all: Vec<NewVersion<'_>> = entries
            .iter()
            .map(|entry| NewVersion { entry: entry.entry, content: &entry.content, attachments: new(entry) })
            .collect();
        self.engine.add_many(&all, progress).await
    }

    /// As [`Self::edit`], with exactly these attachments. `edit` keeps those of the versions that it builds on.
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn edit_with(
        &self,
        entry: EntryId,
        base: &[VersionId],
        content: &[u8],
        attachments: &[&Attachment],
    ) -> Result<VersionId, Error> {
        let hashes: Vec<_> = attachments.iter().map(|attachment| attachment.hash).collect();
        self.engine.edit_with(entry, base, content, Some(&hashes)).await
    }

    /// Says that a person was shown these versions of the one encrypted file: [`Self::file_put_on_seen`] stands on them.
    /// Whatever is put here was seen.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn file_see(&self, versions: &[VersionId]) -> Result<(), Error> {
        self.engine.file_see(versions).await
    }

    /// As [`Self::file_put`], on top of what a person saw of the file on this device last. What another device put
    /// meanwhile stays beside it, as a branch, whether it was fetched or not.
    ///
    /// # Errors
    /// As [`Self::file_put`].
    pub async fn file_put_on_seen(&self, content: &[u8]) -> Result<VersionId, Error> {
        self.engine.file_put_on_seen(content).await
    }

    /// Seals a file for an entry and keeps it here until it was sent. It belongs to the entry once a version names it
    /// ([`Self::edit_with`]), whose content keeps what this returns.
    ///
    /// # Errors
    /// If it is too long, or the disk is full.
    pub async fn attach(&self, entry: EntryId, content: &[u8]) -> Result<Attachment, Error> {
        self.engine.attach(entry, content).await
    }

    /// Takes sealed files from this device that no version names: what they were sealed for was not written.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn detach(&self, attachments: impl Iterator<Item = &Attachment>) -> Result<(), Error> {
        for attachment in attachments {
            self.engine.detach(attachment).await?;
        }
        Ok(())
    }

    /// The file behind an attachment: from this device, or *online* from the server.
    ///
    /// # Errors
    /// [`Error::FileGone`] if the server does not have it, [`Error::ContentLost`] if it should; [`Error::Rejected`] if it is another entry's.
    pub async fn attachment(&self, entry: EntryId, attachment: &Attachment) -> Result<Plaintext, Error> {
        self.engine.attachment(entry, attachment).await
    }

    /// Whether the file behind an attachment is on this device, unchanged.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn has_attachment(&self, attachment: &Attachment) -> Result<bool, Error> {
        self.engine.is_whole(&attachment.hash).await
    }

    /// How many bytes of files were sent and fetched since this client was opened: for a progress bar.
    pub fn moved(&self) -> u64 {
        self.engine.transport.moved.load(Ordering::Relaxed)
    }
}
