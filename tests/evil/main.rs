//! The evil-server suite: a real server in this process, a layer that lies between it and the real client library, and
//! what each lie achieves: an alarm that is kept, or a typed refusal, and nothing else. What the device holds stays what
//! it was, and nothing that is made of a secret is sent after the lie. Before and after each, the truth passes.
//!
//! The cases E01 to E36 and where each is tested: `docs/evil-server.md`. E28, signed checkpoints, is not there: the
//! product has none yet.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod account;
mod aside;
mod catalogue;
mod compositions;
mod cut;
mod ground;
mod history;
mod holding;
mod honest;
mod known;
mod lies;
mod made;
mod moments;
mod new_device;
#[path = "../blackbox/people.rs"]
mod people;
mod proxy;
mod suites;
mod told;
mod versions;
mod wire;

/// Where people register.
mod server {
    pub use crate::ground::Server;
}
