//! Cursors, and the chain at every seq.

use lockstep_events::{Chain, Epoch, Seq, StreamId, StreamKind};
use sqlx::SqliteConnection;

use super::{damaged, fixed, uuid};
use crate::error::Error;

/// How far a stream is applied here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The stream.
    pub(crate) stream: StreamId,
    /// What it is about.
    pub(crate) kind: StreamKind,
    /// Its life.
    pub(crate) epoch: Epoch,
    /// The last seq applied.
    pub(crate) seq: Seq,
    /// The chain there.
    pub(crate) chain: Chain,
    /// How many lives of the stream this device has seen.
    pub(crate) lives: u32,
}

type Row = (Vec<u8>, i64, Vec<u8>, i64, Vec<u8>, i64);

fn place((stream, kind, epoch, seq, chain, lives): Row) -> Result<Place, Error> {
    Ok(Place {
        stream: StreamId(uuid(&stream)?),
        kind: i16::try_from(kind).ok().and_then(StreamKind::from_code).ok_or_else(damaged)?,
        epoch: Epoch(fixed(&epoch)?),
        seq: Seq::from_i64(seq),
        chain: Chain(fixed(&chain)?),
        lives: u32::try_from(lives).map_err(|_| damaged())?,
    })
}

/// One stream's place.
pub(crate) async fn get(db: &mut SqliteConnection, stream: StreamId) -> Result<Option<Place>, Error> {
    let row: Option<Row> =
        sqlx::query_as("SELECT stream, kind, epoch, seq, chain, lives FROM streams WHERE stream = ?")
            .bind(stream.as_bytes().as_slice())
            .fetch_optional(db)
            .await?;
    row.map(place).transpose()
}

/// All places: the account stream first.
pub(crate) async fn all(db: &mut SqliteConnection) -> Result<Vec<Place>, Error> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT stream, kind, epoch, seq, chain, lives FROM streams ORDER BY kind, stream")
            .fetch_all(db)
            .await?;
    rows.into_iter().map(place).collect()
}

/// Moves the cursor. Only ever in the transaction that applied everything up to it (C1).
pub(crate) async fn put(db: &mut SqliteConnection, place: &Place) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO streams (stream, kind, epoch, seq, chain, lives) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (stream) \
         DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, chain = excluded.chain, lives = excluded.lives",
    )
    .bind(place.stream.as_bytes().as_slice())
    .bind(i64::from(place.kind.code()))
    .bind(place.epoch.as_bytes().as_slice())
    .bind(place.seq.as_i64())
    .bind(place.chain.as_bytes().as_slice())
    .bind(i64::from(place.lives))
    .execute(db)
    .await?;
    Ok(())
}

/// Notes the chain at a seq.
pub(crate) async fn note_chain(
    db: &mut SqliteConnection,
    (stream, epoch): (StreamId, Epoch),
    seq: Seq,
    chain: &Chain,
) -> Result<(), Error> {
    sqlx::query("INSERT OR REPLACE INTO chains (stream, epoch, seq, chain) VALUES (?, ?, ?, ?)")
        .bind(stream.as_bytes().as_slice())
        .bind(epoch.as_bytes().as_slice())
        .bind(seq.as_i64())
        .bind(chain.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// The chains that this device has seen at a seq, one per life of the stream.
pub(crate) async fn chains_at(
    db: &mut SqliteConnection,
    stream: StreamId,
    seq: Seq,
) -> Result<Vec<Chain>, Error> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT chain FROM chains WHERE stream = ? AND seq = ?")
        .bind(stream.as_bytes().as_slice())
        .bind(seq.as_i64())
        .fetch_all(db)
        .await?;
    rows.iter().map(|(chain,)| fixed(chain).map(Chain)).collect()
}
