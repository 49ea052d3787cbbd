//! What devices were served.

use async_trait::async_trait;
use lockstep_events::{DeviceId, Epoch, Micros, Seq, StreamId};

use super::{SqliteOperations, answers::failed};
use crate::{
    auth::credentials::CredentialError,
    served::{Place, ServedPlaces},
};

#[async_trait]
impl ServedPlaces for SqliteOperations {
    async fn keep(&self, places: &[Place], now: Micros) -> Result<(), CredentialError> {
        let mut tx = self.begin().await.map_err(failed)?;
        for place in places {
            sqlx::query(
                "INSERT INTO served (device, stream, epoch, seq, kept_at) VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT (device, stream) DO UPDATE
                 SET epoch = excluded.epoch, seq = excluded.seq, kept_at = excluded.kept_at
                 WHERE served.epoch <> excluded.epoch OR served.seq < excluded.seq",
            )
            .bind(place.device.as_bytes().as_slice())
            .bind(place.stream.as_bytes().as_slice())
            .bind(place.epoch.0.as_slice())
            .bind(place.seq.0.cast_signed())
            .bind(now.0)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        }
        tx.commit().await.map_err(failed)
    }

    async fn place(&self, device: DeviceId, stream: StreamId) -> Result<Option<Place>, CredentialError> {
        let row: Option<(Vec<u8>, i64)> =
            sqlx::query_as("SELECT epoch, seq FROM served WHERE device = ? AND stream = ?")
                .bind(device.as_bytes().as_slice())
                .bind(stream.as_bytes().as_slice())
                .fetch_optional(&self.pool)
                .await
                .map_err(failed)?;
        Ok(row.and_then(|(epoch, seq)| {
            Some(Place { device, stream, epoch: Epoch::from_slice(&epoch)?, seq: Seq::from_i64(seq) })
        }))
    }

    async fn forget_before(&self, before: Micros) -> Result<u64, CredentialError> {
        let gone = sqlx::query("DELETE FROM served WHERE kept_at < ?").bind(before.0).execute(&self.pool);
        Ok(gone.await.map_err(failed)?.rows_affected())
    }
}
