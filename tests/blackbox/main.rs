//! The product from outside: the real server, over HTTP and WebSocket, with the real client or with requests made by
//! hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Runs tests, written for a mode, embedded and over Postgres, NATS and S3.
macro_rules! in_both_modes {
    ($($test:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test] async fn $test() { super::$test(crate::mode::Mode::Embedded).await; })+
        }
        mod distributed {
            $(#[tokio::test] async fn $test() { super::$test(crate::mode::Mode::Distributed).await; })+
        }
    };
}

mod accounts;
mod bad_input;
mod conflicts;
mod jwt;
mod matrix;
#[allow(dead_code, reason = "each program that shares this uses a part of it")]
#[path = "../support/mode.rs"]
mod mode;
mod people;
mod process;
#[path = "../support/proxy.rs"]
mod proxy;
mod reconcile;
mod refresh;
mod scope;
mod server;
mod sessions;
mod support;
mod trouble;
mod volume;
mod walking;
