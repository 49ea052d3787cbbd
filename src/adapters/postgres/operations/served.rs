//! What devices were served.

use async_trait::async_trait;
use lockstep_events::{DeviceId, Epoch, Micros, Seq, StreamId};

use super::{PostgresOperations, answers::failed};
use crate::{
    auth::credentials::CredentialError,
    served::{Place, ServedPlaces},
};

#[async_trait]
impl ServedPlaces for PostgresOperations {
    async fn keep(&self, places: &[Place], now: Micros) -> Result<(), CredentialError> {
        let column = |of: fn(&Place) -> &[u8]| places.iter().map(|p| of(p).to_vec()).collect::<Vec<_>>();
        let seqs: Vec<i64> = places.iter().map(|place| place.seq.0.cast_signed()).collect();
        // In one order on all nodes, so that two of them do not wait for each other.
        sqlx::query(
            "INSERT INTO served (device, stream, epoch, seq, kept_at)
             SELECT p.device, p.stream, p.epoch, p.seq, $5
             FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[]) AS p (device, stream, epoch, seq)
             ORDER BY p.device, p.stream
             ON CONFLICT (device, stream) DO UPDATE
             SET epoch = excluded.epoch, seq = excluded.seq, kept_at = excluded.kept_at
             WHERE served.epoch <> excluded.epoch OR served.seq < excluded.seq",
        )
        .bind(column(|place| place.device.as_bytes()))
        .bind(column(|place| place.stream.as_bytes()))
        .bind(column(|place| &place.epoch.0))
        .bind(seqs)
        .bind(now.0)
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn place(&self, device: DeviceId, stream: StreamId) -> Result<Option<Place>, CredentialError> {
        let row: Option<(Vec<u8>, i64)> =
            sqlx::query_as("SELECT epoch, seq FROM served WHERE device = $1 AND stream = $2")
                .bind(device.as_bytes().as_slice())
                .bind(stream.as_bytes().as_slice())
                .fetch_optional(self.pool.again())
                .await
                .map_err(failed)?;
        Ok(row.and_then(|(epoch, seq)| {
            Some(Place { device, stream, epoch: Epoch::from_slice(&epoch)?, seq: Seq::from_i64(seq) })
        }))
    }

    async fn forget_before(&self, before: Micros) -> Result<u64, CredentialError> {
        let gone = sqlx::query("DELETE FROM served WHERE kept_at < $1").bind(before.0).execute(&self.pool);
        Ok(gone.await.map_err(failed)?.rows_affected())
    }
}
