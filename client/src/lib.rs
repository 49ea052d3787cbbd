//! The reference client: a library that returns and never prints, and the `lockstep` command on top of it.
//!
//! [`client::Client`] is what a user interface calls. Below it: [`crypto`] (all keys and boxes), `store` (the local
//! database), `transport` and `session` (the server), `sync` (pull, push, live), `view` and `edit` (entries),
//! `vaults`, and `vault_keys` (every generation of them).

mod account;
mod admin;
mod attachments;
pub mod client;
pub mod crypto;
mod devices;
mod edit;
mod engine;
pub mod error;
pub mod keystore;
mod leaving;
mod manage;
pub mod me;
pub mod model;
mod one_file;
pub mod one_time;
mod ordered;
pub mod porting;
pub mod profile;
mod purge;
pub mod server;
mod session;
mod store;
mod sync;
mod tls;
mod transport;
mod vault_keys;
mod vaults;
mod view;
pub mod ways;

pub use account::approval::{Asking, Waiting, Withdrawal};
pub use client::{Client, Follow, Loops, NewEntry, Unlock};
pub use crypto::attachment::Attachment;
pub use error::Error;
