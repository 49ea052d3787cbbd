//! One batch inside one write transaction: load what the planner needs, plan, insert.

use lockstep_events::{
    Chain, EventId, Hash32, LogError, Micros, Outcome, Position, Seq, StreamId, SubjectId, Unit,
    log::StreamHead,
    planner::{Known, Needs, Plan, Row, Standing, plan},
};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{chunks, failed, fixed, stream_heads, tail};

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
    let mut known = Known { tail: tail(&mut *on).await?, ..Known::default() };
    let streams: Vec<_> = needs.streams.iter().copied().collect();
    for chunk in chunks(&streams) {
        let heads = stream_heads(&mut *on, chunk).await?;
        known.streams.extend(heads.into_iter().map(|head| (head.stream, head)));
    }
    let subjects: Vec<_> = needs.subjects.iter().copied().collect();
    for chunk in chunks(&subjects) {
        load_subjects(on, chunk, &mut known).await?;
    }
    let events: Vec<_> = needs.events.iter().copied().collect();
    for chunk in chunks(&events) {
        load_standing(on, chunk, &mut known).await?;
    }
    Ok(known)
}

async fn load_subjects(
    on: &mut SqliteConnection,
    subjects: &[(StreamId, SubjectId)],
    known: &mut Known,
) -> Result<(), LogError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT n.column1, n.column2, (SELECT max(e.seq) FROM events e WHERE e.stream = n.column1 \
         AND e.subject = n.column2) FROM (",
    );
    query.push_values(subjects, |mut pair, (stream, subject)| {
        pair.push_bind(stream.0).push_bind(subject.0);
    });
    query.push(") n");
    let rows: Vec<(Uuid, Uuid, Option<i64>)> = query.build_query_as().fetch_all(on).await.map_err(failed)?;
    known.subjects.extend(rows.into_iter().filter_map(|(stream, subject, seq)| {
        Some(((StreamId(stream), SubjectId(subject)), Seq::from_i64(seq?)))
    }));
    Ok(())
}

type StandingRow = (Uuid, Uuid, i64, i64, i64, Vec<u8>, Vec<u8>);

async fn load_standing(
    on: &mut SqliteConnection,
    events: &[EventId],
    known: &mut Known,
) -> Result<(), LogError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT event_id, stream, position, seq, recorded_at, chain, body_hash FROM events WHERE event_id IN (",
    );
    let mut wanted = query.separated(", ");
    for id in events {
        wanted.push_bind(id.0);
    }
    query.push(")");
    let rows: Vec<StandingRow> = query.build_query_as().fetch_all(on).await.map_err(failed)?;
    for (id, stream, position, seq, recorded_at, chain, body_hash) in rows {
        let standing = Standing {
            stream: StreamId(stream),
            position: Position::from_i64(position),
            seq: Seq::from_i64(seq),
            recorded_at: Micros(recorded_at),
            chain: fixed(Chain::from_slice(&chain), "a chain is not 32 bytes")?,
            body_hash: fixed(Hash32::from_slice(&body_hash), "a body hash is not 32 bytes")?,
        };
        known.events.insert(EventId(id), standing);
    }
    Ok(())
}

async fn store(on: &mut SqliteConnection, plan: &Plan<'_>) -> Result<(), LogError> {
    for chunk in chunks(&plan.rows) {
        insert_events(on, chunk).await?;
    }
    for chunk in chunks(&plan.heads) {
        store_heads(on, chunk).await?;
    }
    let with_content: Vec<_> = plan.rows.iter().filter(|row| row.event.content.is_some()).collect();
    for chunk in chunks(&with_content) {
        insert_contents(on, chunk).await?;
    }
    let with_sealed: Vec<_> = plan.rows.iter().filter(|row| row.event.sealed.is_some()).collect();
    for chunk in chunks(&with_sealed) {
        insert_sealed(on, chunk).await?;
    }
    Ok(())
}

async fn insert_events(on: &mut SqliteConnection, rows: &[Row<'_>]) -> Result<(), LogError> {
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
    query.build().execute(on).await.map_err(failed)?;
    Ok(())
}

async fn store_heads(on: &mut SqliteConnection, heads: &[StreamHead]) -> Result<(), LogError> {
    let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO streams (stream, kind, epoch, seq, chain) ");
    query.push_values(heads, |mut values, head| {
        values
            .push_bind(head.stream.0)
            .push_bind(head.kind.code())
            .push_bind(head.epoch.0.to_vec())
            .push_bind(head.seq.as_i64())
            .push_bind(head.chain.0.to_vec());
    });
    query.push(" ON CONFLICT (stream) DO UPDATE SET seq = excluded.seq, chain = excluded.chain");
    query.build().execute(on).await.map_err(failed)?;
    Ok(())
}

/// The same ciphertext may come again with another version: what is kept already has the same hash.
async fn insert_contents(on: &mut SqliteConnection, rows: &[&Row<'_>]) -> Result<(), LogError> {
    let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO contents (stream, hash, bytes) ");
    let contents = rows.iter().filter_map(|row| Some((row.event.stream, row.event.content.as_ref()?)));
    query.push_values(contents, |mut values, (stream, content)| {
        values.push_bind(stream.0).push_bind(content.hash.0.to_vec()).push_bind(content.bytes.clone());
    });
    query.push(" ON CONFLICT (stream, hash) DO NOTHING");
    query.build().execute(on).await.map_err(failed)?;
    Ok(())
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
