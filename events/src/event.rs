//! The events themselves. A released shape is never edited: a change is a new schema with an upcaster.

mod access;
mod account;
mod admin;
mod erasure;
mod factor;
mod standing;
mod system;
mod vault;
mod ways;

pub use access::*;
pub use account::*;
pub use admin::*;
pub use erasure::*;
pub use factor::*;
pub use standing::*;
pub use system::*;
pub use vault::*;
pub use ways::*;

/// Any event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Of an account stream.
    Account(AccountEvent),
    /// Of a vault stream.
    Vault(VaultEvent),
    /// Of the system stream.
    System(SystemEvent),
}
