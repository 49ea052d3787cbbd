//! Pushing, snapshots, history, reconciling, purging and blobs, through HTTPS, against `lockstepd` as a process, in
//! both modes. Nothing of the client's library stands between: every byte is the test's.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
mod support;

mod attachments;
mod bad_input;
mod blobs;
mod database_refuses;
mod file;
mod full_disk;
mod large;
mod lost_blobs;
mod many;
mod memory;
mod nats_away;
#[path = "../bus/nats_process.rs"]
#[expect(dead_code, reason = "the tests of the bus share one server")]
mod nats_process;
mod object_store_down;
mod object_store_hangs;
mod outcomes;
mod reading;
mod slow;
mod survival;
mod threads;
mod unread;

use support::{child::Lockstepd, device::Device, mode::Mode, port};
use tempfile::TempDir;

/// A server on fresh ground with one account.
struct Ground {
    server: Lockstepd,
    device: Device,
    folder: TempDir,
    options: Vec<(String, String)>,
    port: port::Port,
}

impl Ground {
    async fn new(mode: Mode) -> Self {
        Self::with(mode, &[]).await
    }

    /// With some options besides.
    async fn with(mode: Mode, more: &[(&str, &str)]) -> Self {
        let mut options = mode.options().await;
        options.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Self::with_options(options).await
    }

    /// With these options, as environment variables.
    async fn with_options(options: Vec<(String, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = port::Port::reserve();
        let server = start(&folder, &port, &options);
        let device = Device::register(server.addr).await;
        Self { server, device, folder, options, port }
    }

    /// Kills the server in the middle of whatever it does, and starts it again at the same address.
    fn kill_and_start(&mut self) {
        self.server.kill();
        self.server = start(&self.folder, &self.port, &self.options);
    }
}

fn start(folder: &TempDir, port: &port::Port, options: &[(String, String)]) -> Lockstepd {
    let listen = port.addr().to_string();
    Lockstepd::start(env!("CARGO_BIN_EXE_lockstepd"), folder.path(), &listen, options)
}

/// Each sentence is proven in both modes.
macro_rules! in_both_modes {
    ($($name:ident;)+) => {
        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::support::mode::Mode::Embedded).await;
            })+
        }
        mod distributed {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::support::mode::Mode::Distributed).await;
            })+
        }
    };
}
use in_both_modes;
