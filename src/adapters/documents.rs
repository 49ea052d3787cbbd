//! The read store over any SQL database: the typed questions, once, over a few primitive ones.
//!
//! An adapter answers [`Documents`]; [`Reads`] makes a [`ReadStore`] of it.

use async_trait::async_trait;
use lockstep_events::{AccountId, DeviceId, EntryId, Position, Seq, SessionId, VaultId, VersionId};
use lockstep_projections::{
    key::{Family, Group, Key, Projection},
    rows::{AccountRow, DeviceRow, EntryRow, Row, SessionRow, VaultRow, VersionRow},
    store::{Advance, Checkpoint, Checksum, Claim, Generation, ReadError, ReadStore, Write},
};
use serde::de::DeserializeOwned;

/// A row as it is stored.
pub struct Document {
    pub key: Key,
    pub parent: Option<Vec<u8>>,
    pub place: i64,
    pub text: String,
    /// As far as the writer knows there is no row of this key.
    pub new: bool,
}

/// Rows of one parent in the order of their places.
pub struct Listing<'a> {
    pub projection: Projection,
    pub scope: &'a [u8],
    pub parent: &'a [u8],
    /// Only places after this one.
    pub after: i64,
    pub limit: i64,
}

/// What an adapter has to do. `scope`, `id` and `parent` are those of `lockstep_projections::key`.
#[async_trait]
pub trait Documents: Send + Sync {
    async fn generations(&self, of: Projection) -> Result<Vec<(Generation, Position, bool)>, ReadError>;
    async fn by_key(&self, in_: Generation, keys: &[Key]) -> Result<Vec<(Projection, String)>, ReadError>;
    async fn of_group(&self, in_: Generation, group: Group) -> Result<Vec<String>, ReadError>;
    async fn commit(
        &self,
        steps: &[Advance],
        to: Position,
        puts: Vec<(Generation, Document)>,
        deletes: Vec<(Generation, Key)>,
        clears: Vec<(Generation, VaultId)>,
    ) -> Result<(), ReadError>;
    /// What was deleted is in no file that is written to.
    async fn scrub(&self) -> Result<(), ReadError>;
    async fn claim(&self) -> Result<Claim, ReadError>;
    async fn start(&self, family: Family) -> Result<Generation, ReadError>;
    async fn switch(&self, family: Family, from: Generation, to: Generation) -> Result<(), ReadError>;
    async fn drop_rows(&self, family: Family, generation: Generation) -> Result<u64, ReadError>;
    async fn checksum(&self, of: Projection, generation: Generation) -> Result<Checksum, ReadError>;
    async fn count(&self, of: Projection, generation: Generation) -> Result<u64, ReadError>;
    /// Rows of the live generation by key; all keys are of one read model.
    async fn live_by_key(&self, of: Projection, keys: &[Key]) -> Result<Vec<String>, ReadError>;
    async fn live_listing(&self, listing: Listing<'_>) -> Result<Vec<String>, ReadError>;
    async fn live_page(
        &self,
        of: Projection,
        scope: &[u8],
        after: &[u8],
        limit: i64,
    ) -> Result<Vec<String>, ReadError>;
    async fn live_ids(
        &self,
        of: Projection,
        scope: &[u8],
        after: &[u8],
        limit: i64,
    ) -> Result<Vec<Vec<u8>>, ReadError>;
}

/// A read store in a SQL database.
#[derive(Debug, Clone)]
pub struct Reads<D>(pub D);

fn shape(projection: Projection) -> impl Fn(serde_json::Error) -> ReadError {
    move |source| ReadError::Shape { projection: projection.name(), source }
}

fn typed<T: DeserializeOwned>(of: Projection, documents: &[String]) -> Result<Vec<T>, ReadError> {
    documents.iter().map(|text| serde_json::from_str(text).map_err(shape(of))).collect()
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn document(row: &Row, new: bool) -> Result<Document, ReadError> {
    let key = row.key();
    let text = row.document().map_err(shape(key.projection()))?;
    Ok(Document { key, parent: row.parent().map(|id| id.to_vec()), place: row.order(), text, new })
}

fn generation_of(steps: &[Advance], key: &Key) -> Result<Generation, ReadError> {
    let family = key.projection().family();
    let step = steps.iter().find(|step| step.family == family);
    step.map(|step| step.generation).ok_or(ReadError::Moved(family.name()))
}

impl<D: Documents> Reads<D> {
    async fn one<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>, ReadError> {
        Ok(self.some(key.projection(), &[key]).await?.pop())
    }

    async fn some<T: DeserializeOwned>(&self, of: Projection, keys: &[Key]) -> Result<Vec<T>, ReadError> {
        typed(of, &self.0.live_by_key(of, keys).await?)
    }

    async fn all_of<T: DeserializeOwned>(&self, group: Group) -> Result<Vec<T>, ReadError> {
        let (projection, scope, parent) = (group.projection(), group.scope(), group.parent());
        let all = Listing { projection, scope, parent, after: i64::MIN, limit: i64::MAX };
        typed(projection, &self.0.live_listing(all).await?)
    }
}

#[async_trait]
impl<D: Documents> ReadStore for Reads<D> {
    async fn checkpoint(&self, projection: Projection) -> Result<Checkpoint, ReadError> {
        let all = self.0.generations(projection).await?;
        let live = all.into_iter().find(|(_, _, live)| *live).ok_or(ReadError::Moved(projection.name()))?;
        Ok(Checkpoint { live: live.0, position: live.1 })
    }

    async fn generations(&self, projection: Projection) -> Result<Vec<(Generation, Position)>, ReadError> {
        let all = self.0.generations(projection).await?;
        Ok(all.into_iter().map(|(generation, position, _)| (generation, position)).collect())
    }

    async fn load(&self, generation: Generation, keys: &[Key]) -> Result<Vec<Row>, ReadError> {
        let documents = self.0.by_key(generation, keys).await?;
        documents.iter().map(|(of, text)| Row::from_document(*of, text).map_err(shape(*of))).collect()
    }

    async fn load_group(&self, generation: Generation, group: Group) -> Result<Vec<Row>, ReadError> {
        let of = group.projection();
        let documents = self.0.of_group(generation, group).await?;
        documents.iter().map(|text| Row::from_document(of, text).map_err(shape(of))).collect()
    }

    async fn commit(&self, steps: &[Advance], to: Position, writes: &[Write]) -> Result<(), ReadError> {
        let (mut puts, mut deletes, mut clears) = (Vec::with_capacity(writes.len()), Vec::new(), Vec::new());
        for write in writes {
            match write {
                Write::Put(row) | Write::New(row) => {
                    let document = document(row, matches!(write, Write::New(_)))?;
                    puts.push((generation_of(steps, &document.key)?, document));
                }
                Write::Delete(key) => deletes.push((generation_of(steps, key)?, *key)),
                Write::Clear(vault) => clears.push((generation_of(steps, &Key::Vault(*vault))?, *vault)),
            }
        }
        self.0.commit(steps, to, puts, deletes, clears).await
    }

    async fn scrub(&self) -> Result<(), ReadError> {
        self.0.scrub().await
    }

    async fn claim_rebuild(&self) -> Result<Claim, ReadError> {
        self.0.claim().await
    }

    async fn start_generation(&self, family: Family) -> Result<Generation, ReadError> {
        // A number of its own: whoever still fills what was left finds its checkpoint gone, and not this one.
        let left = self.0.generations(family.members()[0]).await?;
        let started = self.0.start(family).await?;
        for (generation, _, live) in left {
            if !live {
                self.0.drop_rows(family, generation).await?;
            }
        }
        Ok(started)
    }

    async fn switch_generation(
        &self,
        family: Family,
        from: Generation,
        to: Generation,
    ) -> Result<(), ReadError> {
        self.0.switch(family, from, to).await
    }

    async fn drop_generation(&self, family: Family, generation: Generation) -> Result<u64, ReadError> {
        self.0.drop_rows(family, generation).await
    }

    async fn checksum(&self, projection: Projection, generation: Generation) -> Result<Checksum, ReadError> {
        self.0.checksum(projection, generation).await
    }

    async fn rows(&self, projection: Projection, generation: Generation) -> Result<u64, ReadError> {
        self.0.count(projection, generation).await
    }

    async fn account(&self, account: AccountId) -> Result<Option<AccountRow>, ReadError> {
        self.one(Key::Account(account)).await
    }

    async fn accounts(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<AccountRow>, ReadError> {
        let after: &[u8] = after.as_ref().map_or(&[], |id| id.as_bytes());
        let of = Projection::Accounts;
        typed(of, &self.0.live_page(of, &[], after, count(limit)).await?)
    }

    async fn device(&self, account: AccountId, device: DeviceId) -> Result<Option<DeviceRow>, ReadError> {
        self.one(Key::Device(account, device)).await
    }

    async fn devices(&self, account: AccountId) -> Result<Vec<DeviceRow>, ReadError> {
        self.all_of(Group::DevicesOf(account)).await
    }

    async fn session(&self, session: SessionId) -> Result<Option<SessionRow>, ReadError> {
        self.one(Key::Session(session)).await
    }

    async fn sessions(&self, account: AccountId) -> Result<Vec<SessionRow>, ReadError> {
        self.all_of(Group::SessionsOf(account)).await
    }

    async fn vault(&self, vault: VaultId) -> Result<Option<VaultRow>, ReadError> {
        self.one(Key::Vault(vault)).await
    }

    async fn entries_by_id(&self, vault: VaultId, entries: &[EntryId]) -> Result<Vec<EntryRow>, ReadError> {
        let keys: Vec<_> = entries.iter().map(|entry| Key::Entry(vault, *entry)).collect();
        self.some(Projection::Entries, &keys).await
    }

    async fn entries(
        &self,
        vault: VaultId,
        after: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<EntryRow>, ReadError> {
        let after: &[u8] = after.as_ref().map_or(&[], |id| id.as_bytes());
        let of = Projection::Entries;
        typed(of, &self.0.live_page(of, vault.as_bytes(), after, count(limit)).await?)
    }

    async fn versions_by_id(
        &self,
        vault: VaultId,
        versions: &[VersionId],
    ) -> Result<Vec<VersionRow>, ReadError> {
        typed(Projection::Versions, &self.version_documents(vault, versions).await?)
    }

    async fn version_documents(
        &self,
        vault: VaultId,
        versions: &[VersionId],
    ) -> Result<Vec<String>, ReadError> {
        let keys: Vec<_> = versions.iter().map(|version| Key::Version(vault, *version)).collect();
        self.0.live_by_key(Projection::Versions, &keys).await
    }

    async fn versions_of(
        &self,
        vault: VaultId,
        entry: EntryId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<VersionRow>, ReadError> {
        let projection = Projection::Versions;
        let (scope, parent) = (vault.as_bytes(), entry.as_bytes());
        let listing = Listing { projection, scope, parent, after: after.as_i64(), limit: count(limit) };
        typed(projection, &self.0.live_listing(listing).await?)
    }

    async fn version_ids(
        &self,
        vault: VaultId,
        after: Option<VersionId>,
        limit: usize,
    ) -> Result<Vec<VersionId>, ReadError> {
        let after: &[u8] = after.as_ref().map_or(&[], |id| id.as_bytes());
        let ids = self.0.live_ids(Projection::Versions, vault.as_bytes(), after, count(limit)).await?;
        Ok(ids.iter().filter_map(|id| VersionId::from_slice(id)).collect())
    }
}
