//! The stores beside the log and the read models: one contract suite per port, passed by every adapter. Each case is a
//! sentence of the port's promise and gets a store that nobody else uses.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod blob_index;
mod blob_store;
mod credentials;
#[path = "../support/database.rs"]
mod database;
mod factors;
mod fuse;
mod held;
mod kept_answers;
mod naming;
mod open;
mod promises;
mod repack;
mod sessions;
mod tables;
mod takes_nothing;
mod upkeep;
mod ways;

/// A test of every case for every adapter.
macro_rules! over_every_adapter {
    ($($adapter:ident = $open:path),+; $cases:tt) => {
        $($crate::over_every_adapter! { @ $adapter, $open, $cases })+
    };
    (@ $adapter:ident, $open:path, { $($case:ident;)+ }) => {
        mod $adapter {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let opened = $open().await;
                super::$case(opened.port.clone()).await;
                drop(opened);
            })+
        }
    };
}
use over_every_adapter;
