//! Administrators, plans, quotas and bills, from outside: servers in this process, reached over the network, in both
//! modes and over several nodes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod access;
mod apart;
mod attachments;
mod audit;
mod billing;
mod bootstrap;
#[path = "../support/database.rs"]
mod database;
#[path = "../feed/documented.rs"]
mod documented;
mod ending;
mod exports;
mod history;
mod invitations;
mod office;
mod operations;
mod plans;
#[path = "../support/port.rs"]
mod port;
mod presigned;
#[path = "../feed/socket.rs"]
mod socket;
#[allow(dead_code, reason = "each program that shares this uses a part of it")]
#[path = "../blackbox/support/mod.rs"]
mod support;
mod transitions;
mod two;
mod vaults;
#[allow(dead_code, reason = "each program that shares this uses a part of it")]
#[path = "../feed/writing.rs"]
mod writing;

/// Each sentence is proven in both modes.
macro_rules! in_both_modes {
    ($($name:ident;)+) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::support::Mode::Embedded).await;
            })+
        }
        mod distributed {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::support::Mode::Distributed).await;
            })+
        }
    };
}
use in_both_modes;

/// Each sentence is proven over three servers on one set of stores: each request goes to the next of them.
macro_rules! over_three_nodes {
    ($($name:ident;)+) => {
        mod three_nodes {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::support::Mode::ThreeNodes).await;
            })+
        }
    };
}
use over_three_nodes;
