//! The log in Postgres: `append_batch` decides, in one call, under one lock; reads are plain queries.

mod append;
mod columns;
mod sealed;
mod strays;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lockstep_events::{
    AccountId, BlobHash, Chain, Epoch, EventId, EventLog, LogError, Micros, Outcome, Position, Recorded,
    Sealed, Seq, StreamId, StreamKind, SubjectId, Unit,
    log::{Contents, Filter, SealedParts, Stray, StreamHead, Tail, Turn},
};
use sqlx::PgConnection;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{Database, FRESH, begin, nature};
use crate::adapters::event_row::{EventRow, fixed};

/// Who gives every stream a new life holds this lock.
const RENEWING: i64 = 6_003_371_234_567_893;
/// Between two looks whether somebody else does.
const LOOK: Duration = Duration::from_millis(100);

/// The columns of [`EventRow`], with contents of at most `$1` bytes (none below zero) that are not of the device `$2`.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT e.position, e.stream, e.stream_kind, e.seq, e.subject, e.event_id, e.kind, e.schema, e.actor, \
             e.device, e.correlation, e.causation, e.recorded_at, e.public, e.sealed_hash, e.body_hash, e.chain, \
             (SELECT c.bytes FROM contents c WHERE $1 >= 0 AND c.stream = e.stream AND c.hash = e.content_hash \
             AND octet_length(c.bytes) <= $1 AND ($2 IS NULL OR e.device IS DISTINCT FROM $2)) AS content FROM events e ",
            $rest
        )
    };
}

/// The log in a Postgres database.
#[derive(Debug, Clone)]
pub struct PostgresLog {
    database: Database,
    /// The connection that appends, and when it last did; none until the first append and after an error.
    appending: Arc<Mutex<Option<(PgConnection, Instant)>>>,
}

impl PostgresLog {
    /// The log in a connected database.
    pub fn new(database: Database) -> Self {
        Self { database, appending: Arc::default() }
    }

    async fn read(
        &self,
        query: sqlx::query::QueryAs<'_, sqlx::Postgres, EventRow, sqlx::postgres::PgArguments>,
    ) -> Result<Vec<Recorded>, LogError> {
        EventRow::all(query.fetch_all(self.database.pool().again()).await.map_err(failed)?)
    }
}

/// The first two parameters of [`select!`].
fn asked(contents: Contents) -> (i64, Option<Uuid>) {
    contents.wanted().map_or((-1, None), |(most, without)| (count(most), without.map(|device| device.0)))
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn bytes_of(hashes: &[BlobHash]) -> Vec<&[u8]> {
    hashes.iter().map(|hash| hash.0.as_slice()).collect()
}

#[async_trait]
impl EventLog for PostgresLog {
    async fn append(&self, units: &[Unit], now: Micros) -> Result<Vec<Outcome>, LogError> {
        units.iter().try_for_each(Unit::check)?;
        if units.is_empty() {
            return Ok(Vec::new());
        }
        // Taken out while it works: a caller that goes away in the middle leaves no half-read connection behind.
        let mut slot = self.appending.lock().await;
        let (mut connection, fresh) = match slot.take() {
            Some((connection, used)) if used.elapsed() <= FRESH => (connection, true),
            rested => {
                let rested = rested.map(|(connection, _)| connection);
                (self.database.single_again(rested).await.map_err(failed)?, false)
            }
        };
        let mut result = append::append(&mut connection, units, now).await;
        if fresh && result.as_ref().is_err_and(append::was_cut) {
            // It was not asked whether it still works. Units that stand already are known by their ids.
            connection = self.database.single().await.map_err(failed)?;
            result = append::append(&mut connection, units, now).await;
        }
        if !matches!(result, Err(LogError::Unavailable(_))) {
            *slot = Some((connection, Instant::now()));
        }
        result
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
        filter: &Filter,
        contents: Contents,
    ) -> Result<Vec<Recorded>, LogError> {
        let query = sqlx::query_as(select!(
            "WHERE e.position > $3 AND ($4::smallint IS NULL OR e.stream_kind = $4) \
             AND (cardinality($5::text[]) = 0 OR e.kind = ANY ($5)) ORDER BY e.position LIMIT $6"
        ));
        let (most, without) = asked(contents);
        let query = query.bind(most).bind(without).bind(after.as_i64());
        let query = query.bind(filter.stream_kind.map(StreamKind::code)).bind(&filter.kinds);
        self.read(query.bind(count(limit))).await
    }

    async fn read_stream(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
        contents: Contents,
    ) -> Result<Vec<Recorded>, LogError> {
        let query = sqlx::query_as(select!("WHERE e.stream = $3 AND e.seq > $4 ORDER BY e.seq LIMIT $5"));
        let (most, without) = asked(contents);
        let query = query.bind(most).bind(without).bind(stream.0).bind(after.as_i64());
        self.read(query.bind(count(limit))).await
    }

    async fn read_subject(
        &self,
        stream: StreamId,
        subject: SubjectId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        let query = sqlx::query_as(select!(
            "WHERE e.stream = $3 AND e.subject = $4 AND e.seq > $5 ORDER BY e.seq LIMIT $6"
        ));
        let (most, without) = asked(Contents::No);
        let query = query.bind(most).bind(without).bind(stream.0).bind(subject.0).bind(after.as_i64());
        self.read(query.bind(count(limit))).await
    }

    async fn find(&self, ids: &[EventId]) -> Result<Vec<Recorded>, LogError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let query = sqlx::query_as(select!("WHERE e.event_id = ANY ($3)"));
        let (most, without) = asked(Contents::No);
        let found = self.read(query.bind(most).bind(without).bind(wanted)).await?;
        let found: HashMap<_, _> = found.into_iter().map(|event| (event.event_id, event)).collect();
        Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect())
    }

    async fn tail(&self) -> Result<Tail, LogError> {
        let last: Option<(i64, i64)> =
            sqlx::query_as("SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1")
                .fetch_optional(self.database.pool().again())
                .await
                .map_err(failed)?;
        Ok(last.map_or_else(Tail::default, |(position, at)| Tail {
            position: Position::from_i64(position),
            recorded_at: Micros(at),
        }))
    }

    async fn stream_heads(&self, streams: &[StreamId]) -> Result<Vec<StreamHead>, LogError> {
        let wanted: Vec<Uuid> = streams.iter().map(|stream| stream.0).collect();
        let rows: Vec<(Uuid, i16, Vec<u8>, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT s.stream, s.kind, s.epoch, e.seq, e.chain FROM streams s CROSS JOIN LATERAL \
                 (SELECT seq, chain FROM events WHERE stream = s.stream ORDER BY seq DESC LIMIT 1) e \
                 WHERE s.stream = ANY ($1)",
        )
        .bind(wanted)
        .fetch_all(self.database.pool().again())
        .await
        .map_err(failed)?;
        let mut heads = HashMap::with_capacity(rows.len());
        for (stream, kind, epoch, seq, chain) in rows {
            let head = StreamHead {
                stream: StreamId(stream),
                kind: fixed(StreamKind::from_code(kind), "a stream kind is unknown")?,
                epoch: fixed(Epoch::from_slice(&epoch), "an epoch is not 16 bytes")?,
                seq: Seq::from_i64(seq),
                chain: fixed(Chain::from_slice(&chain), "a chain is not 32 bytes")?,
            };
            heads.insert(head.stream, head);
        }
        Ok(streams.iter().filter_map(|stream| heads.get(stream).copied()).collect())
    }

    async fn chain_at(&self, stream: StreamId, seq: Seq) -> Result<Option<Chain>, LogError> {
        if seq == Seq::ZERO {
            return Ok(Some(Chain::ZERO));
        }
        let found: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT chain FROM events WHERE stream = $1 AND seq = $2")
                .bind(stream.0)
                .bind(seq.as_i64())
                .fetch_optional(self.database.pool().again())
                .await
                .map_err(failed)?;
        found.map(|bytes| fixed(Chain::from_slice(&bytes), "a chain is not 32 bytes")).transpose()
    }

    async fn contents(
        &self,
        stream: StreamId,
        hashes: &[BlobHash],
    ) -> Result<Vec<(BlobHash, Vec<u8>)>, LogError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT hash, bytes FROM contents WHERE stream = $1 AND hash = ANY ($2)")
                .bind(stream.0)
                .bind(bytes_of(hashes))
                .fetch_all(self.database.pool().again())
                .await
                .map_err(failed)?;
        let mut kept: HashMap<_, _> = rows.into_iter().collect();
        Ok(hashes.iter().filter_map(|hash| Some((*hash, kept.remove(hash.0.as_slice())?))).collect())
    }

    async fn erase_contents(
        &self,
        stream: StreamId,
        hashes: &[BlobHash],
        seen: Seq,
    ) -> Result<u64, LogError> {
        let erased: i64 = sqlx::query_scalar("SELECT erase_contents($1, $2, $3)")
            .bind(stream.0)
            .bind(bytes_of(hashes))
            .bind(seen.as_i64())
            .fetch_one(self.database.pool())
            .await
            .map_err(failed)?;
        Ok(u64::try_from(erased).unwrap_or(0))
    }

    async fn came_with_content(&self, ids: &[EventId]) -> Result<Vec<EventId>, LogError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let query = "SELECT event_id FROM events WHERE event_id = ANY ($1) AND content_hash IS NOT NULL";
        let query = sqlx::query_scalar(query).bind(wanted);
        let came: Vec<Uuid> = query.fetch_all(self.database.pool().again()).await.map_err(failed)?;
        let came: HashSet<Uuid> = came.into_iter().collect();
        Ok(ids.iter().copied().filter(|id| came.contains(&id.0)).collect())
    }

    async fn sealed_parts(&self, ids: &[EventId]) -> Result<Vec<(EventId, Sealed)>, LogError> {
        sealed::of_events(self.database.pool(), ids).await
    }

    async fn sealed_about(
        &self,
        subject: AccountId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<(EventId, Sealed)>, LogError> {
        sealed::about(self.database.pool(), subject, after, count(limit)).await
    }

    async fn erase_sealed(&self, which: &SealedParts) -> Result<u64, LogError> {
        sealed::erase(self.database.pool(), which).await
    }

    async fn turn_to_renew(&self) -> Result<Turn, LogError> {
        // It rests for as long as the renewal takes. In a transaction, so that a pooler between does not matter.
        let begin = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0";
        loop {
            let mut transaction = begin::with(self.database.pool(), begin).await.map_err(failed)?;
            let held: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
                .bind(RENEWING)
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed)?;
            if held {
                return Ok(Turn::new(transaction));
            }
            transaction.rollback().await.map_err(failed)?;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn strays(&self) -> Result<Vec<Stray>, LogError> {
        strays::find(self.database.pool()).await
    }

    async fn renew_epoch(&self, stream: StreamId, epoch: Epoch) -> Result<(), LogError> {
        let renewed: bool = sqlx::query_scalar("SELECT renew_epoch($1, $2)")
            .bind(stream.0)
            .bind(epoch.0.as_slice())
            .fetch_one(self.database.pool())
            .await
            .map_err(failed)?;
        if renewed { Ok(()) } else { Err(LogError::Malformed("only a stream that exists gets a new epoch")) }
    }

    async fn log_id(&self) -> Result<Uuid, LogError> {
        let query = sqlx::query_scalar("SELECT log_id FROM log_meta");
        query.fetch_one(self.database.pool().again()).await.map_err(failed)
    }
}

/// What an error of Postgres means to a caller of the log.
fn failed(error: sqlx::Error) -> LogError {
    nature::failed(error)
}
