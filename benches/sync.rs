//! Sync, measured from outside: `lockstepd` as a process of its own, HTTPS, real devices.
//!
//! `cargo bench --bench sync -- [--json PATH] [--rounds N] [--quick] [--only WORD]`

#[path = "../tests/support/mod.rs"]
mod support;

#[path = "sync/pushes.rs"]
mod pushes;
#[path = "sync/report.rs"]
mod report;

use report::Report;

fn main() {
    let options = report::Options::read();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut report = Report::default();
    runtime.block_on(async {
        if options.wants("pushes") {
            pushes::measure(&options, &mut report).await;
        }
    });
    report.write(&options);
}

/// Embedded, and with real services where the environment names them; with the rate that each should reach.
fn modes() -> Vec<(&'static str, Vec<(String, String)>, f64)> {
    vec![("embedded", Vec::new(), 5000.0)]
}
