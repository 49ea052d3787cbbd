//! What the ports run on. Only `app` and tests name an adapter; adapters never import each other.

mod credential_row;
mod documents;
mod erasure_tables;
mod event_row;
mod factor_tables;
pub mod filesystem;
pub mod form;
pub mod in_process;
pub mod mail_folder;
mod mail_tables;
mod migrations;
mod mime;
mod named_row;
#[cfg(feature = "distributed")]
pub mod nats;
mod nature;
mod oidc_tables;
#[cfg(feature = "distributed")]
pub mod postgres;
#[cfg(feature = "distributed")]
pub mod s3;
pub mod smtp;
pub mod sqlite;
mod stray_rows;
mod subject_key_row;
