//! A server whose words are read: its log, its metrics, its health.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    child::Lockstepd,
    wire::{Wire, request},
};

/// A server, and its log. What `options` do not name is embedded.
pub struct Told {
    pub server: Lockstepd,
    pub log: PathBuf,
    pub data: PathBuf,
    _folder: TempDir,
}

impl Told {
    /// Starts it.
    pub fn start(options: &[(&str, &str)]) -> Self {
        let variable = |(name, value): &(&str, &str)| (format!("LOCKSTEP_{name}"), (*value).to_owned());
        Self::start_with(&options.iter().map(variable).collect::<Vec<_>>())
    }

    /// Starts it with options as environment variables.
    pub fn start_with(options: &[(String, String)]) -> Self {
        Self::start_by(options, |_, _| PathBuf::from(env!("CARGO_BIN_EXE_lockstepd")))
    }

    /// Starts it by a program of its own, which is made in a folder and told where the data will lie.
    pub fn start_by(options: &[(String, String)], program: impl FnOnce(&Path, &Path) -> PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (log, data) = (folder.path().join("told"), folder.path().join("data"));
        let told = [("LOCKSTEP_ADMIN_LISTEN", "127.0.0.1:0"), ("LOCKSTEP_LOG_FILTER", "info")];
        let told = told.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let options = [&told, options].concat();
        let errors = Stdio::from(File::create(&log).unwrap());
        let program = program(folder.path(), &data);
        let server =
            Lockstepd::start_writing(program.to_str().unwrap(), &data, "127.0.0.1:0", &options, errors);
        Self { server, log, data, _folder: folder }
    }

    /// The line of its log that has some words, as soon as it is there.
    pub async fn says(&self, words: &str) -> String {
        self.says_again(words, 1).await
    }

    /// The same of the line that has them for the nth time.
    pub async fn says_again(&self, words: &str, nth: usize) -> String {
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(line) = self.lines(words).into_iter().nth(nth - 1) {
                return line;
            }
            let text = std::fs::read_to_string(&self.log).unwrap();
            assert!(Instant::now() < until, "nobody said {words:?} so often: {text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The lines of its log so far that have some words.
    pub fn lines(&self, words: &str) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }

    /// What it tells Prometheus.
    pub async fn metrics(&self) -> String {
        let addr = self.metrics_at().await.parse().unwrap();
        let mut wire = Wire::plain(addr).await.unwrap();
        let reply = wire.exchange(&request("GET", "/metrics", &[], b"")).await.unwrap();
        String::from_utf8(reply.body).unwrap()
    }

    /// Where it tells them, once it has said so: it is heard by a thread of its own.
    async fn metrics_at(&self) -> String {
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            let said = self.server.said();
            let at = said.split_once("Metrics: http://").and_then(|(_, rest)| rest.split_once("/metrics"));
            if let Some((at, _)) = at {
                return at.to_owned();
            }
            assert!(Instant::now() < until, "it does not say where its metrics are: {said}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it tells whoever asks whether it serves: the status, and the state of each port.
    pub async fn health(&self) -> (u16, Value) {
        let mut wire = Wire::connect(self.server.addr).await.unwrap();
        let reply = wire.exchange(&request("GET", "/health/ready", &[], b"")).await.unwrap();
        (reply.status, reply.json::<Value>()["ports"].take())
    }
}
