//! The statements by which the read models are written.

use lockstep_events::{Position, VaultId};
use lockstep_projections::{
    key::Family,
    store::{Advance, Generation, ReadError},
};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::failed;
use crate::adapters::documents::Document;

pub(super) fn inserted(rows: impl Iterator<Item = (Generation, Document)>) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO read_rows (projection, generation, scope, id, parent, place, document) ",
    );
    query.push_values(rows, |mut values, (generation, row)| {
        values
            .push_bind(row.key.projection().code())
            .push_bind(i64::from(generation.0))
            .push_bind(row.key.scope().to_vec())
            .push_bind(row.key.id().to_vec())
            .push_bind(row.parent)
            .push_bind(row.place)
            .push_bind(row.text);
    });
    query.push(" ON CONFLICT (projection, generation, scope, id) DO UPDATE SET document = excluded.document");
    query
}

/// Begins, and moves the checkpoints of all steps: one message, as nearly every commit moves both families.
pub(super) async fn begin_and_advance(
    on: &mut SqliteConnection,
    steps: &[Advance],
    to: Position,
) -> Result<(), ReadError> {
    let mut query = QueryBuilder::<Sqlite>::new("BEGIN IMMEDIATE; UPDATE read_checkpoints SET position = ");
    query.push_bind(to.as_i64()).push(" WHERE 1 = 0");
    for step in steps {
        query.push(" OR (generation = ").push_bind(i64::from(step.generation.0));
        query.push(" AND position = ").push_bind(step.from.as_i64());
        query.push(" AND live >= ").push_bind(i64::from(step.must_be_live));
        members(&mut query, step.family);
        query.push(")");
    }
    query.push("; SELECT changes()");
    let moved: i64 = query.build_query_scalar().fetch_one(on).await.map_err(failed)?;
    let wanted: usize = steps.iter().map(|step| step.family.members().len()).sum();
    if usize::try_from(moved) == Ok(wanted) {
        Ok(())
    } else {
        Err(ReadError::Moved(steps.first().map_or("nothing", |step| step.family.name())))
    }
}

pub(super) fn members(query: &mut QueryBuilder<Sqlite>, family: Family) {
    let mut codes = query.push(" AND projection IN (").separated(", ");
    for member in family.members() {
        codes.push_bind(member.code());
    }
    query.push(")");
}

pub(super) fn all_members(family: Family, rows: u64) -> Result<(), ReadError> {
    if rows == family.members().len() as u64 { Ok(()) } else { Err(ReadError::Moved(family.name())) }
}

pub(super) async fn delete_some(
    on: &mut SqliteConnection,
    family: Family,
    generation: Generation,
    at_most: i64,
) -> Result<u64, ReadError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "DELETE FROM read_rows WHERE rowid IN (SELECT rowid FROM read_rows WHERE generation = ",
    );
    query.push_bind(i64::from(generation.0));
    members(&mut query, family);
    query.push(" LIMIT ").push_bind(at_most).push(")");
    Ok(query.build().execute(on).await.map_err(failed)?.rows_affected())
}

/// Everything inside a vault.
pub(super) async fn clear(
    on: &mut SqliteConnection,
    generation: Generation,
    vault: VaultId,
) -> Result<(), ReadError> {
    let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM read_rows WHERE generation = ");
    query.push_bind(i64::from(generation.0));
    query.push(" AND scope = ").push_bind(vault.as_bytes().to_vec());
    members(&mut query, Family::Vault);
    query.build().execute(on).await.map_err(failed)?;
    Ok(())
}
