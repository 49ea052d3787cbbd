//! The right to rebuild, which one process of all that use a database has at a time.

use lockstep_projections::store::{Claim, ReadError};
use sqlx::{Postgres, Transaction};

use super::failed;
use crate::adapters::postgres::{begin, pool::Pool};

/// An advisory lock of one transaction, so that a transaction pooler between does not matter. Not the one of the signing
/// keys, which may lie in the same database.
const REBUILDING: i64 = 6_003_371_234_567_892;

/// Takes it, or says who has it.
///
/// # Errors
/// `Rebuilding`, or what the database says.
pub async fn take(pool: &Pool) -> Result<Claim, ReadError> {
    // It rests for as long as the rebuild takes. Only the name of a session is shown to all others.
    let begin = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0";
    let mut transaction = begin::with(pool, begin).await.map_err(failed)?;
    let held: bool = sqlx::query_scalar(
        "SELECT pg_try_advisory_xact_lock($1) AND set_config('application_name', $2, true) IS NOT NULL",
    )
    .bind(REBUILDING)
    .bind(this_process())
    .fetch_one(&mut *transaction)
    .await
    .map_err(failed)?;
    if held {
        return Ok(Claim::ended_by(async move {
            // One that fails is over with its connection.
            let _ = transaction.rollback().await;
        }));
    }
    Err(ReadError::Rebuilding(holder(&mut transaction).await?))
}

async fn holder(asking: &mut Transaction<'static, Postgres>) -> Result<String, ReadError> {
    let name: Option<String> = sqlx::query_scalar(
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
           AND (l.classid::bigint << 32) | l.objid::bigint = $1",
    )
    .bind(REBUILDING)
    .fetch_optional(&mut **asking)
    .await
    .map_err(failed)?;
    Ok(name.filter(|name| !name.is_empty()).unwrap_or_else(|| "another process".to_owned()))
}

/// How a process that rebuilds is told from others.
fn this_process() -> String {
    // A container has a name of its own; where there is no such file, the number alone has to do.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("process {} {}", std::process::id(), host.trim()).trim_end().to_owned()
}
