//! What the ports run on. Only `app` and tests name an adapter; adapters never import each other.

mod credential_row;
mod documents;
mod event_row;
pub mod filesystem;
pub mod in_process;
#[cfg(feature = "distributed")]
pub mod nats;
#[cfg(feature = "distributed")]
pub mod postgres;
#[cfg(feature = "distributed")]
pub mod s3;
pub mod sqlite;
mod subject_key_row;
