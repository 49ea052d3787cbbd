//! Writing: every change is a version, durable in the local database with its place in the outbox before the call
//! returns (C2).

use std::collections::BTreeSet;

use lockstep_events::{AccountId, BlobHash, Chain, EntryId, Seq, VersionId, VersionKind, canonical::Writer};
use sqlx::SqliteConnection;

use crate::{
    client::NewEntry,
    crypto::{
        keys::VaultKey,
        os_random,
        version::{Author, Version, new_id},
        wipe::Plaintext,
    },
    engine::Engine,
    error::Error,
    model::{Content, Resolution},
    porting::{Item, item::AttachmentRef},
    store::{
        Tx, attachments, entries, outbox, streams,
        versions::{self, ContentState, Kept},
    },
    sync::push::{HASH, wire_size},
    view::content_version,
};

/// Versions of one atomic group of an import.
const GROUP: usize = 250;
/// Bytes of JSON of one atomic group: well under the limit of a push.
const GROUP_BYTES: usize = 700 * 1024;

/// The first version of a new entry.
pub(crate) struct NewVersion<'a> {
    pub(crate) entry: EntryId,
    pub(crate) content: &'a [u8],
    pub(crate) attachments: Vec<BlobHash>,
}

/// What an author needs, read in the transaction that writes.
struct Desk {
    generation: u32,
    vault_key: VaultKey,
    observed: (Seq, Chain),
    client_time: i64,
}

impl Engine {
    async fn desk(&self, db: &mut SqliteConnection) -> Result<Desk, Error> {
        let (generation, vault_key) = self.newest_vault_key(db, self.vault()).await?;
        let place = streams::get(db, self.vault().into()).await?;
        let observed = place.map_or((Seq::ZERO, Chain::ZERO), |place| (place.seq, place.chain));
        Ok(Desk { generation, vault_key, observed, client_time: self.now().0 / 1000 })
    }

    fn author<'a>(&'a self, desk: &'a Desk) -> Author<'a> {
        Author {
            account: self.account(),
            vault: self.vault(),
            device: self.device(),
            device_key: &self.keys.device_key,
            vault_key: &desk.vault_key,
            generation: desk.generation,
            observed_seq: desk.observed.0,
            observed_chain: desk.observed.1,
            client_time: desk.client_time,
        }
    }

    async fn save(
        &self,
        db: &mut SqliteConnection,
        version: Version,
        unit: Option<i64>,
    ) -> Result<VersionId, Error> {
        let id = version.id;
        if versions::get(db, id).await?.is_some() {
            // The same choice was made before: it stands, or waits already. If it was refused, perhaps for what went with
            // it, it is tried once more.
            if outbox::release(db, id).await? {
                outbox::add(db, (version.header.vault, id), unit, false).await?;
            }
            return Ok(id);
        }
        let kept = kept(version);
        versions::insert(db, &kept).await?;
        outbox::add(db, (kept.header.vault, id), unit, false).await?;
        Ok(id)
    }

    /// A new entry.
    pub(crate) async fn add(&self, content: &[u8]) -> Result<EntryId, Error> {
        let mut tx = self.store.begin().await?;
        let desk = self.desk(&mut tx).await?;
        let entry = new_id(&mut os_random());
        let version = self.author(&desk).write(entry, Vec::new(), content, &mut os_random())?;
        self.save(&mut tx, version, None).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(entry)
    }

    /// Many new entries, in atomic groups; those with files each by itself.
    pub(crate) async fn add_many(
        &self,
        new: &[NewVersion<'_>],
        progress: &mut (dyn FnMut(usize) + Send),
    ) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        let desk = self.desk(&mut tx).await?;
        let mut unit = outbox::next_unit(&mut tx).await?;
        let (mut members, mut bytes, mut alone) = (0, 0, false);
        for (new, nth) in new.iter().zip(1..) {
            let author = self.author(&desk);
            let version = kept(author.write(new.entry, Vec::new(), new.content, &mut os_random())?);
            let size = wire_size(&version) + new.attachments.len() * HASH;
            // Whatever the server says of a file is said of its entry only.
            let was_alone = std::mem::replace(&mut alone, !new.attachments.is_empty());
            if alone || was_alone || members == GROUP || bytes + size > GROUP_BYTES {
                (members, bytes) = (0, 0);
                unit += 1;
            }
            members += 1;
            bytes += size;
            versions::insert(&mut tx, &version).await?;
            attachments::put(&mut tx, version.id, &new.attachments).await?;
            outbox::add(&mut tx, (version.header.vault, version.id), Some(unit), false).await?;
            progress(nth);
        }
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(())
    }

    /// New content on top of the heads that the person was shown. It keeps their attachments.
    pub(crate) async fn edit(
        &self,
        entry: EntryId,
        base: &[VersionId],
        content: &[u8],
    ) -> Result<VersionId, Error> {
        self.edit_with(entry, base, content, None).await
    }

    /// The same, with exactly these attachments.
    pub(crate) async fn edit_with(
        &self,
        entry: EntryId,
        base: &[VersionId],
        content: &[u8],
        exactly: Option<&[BlobHash]>,
    ) -> Result<VersionId, Error> {
        let mut tx = self.store.begin().await?;
        let id = self.write_on(&mut tx, (entry, base), content, exactly).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(id)
    }

    /// The same in a transaction.
    pub(crate) async fn write_on(
        &self,
        db: &mut SqliteConnection,
        (entry, base): (EntryId, &[VersionId]),
        content: &[u8],
        exactly: Option<&[BlobHash]>,
    ) -> Result<VersionId, Error> {
        self.check_versions(db, entry, base).await?;
        let desk = self.desk(db).await?;
        let version = self.author(&desk).write(entry, base.to_vec(), content, &mut os_random())?;
        let attached: BTreeSet<BlobHash> = match exactly {
            Some(exactly) => exactly.iter().copied().collect(),
            None => self.attached(db, entry, base).await?,
        };
        let attached: Vec<_> = attached.into_iter().collect();
        attachments::put(db, version.id, &attached).await?;
        self.save(db, version, None).await
    }

    /// The attachments of some versions; those of a choice are those of the version that it keeps.
    async fn attached(
        &self,
        db: &mut SqliteConnection,
        entry: EntryId,
        base: &[VersionId],
    ) -> Result<BTreeSet<BlobHash>, Error> {
        let all = self.versions_of(db, entry).await?;
        let contents = base.iter().filter_map(|id| content_version(&all, all.get(id)?));
        let contents: Vec<VersionId> = contents.map(|version| version.id).collect();
        Ok(attachments::of(db, &contents).await?.into_values().flatten().collect())
    }

    /// Deletes: names all the heads that the person was shown.
    pub(crate) async fn remove(&self, entry: EntryId, shown: &[VersionId]) -> Result<VersionId, Error> {
        let mut tx = self.store.begin().await?;
        let id = self.delete_on(&mut tx, entry, shown).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(id)
    }

    /// The same in a transaction.
    pub(crate) async fn delete_on(
        &self,
        db: &mut SqliteConnection,
        entry: EntryId,
        shown: &[VersionId],
    ) -> Result<VersionId, Error> {
        self.check_versions(db, entry, shown).await?;
        let desk = self.desk(db).await?;
        let version = self.author(&desk).tombstone(entry, shown.to_vec())?;
        self.save(db, version, None).await
    }

    /// An older version becomes the head again, over all present heads.
    pub(crate) async fn restore(&self, entry: EntryId, version: VersionId) -> Result<VersionId, Error> {
        let mut tx = self.store.begin().await?;
        let heads = entries::shown(&mut tx, entry).await?.ok_or(Error::NotFound)?.heads.ids();
        self.restore_on(tx, entry, &heads, version).await
    }

    /// The same over these heads.
    pub(crate) async fn restore_on(
        &self,
        mut tx: Tx,
        entry: EntryId,
        heads: &[VersionId],
        version: VersionId,
    ) -> Result<VersionId, Error> {
        self.check_versions(&mut tx, entry, &[version]).await?;
        let id = self.adopt(&mut tx, entry, heads, version, None).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(id)
    }

    /// Resolves the heads that the person was shown.
    pub(crate) async fn resolve(
        &self,
        entry: EntryId,
        shown: &[VersionId],
        resolution: &Resolution,
    ) -> Result<VersionId, Error> {
        let beside = self.beside((entry, shown), resolution).await?;
        let mut tx = self.store.begin().await?;
        let id = self.resolve_on(&mut tx, (entry, shown), resolution, beside).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(id)
    }

    /// What a resolution makes new entries of.
    pub(crate) async fn beside(
        &self,
        (entry, shown): (EntryId, &[VersionId]),
        resolution: &Resolution,
    ) -> Result<Vec<NewEntry>, Error> {
        let Resolution::KeepBoth(keep) = resolution else { return Ok(Vec::new()) };
        let mut others = Vec::new();
        for head in self.entry(entry).await?.heads {
            if head.version == *keep || !shown.contains(&head.version) {
                continue;
            }
            match head.content {
                Content::Here(content) => others.push(self.moved(entry, content).await?),
                Content::None => {}
                _ => return Err(Error::ContentGone),
            }
        }
        Ok(others)
    }

    /// Resolves in a transaction: what becomes entries of its own goes out in one atomic group with it.
    pub(crate) async fn resolve_on(
        &self,
        db: &mut SqliteConnection,
        (entry, shown): (EntryId, &[VersionId]),
        resolution: &Resolution,
        beside: Vec<NewEntry>,
    ) -> Result<VersionId, Error> {
        let (keep, unit) = match resolution {
            Resolution::Merge(content) => return self.write_on(db, (entry, shown), content, None).await,
            Resolution::Keep(keep) => (*keep, None),
            Resolution::KeepBoth(keep) => (*keep, Some(outbox::next_unit(db).await?)),
        };
        self.check_versions(db, entry, shown).await?;
        let id = self.adopt(db, entry, shown, one_of(shown, keep)?, unit).await?;
        let desk = self.desk(db).await?;
        for NewEntry { entry, content, attachments } in beside {
            let version = self.author(&desk).write(entry, Vec::new(), &content, &mut os_random())?;
            let hashes: Vec<BlobHash> = attachments.iter().map(|attachment| attachment.hash).collect();
            attachments::put(db, version.id, &hashes).await?;
            self.save(db, version, unit).await?;
        }
        Ok(id)
    }

    /// What was in one entry, for another: its files are sealed anew, because they open in their entry only.
    async fn moved(&self, from: EntryId, content: Plaintext) -> Result<NewEntry, Error> {
        let entry = new_id(&mut os_random());
        let mut new = NewEntry { entry, content, attachments: Vec::new() };
        let Ok(mut item) = serde_json::from_slice::<Item>(&new.content) else { return Ok(new) };
        if item.attachments.is_empty() {
            return Ok(new);
        }
        for file in &mut item.attachments {
            let Some(sealed) = file.sealed() else { continue };
            let attachment = self.attach(entry, &self.attachment(from, &sealed).await?).await?;
            *file = AttachmentRef::new(file.name.clone(), &attachment);
            new.attachments.push(attachment);
        }
        let content = serde_json::to_vec(&item).map_err(|_| Error::Invalid("not to be written as JSON"))?;
        new.content = Plaintext::new(content);
        Ok(new)
    }

    /// Keeps a version: an `adopt` of whatever has its content, or a tombstone if it is one.
    pub(crate) async fn adopt(
        &self,
        db: &mut SqliteConnection,
        entry: EntryId,
        heads: &[VersionId],
        keep: VersionId,
        unit: Option<i64>,
    ) -> Result<VersionId, Error> {
        let all = self.versions_of(db, entry).await?;
        let kept = all.get(&keep).ok_or(Error::NotFound)?;
        let desk = self.desk(db).await?;
        let version = if kept.header.kind == VersionKind::Tombstone {
            self.author(&desk).tombstone(entry, heads.to_vec())?
        } else {
            let target = content_version(&all, kept).ok_or(Error::ContentGone)?;
            self.author(&desk).adopt(entry, heads.to_vec(), target.id)?
        };
        self.save(db, version, unit).await
    }

    pub(crate) async fn check_versions(
        &self,
        db: &mut SqliteConnection,
        entry: EntryId,
        named: &[VersionId],
    ) -> Result<(), Error> {
        let found = versions::get_many(db, named).await?;
        let own = |v: &Kept| v.header.entry == entry && v.header.vault == self.vault();
        let all = named.iter().all(|id| found.iter().any(|v| v.id == *id && own(v)));
        if all && !named.is_empty() { Ok(()) } else { Err(Error::NotFound) }
    }

    /// The entry of the one encrypted file of this account.
    pub(crate) fn file_entry(&self) -> EntryId {
        file_entry(self.account())
    }

    /// The file, as this device shows it.
    pub(crate) async fn file_get(&self) -> Result<Option<(Plaintext, Vec<VersionId>)>, Error> {
        let entry = match self.at_first().await?.entry(self.file_entry()).await {
            Err(Error::NotFound) => return Ok(None),
            other => other?,
        };
        let heads = entry.head_ids();
        match entry.heads.into_iter().next().map(|head| head.content) {
            Some(Content::Here(content)) => Ok(Some((content, heads))),
            Some(Content::None) | None => Ok(None),
            Some(_) => Err(Error::ContentGone),
        }
    }

    /// Replaces an entry as a whole.
    pub(crate) async fn replace_on(
        &self,
        db: &mut SqliteConnection,
        entry: EntryId,
        base: &[VersionId],
        content: &[u8],
    ) -> Result<VersionId, Error> {
        if !base.is_empty() {
            self.check_versions(db, entry, base).await?;
        }
        let desk = self.desk(db).await?;
        let version = self.author(&desk).write(entry, base.to_vec(), content, &mut os_random())?;
        self.save(db, version, None).await
    }
}

fn one_of(shown: &[VersionId], keep: VersionId) -> Result<VersionId, Error> {
    if shown.contains(&keep) {
        Ok(keep)
    } else {
        Err(Error::Invalid("the version to keep is not among the heads that were shown"))
    }
}

fn kept(version: Version) -> Kept {
    let content = if version.ciphertext.is_some() { ContentState::Here } else { ContentState::None };
    Kept {
        n: 0,
        id: version.id,
        parents: version.header.parents.clone(),
        header: version.header,
        signer: version.signer,
        signature: version.signature,
        wrapped_key: version.wrapped_key,
        ciphertext: version.ciphertext,
        content,
        seq: None,
        accepted_at: None,
    }
}

/// The same on every device: UUID (version 8) of SHA-256(lp("lockstep/v1/file") | account).
fn file_entry(account: AccountId) -> EntryId {
    known_entry("lockstep/v1/file", account.as_bytes())
}

/// An entry whose id every device makes again.
pub(crate) fn known_entry(domain: &str, of: &[u8; 16]) -> EntryId {
    let hash = Writer::new(domain).fixed(of).sha256();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    EntryId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}
