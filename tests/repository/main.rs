//! What no compiler checks: who may import whom, how large a file may grow, that documents point at things that exist,
//! and that what an operator deploys is whole.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod api;
mod classes;
mod deploy;
mod documents;
mod evil;
mod formats;
mod hygiene;
mod imports;
mod incidents;
mod limits;
mod logging;
mod manifests;
mod migrations;
mod paths;
mod sources;
