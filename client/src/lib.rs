//! Lockstep.
pub mod porting;
