//! The connections of a server, and what becomes of a question whose connection turns out to be cut.
//!
//! A connection that worked a moment ago is used unasked, so the first to notice a cut is a question that is lost by it.
//! It is asked once more where that changes nothing, over another connection; and none that was last used before the
//! cut is trusted then, as whatever cut one has mostly cut them all: a restart, a failover, a proxy between.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt, StreamExt, TryFutureExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    Either, Error, Execute, Executor, PgPool, Postgres, SqlStr,
    postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};

/// What comes of a statement, piece by piece.
type Piece = Either<PgQueryResult, PgRow>;

/// The connections. Clones share them. A statement on it is asked once; [`Self::again`] is for those that may be repeated.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: PgPool,
    cut: Arc<Cut>,
}

/// When a connection was last found cut.
#[derive(Debug, Default)]
pub(super) struct Cut(Mutex<Option<Instant>>);

impl Cut {
    /// Whether a connection that has rested so long was used before it.
    pub fn is_within(&self, rested: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < rested)
    }

    fn notice(&self, error: &Error) {
        if is_cut(error) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
}

/// Whether an error says that the connection is gone; not whether what was asked has happened.
pub(super) fn is_cut(error: &Error) -> bool {
    match error {
        Error::Io(_) => true,
        // An exception of the connection; the database ended it: it stops, has crashed, or thinks that it rested long.
        Error::Database(said) => said
            .code()
            .is_some_and(|code| code.starts_with("08") || ["57P01", "57P02", "57P05"].contains(&&*code)),
        _ => false,
    }
}

impl Pool {
    /// Of connections that know of the same cut.
    pub(super) fn new(connections: PgPool, cut: Arc<Cut>) -> Self {
        Self { connections, cut }
    }

    /// For a statement that may be asked twice: it reads, or its second time changes nothing that the first has done.
    pub fn again(&self) -> Again<'_> {
        Again(self)
    }

    /// Whether an error says that a connection was cut; it is kept in mind then.
    pub(super) fn was_cut(&self, error: &Error) -> bool {
        self.cut.notice(error);
        is_cut(error)
    }
}

impl Deref for Pool {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.connections
    }
}

impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Piece, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.connections.fetch_many(query).inspect_err(|error| self.cut.notice(error)).boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.connections.fetch_optional(query).inspect_err(|error| self.cut.notice(error)).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        self.connections.prepare_with(sql, parameters)
    }
}

/// The connections, for statements that may be asked twice. What is read is held until all of it has come.
#[derive(Debug, Clone, Copy)]
pub struct Again<'p>(&'p Pool);

/// A statement that can be sent more than once.
type Repeatable = (SqlStr, Option<PgArguments>);

fn repeatable<'q>(mut query: impl Execute<'q, Postgres>) -> Result<Repeatable, Error> {
    let arguments = query.take_arguments().map_err(Error::Encode)?;
    Ok((query.sql(), arguments))
}

impl<'p> Executor<'p> for Again<'p> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Piece, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let query = repeatable(query);
        let all = async move {
            let query = query?;
            match self.0.fetch_many(query.clone()).try_collect::<Vec<Piece>>().await {
                Err(error) if is_cut(&error) => self.0.fetch_many(query).try_collect().await,
                other => other,
            }
        };
        all.map_ok(|pieces| stream::iter(pieces).map(Ok)).try_flatten_stream().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let query = repeatable(query);
        let row = async move {
            let query = query?;
            match self.0.fetch_optional(query.clone()).await {
                Err(error) if is_cut(&error) => self.0.fetch_optional(query).await,
                other => other,
            }
        };
        row.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        self.0.prepare_with(sql, parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_cut_what_was_used_before_it_is_asked_and_what_was_used_since_is_not() {
        let cut = Cut::default();
        assert!(!cut.is_within(Duration::from_secs(9)));
        cut.notice(&Error::RowNotFound);
        assert!(!cut.is_within(Duration::from_secs(9)), "that is no cut");
        cut.notice(&Error::Io(std::io::ErrorKind::ConnectionReset.into()));
        assert!(cut.is_within(Duration::from_secs(9)));
        assert!(!cut.is_within(Duration::ZERO));
    }
}
