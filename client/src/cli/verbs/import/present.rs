//! What of an import is there already.

use std::collections::HashMap;

use lockstep_client::{
    Client,
    crypto::wipe::Plaintext,
    porting::{Item, item::AttachmentRef},
};
use lockstep_events::{EntryId, VersionId};

use crate::cli::{
    app::{App, item_of},
    failure::{Done, Exit},
    verbs::attachment,
};

use super::places::Place;

/// What becomes of the one file of an archive.
pub enum OneFile {
    /// The archive has none.
    None,
    /// It is there.
    Same,
    /// Another one is there, and stays.
    Other,
    /// It is put, on top of these versions of another.
    Put(Plaintext, Vec<VersionId>),
}

impl OneFile {
    /// The word for programs.
    pub const fn word(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Same => Some("already_there"),
            Self::Other => Some("left_out"),
            Self::Put(..) => Some("put"),
        }
    }
}

/// Decides about the one file: what is there is replaced only if that was said.
///
/// # Errors
/// If what is there cannot be read.
pub async fn one_file(client: &Client, file: Option<Plaintext>, replace: bool) -> Done<OneFile> {
    let Some(file) = file else { return Ok(OneFile::None) };
    Ok(match client.file_get().await? {
        Some((present, _)) if present == file => OneFile::Same,
        Some(_) if !replace => OneFile::Other,
        present => OneFile::Put(file, present.map(|(_, heads)| heads).unwrap_or_default()),
    })
}

/// Takes out of an import what its vault has: an entry of the same content with at least the same files. Each entry of
/// the vault stands for one. Gives how many entries could not be compared, because a file is not to be had.
///
/// # Errors
/// If the local database fails, or a file is not authentic.
pub async fn leave_out(app: &App, place: &mut Place) -> Done<u64> {
    let Some(client) = &place.client else { return Ok(0) };
    let mut kept: HashMap<[u8; 32], Vec<(EntryId, Item)>> = HashMap::new();
    for entry in client.entries().await? {
        for item in entry.heads.iter().filter_map(item_of) {
            kept.entry(item.likeness()).or_default().push((entry.entry, item));
        }
    }
    let mut unknown = 0;
    let mut new = Vec::with_capacity(place.items.len());
    for item in std::mem::take(&mut place.items) {
        let alike = kept.entry(item.likeness()).or_default();
        let (mut found, mut untold) = (None, false);
        for (at, (entry, there)) in alike.iter().enumerate() {
            match has_files(app, client, (*entry, there), &item).await? {
                Some(true) => {
                    found = Some(at);
                    break;
                }
                Some(false) => {}
                None => untold = true,
            }
        }
        if let Some(at) = found {
            alike.swap_remove(at);
            place.there += 1;
        } else {
            unknown += u64::from(untold);
            new.push(item);
        }
    }
    place.items = new;
    Ok(unknown)
}

/// Whether an entry has all files of an item; none if that cannot be told.
async fn has_files(
    app: &App,
    client: &Client,
    (entry, there): (EntryId, &Item),
    item: &Item,
) -> Done<Option<bool>> {
    let mut pairs: Vec<(&AttachmentRef, &AttachmentRef)> = Vec::with_capacity(item.attachments.len());
    for file in &item.attachments {
        let same = |own: &&AttachmentRef| own.name == file.name && own.size == file.size;
        let free = |own: &&AttachmentRef| pairs.iter().all(|(_, other)| other.id != own.id);
        match there.attachments.iter().find(|own| same(own) && free(own)) {
            Some(own) => pairs.push((file, own)),
            None => return Ok(Some(false)),
        }
    }
    for (file, own) in pairs {
        match attachment::fetch(app, client, (entry, own)).await {
            Ok(content) if file.content().is_some_and(|wanted| wanted == content) => {}
            Ok(_) => return Ok(Some(false)),
            Err(failure) if failure.exit == Exit::Alarm => return Err(failure),
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(true))
}
