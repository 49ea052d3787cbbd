//! The log in SQLite: the planner decides inside one write transaction.

mod append;
mod sealed;
mod strays;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use async_trait::async_trait;
use lockstep_events::{
    AccountId, BlobHash, Chain, Epoch, EventId, EventLog, LogError, Micros, Outcome, Position, Recorded,
    Sealed, Seq, StreamId, StreamKind, SubjectId, Unit,
    log::{Contents, Filter, SealedParts, Stray, StreamHead, Tail},
};
use sqlx::{QueryBuilder, Sqlite, SqliteExecutor};
use uuid::Uuid;

use super::{Database, chunks, lanes::Lane, nature};
use crate::adapters::event_row::{EventRow, fixed};

const COLUMNS: &str = "e.position, e.stream, e.stream_kind, e.seq, e.subject, e.event_id, e.kind, e.schema, \
     e.actor, e.device, e.correlation, e.causation, e.recorded_at, e.public, e.sealed_hash, e.body_hash, e.chain";

/// Hashes that are asked for at once: what a page of a snapshot needs at a time.
const HASHES: usize = 250;

/// The log in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteLog {
    database: Database,
}

impl SqliteLog {
    /// The log in an open database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Opens or creates the file.
    ///
    /// # Errors
    /// If the file cannot be opened or migrated.
    pub async fn open(path: &Path) -> Result<Self, LogError> {
        Database::open(path).await.map(Self::new).map_err(failed)
    }

    /// The log in a file as it is: nothing is appended by it.
    pub fn reading(path: &Path) -> Self {
        Self::new(Database::reading(path))
    }

    /// The file, for the other stores that may share it.
    pub fn database(&self) -> &Database {
        &self.database
    }
}

/// A query that selects events, with or without their contents, ready for its `WHERE`.
fn select(contents: Contents) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS);
    let Some((most, without)) = contents.wanted() else {
        query.push(", NULL AS content FROM events e");
        return query;
    };
    query.push(", c.bytes AS content FROM events e LEFT JOIN contents c ON c.stream = e.stream");
    query.push(" AND c.hash = e.content_hash AND length(c.bytes) <= ").push_bind(count(most));
    if let Some(device) = without {
        query.push(" AND e.device IS NOT ").push_bind(device.0);
    }
    query
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[async_trait]
impl EventLog for SqliteLog {
    async fn append(&self, units: &[Unit], now: Micros) -> Result<Vec<Outcome>, LogError> {
        units.iter().try_for_each(Unit::check)?;
        let mut writing = self.database.writer.about_to_begin().await.map_err(failed)?;
        match append::append(&mut writing, units, now).await {
            Ok(outcomes) => {
                writing.committed();
                Ok(outcomes)
            }
            Err(error) => {
                writing.undo().await;
                Err(error)
            }
        }
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
        filter: &Filter,
        contents: Contents,
    ) -> Result<Vec<Recorded>, LogError> {
        let mut query = select(contents);
        query.push(" WHERE e.position > ").push_bind(after.as_i64());
        if let Some(kind) = filter.stream_kind {
            query.push(" AND e.stream_kind = ").push_bind(kind.code());
        }
        if !filter.kinds.is_empty() {
            let mut names = query.push(" AND e.kind IN (").separated(", ");
            for kind in &filter.kinds {
                names.push_bind(kind.clone());
            }
            query.push(")");
        }
        query.push(" ORDER BY e.position LIMIT ").push_bind(count(limit));
        self.read(query).await
    }

    async fn read_stream(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
        contents: Contents,
    ) -> Result<Vec<Recorded>, LogError> {
        let mut query = select(contents);
        query.push(" WHERE e.stream = ").push_bind(stream.0).push(" AND e.seq > ").push_bind(after.as_i64());
        query.push(" ORDER BY e.seq LIMIT ").push_bind(count(limit));
        self.read(query).await
    }

    async fn read_subject(
        &self,
        stream: StreamId,
        subject: SubjectId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        let mut query = select(Contents::No);
        query.push(" WHERE e.stream = ").push_bind(stream.0).push(" AND e.subject = ").push_bind(subject.0);
        query.push(" AND e.seq > ").push_bind(after.as_i64());
        query.push(" ORDER BY e.seq LIMIT ").push_bind(count(limit));
        self.read(query).await
    }

    async fn find(&self, ids: &[EventId]) -> Result<Vec<Recorded>, LogError> {
        let mut found = HashMap::with_capacity(ids.len());
        for chunk in chunks(ids) {
            let mut query = select(Contents::No);
            of_events(query.push(" WHERE e."), chunk);
            found.extend(self.read(query).await?.into_iter().map(|event| (event.event_id, event)));
        }
        Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect())
    }

    async fn tail(&self) -> Result<Tail, LogError> {
        tail(&mut *self.reader().await?).await
    }

    async fn stream_heads(&self, streams: &[StreamId]) -> Result<Vec<StreamHead>, LogError> {
        let mut heads = HashMap::with_capacity(streams.len());
        for chunk in chunks(streams) {
            for head in stream_heads(&mut *self.reader().await?, chunk).await? {
                heads.insert(head.stream, head);
            }
        }
        Ok(streams.iter().filter_map(|stream| heads.get(stream).copied()).collect())
    }

    async fn chain_at(&self, stream: StreamId, seq: Seq) -> Result<Option<Chain>, LogError> {
        if seq == Seq::ZERO {
            return Ok(Some(Chain::ZERO));
        }
        let found: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT chain FROM events WHERE stream = ?1 AND seq = ?2")
                .bind(stream.0)
                .bind(seq.as_i64())
                .fetch_optional(&mut *self.reader().await?)
                .await
                .map_err(failed)?;
        found.map(|bytes| fixed(Chain::from_slice(&bytes), "a chain is not 32 bytes")).transpose()
    }

    async fn contents(
        &self,
        stream: StreamId,
        hashes: &[BlobHash],
    ) -> Result<Vec<(BlobHash, Vec<u8>)>, LogError> {
        let mut kept = HashMap::with_capacity(hashes.len());
        for chunk in hashes.chunks(HASHES) {
            let mut query = QueryBuilder::<Sqlite>::new(CONTENTS);
            of_stream(&mut query, stream, chunk);
            let mut reader = self.reader().await?;
            let found: Packed = query.build_query_as().fetch_one(&mut *reader).await.map_err(failed)?;
            drop(reader);
            fixed(unpack(&found, &mut kept), "a content cannot be read")?;
        }
        Ok(hashes.iter().filter_map(|hash| Some((*hash, kept.remove(hash.0.as_slice())?))).collect())
    }

    async fn erase_contents(
        &self,
        stream: StreamId,
        hashes: &[BlobHash],
        seen: Seq,
    ) -> Result<u64, LogError> {
        let mut transaction = self.database.begin().await.map_err(failed)?;
        let mut erased = 0;
        for chunk in chunks(hashes) {
            let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM contents");
            of_stream(&mut query, stream, chunk);
            query.push(" AND hash NOT IN (SELECT content_hash FROM events WHERE content_hash IS NOT NULL AND stream = ");
            query.push_bind(stream.0).push(" AND seq > ").push_bind(seen.as_i64()).push(")");
            erased += query.build().execute(&mut *transaction).await.map_err(failed)?.rows_affected();
        }
        transaction.commit().await.map_err(failed)?;
        Ok(erased)
    }

    async fn came_with_content(&self, ids: &[EventId]) -> Result<Vec<EventId>, LogError> {
        let mut came = HashSet::with_capacity(ids.len());
        for chunk in chunks(ids) {
            let mut query = QueryBuilder::<Sqlite>::new("SELECT event_id FROM events WHERE ");
            of_events(&mut query, chunk);
            query.push(" AND content_hash IS NOT NULL");
            let mut reader = self.reader().await?;
            let found: Vec<Uuid> =
                query.build_query_scalar().fetch_all(&mut *reader).await.map_err(failed)?;
            came.extend(found);
        }
        Ok(ids.iter().copied().filter(|id| came.contains(&id.0)).collect())
    }

    async fn sealed_parts(&self, ids: &[EventId]) -> Result<Vec<(EventId, Sealed)>, LogError> {
        sealed::of_events(&mut *self.reader().await?, ids).await
    }

    async fn sealed_about(
        &self,
        subject: AccountId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<(EventId, Sealed)>, LogError> {
        sealed::about(&mut *self.reader().await?, subject, after, count(limit)).await
    }

    async fn erase_sealed(&self, which: &SealedParts) -> Result<u64, LogError> {
        let mut transaction = self.database.begin().await.map_err(failed)?;
        let erased = sealed::erase(&mut transaction, which).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(erased)
    }

    async fn scrub(&self) -> Result<(), LogError> {
        self.database.scrub().await.map_err(failed)
    }

    async fn strays(&self) -> Result<Vec<Stray>, LogError> {
        strays::find(&mut *self.reader().await?).await
    }

    async fn renew_epoch(&self, stream: StreamId, epoch: Epoch) -> Result<(), LogError> {
        let mut transaction = self.database.begin().await.map_err(failed)?;
        let renewed = sqlx::query("UPDATE streams SET epoch = ?1 WHERE stream = ?2")
            .bind(epoch.0.as_slice())
            .bind(stream.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        match renewed.rows_affected() {
            0 => Err(LogError::Malformed("only a stream that exists gets a new epoch")),
            _ => Ok(()),
        }
    }

    async fn log_id(&self) -> Result<Uuid, LogError> {
        let query = sqlx::query_scalar("SELECT log_id FROM log_meta");
        query.fetch_one(&mut *self.reader().await?).await.map_err(failed)
    }
}

impl SqliteLog {
    async fn read(&self, mut query: QueryBuilder<Sqlite>) -> Result<Vec<Recorded>, LogError> {
        let mut reader = self.reader().await?;
        let rows: Vec<EventRow> = query.build_query_as().fetch_all(&mut *reader).await.map_err(failed)?;
        drop(reader);
        EventRow::all(rows)
    }

    async fn reader(&self) -> Result<Lane, LogError> {
        self.database.reader().await.map_err(failed)
    }
}

fn of_stream(query: &mut QueryBuilder<Sqlite>, stream: StreamId, hashes: &[BlobHash]) {
    query.push(" WHERE stream = ").push_bind(stream.0);
    let mut wanted = query.push(" AND hash IN (").separated(", ");
    for hash in hashes {
        wanted.push_bind(hash.0.to_vec());
    }
    query.push(")");
}

/// Appends that a row is of one of these events.
fn of_events(query: &mut QueryBuilder<Sqlite>, ids: &[EventId]) {
    let mut wanted = query.push("event_id IN (").separated(", ");
    for id in ids {
        wanted.push_bind(id.0);
    }
    query.push(")");
}

async fn tail(on: impl SqliteExecutor<'_>) -> Result<Tail, LogError> {
    let last: Option<(i64, i64)> =
        sqlx::query_as("SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1")
            .fetch_optional(on)
            .await
            .map_err(failed)?;
    Ok(last.map_or_else(Tail::default, |(position, at)| Tail {
        position: Position::from_i64(position),
        recorded_at: Micros(at),
    }))
}

/// Stream, kind, epoch, seq, chain.
type HeadRow = (Uuid, i16, Vec<u8>, i64, Vec<u8>);

async fn stream_heads(
    on: impl SqliteExecutor<'_>,
    streams: &[StreamId],
) -> Result<Vec<StreamHead>, LogError> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT stream, kind, epoch, seq, chain FROM streams");
    let mut wanted = query.push(" WHERE stream IN (").separated(", ");
    for stream in streams {
        wanted.push_bind(stream.0);
    }
    query.push(")");
    let rows: Vec<HeadRow> = query.build_query_as().fetch_all(on).await.map_err(failed)?;
    let head = |(stream, kind, epoch, seq, chain): HeadRow| {
        Ok(StreamHead {
            stream: StreamId(stream),
            kind: fixed(StreamKind::from_code(kind), "a stream kind is unknown")?,
            epoch: fixed(Epoch::from_slice(&epoch), "an epoch is not 16 bytes")?,
            seq: Seq::from_i64(seq),
            chain: fixed(Chain::from_slice(&chain), "a chain is not 32 bytes")?,
        })
    };
    rows.into_iter().map(head).collect()
}

/// Hashes one behind the other, lengths, bytes one behind the other.
type Packed = (Option<Vec<u8>>, Option<String>, Option<Vec<u8>>);

/// All contents in one row: each row is a message between two threads.
const CONTENTS: &str = "SELECT CAST(group_concat(hash, '') AS BLOB), group_concat(length(bytes)), \
     CAST(group_concat(bytes, '') AS BLOB) FROM contents";

/// Takes the contents apart that came in one row.
fn unpack((hashes, lengths, bytes): &Packed, into: &mut HashMap<Vec<u8>, Vec<u8>>) -> Option<()> {
    let Some(hashes) = hashes else { return Some(()) };
    let mut rest = bytes.as_deref().unwrap_or_default();
    for (hash, length) in hashes.chunks(32).zip(lengths.as_deref()?.split(',')) {
        let (content, others) = rest.split_at_checked(length.parse().ok()?)?;
        into.insert(hash.to_vec(), content.to_vec());
        rest = others;
    }
    rest.is_empty().then_some(())
}

/// What an error of SQLite means to a caller of the log.
fn failed(error: sqlx::Error) -> LogError {
    nature::failed(error)
}
