//! Rows of the log's tables that no reading of its events comes to. Each database has one question for each kind, in this
//! order, and answers with the first rows.

use lockstep_events::log::Stray;

/// What each kind is, and what is wrong with it.
pub(super) const KINDS: [&str; 5] = [
    "an event before the first position",
    "an event whose content_hash is not that of its version",
    "a ciphertext that no event names",
    "a sealed part of no event",
    "a stream without events",
];

/// The rows of one kind.
pub(super) fn strays(what: &'static str, rows: Vec<String>) -> impl Iterator<Item = Stray> {
    rows.into_iter().map(move |row| Stray { what, row })
}
