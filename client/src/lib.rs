//! The reference client: a library that returns and never prints, and the `lockstep` command on top of it.
//!
//! [`client::Client`] is what a user interface calls. Below it: [`crypto`] (all keys and boxes), `store` (the local
//! database), `session` and `transport` (the server), `sync` (pull, push, live).

pub mod client;
pub mod crypto;
pub mod error;
pub mod model;
pub mod porting;
pub mod profile;
pub mod server;
mod store;

pub use client::{Client, Follow, Unlock};
pub use error::Error;
