//! Kept answers.

use async_trait::async_trait;
use lockstep_events::Micros;

use super::PostgresOperations;
use crate::{
    adapters::postgres::nature,
    auth::credentials::CredentialError,
    kept_answers::{AnswerKey, KeptAnswer, KeptAnswers},
};

pub(super) fn failed(error: sqlx::Error) -> CredentialError {
    nature::failed(error)
}

#[async_trait]
impl KeptAnswers for PostgresOperations {
    async fn kept(&self, key: &AnswerKey, now: Micros) -> Result<Option<KeptAnswer>, CredentialError> {
        let row: Option<(Vec<u8>, i32, Vec<u8>)> = sqlx::query_as(
            "SELECT request_hash, status, body FROM kept_answers
             WHERE account = $1 AND device = $2 AND key = $3 AND until > $4",
        )
        .bind(key.account.as_bytes().as_slice())
        .bind(key.device.as_bytes().as_slice())
        .bind(&key.key)
        .bind(now.0)
        .fetch_optional(self.pool.again())
        .await
        .map_err(failed)?;
        Ok(row.and_then(|(hash, status, body)| {
            Some(KeptAnswer {
                request_hash: hash.try_into().ok()?,
                status: u16::try_from(status).ok()?,
                body,
            })
        }))
    }

    async fn keep(&self, key: &AnswerKey, answer: &KeptAnswer, until: Micros) -> Result<(), CredentialError> {
        sqlx::query(
            "INSERT INTO kept_answers (account, device, key, request_hash, status, body, until)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        )
        .bind(key.account.as_bytes().as_slice())
        .bind(key.device.as_bytes().as_slice())
        .bind(&key.key)
        .bind(answer.request_hash.as_slice())
        .bind(i32::from(answer.status))
        .bind(&answer.body)
        .bind(until.0)
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn sweep(&self, now: Micros) -> Result<u64, CredentialError> {
        let gone = sqlx::query("DELETE FROM kept_answers WHERE until <= $1").bind(now.0).execute(&self.pool);
        Ok(gone.await.map_err(failed)?.rows_affected())
    }
}
