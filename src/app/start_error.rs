//! Why a server does not start, for the person who started it.

use std::{io, net::SocketAddr, path::PathBuf};

use lockstep_events::LogError;
use lockstep_projections::store::ReadError;

use crate::{
    adapters::form::Form,
    auth::{credentials::CredentialError, server_keys::KeyFileError},
    blobs::BlobError,
    commands::admin::bootstrap::OpenError,
    erasure::{ErasureError, shred_list::ShredListError},
    http::tls::TlsError,
    operate::moving::{MoveError, Moved},
    subjects::{SubjectError, keys::KeyStoreError},
    tables::TableError,
};

/// What to do where a server was moved from.
fn elsewhere(moved: &Moved) -> String {
    let Moved { to, at, done, .. } = moved;
    let at = time::OffsetDateTime::from_unix_timestamp(at.seconds()).map(|at| at.date().to_string());
    let on = at.map(|date| format!(" on {date}")).unwrap_or_default();
    if *done {
        return format!(
            "this server was moved{on} to what {to} names: serve it there. To serve it here again after all: \
             `lockstepd move --take-back`"
        );
    }
    format!(
        "a move of this server to what {to} names began{on} and was cut off: `lockstepd move --to {to}` goes on with it, \
         `lockstepd move --take-back` gives it up"
    )
}

/// What to do where a command would have to change what it was asked to look at.
fn not_of_this_form(what: &str, form: Form) -> String {
    match form {
        Form::Blank | Form::Same => {
            format!(
                "{what} has no tables of a server: its first start makes them, and this command makes none"
            )
        }
        Form::Older => format!(
            "{what} is of an older program, and this command changes nothing: use the program that it is of. A server of this \
             one brings it to its own form when it starts (docs/operating.md, \"A newer program\")"
        ),
        Form::Newer => format!("{what} is of a newer program: use that one"),
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another server uses the data folder.
    #[error("another lockstepd is using {}; stop it, or give this one another --data", .0.display())]
    InUse(PathBuf),
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is there, or is not, cannot be told.
    #[error("cannot use {}", path.display())]
    Unseen {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing is where a server's data would be.
    #[error("there is no {}: no server has run with these options; name its data folder with --data", .0.display())]
    NoServer(PathBuf),
    /// No keys.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The credential store belongs to another key file.
    #[error("the credential store was made with another key file than {}", .0.display())]
    ForeignKeys(PathBuf),
    /// The key file is gone, and what it protects is not.
    #[error("there is no key file {}, and the log is not empty: put it back from the backup, or name it with key_file", .0.display())]
    LostKeys(PathBuf),
    /// A store is gone that the log cannot fill again.
    #[error(
        "there is no {}, and the log is not empty: put it back from the backup, with the files beside it whose names begin \
         alike. If it is lost for good, an empty file in its place starts without it (docs/operating.md, \"Backup\" says what \
         that costs)",
        .0.display()
    )]
    LostFile(PathBuf),
    /// The same of a database that is there and has nothing in it.
    #[error(
        "the database of the credentials is empty, and the log is not: put it back from the backup. If it is lost for good, \
         say so in it (docs/operating.md, \"Backup\" says how, and what that costs)"
    )]
    LostCredentials,
    /// The read models have more events than the log.
    #[error(
        "the read models have {reads} events and the log has {log}: this is another log, or an older one was put back. \
         Put the right one back; if this one is right, empty the read models (docs/operating.md, \"Backup\")"
    )]
    Ahead {
        /// Where the read models stand.
        reads: u64,
        /// Where the log ends.
        log: u64,
    },
    /// The log is empty, and this key file's server has read events.
    #[error(
        "the log is empty, and {} says that this server has read one up to {position}: does `log` name the right database? For a \
         new installation move the folder of that file away; if the log is lost for good, say `lockstepd log restored`",
        mark.display()
    )]
    EmptyLog {
        /// The file that says so.
        mark: PathBuf,
        /// Up to where.
        position: u64,
    },
    /// The server was moved elsewhere.
    #[error("{}", elsewhere(.0))]
    Moved(Moved),
    /// A move to here was cut off.
    #[error(
        "the move of a server to this place was cut off: say the same `lockstepd move --to …` again, where the server was \
         moved from. To begin with an empty server instead, empty this place"
    )]
    Arriving,
    /// It cannot be moved.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// What is kept about a move cannot be read.
    #[error("the credential store cannot be opened")]
    Tables(#[from] TableError),
    /// Servers use the database of the log.
    #[cfg(feature = "distributed")]
    #[error(
        "servers are connected to the database of the log: stop every node first (of one that was stopped a pooler may \
         keep connections)"
    )]
    Running,
    /// The first administrator's token cannot be written down.
    #[error(transparent)]
    Bootstrap(OpenError),
    /// No certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No log.
    #[error("the event log cannot be opened")]
    Log(#[from] LogError),
    /// No bus.
    #[cfg(feature = "distributed")]
    #[error("the bus cannot be started")]
    Bus(#[from] crate::adapters::nats::NatsError),
    /// No read models.
    #[error("the read models cannot be opened")]
    Reads(#[from] ReadError),
    /// No credentials.
    #[error("the credential store cannot be opened")]
    Credentials(#[from] CredentialError),
    /// No subject keys.
    #[error("the subject keys cannot be opened")]
    SubjectKeys(#[from] KeyStoreError),
    /// Subject keys that do not go with the key file, or a key file that cannot be written.
    #[error("the subject keys cannot be brought to the current epoch")]
    Epochs(#[from] SubjectError),
    /// Nothing signs at the moment.
    #[error("no key signs at the moment; start the server once")]
    NoKey,
    /// What was erased is not known.
    #[error(transparent)]
    ShredList(#[from] ShredListError),
    /// Erased data may have come back.
    #[error("erasures cannot be applied again")]
    Erasures(#[from] ErasureError),
    /// No operational tables, or no blob store.
    #[error("the blob store or its index cannot be opened")]
    Blobs(#[from] BlobError),
    /// A file cannot be looked into.
    #[error("{} cannot be opened", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: sqlx::Error,
    },
    /// What is only looked at is not of the form that this program knows.
    #[error("{}", not_of_this_form(what, *form))]
    OtherForm {
        /// The file, or the options that name the database.
        what: String,
        /// What it is of.
        form: Form,
    },
    /// What names a database is no URL of one.
    #[cfg(feature = "distributed")]
    #[error("the database of {options} cannot be opened")]
    NoDatabase {
        /// The options that say so.
        options: String,
        /// What is wrong with it.
        source: sqlx::Error,
    },
    /// A database cannot be reached or brought up to date.
    #[cfg(feature = "distributed")]
    #[error("the database of {options} cannot be opened")]
    Database {
        /// The options that name it.
        options: String,
        /// What it says.
        source: sqlx::Error,
    },
    /// A port that this program cannot be.
    #[error("{option} = {value:?} is not supported{hint}")]
    Unsupported {
        /// The option.
        option: &'static str,
        /// Its value, without what follows the scheme.
        value: String,
        /// What may help.
        hint: &'static str,
    },
    /// No mail.
    #[error(transparent)]
    Mail(#[from] crate::mail::MailError),
    /// No identity providers.
    #[error(transparent)]
    Idps(#[from] crate::auth::oidc::IdpsError),
    /// The address is in use.
    #[error(
        "something else listens on {address} already; {option} names another address, with port 0 any that is free"
    )]
    Taken {
        /// The address.
        address: SocketAddr,
        /// What names it.
        option: &'static str,
    },
    /// A name to listen at that nobody knows.
    #[error("{name}, which is to be listened at, has no address")]
    NoAddress {
        /// The name.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}
