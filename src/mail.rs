//! Mail is a reactor: nobody waits for it, and nothing is lost by a kill.
//!
//! A request or an event leaves a task in the outbox, which is a table. The worker of any node takes it, makes the
//! letter, hands it to the mailer and marks the task as done. A task names accounts and keyed hashes; the address is
//! opened, and the secret of a link made, in the moment of sending.

pub mod kept;
pub mod letter;
pub mod outbox;
pub mod reactor;
pub mod worker;

use std::time::Duration;

use async_trait::async_trait;

pub use letter::Letter;

/// A letter is handed over in so long, or not now.
pub const PATIENCE: Duration = Duration::from_secs(14);

/// Why a letter was not taken.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The server is away or busy: it may take the letter later.
    #[error("the mail cannot be handed over at the moment")]
    Passing(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server will never take this letter.
    #[error("the mail is refused for good")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The options name no mailer that there is.
    #[error("{0}")]
    Options(&'static str),
    /// A file or a folder of the options cannot be used now.
    #[error("{what}")]
    File {
        /// Which, and for what.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Hands letters over.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Hands a letter over; when this returns somebody else is responsible for it.
    async fn send(&self, letter: &Letter) -> Result<(), MailError>;
}

/// Reacts to events and sends letters until the server stops.
pub async fn run(server: crate::state::Shared, stop: tokio_util::sync::CancellationToken) -> ((), ()) {
    tokio::join!(worker::run(server.clone(), stop.clone()), reactor::run(server, stop))
}
