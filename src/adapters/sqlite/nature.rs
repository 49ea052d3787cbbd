//! Which errors of SQLite pass: one list for all stores in it.

use sqlx::Error;

use crate::adapters::nature::{Nature, Told};

/// The primary result code of a disk without room.
const FULL: i32 = 13;
/// Those of what ends without a change of this program: BUSY, LOCKED, NOMEM, READONLY (a disk that the system has made
/// so), INTERRUPT, IOERR, CANTOPEN, PROTOCOL.
const PASSING: [i32; 8] = [5, 6, 7, 8, 9, 10, 14, 15];

/// What an error of SQLite means to a store.
pub(super) fn failed<E: Told>(error: Error) -> E {
    E::told(nature(&error), error.into())
}

fn nature(error: &Error) -> Nature {
    match error {
        Error::Database(said) => {
            said.code().and_then(|code| code.parse().ok()).map_or(Nature::Other, of_code)
        }
        Error::Io(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed => Nature::Passing,
        _ => Nature::Other,
    }
}

/// An extended code has the primary one in its lowest byte.
fn of_code(code: i32) -> Nature {
    match code & 0xff {
        FULL => Nature::Full,
        primary if PASSING.contains(&primary) => Nature::Passing,
        _ => Nature::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_full_one_that_fails_passes_and_a_damaged_file_does_neither() {
        let (corrupt, cannot_write, cannot_grow, read_only) = (11, 778, 4874, 776);
        assert_eq!(of_code(FULL), Nature::Full);
        for code in [5, cannot_write, cannot_grow, read_only, 14] {
            assert_eq!(of_code(code), Nature::Passing, "{code}");
        }
        for code in [1, corrupt, 19, 26] {
            assert_eq!(of_code(code), Nature::Other, "{code}");
        }
    }
}
