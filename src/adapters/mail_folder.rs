//! Letters as files in a folder: what a newcomer sees before there is a mail server.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use lettre::message::Mailbox;

use super::mime::{message, sender};
use crate::{
    mail::{Letter, MailError, Mailer, kept},
    private_file,
};

/// Writes each letter to a file, named so that it is found when the account is erased ([`kept::file_name`]).
pub struct MailFolder {
    folder: PathBuf,
    from: Mailbox,
}

/// Whether a sender is an address.
///
/// # Errors
/// If it is none.
pub fn is_sender(from: &str) -> Result<(), MailError> {
    sender(from).map(drop)
}

impl MailFolder {
    /// Uses a folder, which is made if it does not exist.
    ///
    /// # Errors
    /// If the sender is not an address, or the folder cannot be made.
    pub fn new(folder: &Path, from: &str) -> Result<Self, MailError> {
        private_file::make_folder(folder)
            .map_err(|source| MailError::File { what: "the folder for mail cannot be made", source })?;
        Ok(Self { folder: folder.to_owned(), from: sender(from)? })
    }
}

#[async_trait]
impl Mailer for MailFolder {
    async fn send(&self, letter: &Letter) -> Result<(), MailError> {
        let bytes = message(&self.from, letter)?.formatted();
        let path = self.folder.join(kept::file_name(letter));
        // Where it exists, it was written before a kill.
        let written = tokio::task::spawn_blocking(move || private_file::write_new(&path, &bytes)).await;
        match written {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(MailError::Passing(Box::new(error))),
            Err(error) => Err(MailError::Passing(Box::new(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_events::AccountId;

    use super::*;
    use crate::mail::{letter, outbox::About};

    #[tokio::test]
    async fn a_letter_is_one_private_file_however_often_it_is_handed_over() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("mail");
        let mailer = MailFolder::new(&folder, "Lockstep <vault@example.org>").unwrap();
        let letter =
            letter::notice((AccountId::NIL, "one"), "Zo\u{eb} <ada@example.org>", About::DeviceAdded);
        for _ in 0..2 {
            mailer.send(&letter).await.unwrap();
        }
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files, [folder.join(format!("{}.one.eml", AccountId::NIL))]);
        let text = std::fs::read_to_string(&files[0]).unwrap();
        assert!(text.contains("To: ") && text.contains("Message-ID: <one@example.org>"), "{text}");
        assert!(text.contains("multipart/alternative") && text.contains("text/html"), "{text}");
    }

    #[tokio::test]
    async fn what_is_not_an_address_is_refused_for_good_and_not_repeated() {
        let place = tempfile::tempdir().unwrap();
        let mailer = MailFolder::new(place.path(), "a@b.example").unwrap();
        let letter =
            letter::notice((AccountId::NIL, "one"), "canary\r\nBcc: x@y.example", About::DeviceAdded);
        let error = mailer.send(&letter).await.unwrap_err();
        assert!(matches!(error, MailError::Refused(_)) && !format!("{error:?}").contains("canary"));
    }
}
