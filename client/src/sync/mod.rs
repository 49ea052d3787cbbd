//! Sync: pull, push, live. Each part works without the others; the local database is what they share.

mod adopted;
pub(crate) mod apply;
pub(crate) mod backoff;
mod believed;
pub(crate) mod check;
pub(crate) mod contents;
mod destination;
pub(crate) mod digest;
pub(crate) mod follow;
mod graph;
pub(crate) mod identical;
mod judge;
pub(crate) mod live;
mod lives;
pub(crate) mod offer;
mod parts;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod reconcile;
pub(crate) mod reset;
mod room;
pub(crate) mod settle;
pub(crate) mod snapshot;
mod taken;
pub(crate) mod telling;
mod uploads;
