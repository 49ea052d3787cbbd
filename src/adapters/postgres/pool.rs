//! The connections of a server, and what becomes of a question whose connection turns out to be cut.
//!
//! A connection that worked a moment ago is used unasked, so the first to notice a cut is a question that is lost by it.
//! It is asked once more where that changes nothing, over another connection; and none that was last used before the
//! cut is trusted then, as whatever cut one has mostly cut them all: a restart, a failover, a proxy between.
//!
//! A database that is gone without a word says nothing at all. Whatever is asked of it is given up after a while, and the
//! place of its connection becomes free: else all of them would wait for good, and with them the whole node.

use std::{
    ops::Deref,
    pin::pin,
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
use tokio::time::timeout;

/// Longer than the database's own bounds: only over a connection that is gone without a word does nothing come for so long.
pub(super) const SILENCE: Duration = Duration::from_secs(35);

/// What comes of a statement, piece by piece.
type Piece = Either<PgQueryResult, PgRow>;

/// The connections. Clones share them. A statement on it is asked once; [`Self::again`] is for those that may be repeated.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: PgPool,
    cut: Arc<Cut>,
    silence: Duration,
}

/// When something last happened.
#[derive(Debug, Default)]
struct Last(Mutex<Option<Instant>>);

impl Last {
    fn is_within(&self, time: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < time)
    }

    fn is_now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// When a connection was last found cut, and when nothing came over one for so long that what was asked was given up.
#[derive(Debug, Default)]
pub(super) struct Cut {
    found: Last,
    given_up: Last,
}

impl Cut {
    /// Whether a connection that has rested so long was used before it.
    pub fn is_within(&self, rested: Duration) -> bool {
        self.found.is_within(rested)
    }

    /// Whether something was given up within this time.
    pub fn was_given_up_within(&self, time: Duration) -> bool {
        self.given_up.is_within(time)
    }

    fn notice(&self, error: &Error) {
        if is_cut(error) {
            self.found.is_now();
        }
    }

    fn give_up(&self) -> Error {
        self.found.is_now();
        self.given_up.is_now();
        Error::Io(std::io::ErrorKind::TimedOut.into())
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
        Self { connections, cut, silence: SILENCE }
    }

    /// Of connections over which a statement may take as long as it likes.
    pub(super) fn unbounded(connections: PgPool) -> Self {
        Self { connections, cut: Arc::default(), silence: Duration::MAX }
    }

    /// For a statement that may be asked twice: it reads, or its second time changes nothing that the first has done.
    pub fn again(&self) -> Again<'_> {
        Again(self)
    }

    /// What is answered, unless nothing comes for too long. That a connection was cut is kept in mind.
    pub(super) async fn answered<T>(
        &self,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut asked = pin!(asked);
        match timeout(self.silence, &mut asked).await {
            Ok(answer) => answer.inspect_err(|error| self.cut.notice(error)),
            // It is known before the connection is given back: that must not be used again.
            Err(_) => Err(self.cut.give_up()),
        }
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
        let pieces = self.connections.fetch_many(query);
        let next = move |mut pieces: BoxStream<'e, Result<Piece, Error>>| async move {
            let piece = self.answered(pieces.try_next()).await?;
            Ok(piece.map(|piece| (piece, pieces)))
        };
        stream::try_unfold(pieces, next).boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.answered(self.connections.fetch_optional(query)).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        self.answered(self.connections.prepare_with(sql, parameters)).boxed()
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
        assert!(!cut.was_given_up_within(Duration::from_secs(9)), "it was told so");
    }

    #[test]
    fn after_a_silence_nothing_is_trusted_neither_what_rests_nor_what_comes_back() {
        let cut = Cut::default();
        assert!(is_cut(&cut.give_up()));
        assert!(cut.is_within(Duration::from_secs(9)) && cut.was_given_up_within(Duration::from_secs(9)));
    }
}
