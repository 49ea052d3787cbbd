//! An S3 server of a test's own, that it may stop and start.

use std::{
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lockstepd::adapters::s3::{S3Blobs, S3Options};
use tempfile::TempDir;

use super::port::Port;

const KEY: &str = "a-test";
const SECRET: &str = "a-secret-of-a-test";
const BUCKET: &str = "blobs";

/// A server on a port of its own; killed when dropped. What it keeps outlives its end.
pub struct S3Process {
    folder: TempDir,
    port: Port,
    child: Option<Child>,
}

impl S3Process {
    /// Starts a server with an empty bucket.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { folder, port: Port::reserve(), child: None };
        server.start_again();
        S3Blobs::new(&server.options()).make_bucket().await.unwrap();
        server
    }

    /// What reaches it.
    pub fn options(&self) -> S3Options {
        S3Options {
            endpoint: self.endpoint(),
            public_endpoint: String::new(),
            region: "us-east-1".to_owned(),
            bucket: BUCKET.to_owned(),
            access_key: KEY.to_owned(),
            secret_key: SECRET.to_owned(),
        }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.port.addr())
    }

    /// Options of a `lockstepd` that keeps its blobs here, in place of the ones that it has.
    pub fn instead(&self, options: &mut [(String, String)]) {
        for (name, value) in options {
            match name.as_str() {
                "LOCKSTEP_BLOBS" => *value = format!("s3://{BUCKET}"),
                "LOCKSTEP_S3_ENDPOINT" => *value = self.endpoint(),
                "LOCKSTEP_S3_PUBLIC_ENDPOINT" => value.clear(),
                "LOCKSTEP_S3_ACCESS_KEY" => *value = KEY.to_owned(),
                "LOCKSTEP_S3_SECRET_KEY" => *value = SECRET.to_owned(),
                _ => {}
            }
        }
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it on what is there, and waits until it listens.
    pub fn start_again(&mut self) {
        self.start_with(SECRET);
    }

    /// The same with another secret key: what has the old one is refused.
    pub fn start_with(&mut self, secret: &str) {
        let program = Path::new(env!("CARGO_BIN_EXE_lockstepd")).with_file_name("examples").join("s3-server");
        let data = self.folder.path().to_owned();
        let mut command = Command::new(program);
        command.arg(self.port.addr().to_string()).arg(data).args([KEY, secret]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.child =
            Some(command.spawn().expect("there is no s3-server: run cargo xtask test, which builds it"));
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.port.addr()).is_err() {
            assert!(Instant::now() < until, "the S3 server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for S3Process {
    fn drop(&mut self) {
        self.stop();
    }
}
