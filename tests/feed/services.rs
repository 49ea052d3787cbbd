//! A Postgres of a test's own, that it may stop and start.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use lockstepd::config::Layer;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::port::Port;

async fn listens(port: &Port) {
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(port.addr()).await.is_err() {
        assert!(Instant::now() < until, "nothing listens");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Everything but long ciphertexts in this database.
pub fn stores_in(url: &str) -> Layer {
    let database = || Some(url.into());
    Layer { log: database(), reads: database(), credentials: database(), ..Layer::default() }
}

/// A Postgres; stopped when dropped.
pub struct PostgresProcess {
    folder: TempDir,
    port: Port,
}

impl PostgresProcess {
    /// Makes a cluster and starts it.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_writable_for_postgres(folder.path());
        let server = Self { folder, port: Port::reserve() };
        let data = server.data();
        server.run("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync"]);
        server.start_again().await;
        server
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.port.addr())
    }

    /// Kills it as a power cut would: no checkpoint, no farewell.
    pub fn stop_at_once(&mut self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }

    /// Starts it on what is there.
    pub async fn start_again(&self) {
        // It dies, the machine does not: what it has written is there without waiting for the disk.
        let (port, folder) = (self.port.number(), self.folder.path().display());
        let options = format!("-F -p {port} -h 127.0.0.1 -k {folder}");
        let log = self.folder.path().join("log").display().to_string();
        self.run("pg_ctl", &["-D", &self.data(), "-o", &options, "-l", &log, "-w", "start"]);
        listens(&self.port).await;
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    /// A file that its programs may write.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Runs a program of Postgres to its end.
    pub fn run(&self, program: &str, arguments: &[&str]) {
        let program = binaries().join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let status = command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.expect("Postgres is not installed: run cargo xtask test").success());
    }
}

impl Drop for PostgresProcess {
    fn drop(&mut self) {
        self.stop_at_once();
    }
}

/// The newest Postgres of the machine.
fn binaries() -> PathBuf {
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").expect("Postgres is not installed: run cargo xtask test");
    let mut versions: Vec<PathBuf> = versions.map(|version| version.unwrap().path().join("bin")).collect();
    versions.sort();
    versions.pop().expect("Postgres is not installed: run cargo xtask test")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.starts_with(b"0\n")
}

fn make_writable_for_postgres(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
}
