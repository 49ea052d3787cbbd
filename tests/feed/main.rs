//! The live feed from outside: the socket, changes by page, long-poll and events, and several nodes whose services go
//! away and come back. Servers run in this process and are reached over the network.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod addresses;
mod between;
mod changes;
mod cluster;
#[path = "../support/database.rs"]
mod database;
mod documented;
mod faulty_bus;
mod faulty_nats;
mod flood;
mod following;
mod freshness;
mod keys;
mod live;
mod lost_commits;
#[path = "../bus/nats_process.rs"]
mod nats_process;
mod outage;
#[path = "../blackbox/people.rs"]
#[allow(dead_code, reason = "each program that shares this uses a part of it")]
mod people;
#[path = "../support/port.rs"]
mod port;
#[path = "../evil/proxy.rs"]
#[allow(dead_code, reason = "each program that shares this uses a part of it")]
mod proxy;
mod renewal;
mod resets;
mod restored;
mod retention;
mod revocation;
mod served;
mod services;
mod slow;
mod socket;
#[path = "../blackbox/support/mod.rs"]
#[allow(dead_code, reason = "each program that shares this uses a part of it")]
mod support;
mod told;
mod triggers;
#[path = "../blackbox/ways.rs"]
#[expect(dead_code, reason = "the black-box suite uses more of it")]
mod ways;
mod writing;

/// Where people register.
mod server {
    pub use crate::renewal::Server;
}
