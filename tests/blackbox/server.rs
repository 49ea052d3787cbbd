//! A server as a process, with its data in a folder of its own.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use lockstep_client::server::{Server as Address, Trust};

use crate::{mode::Mode, port::Port, support::backup::Database};

/// A running server. Killed when dropped.
pub struct Server {
    data: tempfile::TempDir,
    options: Vec<(String, String)>,
    port: Port,
    process: Option<Child>,
    /// Its address and pinned certificate.
    pub address: Address,
}

impl Server {
    /// Starts an embedded server on a free port. Its rate limits are no hindrance: tests are faster than people.
    pub fn start() -> Self {
        Self::with(Vec::new(), crate::support::UNLIMITED)
    }

    /// Starts a server of a mode on a free port.
    pub async fn start_in(mode: Mode) -> Self {
        Self::with(mode.options().await, crate::support::UNLIMITED)
    }

    /// Starts a server whose rate limits are so many times the usual ones.
    pub fn limited(factor: u32) -> Self {
        Self::with(Vec::new(), factor)
    }

    fn with(mut options: Vec<(String, String)>, factor: u32) -> Self {
        options.push(("LOCKSTEP_RATE_LIMIT_FACTOR".to_owned(), factor.to_string()));
        Self::on(options)
    }

    fn on(options: Vec<(String, String)>) -> Self {
        let (data, port) = (tempfile::tempdir().unwrap(), Port::reserve());
        let (process, address) = serve(&data, &port, &options);
        Self { data, options, port, process: Some(process), address }
    }

    /// Kills the process as a crash would (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again, at the same address, with the same data.
    pub fn start_again(&mut self) {
        self.kill();
        let (process, address) = serve(&self.data, &self.port, &self.options);
        assert_eq!(address, self.address, "certificate and address are kept");
        self.process = Some(process);
    }

    /// Where it listens.
    pub fn socket(&self) -> SocketAddr {
        self.address.url.trim_start_matches("https://").parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(data: &tempfile::TempDir, port: &Port, options: &[(String, String)]) -> (Child, Address) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_lockstepd"))
        .args(["serve", "--listen", &port.addr().to_string(), "--data"])
        .arg(data.path())
        .envs(options.iter().map(|(name, value)| (name, value)))
        .env("LOCKSTEP_LOG_FILTER", "error")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut word_after = |words: &str| {
        let line =
            lines.find(|line| line.contains(words)).unwrap_or_else(|| panic!("no line with {words:?}"));
        line.rsplit(' ').next().unwrap().to_owned()
    };
    let url = word_after("serves at");
    let fingerprint = word_after("SHA-256").parse().unwrap();
    // The last line it prints: after it nobody has to read any more.
    word_after("Next:");
    (process, Address::new(&url, Trust::Pinned(fingerprint)).unwrap())
}

/// What is put back where a server lost its data.
pub enum Backup {
    /// The data folder.
    Folder(tempfile::TempDir),
    /// The database; the data folder of a node holds nothing that could be lost, and its keys are kept apart.
    Database(Database),
}

impl Server {
    /// A backup, for which it is stopped.
    pub async fn backed_up(&mut self) -> Backup {
        self.kill();
        let backup = self.backup().await;
        self.start_again();
        backup
    }

    /// Stopped, restored and started again.
    pub async fn goes_back_to(&mut self, backup: &Backup) {
        self.kill();
        self.restore(backup).await;
        self.start_again();
    }

    /// Copies the data of the server, which must not run, as a backup would.
    pub async fn backup(&self) -> Backup {
        assert!(self.process.is_none());
        if let Some(database) = self.option("LOCKSTEP_LOG") {
            return Backup::Database(Database::back_up(database).await);
        }
        let backup = tempfile::tempdir().unwrap();
        copy(self.data.path(), backup.path());
        Backup::Folder(backup)
    }

    /// Puts a backup in the place of the data of the server, which must not run.
    pub async fn restore(&self, backup: &Backup) {
        assert!(self.process.is_none());
        let backup = match backup {
            Backup::Folder(backup) => backup,
            Backup::Database(database) => return database.put_back().await,
        };
        for entry in std::fs::read_dir(self.data.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        }
        copy(backup.path(), self.data.path());
    }

    /// Another node over the same stores (distributed only).
    pub fn second(&self) -> Self {
        let keys = self.data.path().join("keys/server.json");
        let mut options = self.options.clone();
        options.push(("LOCKSTEP_KEY_FILE".to_owned(), keys.to_str().unwrap().to_owned()));
        Self::on(options)
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(option, _)| option == name).map(|(_, value)| value.as_str())
    }
}

/// Copies what is in a folder, as a backup does.
pub fn copy(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
