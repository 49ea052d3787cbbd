//! The product from outside: the real server, over HTTP and WebSocket, with the real client or with requests made by
//! hand.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

/// Runs tests, written for a mode, embedded and over Postgres, NATS and S3.
macro_rules! in_both_modes {
    (many threads: $($test:ident),+ $(,)?) => { in_both_modes! { @(flavor = "multi_thread") $($test),+ } };
    (@$threads:tt $($test:ident),+) => {
        mod embedded {
            $(#[tokio::test $threads] async fn $test() { super::$test(crate::mode::Mode::Embedded.into()).await; })+
        }
        mod distributed {
            $(#[tokio::test $threads] async fn $test() { super::$test(crate::mode::Mode::Distributed.into()).await; })+
        }
    };
    ($($test:ident),+ $(,)?) => { in_both_modes! { @() $($test),+ } };
}

/// Runs tests, written for a mode, over three servers on one set of stores: each request goes to the next of them.
macro_rules! over_three_nodes {
    ($($test:ident),+ $(,)?) => {
        mod three_nodes {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(crate::support::Mode::ThreeNodes).await; })+
        }
    };
}

mod access_log;
mod accounts;
mod addresses;
mod adopted;
mod approvals;
mod authenticators;
mod bad_input;
mod bola;
mod canary;
mod certificates;
mod clocks;
mod confirming;
mod conflicts;
mod crowd;
mod device_ids;
#[path = "../feed/documented.rs"]
mod documented;
mod enumeration;
mod evil_keys;
mod exports;
mod factors;
mod failed_proof;
mod filling;
mod joining;
mod jwt;
mod keys;
mod limit_table;
mod limits;
mod looking;
mod magic;
mod mail;
mod matrix;
#[path = "../bus/nats_process.rs"]
#[expect(dead_code, reason = "the suite of the bus uses more of it")]
mod nats_process;
mod notices;
mod numbers;
mod oidc;
mod oidc_attacks;
mod operating;
#[path = "../support/mod.rs"]
mod outside;
mod overlaps;
use outside::port;
mod passkeys;
mod passwords;
mod people;
mod process;
#[path = "../support/proxy.rs"]
mod proxy;
mod races;
mod reconcile;
mod refresh;
mod scope;
mod server;
mod sessions;
#[path = "../feed/socket.rs"]
#[expect(dead_code, reason = "the suite of the feed uses more of it")]
mod socket;
mod stale_proofs;
mod standing_still;
mod step_ups;
mod still;
#[allow(dead_code, reason = "each program that shares this uses a part of it")]
mod support;
mod surface;
mod three_nodes;
mod trouble;
mod turning;
mod vaults;
mod volume;
mod walking;
mod ways;
#[path = "../feed/writing.rs"]
#[expect(dead_code, reason = "the suite of the feed uses more of it")]
mod writing;

use outside::{database, mode};

impl From<mode::Mode> for support::Mode {
    fn from(mode: mode::Mode) -> Self {
        match mode {
            mode::Mode::Embedded => Self::Embedded,
            mode::Mode::Distributed => Self::Distributed,
        }
    }
}
