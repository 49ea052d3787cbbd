//! Sync, measured from outside: `lockstepd` as a process of its own, HTTPS, real devices.
//!
//! `cargo bench --bench sync -- [--json PATH] [--rounds N] [--quick] [--only WORD] [--peer-vaultwarden PATH]`
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

#[path = "../tests/support/mod.rs"]
mod support;

#[path = "raw/mod.rs"]
mod raw;

#[path = "sync/first_sync.rs"]
mod first_sync;
#[path = "sync/floor.rs"]
mod floor;
#[path = "sync/import.rs"]
mod import;
#[path = "sync/live.rs"]
mod live;
#[path = "sync/login.rs"]
mod login;
#[path = "sync/pushes.rs"]
mod pushes;
#[path = "sync/report.rs"]
mod report;
#[path = "sync/sockets.rs"]
mod sockets;
#[path = "sync/vaultwarden.rs"]
mod vaultwarden;

use report::Report;
use support::mode::Mode;

fn main() {
    let options = report::Options::read();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut report = Report::default();
    runtime.block_on(async {
        if options.wants("pushes") {
            pushes::measure(&options, &mut report).await;
        }
        if options.wants("first_sync") {
            first_sync::measure(&options, &mut report).await;
        }
        if options.wants("import") {
            import::measure(&options, &mut report).await;
        }
        if options.wants("live") {
            live::measure(&options, &mut report).await;
        }
        if options.wants("login") {
            login::measure(&options, &mut report).await;
        }
        if options.wants("sockets") {
            sockets::measure(&options, &mut report).await;
        }
    });
    report.write(&options);
}

/// Embedded, and over real services where the environment names them; with the rate that each should reach.
async fn modes() -> Vec<(&'static str, Vec<(String, String)>, f64)> {
    let mut modes = vec![("embedded", Mode::Embedded.options().await, 5000.0)];
    if std::env::var("LOCKSTEP_TEST_POSTGRES").is_ok() {
        modes.push(("Postgres + NATS + S3", Mode::Distributed.options().await, 2450.0));
    }
    modes
}
