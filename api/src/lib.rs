//! Lockstep.

pub mod opaque;
