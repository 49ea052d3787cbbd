//! Reading: entries with their heads, opened.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_events::{
    EntryId, VersionId, VersionKind,
    graph::{Graph, Heads},
};
use sqlx::SqliteConnection;

use crate::{
    crypto::version::{generation_of, open_content},
    engine::Engine,
    error::Error,
    model::{Conflict, Content, Entry, VersionView},
    store::{
        entries,
        entries::EntryRow,
        outbox,
        versions::{self, ContentState, Kept},
    },
    vaults::name_entry,
};

type Versions = BTreeMap<VersionId, Kept>;

/// The version whose content another shows: itself, or what it adopts (through adoptions of adoptions).
pub(crate) fn content_version<'a>(versions: &'a Versions, version: &'a Kept) -> Option<&'a Kept> {
    let mut at = version;
    for _ in 0..64 {
        match at.header.content_of {
            Some(target) => at = versions.get(&target)?,
            None => return Some(at),
        }
    }
    None
}

/// Heads in the order in which they are shown: the pinned one, then live before tombstone, then by branch.
fn in_order(row: &EntryRow) -> Vec<(VersionId, u32)> {
    let mut heads = row.heads.heads.clone();
    heads.sort_by_key(|head| (Some(head.version) != row.pinned, !head.kind.is_live(), head.branch));
    heads.into_iter().map(|head| (head.version, head.branch)).collect()
}

impl Engine {
    /// An entry of this vault; one of another is none.
    fn own_row(&self, row: Option<EntryRow>) -> Result<EntryRow, Error> {
        row.filter(|row| row.vault == self.vault()).ok_or(Error::NotFound)
    }

    /// Whether an entry is what the vault is called.
    fn is_name(&self, row: &EntryRow) -> bool {
        row.entry == name_entry(row.vault)
    }

    /// Whether an entry is none that a person made: the one file, or what the vault is called.
    pub(crate) fn is_hidden(&self, row: &EntryRow) -> bool {
        row.entry == self.file_entry() || self.is_name(row)
    }

    /// All entries of the vault that are not deleted.
    pub(crate) async fn entries(&self) -> Result<Vec<Entry>, Error> {
        let mut db = self.store.pool().acquire().await?;
        let mut rows = entries::all_shown(&mut db, self.vault()).await?;
        rows.retain(|row| !row.heads.is_deleted() && !self.is_hidden(row));
        self.open_rows(&mut db, &rows).await
    }

    /// All entries of the vault that are deleted and can come back.
    pub(crate) async fn deleted(&self) -> Result<Vec<Entry>, Error> {
        let mut db = self.store.pool().acquire().await?;
        let mut rows = entries::all_shown(&mut db, self.vault()).await?;
        rows.retain(|row| row.heads.is_deleted() && !row.heads.heads.is_empty() && !self.is_hidden(row));
        self.open_rows(&mut db, &rows).await
    }

    /// One entry, deleted or not.
    pub(crate) async fn entry(&self, entry: EntryId) -> Result<Entry, Error> {
        let mut db = self.store.pool().acquire().await?;
        let row = self.own_row(entries::shown(&mut db, entry).await?)?;
        self.open_rows(&mut db, &[row]).await?.pop().ok_or(Error::NotFound)
    }

    /// All divergent entries, with the common ancestors of their heads.
    pub(crate) async fn conflicts(&self) -> Result<Vec<Conflict>, Error> {
        let mut db = self.store.pool().acquire().await?;
        let mut rows = entries::all_shown(&mut db, self.vault()).await?;
        rows.retain(|row| row.heads.is_divergent());
        let all = self.open_rows(&mut db, &rows).await?;
        let mut conflicts = Vec::with_capacity(all.len());
        for entry in all {
            let ancestors = self.ancestors(&mut db, &entry).await?;
            conflicts.push(Conflict { entry, ancestors });
        }
        Ok(conflicts)
    }

    /// One entry with the common ancestors of its heads.
    pub(crate) async fn conflict(&self, entry: EntryId) -> Result<Conflict, Error> {
        self.complete_history(entry).await?;
        let entry = self.entry(entry).await?;
        let mut db = self.store.pool().acquire().await?;
        let ancestors = self.ancestors(&mut db, &entry).await?;
        Ok(Conflict { entry, ancestors })
    }

    async fn ancestors(&self, db: &mut SqliteConnection, entry: &Entry) -> Result<Vec<VersionView>, Error> {
        let all = self.versions_of(db, entry.entry).await?;
        let mut graph = Graph::default();
        for version in all.values() {
            graph.insert(version.id, &version.parents);
        }
        let mut ancestors = Vec::new();
        for id in graph.nearest_common_ancestors(&entry.head_ids()) {
            if let Some(version) = all.get(&id) {
                ancestors.push(self.open_version(&all, version, None).await?);
            }
        }
        Ok(ancestors)
    }

    /// All versions of an entry, oldest first: those that are here, and those that the server still has.
    pub(crate) async fn history(&self, entry: EntryId) -> Result<Vec<VersionView>, Error> {
        self.complete_history(entry).await?;
        self.held(entry).await
    }

    /// All versions of an entry that are here, oldest first.
    pub(crate) async fn held(&self, entry: EntryId) -> Result<Vec<VersionView>, Error> {
        let mut db = self.store.pool().acquire().await?;
        let row = self.own_row(entries::shown(&mut db, entry).await?)?;
        let branches: BTreeMap<_, _> = in_order(&row).into_iter().collect();
        let all = self.versions_of(&mut db, entry).await?;
        let mut ordered: Vec<&Kept> = all.values().collect();
        ordered.sort_by_key(|version| (version.seq.map_or(u64::MAX, |seq| seq.0), version.n));
        let mut views = Vec::with_capacity(ordered.len());
        for version in ordered {
            views.push(self.open_version(&all, version, branches.get(&version.id).copied()).await?);
        }
        Ok(views)
    }

    /// All versions of an entry, by id.
    pub(crate) async fn versions_of(
        &self,
        db: &mut SqliteConnection,
        entry: EntryId,
    ) -> Result<Versions, Error> {
        let all = versions::of_entry(db, entry).await?;
        Ok(all.into_iter().map(|version| (version.id, version)).collect())
    }

    async fn open_rows(&self, db: &mut SqliteConnection, rows: &[EntryRow]) -> Result<Vec<Entry>, Error> {
        let mut wanted: Vec<VersionId> = rows.iter().flat_map(|row| row.heads.ids()).collect();
        let mut found: Versions = BTreeMap::new();
        while !wanted.is_empty() {
            for version in versions::get_many(db, &wanted).await? {
                found.insert(version.id, version);
            }
            let targets: BTreeSet<_> =
                found.values().filter_map(|version| version.header.content_of).collect();
            let next: Vec<_> = targets.into_iter().filter(|id| !found.contains_key(id)).collect();
            wanted = if next == wanted { Vec::new() } else { next };
        }
        let waiting: BTreeSet<_> =
            outbox::first(db, self.vault(), u32::MAX).await?.into_iter().map(|w| w.version).collect();
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            entries.push(self.open_row(&found, row, &waiting).await?);
        }
        Ok(entries)
    }

    async fn open_row(
        &self,
        found: &Versions,
        row: &EntryRow,
        waiting: &BTreeSet<VersionId>,
    ) -> Result<Entry, Error> {
        let mut heads = Vec::with_capacity(row.heads.heads.len());
        for (id, branch) in in_order(row) {
            let version = found.get(&id).ok_or_else(crate::store::damaged)?;
            heads.push(self.open_version(found, version, Some(branch)).await?);
        }
        let shown: &Heads = &row.heads;
        Ok(Entry {
            entry: row.entry,
            vault: row.vault,
            pending: heads.iter().any(|head| waiting.contains(&head.version)),
            heads,
            divergent: shown.is_divergent(),
            deleted: shown.is_deleted(),
        })
    }

    async fn open_version(
        &self,
        found: &Versions,
        version: &Kept,
        branch: Option<u32>,
    ) -> Result<VersionView, Error> {
        let content = match (version.header.kind, content_version(found, version)) {
            (VersionKind::Tombstone, _) => Content::None,
            (_, Some(target)) => self.open_kept(target).await?,
            (_, None) => Content::Missing,
        };
        Ok(VersionView {
            version: version.id,
            kind: version.header.kind,
            parents: version.parents.clone(),
            content_of: version.header.content_of,
            branch,
            device: version.author(),
            given_back_by: Some(version.signer).filter(|signer| *signer != version.author()),
            client_time: version.header.client_time,
            seq: version.seq,
            accepted_at: version.accepted_at,
            content,
        })
    }

    /// Opens the content of a version that has one.
    async fn open_kept(&self, version: &Kept) -> Result<Content, Error> {
        match version.content {
            ContentState::None => return Ok(Content::None),
            ContentState::Missing => return Ok(Content::Missing),
            ContentState::Gone => return Ok(Content::Gone),
            ContentState::Here => {}
        }
        let (Some(wrapped), Some(ciphertext)) = (&version.wrapped_key, &version.ciphertext) else {
            return Ok(Content::Gone);
        };
        let vault = version.header.vault;
        let place = generation_of(wrapped).map(|generation| (vault, generation));
        if place.is_ok_and(|(vault, generation)| self.vault_key(vault, generation).is_err()) {
            // Another process of this profile may have learned it.
            self.reopen(&mut *self.store.pool().acquire().await?).await?;
        }
        let opened = place
            .and_then(|(vault, generation)| self.vault_key(vault, generation))
            .and_then(|key| open_content(&version.header, wrapped, ciphertext, &key));
        if let Ok(plaintext) = opened {
            return Ok(Content::Here(plaintext));
        }
        self.does_not_open(version).await?;
        Ok(Content::Rejected)
    }
}
