//! A model of the whole sync protocol, pure and seeded: store, devices, a network that loses, doubles and reorders,
//! crashes, restores, tokens that run out and devices that are revoked. The graph, the headers, the ids and the chain are the real ones.
//!
//! Every step is followed by checks of the invariants of sync.md §10; a run ends with everybody at rest and equal.
//! [`Fault`] breaks the protocol in the ways in which others were broken, to prove that the checks see it.

pub mod access;
mod bits;
mod check;
pub mod device;
mod fault;
pub mod random;
mod run;
pub mod server;
pub mod steps;
pub mod universe;
pub mod world;

pub use bits::Bits;
pub use fault::{Fault, Held, Violation};
pub use run::{Failure, STEPS, run};
pub use world::World;
