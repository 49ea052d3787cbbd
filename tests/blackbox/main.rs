//! The product from outside: the real server, over HTTP and WebSocket, with the real client or with requests made by
//! hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod bad_input;
mod bola;
mod canary;
mod conflicts;
mod enumeration;
mod failed_proof;
mod jwt;
mod limits;
#[path = "../bus/nats_process.rs"]
#[expect(dead_code, reason = "the suite of the bus uses more of it")]
mod nats_process;
#[path = "../support/mod.rs"]
mod outside;
mod people;
mod process;
mod refresh;
mod server;
mod sessions;
mod support;
mod surface;
mod trouble;
mod volume;
mod walking;
#[path = "../feed/writing.rs"]
#[expect(dead_code, reason = "the suite of the feed uses more of it")]
mod writing;
