//! One batch inside one write transaction: load what the planner needs, plan, insert.
//!
//! Every statement is a message to the connection's thread and back, which costs more than the work of a small one.
//! So a batch is two messages: it begins and is loaded by one, which answers with one row, and is stored and committed
//! by one.

use lockstep_events::{
    Chain, Epoch, EventId, Hash32, LogError, Micros, Outcome, Position, Seq, StreamId, StreamKind, SubjectId,
    Unit,
    log::{StreamHead, Tail},
    planner::{Known, Needs, Plan, Row, Standing, plan},
};
use serde_json::{Value, json};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{chunks, failed, fixed};

/// What a batch needs to know, a line for each thing that stands: `t`ail, `s`tream, `p`air of stream and subject,
/// `e`vent. The ids that are asked for come as bytes one behind the other.
const BEGIN_AND_LOAD: &str = "BEGIN IMMEDIATE;
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?4)
    SELECT group_concat(line, char(10)) FROM (
    SELECT line FROM (SELECT 't|' || position || '|' || recorded_at AS line
        FROM events ORDER BY position DESC LIMIT 1)
    UNION ALL SELECT 's|' || hex(s.stream) || '|' || s.kind || '|' || hex(s.epoch) || '|' || s.seq || '|' || hex(s.chain)
        FROM n CROSS JOIN streams s ON s.stream = substr(?1, n.i * 16 + 1, 16)
    UNION ALL SELECT 'p|' || hex(pair) || '|' || seq FROM (
        SELECT substr(?2, n.i * 32 + 1, 32) AS pair, (SELECT max(e.seq) FROM events e
            WHERE e.stream = substr(?2, n.i * 32 + 1, 16) AND e.subject = substr(?2, n.i * 32 + 17, 16)) AS seq
        FROM n) WHERE seq IS NOT NULL
    UNION ALL SELECT 'e|' || hex(e.event_id) || '|' || hex(e.stream) || '|' || e.position || '|' || e.seq || '|'
        || e.recorded_at || '|' || hex(e.chain) || '|' || hex(e.body_hash)
        FROM n CROSS JOIN events e ON e.event_id = substr(?3, n.i * 16 + 1, 16))";

/// Heads of streams, from an array of arrays.
const STORE_HEADS: &str = "; INSERT INTO streams (stream, kind, epoch, seq, chain)
    SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3, unhex(value ->> 4) FROM json_each(";
const OVER_HEADS: &str =
    ") WHERE true ON CONFLICT (stream) DO UPDATE SET seq = excluded.seq, chain = excluded.chain";

/// Small ciphertexts. The same may come again with another version: what is kept already has the same hash.
const STORE_CONTENTS: &str = "; INSERT INTO contents (stream, hash, bytes) ";
const OVER_CONTENTS: &str = " ON CONFLICT (stream, hash) DO NOTHING";

/// Begins, appends and commits.
pub(super) async fn append(
    on: &mut SqliteConnection,
    units: &[Unit],
    now: Micros,
) -> Result<Vec<Outcome>, LogError> {
    let mut known = load(on, &Needs::of(units)).await?;
    let plan = plan(units, &mut known, now);
    store(on, &plan).await?;
    Ok(plan.outcomes)
}

async fn load(on: &mut SqliteConnection, needs: &Needs) -> Result<Known, LogError> {
    let streams: Vec<u8> = needs.streams.iter().flat_map(|id| *id.0.as_bytes()).collect();
    let pair =
        |(stream, subject): &(StreamId, SubjectId)| [*stream.0.as_bytes(), *subject.0.as_bytes()].concat();
    let pairs: Vec<u8> = needs.subjects.iter().flat_map(pair).collect();
    let events: Vec<u8> = needs.events.iter().flat_map(|id| *id.0.as_bytes()).collect();
    let most = needs.streams.len().max(needs.subjects.len()).max(needs.events.len());
    let lines: Option<String> = sqlx::query_scalar(BEGIN_AND_LOAD)
        .bind(streams)
        .bind(pairs)
        .bind(events)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_one(on)
        .await
        .map_err(failed)?;
    let mut known = Known::default();
    for line in lines.iter().flat_map(|lines| lines.split('\n')) {
        fixed(learn(&mut known, line), "what stands in the log cannot be read")?;
    }
    Ok(known)
}

/// One line of [`BEGIN_AND_LOAD`].
fn learn(known: &mut Known, line: &str) -> Option<()> {
    let fields: Vec<&str> = line.split('|').collect();
    match *fields.as_slice() {
        ["t", position, at] => {
            known.tail =
                Tail { position: Position::from_i64(number(position)?), recorded_at: Micros(number(at)?) }
        }
        ["s", stream, kind, epoch, seq, chain] => {
            let stream = StreamId(id(stream)?);
            let head = StreamHead {
                stream,
                kind: StreamKind::from_code(kind.parse().ok()?)?,
                epoch: Epoch::from_slice(&hex::decode(epoch).ok()?)?,
                seq: Seq::from_i64(number(seq)?),
                chain: Chain::from_slice(&hex::decode(chain).ok()?)?,
            };
            known.streams.insert(stream, head);
        }
        ["p", pair, seq] => {
            let (stream, subject) = pair.split_at_checked(32)?;
            known
                .subjects
                .insert((StreamId(id(stream)?), SubjectId(id(subject)?)), Seq::from_i64(number(seq)?));
        }
        ["e", event, stream, position, seq, at, chain, body] => {
            let standing = Standing {
                stream: StreamId(id(stream)?),
                position: Position::from_i64(number(position)?),
                seq: Seq::from_i64(number(seq)?),
                recorded_at: Micros(number(at)?),
                chain: Chain::from_slice(&hex::decode(chain).ok()?)?,
                body_hash: Hash32::from_slice(&hex::decode(body).ok()?)?,
            };
            known.events.insert(EventId(id(event)?), standing);
        }
        _ => return None,
    }
    Some(())
}

fn id(hex: &str) -> Option<Uuid> {
    Uuid::try_parse(hex).ok()
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Stores and commits.
async fn store(on: &mut SqliteConnection, plan: &Plan<'_>) -> Result<(), LogError> {
    let with_sealed: Vec<_> = plan.rows.iter().filter(|row| row.event.sealed.is_some()).collect();
    for chunk in chunks(&with_sealed) {
        insert_sealed(on, chunk).await?;
    }
    let mut query = QueryBuilder::<Sqlite>::default();
    let mut parts = chunks(&plan.rows).peekable();
    while let Some(rows) = parts.next() {
        query = insert_events(rows);
        push_contents(&mut query, rows);
        if parts.peek().is_some() {
            query.build().execute(&mut *on).await.map_err(failed)?;
        }
    }
    if !plan.rows.is_empty() {
        query.push(STORE_HEADS).push_bind(heads(plan)).push(OVER_HEADS).push("; ");
    }
    query.push("COMMIT").build().execute(on).await.map_err(failed)?;
    Ok(())
}

fn push_contents(query: &mut QueryBuilder<Sqlite>, rows: &[Row<'_>]) {
    let contents = rows.iter().filter_map(|row| Some((row.event.stream, row.event.content.as_ref()?)));
    let mut contents = contents.peekable();
    if contents.peek().is_some() {
        query.push(STORE_CONTENTS);
        query.push_values(contents, |mut values, (stream, content)| {
            values.push_bind(stream.0).push_bind(content.hash.0.to_vec()).push_bind(content.bytes.clone());
        });
        query.push(OVER_CONTENTS);
    }
}

fn heads(plan: &Plan<'_>) -> String {
    let head = |head: &StreamHead| {
        json!([
            head.stream.0.simple().to_string(),
            head.kind.code(),
            head.epoch.to_string(),
            head.seq.as_i64(),
            head.chain.to_string()
        ])
    };
    Value::Array(plan.heads.iter().map(head).collect()).to_string()
}

fn insert_events(rows: &[Row<'_>]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO events (position, stream, stream_kind, seq, subject, event_id, kind, schema, actor, device, \
         correlation, causation, recorded_at, public, sealed_hash, body_hash, chain, content_hash) ",
    );
    query.push_values(rows, |mut values, row| {
        let event = row.event;
        values
            .push_bind(row.place.position.as_i64())
            .push_bind(event.stream.0)
            .push_bind(row.stream_kind.code())
            .push_bind(row.place.seq.as_i64())
            .push_bind(event.subject.map(|id| id.0))
            .push_bind(event.event_id.0)
            .push_bind(event.kind.clone())
            .push_bind(i32::from(event.schema))
            .push_bind(event.actor.map(|id| id.0))
            .push_bind(event.device.map(|id| id.0))
            .push_bind(event.correlation)
            .push_bind(event.causation.map(|id| id.0))
            .push_bind(row.place.recorded_at.0)
            .push_bind(event.public.clone())
            .push_bind(event.sealed_hash().map(|hash| hash.0.to_vec()))
            .push_bind(event.body_hash.0.to_vec())
            .push_bind(row.chain.0.to_vec())
            .push_bind(event.content.as_ref().map(|content| content.hash.0.to_vec()));
    });
    query
}

async fn insert_sealed(on: &mut SqliteConnection, rows: &[&Row<'_>]) -> Result<(), LogError> {
    let mut query =
        QueryBuilder::<Sqlite>::new("INSERT INTO event_sealed (event_id, subject, purpose, period, bytes) ");
    let sealed = rows.iter().filter_map(|row| Some((row.event.event_id, row.event.sealed.as_ref()?)));
    query.push_values(sealed, |mut values, (event_id, sealed)| {
        values
            .push_bind(event_id.0)
            .push_bind(sealed.subject.0)
            .push_bind(sealed.purpose.clone())
            .push_bind(sealed.period.clone())
            .push_bind(sealed.bytes.clone());
    });
    query.build().execute(on).await.map_err(failed)?;
    Ok(())
}
