//! How rows get into the table.

use lockstep_projections::store::{Generation, ReadError};
use sqlx::{Acquire, PgConnection};

use super::{failed, number};
use crate::adapters::documents::Document;

/// Rows in one INSERT.
const ROWS: usize = 2_000;
/// From so many new rows on a savepoint is worth its messages.
const MANY: usize = 500;

macro_rules! insert {
    ($rest:literal) => {
        concat!(
            "INSERT INTO read_rows (projection, generation, scope, id, parent, place, document) \
             SELECT * FROM unnest($1::smallint[], $2::integer[], $3::bytea[], $4::bytea[], $5::bytea[], \
                 $6::bigint[], $7::text[])",
            $rest
        )
    };
}

const INSERT: &str = insert!("");
const UPSERT: &str =
    insert!(" ON CONFLICT (projection, generation, scope, id) DO UPDATE SET document = excluded.document");

/// Writes rows. An INSERT that is ready for rows that stand costs half as much again: it looks for each and writes each in
/// two steps. So many that are new are first tried without.
pub(super) async fn put(on: &mut PgConnection, puts: Vec<(Generation, Document)>) -> Result<(), ReadError> {
    let (new, mut rows): (Vec<_>, Vec<_>) = puts.into_iter().partition(|(_, row)| row.new);
    if new.len() < MANY || !inserted(on, &new).await? {
        rows.extend(new);
    }
    for some in rows.chunks(ROWS) {
        insert(on, UPSERT, some).await.map_err(failed)?;
    }
    Ok(())
}

/// Inserts rows; all of them, or none if one of them stands already.
async fn inserted(on: &mut PgConnection, rows: &[(Generation, Document)]) -> Result<bool, ReadError> {
    let mut savepoint = on.begin().await.map_err(failed)?;
    for some in rows.chunks(ROWS) {
        match insert(&mut savepoint, INSERT, some).await {
            Ok(()) => {}
            Err(error) if error.as_database_error().is_some_and(|said| said.is_unique_violation()) => {
                savepoint.rollback().await.map_err(failed)?;
                return Ok(false);
            }
            Err(error) => return Err(failed(error)),
        }
    }
    savepoint.commit().await.map_err(failed)?;
    Ok(true)
}

async fn insert(
    on: &mut PgConnection,
    statement: &'static str,
    rows: &[(Generation, Document)],
) -> Result<(), sqlx::Error> {
    let column = |of: fn(&Document) -> &[u8]| rows.iter().map(|(_, row)| of(row)).collect::<Vec<&[u8]>>();
    sqlx::query(statement)
        .bind(rows.iter().map(|(_, row)| row.key.projection().code()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(generation, _)| number(*generation)).collect::<Vec<_>>())
        .bind(column(|row| row.key.scope()))
        .bind(column(|row| row.key.id()))
        .bind(rows.iter().map(|(_, row)| row.parent.as_deref()).collect::<Vec<Option<&[u8]>>>())
        .bind(rows.iter().map(|(_, row)| row.place).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.text.as_str()).collect::<Vec<&str>>())
        .execute(on)
        .await
        .map(|_| ())
}
