//! Cursors, and the chain at every seq.

use lockstep_events::{Chain, Epoch, Micros, Seq, SetDigest, StreamId, StreamKind};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

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
    /// The digest of all versions accepted up to `seq`; none if that is not known yet.
    pub(crate) digest: Option<SetDigest>,
    /// The digest of those among them that this device never held.
    pub(crate) absent: SetDigest,
    /// When what stands at `seq` was recorded; 0 if that is not known.
    pub(crate) recorded_at: Micros,
}

impl Place {
    /// The beginning of a stream.
    pub(crate) const fn start(stream: StreamId, kind: StreamKind, epoch: Epoch) -> Self {
        let (seq, chain, absent) = (Seq::ZERO, Chain::ZERO, SetDigest::ZERO);
        let (digest, recorded_at) = (Some(SetDigest::ZERO), Micros(0));
        Self { stream, kind, epoch, seq, chain, lives: 1, digest, absent, recorded_at }
    }
}

type Row = (Vec<u8>, i64, Vec<u8>, i64, Vec<u8>, i64, Option<Vec<u8>>, Vec<u8>, i64);

const SELECT: &str =
    "SELECT stream, kind, epoch, seq, chain, lives, digest, absent, recorded_at FROM streams";

fn place((stream, kind, epoch, seq, chain, lives, digest, absent, recorded_at): Row) -> Result<Place, Error> {
    Ok(Place {
        stream: StreamId(uuid(&stream)?),
        kind: i16::try_from(kind).ok().and_then(StreamKind::from_code).ok_or_else(damaged)?,
        epoch: Epoch(fixed(&epoch)?),
        seq: Seq::from_i64(seq),
        chain: Chain(fixed(&chain)?),
        lives: u32::try_from(lives).map_err(|_| damaged())?,
        digest: digest.map(|digest| fixed(&digest).map(SetDigest)).transpose()?,
        absent: SetDigest(fixed(&absent)?),
        recorded_at: Micros(recorded_at),
    })
}

/// One stream's place.
pub(crate) async fn get(db: &mut SqliteConnection, stream: StreamId) -> Result<Option<Place>, Error> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push(" WHERE stream = ").push_bind(stream.as_bytes().to_vec());
    let row: Option<Row> = query.build_query_as().fetch_optional(db).await?;
    row.map(place).transpose()
}

/// All places: the account stream first.
pub(crate) async fn all(db: &mut SqliteConnection) -> Result<Vec<Place>, Error> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    let rows: Vec<Row> = query.push(" ORDER BY kind, stream").build_query_as().fetch_all(db).await?;
    rows.into_iter().map(place).collect()
}

/// Moves the cursor. Only ever in the transaction that applied everything up to it (C1).
pub(crate) async fn put(db: &mut SqliteConnection, place: &Place) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO streams (stream, kind, epoch, seq, chain, lives, digest, absent, recorded_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (stream) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, chain = excluded.chain, \
         lives = excluded.lives, digest = excluded.digest, absent = excluded.absent, \
         recorded_at = excluded.recorded_at",
    )
    .bind(place.stream.as_bytes().as_slice())
    .bind(i64::from(place.kind.code()))
    .bind(place.epoch.as_bytes().as_slice())
    .bind(place.seq.as_i64())
    .bind(place.chain.as_bytes().as_slice())
    .bind(i64::from(place.lives))
    .bind(place.digest.map(|digest| digest.0.to_vec()))
    .bind(place.absent.as_bytes().as_slice())
    .bind(place.recorded_at.0)
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
) -> Result<Vec<(Epoch, Chain)>, Error> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT epoch, chain FROM chains WHERE stream = ? AND seq = ?")
            .bind(stream.as_bytes().as_slice())
            .bind(seq.as_i64())
            .fetch_all(db)
            .await?;
    rows.iter().map(|(epoch, chain)| Ok((Epoch(fixed(epoch)?), Chain(fixed(chain)?)))).collect()
}

/// Where one life had a chain, if this device saw it.
pub(crate) async fn place_of(
    db: &mut SqliteConnection,
    (stream, epoch): (StreamId, Epoch),
    chain: &Chain,
) -> Result<Option<Seq>, Error> {
    let found: Option<i64> =
        sqlx::query_scalar("SELECT seq FROM chains WHERE stream = ? AND epoch = ? AND chain = ?")
            .bind(stream.as_bytes().as_slice())
            .bind(epoch.as_bytes().as_slice())
            .bind(chain.as_bytes().as_slice())
            .fetch_optional(db)
            .await?;
    Ok(found.map(Seq::from_i64))
}

/// From where on this device has seen every event of one life: the place of the snapshot that it began with, or the
/// beginning.
pub(crate) async fn begun_at(
    db: &mut SqliteConnection,
    (stream, epoch): (StreamId, Epoch),
) -> Result<Seq, Error> {
    let first: Option<i64> = sqlx::query_scalar("SELECT min(seq) FROM chains WHERE stream = ? AND epoch = ?")
        .bind(stream.as_bytes().as_slice())
        .bind(epoch.as_bytes().as_slice())
        .fetch_one(db)
        .await?;
    Ok(first.map(Seq::from_i64).filter(|first| *first > Seq(1)).unwrap_or_default())
}

/// The chains of one life up to a seq, ascending.
pub(crate) async fn chains_up_to(
    db: &mut SqliteConnection,
    (stream, epoch): (StreamId, Epoch),
    last: Seq,
) -> Result<Vec<(Seq, Chain)>, Error> {
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT seq, chain FROM chains WHERE stream = ? AND epoch = ? AND seq <= ? ORDER BY seq",
    )
    .bind(stream.as_bytes().as_slice())
    .bind(epoch.as_bytes().as_slice())
    .bind(last.as_i64())
    .fetch_all(db)
    .await?;
    rows.iter().map(|(seq, chain)| Ok((Seq::from_i64(*seq), Chain(fixed(chain)?)))).collect()
}

/// A new life that begins as the old one was up to a seq has its chains up to there.
pub(crate) async fn carry_chains(
    db: &mut SqliteConnection,
    stream: StreamId,
    (old, new): (Epoch, Epoch),
    last: Seq,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT OR IGNORE INTO chains (stream, epoch, seq, chain) SELECT stream, ?, seq, chain FROM chains \
         WHERE stream = ? AND epoch = ? AND seq <= ?",
    )
    .bind(new.as_bytes().as_slice())
    .bind(stream.as_bytes().as_slice())
    .bind(old.as_bytes().as_slice())
    .bind(last.as_i64())
    .execute(db)
    .await?;
    Ok(())
}
