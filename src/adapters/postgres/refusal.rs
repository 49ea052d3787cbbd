//! Connections that are made and cannot begin as they must, as the server's role is gone or its user is not in it. Each is
//! tried again and again, for every question that waits for one: that is told once, and once when it is over.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::Error;

use crate::causes::with_causes;

/// Whether the last connection could not begin.
#[derive(Debug, Default)]
pub(super) struct Refusal(AtomicBool);

impl Refusal {
    /// Hears what became of one.
    pub fn heard(&self, begun: &Result<(), Error>) {
        let refused = self.0.swap(begun.is_err(), Ordering::Relaxed);
        match begun {
            Err(error) if !refused => {
                tracing::warn!(
                    cause = with_causes(error),
                    "connections to a database cannot begin: none is used"
                );
            }
            Ok(()) if refused => tracing::info!("connections to a database begin again"),
            _ => {}
        }
    }
}
