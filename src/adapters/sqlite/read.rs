//! The read store in a SQLite file of its own.

mod statements;

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use lockstep_events::{Position, VaultId};
use lockstep_projections::{
    checksum::RowDigest,
    key::{Family, Group, Key, Projection},
    store::{Advance, Checksum, Claim, Generation, ReadError},
};
use sqlx::{
    Connection, QueryBuilder, Sqlite,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{
    CHECKPOINT, READER_CACHE, READERS, emptied,
    lanes::{Lane, Lanes, Writing},
    migrations, nature, reading,
};

use crate::adapters::documents::{Document, Documents, Listing, Reads};
use statements::{all_members, begin_and_advance, clear, delete_some, inserted, members};

/// Rows in one INSERT. Six values each, far below the 32,766 variables that SQLite takes.
const ROWS: usize = 256;
/// Keys in one look-up: two values each.
const KEYS: usize = 512;
/// Rows deleted in one transaction, so that a follower never waits long for the file.
const DELETED_AT_ONCE: i64 = 10_000;

/// The read store in a SQLite file.
pub type SqliteReads = Reads<SqliteDocuments>;

/// The documents in a SQLite file: one writer, some readers.
#[derive(Debug, Clone)]
pub struct SqliteDocuments {
    writer: Lanes,
    readers: Lanes,
    /// Locked by whoever rebuilds, with its process in it.
    claim: PathBuf,
}

impl SqliteReads {
    /// Opens or creates the file. It is not the file of the log, so that neither waits for the other's commits.
    ///
    /// # Errors
    /// If the file cannot be opened or migrated.
    pub async fn open(path: &Path) -> Result<Self, ReadError> {
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(10));
        // NORMAL: after a power cut the last commits may be gone, whole; the runner folds them again.
        let writing = options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            // What is deleted is overwritten, not just forgotten.
            .pragma("secure_delete", "ON")
            .pragma("journal_size_limit", "67108864")
            .pragma("wal_autocheckpoint", CHECKPOINT)
            .pragma("cache_size", "-8192");
        let writer = Lanes::new(writing, 1);
        let mut first = writer.take().await.map_err(failed)?;
        migrations::READS.run(&mut *first).await.map_err(|error| ReadError::Other(Box::new(error)))?;
        drop(first);
        let readers = Lanes::new(options.read_only(true).pragma("cache_size", READER_CACHE), READERS);
        Ok(Self(SqliteDocuments { writer, readers, claim: path.with_extension("rebuild") }))
    }

    /// The store in a file as it is: nothing is written by it.
    pub fn reading(path: &Path) -> Self {
        let (writer, readers) = reading(path);
        Self(SqliteDocuments { writer, readers, claim: path.with_extension("rebuild") })
    }

    /// Waits for what runs and closes the file.
    pub async fn close(&self) {
        self.0.readers.close().await;
        self.0.writer.close().await;
    }
}

impl SqliteDocuments {
    async fn begin(&self) -> Result<Writing, ReadError> {
        self.writer.begin().await.map_err(failed)
    }

    async fn reader(&self) -> Result<Lane, ReadError> {
        self.readers.take().await.map_err(failed)
    }

    /// What is made of the lines of a query that gives one row with all of them, or null for none. A document is JSON
    /// on one line. One row, because each row is a message between two threads.
    async fn lines<T>(
        &self,
        query: &mut QueryBuilder<Sqlite>,
        of: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ReadError> {
        let mut reader = self.reader().await?;
        let all: Option<String> = query.build_query_scalar().fetch_one(&mut *reader).await.map_err(failed)?;
        drop(reader);
        Ok(all.iter().flat_map(|all| all.split('\n')).filter_map(of).collect())
    }

    /// The lines themselves.
    async fn documents(&self, query: &mut QueryBuilder<Sqlite>) -> Result<Vec<String>, ReadError> {
        self.lines(query, |line| Some(line.to_owned())).await
    }
}

fn live(query: &mut QueryBuilder<Sqlite>, of: Projection) {
    query.push("(SELECT c.generation FROM read_checkpoints c WHERE c.live = 1 AND c.projection = ");
    query.push_bind(of.code()).push(")");
}

/// Projection and document of a line.
fn typed_line(line: &str) -> Option<(Projection, String)> {
    let (of, document) = line.split_once(' ')?;
    Some((Projection::from_code(of.parse().ok()?)?, document.to_owned()))
}

/// The rows behind keys, as lines of projection and document; the generation is one number or the live one.
fn by_key(keys: &[Key], generation: Option<Generation>) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT group_concat(r.projection || ' ' || r.document, char(10)) FROM (",
    );
    query.push_values(keys, |mut key, wanted| {
        key.push_bind(wanted.projection().code())
            .push_bind(wanted.scope().to_vec())
            .push_bind(wanted.id().to_vec());
    });
    query.push(") n CROSS JOIN read_rows r ON r.projection = n.column1 AND r.scope = n.column2");
    query.push(" AND r.id = n.column3 AND r.generation = ");
    match generation {
        Some(generation) => {
            query.push_bind(i64::from(generation.0));
        }
        None => live(&mut query, keys[0].projection()),
    }
    query
}

#[async_trait]
impl Documents for SqliteDocuments {
    async fn generations(&self, of: Projection) -> Result<Vec<(Generation, Position, bool)>, ReadError> {
        let rows: Vec<(u32, i64, bool)> = sqlx::query_as(
            "SELECT generation, position, live FROM read_checkpoints WHERE projection = ? ORDER BY generation",
        )
        .bind(of.code())
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(failed)?;
        Ok(rows.into_iter().map(|(g, p, live)| (Generation(g), Position::from_i64(p), live)).collect())
    }

    async fn by_key(&self, in_: Generation, keys: &[Key]) -> Result<Vec<(Projection, String)>, ReadError> {
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(KEYS) {
            found.extend(self.lines(&mut by_key(chunk, Some(in_)), typed_line).await?);
        }
        Ok(found)
    }

    async fn of_group(&self, in_: Generation, group: Group) -> Result<Vec<String>, ReadError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT group_concat(document, char(10) ORDER BY place, id) FROM read_rows WHERE projection = ",
        );
        query.push_bind(group.projection().code());
        query.push(" AND generation = ").push_bind(i64::from(in_.0));
        query.push(" AND scope = ").push_bind(group.scope().to_vec());
        query.push(" AND parent = ").push_bind(group.parent().to_vec());
        self.documents(&mut query).await
    }

    async fn commit(
        &self,
        steps: &[Advance],
        to: Position,
        puts: Vec<(Generation, Document)>,
        deletes: Vec<(Generation, Key)>,
        clears: Vec<(Generation, VaultId)>,
    ) -> Result<(), ReadError> {
        if steps.is_empty() {
            return Ok(());
        }
        let mut transaction = self.writer.about_to_begin().await.map_err(failed)?;
        begin_and_advance(&mut transaction, steps, to).await?;
        let puts_only = deletes.is_empty() && clears.is_empty();
        let mut last = QueryBuilder::<Sqlite>::new("COMMIT");
        let mut puts = puts.into_iter();
        while puts.len() > 0 {
            let mut query = inserted(puts.by_ref().take(ROWS));
            if puts_only && puts.len() == 0 {
                query.push("; COMMIT");
                last = query;
            } else {
                query.build().execute(&mut *transaction).await.map_err(failed)?;
            }
        }
        for (generation, key) in deletes {
            sqlx::query(
                "DELETE FROM read_rows WHERE projection = ? AND generation = ? AND scope = ? AND id = ?",
            )
            .bind(key.projection().code())
            .bind(i64::from(generation.0))
            .bind(key.scope().to_vec())
            .bind(key.id().to_vec())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        for (generation, vault) in clears {
            clear(&mut transaction, generation, vault).await?;
        }
        last.build().execute(&mut *transaction).await.map_err(failed)?;
        transaction.committed();
        Ok(())
    }

    async fn scrub(&self) -> Result<(), ReadError> {
        emptied(&mut *self.writer.take().await.map_err(failed)?).await.map_err(failed)
    }

    async fn claim(&self) -> Result<Claim, ReadError> {
        let file = File::options().create(true).truncate(false).write(true).open(&self.claim);
        let mut file = file.map_err(|error| ReadError::Unavailable(Box::new(error)))?;
        match file.try_lock() {
            Ok(()) => {
                // For people alone: the lock is what counts.
                let _ = file.set_len(0).and_then(|()| write!(file, "process {}", std::process::id()));
                Ok(Claim::new(file))
            }
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&self.claim).ok().filter(|holder| !holder.is_empty());
                Err(ReadError::Rebuilding(holder.unwrap_or_else(|| "another process".to_owned())))
            }
            Err(TryLockError::Error(error)) => Err(ReadError::Other(Box::new(error))),
        }
    }

    async fn start(&self, family: Family) -> Result<Generation, ReadError> {
        let mut transaction = self.begin().await?;
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT max(generation) FROM read_checkpoints WHERE 1 = 1");
        members(&mut query, family);
        let highest: u32 = query.build_query_scalar().fetch_one(&mut *transaction).await.map_err(failed)?;
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO read_checkpoints (projection, generation, position, live) ",
        );
        query.push_values(family.members(), |mut values, member| {
            values.push_bind(member.code()).push_bind(i64::from(highest) + 1).push_bind(0).push_bind(false);
        });
        query.build().execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(Generation(highest + 1))
    }

    async fn switch(&self, family: Family, from: Generation, to: Generation) -> Result<(), ReadError> {
        let mut transaction = self.begin().await?;
        let mut query = QueryBuilder::<Sqlite>::new("UPDATE read_checkpoints SET live = 0 WHERE live = 1");
        query.push(" AND generation = ").push_bind(i64::from(from.0));
        members(&mut query, family);
        let left = query.build().execute(&mut *transaction).await.map_err(failed)?.rows_affected();
        all_members(family, left)?;
        let mut query = QueryBuilder::<Sqlite>::new("UPDATE read_checkpoints AS new SET live = 1 WHERE");
        query.push(" generation = ").push_bind(i64::from(to.0));
        members(&mut query, family);
        query.push(" AND position >= (SELECT old.position FROM read_checkpoints old");
        query.push(" WHERE old.projection = new.projection AND old.generation = ");
        query.push_bind(i64::from(from.0)).push(")");
        let entered = query.build().execute(&mut *transaction).await.map_err(failed)?.rows_affected();
        all_members(family, entered)?;
        transaction.commit().await.map_err(failed)
    }

    async fn drop_rows(&self, family: Family, generation: Generation) -> Result<u64, ReadError> {
        let mut dropped = 0;
        loop {
            let mut transaction = self.begin().await?;
            let mut query =
                QueryBuilder::<Sqlite>::new("SELECT count(*) FROM read_checkpoints WHERE live = 1");
            query.push(" AND generation = ").push_bind(i64::from(generation.0));
            members(&mut query, family);
            let live: i64 = query.build_query_scalar().fetch_one(&mut *transaction).await.map_err(failed)?;
            if live > 0 {
                return Err(ReadError::Moved(family.name()));
            }
            let gone = delete_some(&mut transaction, family, generation, DELETED_AT_ONCE).await?;
            dropped += gone;
            if gone == 0 {
                let mut query =
                    QueryBuilder::<Sqlite>::new("DELETE FROM read_checkpoints WHERE generation = ");
                query.push_bind(i64::from(generation.0));
                members(&mut query, family);
                query.build().execute(&mut *transaction).await.map_err(failed)?;
            }
            transaction.commit().await.map_err(failed)?;
            if gone == 0 {
                return Ok(dropped);
            }
        }
    }

    async fn checksum(&self, of: Projection, generation: Generation) -> Result<Checksum, ReadError> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await.map_err(failed)?;
        let position: Option<i64> = sqlx::query_scalar(
            "SELECT position FROM read_checkpoints WHERE projection = ? AND generation = ?",
        )
        .bind(of.code())
        .bind(i64::from(generation.0))
        .fetch_optional(&mut *snapshot)
        .await
        .map_err(failed)?;
        let position = Position::from_i64(position.ok_or(ReadError::Moved(of.name()))?);
        let mut digest = RowDigest::default();
        let mut rows = sqlx::query_as::<_, (Vec<u8>, Vec<u8>, String)>(
            "SELECT scope, id, document FROM read_rows WHERE projection = ? AND generation = ? ORDER BY scope, id",
        )
        .bind(of.code())
        .bind(i64::from(generation.0))
        .fetch(&mut *snapshot);
        while let Some((scope, id, document)) = rows.try_next().await.map_err(failed)? {
            digest.add(&scope, &id, &document);
        }
        let (sha256, rows) = digest.finish();
        Ok(Checksum { sha256, rows, position })
    }

    async fn count(&self, of: Projection, generation: Generation) -> Result<u64, ReadError> {
        let rows: i64 =
            sqlx::query_scalar("SELECT count(*) FROM read_rows WHERE projection = ? AND generation = ?")
                .bind(of.code())
                .bind(i64::from(generation.0))
                .fetch_one(&mut *self.reader().await?)
                .await
                .map_err(failed)?;
        Ok(rows.cast_unsigned())
    }

    async fn live_by_key(&self, _of: Projection, keys: &[Key]) -> Result<Vec<String>, ReadError> {
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(KEYS) {
            let document = |line: &str| Some(line.split_once(' ')?.1.to_owned());
            found.extend(self.lines(&mut by_key(chunk, None), document).await?);
        }
        Ok(found)
    }

    async fn live_listing(&self, listing: Listing<'_>) -> Result<Vec<String>, ReadError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT group_concat(document, char(10)) FROM (SELECT document FROM read_rows WHERE projection = ",
        );
        query.push_bind(listing.projection.code()).push(" AND generation = ");
        live(&mut query, listing.projection);
        query.push(" AND scope = ").push_bind(listing.scope.to_vec());
        query.push(" AND parent = ").push_bind(listing.parent.to_vec());
        query.push(" AND place > ").push_bind(listing.after);
        query.push(" ORDER BY place, id LIMIT ").push_bind(listing.limit).push(")");
        self.documents(&mut query).await
    }

    async fn live_page(
        &self,
        of: Projection,
        scope: &[u8],
        after: &[u8],
        limit: i64,
    ) -> Result<Vec<String>, ReadError> {
        self.documents(&mut page("document", of, scope, after, limit)).await
    }

    async fn live_ids(
        &self,
        of: Projection,
        scope: &[u8],
        after: &[u8],
        limit: i64,
    ) -> Result<Vec<Vec<u8>>, ReadError> {
        self.lines(&mut page("hex(id)", of, scope, after, limit), |id| hex::decode(id).ok()).await
    }
}

fn page(what: &str, of: Projection, scope: &[u8], after: &[u8], limit: i64) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT group_concat(line, char(10)) FROM (SELECT ");
    query.push(what).push(" AS line FROM read_rows WHERE projection = ").push_bind(of.code());
    query.push(" AND generation = ");
    live(&mut query, of);
    query.push(" AND scope = ").push_bind(scope.to_vec()).push(" AND id > ").push_bind(after.to_vec());
    query.push(" ORDER BY id LIMIT ").push_bind(limit).push(")");
    query
}

/// What an error of SQLite means to a caller of the read store.
fn failed(error: sqlx::Error) -> ReadError {
    nature::failed(error)
}
