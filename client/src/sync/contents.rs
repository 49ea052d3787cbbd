//! Ciphertexts that did not come along with their versions: fetched by hash, many in one request.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_api::{Code, sync::GetBlobs};
use lockstep_events::{BlobHash, EntryId, Seq, StreamKind, VersionId, event::ContentPruned, graph::Heads};
use reqwest::Method;
use sqlx::SqliteConnection;

use super::check::{self, Refusal, refuse};
use crate::{
    engine::Engine,
    error::Error,
    model::{AlarmKind, Wanted},
    store::{
        attachments, entries,
        versions::{self, ContentState, Kept},
    },
    transport::Body,
    view::content_version,
};

/// Hashes of one request.
const PER_REQUEST: u32 = 200;
const NOT_THERE: u32 = 0xffff_ffff;
const TOO_LARGE: u32 = 0xffff_fffe;

/// What an answer says about one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Bytes(Vec<u8>),
    NotThere,
    TooLarge,
}

/// Splits an answer: hash (32 bytes) | length (u32) | bytes.
fn frames(mut answer: &[u8]) -> Result<BTreeMap<BlobHash, Found>, Error> {
    let bad = Error::Protocol("frames of blobs that do not fit");
    let mut all = BTreeMap::new();
    while !answer.is_empty() {
        let Some((head, rest)) = answer.split_first_chunk::<36>() else { return Err(bad) };
        let mut hash = [0; 32];
        hash.copy_from_slice(&head[..32]);
        let len = u32::from_be_bytes([head[32], head[33], head[34], head[35]]);
        let found = match len {
            NOT_THERE => Found::NotThere,
            TOO_LARGE => Found::TooLarge,
            len => {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let Some((bytes, after)) = rest.split_at_checked(len) else { return Err(bad) };
                answer = after;
                all.insert(BlobHash(hash), Found::Bytes(bytes.to_vec()));
                continue;
            }
        };
        answer = rest;
        all.insert(BlobHash(hash), found);
    }
    Ok(all)
}

impl Engine {
    /// Fetches every ciphertext of the vault that is on the server and not here. What the server says that it has not, and
    /// heads show as far as this device has read.
    pub(crate) async fn fetch_contents(&self) -> Result<BTreeSet<VersionId>, Error> {
        let vault = self.vault();
        let mut denied = BTreeSet::new();
        loop {
            let mut db = self.store.pool().acquire().await?;
            let beside = u32::try_from(denied.len()).unwrap_or(u32::MAX);
            let mut wanted = versions::wanted(&mut db, vault, PER_REQUEST.saturating_add(beside)).await?;
            drop(db);
            wanted.retain(|(id, _)| !denied.contains(id));
            wanted.truncate(PER_REQUEST as usize);
            if wanted.is_empty() || self.fetch_some(&wanted, &mut denied).await? == 0 {
                return Ok(denied);
            }
        }
    }

    /// What heads show no server prunes: if it is not there, the server has lost it, or withholds it, and it is asked for
    /// again by the next pull. It may have been built on, and pruned, before it was asked for; then the feed says so.
    pub(super) async fn settle_denied(&self, denied: BTreeSet<VersionId>) -> Result<(), Error> {
        if denied.is_empty() {
            return Ok(());
        }
        self.pull_stream(self.vault().into(), StreamKind::Vault).await?;
        let mut tx = self.store.begin().await?;
        for id in denied {
            let Some(version) = versions::get(&mut tx, id).await? else { continue };
            if version.content == ContentState::Missing && !is_shown(&mut tx, &version).await? {
                versions::gone(&mut tx, id).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Fetches some; how many of them need not be asked for again now.
    async fn fetch_some(
        &self,
        wanted: &[(VersionId, Wanted)],
        denied: &mut BTreeSet<VersionId>,
    ) -> Result<usize, Error> {
        let vault = self.vault();
        let body = GetBlobs { hashes: wanted.iter().map(|(_, wanted)| wanted.hash).collect() };
        let path = format!("/v1/vaults/{vault}/blobs/get");
        let answer = self.request(Method::POST, &path, Body::json(&body)?).await?.ok()?;
        let mut found = frames(&answer)?;
        for (_, wanted) in wanted {
            if found.get(&wanted.hash) == Some(&Found::TooLarge) {
                let path = format!("/v1/vaults/{vault}/blobs/{}", wanted.hash);
                match self.request(Method::GET, &path, Body::None).await?.ok() {
                    Ok(bytes) => drop(found.insert(wanted.hash, Found::Bytes(bytes))),
                    // Whoever has it may bring it again: it is asked for at the next sync.
                    Err(Error::Refused { problem, .. }) if problem.code == Code::BlobLost => {}
                    Err(other) => return Err(other),
                }
            }
        }
        let mut settled = 0;
        let mut refused = None;
        let mut tx = self.store.begin().await?;
        for (id, wanted) in wanted {
            let Some(version) = versions::get(&mut tx, *id).await? else { continue };
            match found.get(&wanted.hash) {
                Some(Found::Bytes(bytes)) => match check::content(*id, &version.header, Some(bytes)) {
                    Ok(()) => {
                        versions::fill(&mut tx, *id, bytes).await?;
                        settled += 1;
                    }
                    Err(refusal) => refused = Some(refusal),
                },
                Some(Found::NotThere) if is_shown(&mut tx, &version).await? => {
                    denied.insert(*id);
                    settled += 1;
                }
                Some(Found::NotThere) => {
                    versions::gone(&mut tx, *id).await?;
                    settled += 1;
                }
                Some(Found::TooLarge) | None => {}
            }
        }
        tx.commit().await?;
        match refused {
            Some(refusal) => Err(self.alarm(refusal.kind, &refusal.detail).await),
            None => Ok(settled),
        }
    }
}

/// Nothing that heads show is pruned.
pub(super) async fn not_shown(
    db: &mut SqliteConnection,
    pruned: &ContentPruned,
    (seq, heads): (Seq, &Heads),
) -> Result<Result<(), Refusal>, Error> {
    let shown = shown_by(db, pruned.entry, heads).await?;
    Ok(match pruned.versions.iter().find(|id| shown.contains(id)) {
        Some(id) => refuse(AlarmKind::Content, format!("{id}: pruned at {seq}, and it is shown")),
        None => Ok(()),
    })
}

/// The files of a version that is here are those that it came with: nobody signs which they are. One that it has from an
/// earlier version may have been pruned with that before a server took this one, and is not named then.
pub(super) async fn same_files(
    db: &mut SqliteConnection,
    version: &Kept,
    said: &[BlobHash],
) -> Result<Result<(), Refusal>, Error> {
    let known = attachments::of_one(db, version.id).await?;
    let mut same = said.iter().all(|hash| known.contains(hash));
    for hash in known.iter().filter(|hash| !said.contains(hash)) {
        same &= attachments::is_named_by_another(db, version, hash).await?;
    }
    Ok(if same {
        Ok(())
    } else {
        refuse(AlarmKind::Content, format!("{}: other files than it came with", version.id))
    })
}

/// The versions whose contents some heads show: themselves, and what they keep.
async fn shown_by(
    db: &mut SqliteConnection,
    entry: EntryId,
    heads: &Heads,
) -> Result<BTreeSet<VersionId>, Error> {
    let all = versions::of_entry(db, entry).await?;
    let all: BTreeMap<VersionId, Kept> = all.into_iter().map(|version| (version.id, version)).collect();
    let ids = heads.ids();
    Ok(ids.iter().filter_map(|id| content_version(&all, all.get(id)?)).map(|version| version.id).collect())
}

async fn is_shown(db: &mut SqliteConnection, version: &Kept) -> Result<bool, Error> {
    let (vault, entry) = (version.header.vault, version.header.entry);
    let heads = entries::accepted(db, vault, entry).await?.heads;
    Ok(shown_by(db, entry, &heads).await?.contains(&version.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_split_and_anything_that_does_not_fit_is_refused() {
        let frame = |hash: u8, len: u32, bytes: &[u8]| [&[hash; 32][..], &len.to_be_bytes(), bytes].concat();
        let answer =
            [frame(1, 3, b"abc"), frame(2, NOT_THERE, b""), frame(3, TOO_LARGE, b""), frame(4, 0, b"")];
        let found = frames(&answer.concat()).unwrap();
        assert_eq!(found[&BlobHash([1; 32])], Found::Bytes(b"abc".to_vec()));
        assert_eq!(found[&BlobHash([2; 32])], Found::NotThere);
        assert_eq!(found[&BlobHash([3; 32])], Found::TooLarge);
        assert_eq!(found[&BlobHash([4; 32])], Found::Bytes(Vec::new()));
        assert!(frames(&frame(1, 4, b"abc")).is_err());
        assert!(frames(&[1; 35]).is_err());
    }
}
