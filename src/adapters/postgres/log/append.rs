//! The one call of an append, and its answer.

use lockstep_events::{
    Chain, LogError, Micros, Outcome, Position, Seq, StreamKind, Unit,
    log::{Current, Placed},
};
use sqlx::PgConnection;
use tokio::time::timeout;

use super::{columns::Columns, failed};
use crate::adapters::{
    event_row::fixed,
    named_row::named_row,
    postgres::pool::{SILENCE, is_cut},
};

const CALL: &str = "SELECT * FROM append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
     $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, \
     $38, $39)";

named_row! {
    struct Answer {
        o_unit: Vec<i16>,
        o_reused: Vec<Option<i32>>,
        o_pos: Vec<Option<i64>>,
        o_seq: Vec<Option<i64>>,
        o_at: Vec<Option<i64>>,
        o_chain: Vec<Option<Vec<u8>>>,
        o_prev: Vec<Option<i64>>,
        o_dup: Vec<Option<bool>>,
        d_unit: Vec<i32>,
        d_what: Vec<i16>,
        d_index: Vec<i32>,
        d_value: Vec<Option<i64>>,
    }
}

pub(super) async fn append(
    on: &mut PgConnection,
    units: &[Unit],
    now: Micros,
) -> Result<Vec<Outcome>, LogError> {
    let columns = Columns::of(units);
    let answer = timeout(SILENCE, call(on, &columns, now))
        .await
        .map_err(|silence| LogError::Unavailable(Box::new(silence)))?
        .map_err(failed)?;
    let mut first = 0;
    let mut outcomes = Vec::with_capacity(units.len());
    for (index, unit) in units.iter().enumerate() {
        outcomes.push(answer.outcome(index, unit, first, &columns)?);
        first += unit.events.len();
    }
    Ok(outcomes)
}

/// Whether an append failed because its connection was gone; not whether it happened.
pub(super) fn was_cut(error: &LogError) -> bool {
    match error {
        LogError::Unavailable(cause) => cause.downcast_ref().is_some_and(is_cut),
        _ => false,
    }
}

async fn call(on: &mut PgConnection, columns: &Columns<'_>, now: Micros) -> Result<Answer, sqlx::Error> {
    let Columns { u_events, u_claims, u_subjects, u_requires, s_id, .. } = columns;
    let Columns { c_stream, c_kind, c_expect, c_seq, c_epoch, .. } = columns;
    let Columns { p_stream, p_subject, a_pair, a_expect, a_seq, .. } = columns;
    let Columns { i_id, r_ident, r_stream, r_own, .. } = columns;
    let Columns { e_ident, e_claim, e_pair, e_kind, e_schema, e_actor, e_device, .. } = columns;
    let Columns { e_correlation, e_causation, e_public, e_sealed_hash, e_body, .. } = columns;
    let Columns { e_content_hash, e_content, .. } = columns;
    let Columns { z_event, z_subject, z_purpose, z_period, z_bytes, .. } = columns;
    let call = sqlx::query_as(CALL).bind(now.0);
    let call = call.bind(u_events).bind(u_claims).bind(u_subjects).bind(u_requires).bind(s_id);
    let call = call.bind(c_stream).bind(c_kind).bind(c_expect).bind(c_seq).bind(c_epoch);
    let call = call.bind(p_stream).bind(p_subject).bind(a_pair).bind(a_expect).bind(a_seq);
    let call = call.bind(i_id).bind(r_ident).bind(r_stream).bind(r_own);
    let call = call.bind(e_ident).bind(e_claim).bind(e_pair).bind(e_kind).bind(e_schema);
    let call = call.bind(e_actor).bind(e_device).bind(e_correlation).bind(e_causation).bind(e_public);
    let call = call.bind(e_sealed_hash).bind(e_body).bind(e_content_hash).bind(e_content);
    let call = call.bind(z_event).bind(z_subject).bind(z_purpose).bind(z_period).bind(z_bytes);
    call.fetch_one(on).await
}

impl Answer {
    fn outcome(
        &self,
        index: usize,
        unit: &Unit,
        first: usize,
        columns: &Columns<'_>,
    ) -> Result<Outcome, LogError> {
        let short = |what| LogError::Damaged { position: Position::ZERO, what };
        match self.o_unit.get(index) {
            Some(0) => {
                let events = unit.events.iter().enumerate();
                let placed: Option<Vec<_>> =
                    events.map(|(n, event)| self.placed(first + n, event.event_id)).collect();
                fixed(placed, "append_batch answered without a place").map(Outcome::Appended)
            }
            Some(1) => {
                let reused = self.o_reused.get(index).copied().flatten();
                let event = reused.and_then(|e| unit.events.get(usize::try_from(e).ok()? - 1 - first));
                fixed(event, "append_batch named no event").map(|event| Outcome::IdReused(event.event_id))
            }
            Some(2) => self
                .details(index)
                .map(|at| fixed(self.current(at, columns), "append_batch named no claim"))
                .collect::<Result<_, _>>()
                .map(Outcome::Conflict),
            Some(3) => {
                let missing = self.details(index).map(|at| {
                    let ident = columns.r_ident.get(at_index(self.d_index[at])?)?;
                    Some((*columns.i_id.get(at_index(*ident)?)?).into())
                });
                fixed(missing.collect::<Option<_>>(), "append_batch named no event").map(Outcome::Missing)
            }
            _ => Err(short("append_batch answered with an unknown outcome")),
        }
    }

    fn placed(&self, at: usize, event_id: lockstep_events::EventId) -> Option<Placed> {
        Some(Placed {
            event_id,
            position: Position::from_i64((*self.o_pos.get(at)?)?),
            seq: Seq::from_i64((*self.o_seq.get(at)?)?),
            recorded_at: Micros((*self.o_at.get(at)?)?),
            chain: Chain::from_slice(self.o_chain.get(at)?.as_ref()?)?,
            subject_prev: (*self.o_prev.get(at)?).map(Seq::from_i64),
            duplicate: (*self.o_dup.get(at)?)?,
        })
    }

    /// The lines of the details that are about a unit.
    fn details(&self, index: usize) -> impl Iterator<Item = usize> {
        let about = move |unit: &i32| at_index(*unit) == Some(index);
        self.d_unit.iter().enumerate().filter(move |(_, unit)| about(unit)).map(|(at, _)| at)
    }

    fn current(&self, at: usize, columns: &Columns<'_>) -> Option<Current> {
        let index = at_index(*self.d_index.get(at)?)?;
        let value = *self.d_value.get(at)?;
        let seq = value.map(Seq::from_i64);
        let stream = || Some((*columns.s_id.get(at_index(*columns.c_stream.get(index)?)?)?).into());
        match self.d_what.get(at)? {
            1 => Some(Current::Stream(stream()?, seq)),
            2 => {
                let pair = at_index(*columns.a_pair.get(index)?)?;
                let (stream, subject) = (*columns.p_stream.get(pair)?, *columns.p_subject.get(pair)?);
                Some(Current::Subject(stream.into(), subject.into(), seq))
            }
            3 => Some(Current::Kind(stream()?, StreamKind::from_code(i16::try_from(value?).ok()?)?)),
            _ => None,
        }
    }
}

/// From an index that counts from 1.
fn at_index(index: i32) -> Option<usize> {
    usize::try_from(index).ok()?.checked_sub(1)
}
