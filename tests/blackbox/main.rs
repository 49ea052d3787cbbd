//! The product from outside: the real server, over HTTP and WebSocket, with the real client or with requests made by
//! hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod bad_input;
mod conflicts;
mod jwt;
mod people;
mod process;
mod refresh;
mod scope;
mod server;
mod sessions;
mod support;
mod trouble;
mod volume;
mod walking;
