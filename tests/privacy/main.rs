//! Personal data: subject keys and what they seal, export, erasure, and what stays where afterwards, in both modes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod calling_off;
mod canary;
mod clocks;
mod crashing;
#[path = "../support/database.rs"]
mod database;
mod erasing;
mod exporting;
mod ground;
mod key_stores;
mod leaving;
#[path = "../support/port.rs"]
mod port;
mod raw;
mod restored_halfway;
mod restoring;
mod sealing;
#[path = "../blackbox/support/mod.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod support;
#[path = "../blackbox/ways.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod ways;
mod whole;
#[path = "../feed/writing.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod writing;

/// Each test in both modes.
macro_rules! both {
    ($(async fn $name:ident($mode:ident: Mode) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn run($mode: Mode) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded() {
                run(Mode::Embedded).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn distributed() {
                run(Mode::Distributed).await;
            }
        }
    )+};
}
pub(crate) use both;
