//! The evil-server suite: a real server in this process, a layer that lies between it and the real client library, and
//! what each lie achieves: an alarm that is kept, or a typed refusal, and nothing else.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ground;
mod lies;
#[path = "../blackbox/people.rs"]
#[expect(dead_code, reason = "the black-box suite uses more of it")]
mod people;
mod proxy;
mod versions;

/// Where people register.
mod server {
    pub use crate::ground::Server;
}
