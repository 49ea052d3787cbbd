//! The `lockstep` command against a real `lockstepd`: two programs, as a person has them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod admin;
mod agent;
mod conflicts;
mod device;
mod files;
mod offline;
mod passwords;
mod server;
mod shapes;
mod story;
mod watch;
