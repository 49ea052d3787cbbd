//! Which errors of Postgres pass: one list for all stores in it.

use sqlx::Error;

use crate::adapters::nature::{Nature, Told};

/// What says that there is no room: the disk, and a limit of the configuration.
const FULL: [&str; 2] = ["53100", "53400"];

/// Beginnings of the codes of what ends without a change of this program. The connection is gone or was not made (08);
/// nothing can be written here now: a standby, the old primary after a failover, a database that was made read-only
/// (25006); a transaction rested or took too long (25P03, 25P04); the password or the way in is another one (28); the
/// database is not there, or not yet again (3D000); serialisation failures and deadlocks (40); no more connections, no
/// memory (53); in use, locked, or not in the state for it: it takes no connections, for example (55); it starts, stops,
/// recovers, has crashed, was told to end this, or took too long (57); the system beneath it failed (58).
const PASSING: [&str; 11] = ["08", "25006", "25P03", "25P04", "28", "3D000", "40", "53", "55", "57", "58"];

/// What an error of Postgres means to a store.
pub(super) fn failed<E: Told>(error: Error) -> E {
    E::told(nature(&error), error.into())
}

fn nature(error: &Error) -> Nature {
    match error {
        Error::Database(said) => said.code().map_or(Nature::Other, |code| of_code(&code)),
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => Nature::Passing,
        _ => Nature::Other,
    }
}

fn of_code(code: &str) -> Nature {
    if FULL.contains(&code) {
        Nature::Full
    } else if PASSING.iter().any(|beginning| code.starts_with(beginning)) {
        Nature::Passing
    } else {
        Nature::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_cannot_be_used_now_passes_one_without_room_is_full_and_a_defect_is_neither() {
        let passing = [
            ("08006", "the connection is gone"),
            ("25006", "read-only"),
            ("28P01", "another password"),
            ("3D000", "no such database"),
            ("40001", "serialisation"),
            ("40P01", "deadlock"),
            ("53200", "no memory"),
            ("53300", "no more connections"),
            ("55000", "takes no connections"),
            ("55006", "in use"),
            ("55P03", "locked"),
            ("57014", "took too long"),
            ("57P01", "stops"),
            ("57P02", "crashed"),
            ("57P03", "starts or recovers"),
            ("57P04", "was dropped"),
            ("58030", "its disk failed"),
        ];
        for (code, what) in passing {
            assert_eq!(of_code(code), Nature::Passing, "{what}");
        }
        for (code, what) in [("53100", "the disk"), ("53400", "a limit of the configuration")] {
            assert_eq!(of_code(code), Nature::Full, "{what}");
        }
        let defects =
            ["0A000", "22001", "23505", "25P02", "42501", "42601", "42P01", "P0001", "XX000", "XX001"];
        for code in defects {
            assert_eq!(of_code(code), Nature::Other, "{code}");
        }
    }

    #[test]
    fn without_a_word_of_the_database_a_lost_connection_passes_and_a_row_that_cannot_be_read_does_not() {
        for error in [Error::PoolTimedOut, Error::PoolClosed, Error::Protocol("cut".to_owned())] {
            assert_eq!(nature(&error), Nature::Passing, "{error}");
        }
        for error in [Error::RowNotFound, Error::ColumnNotFound("chain".to_owned())] {
            assert_eq!(nature(&error), Nature::Other, "{error}");
        }
    }
}
