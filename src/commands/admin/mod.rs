//! What administrators do to accounts, and that they looked: one event each, in the account's own stream, with who
//! did it and a sealed reason. The event is the act: if it cannot be written, nothing was done.

mod act;
pub mod bootstrap;
pub mod delete;
pub mod disable;
pub mod end_sessions;
pub mod invite;
pub mod look;
pub mod pending;
pub mod propose;
pub mod set_flag;
pub mod set_plan;
pub mod set_role;

pub use act::{Act, AdminError, Done, is_reason};
