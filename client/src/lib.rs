//! The reference client: a library that returns and never prints, and the `lockstep` command on top of it.

pub mod crypto;
pub mod porting;
