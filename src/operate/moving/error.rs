//! Why a server is not moved, for the person who moves it.

use std::{io, path::PathBuf};

use lockstep_events::{LogError, Position};

use crate::{auth::server_keys::KeyFileError, blobs::BlobError, operate::log::counted, tables::TableError};

/// Why a server was not moved. Unless it says otherwise the old place is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The old log is damaged.
    #[error("the log is not whole ({}): `lockstepd log verify` says where. Nothing was moved", counted(*.0))]
    Damaged(u64),
    /// There is nothing.
    #[error("the log is empty: there is nothing to move")]
    Nothing,
    /// Only one of the two has another place.
    #[error(
        "log and credentials belong together: the target must name another place for both, or for neither of them"
    )]
    Apart,
    /// Nothing has another place.
    #[error("the target names the stores that this server has already: there is nothing to move")]
    Same,
    /// There is something in the new place.
    #[error(
        "the new place is not empty: its table {0} has rows. A server moves to a new data folder or database, and nothing was \
         changed in this one. To go back to where a server was moved from, give it a new place, too"
    )]
    NotEmpty(&'static str),
    /// There are read models of something in the new place.
    #[error(
        "the read models of the new place have {0} events: they are of another log. Empty them, or name another place for them \
         (docs/operating.md, \"Backup\" says how)"
    )]
    OtherReads(Position),
    /// Another server was being moved there.
    #[error("the move of another server to this place was cut off: go on with it, or choose an empty place")]
    OtherArriving,
    /// An earlier move had brought a log that is not the same any more.
    #[error(
        "an earlier move brought this log up to {there}, and it ends at {here} now: choose an empty place, as a log is never \
         written over"
    )]
    Outgrown {
        /// Where the new one ends.
        there: Position,
        /// Where the old one ends.
        here: Position,
    },
    /// The old place is one that was left before.
    #[error(
        "this server was moved before, to what {0} names: move that one, or say `lockstepd move --take-back` first"
    )]
    Gone(String),
    /// The new blob store has something else.
    #[error(
        "the blob store of the new place has the object {0}, which this server does not have: choose one that is empty"
    )]
    StrangeObject(String),
    /// The new key file, or what lies beside it, is another server's.
    #[error("{} belongs to another server: move its folder away, or name another file with key_file", .0.display())]
    OtherKeys(PathBuf),
    /// Two databases do not agree about a table.
    #[error(
        "the table {0} has other columns in the new place: both must have been opened by this very program"
    )]
    Unlike(&'static str),
    /// What arrived is not what was sent.
    #[error("{0} did not arrive as it was: the new place must not be used. Say the same again")]
    Differs(&'static str),
    /// Servers use the old place.
    #[error(
        "servers are connected to the database of the log: stop every node first (of one that was stopped a pooler may \
         keep connections)"
    )]
    Running,
    /// Nobody knows whether one does.
    #[error("it cannot be found out whether servers use the old place")]
    Unknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Somebody served meanwhile.
    #[error("somebody wrote to the log while it was carried: stop every node, and say the same again")]
    Served,
    /// A log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A table cannot be carried.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A blob store did not answer.
    #[error("a blob store or its index cannot be used")]
    Blobs(#[from] BlobError),
    /// A key file cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
