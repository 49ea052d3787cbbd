//! A `lockstepd` of its own for each test.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::mode::Mode;

/// A server with its data; killed and deleted with this value.
pub struct Server {
    data: tempfile::TempDir,
    options: Vec<(String, String)>,
    child: Child,
    pub url: String,
    pub fingerprint: String,
}

impl Server {
    pub fn start() -> Self {
        Self::with(Vec::new())
    }

    /// A server of a mode.
    pub fn start_in(mode: Mode) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self::with(runtime.block_on(mode.options()))
    }

    /// A server of a mode with some options besides.
    pub fn start_in_with(mode: Mode, options: &[(&str, &str)]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let more = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::with(runtime.block_on(mode.options()).into_iter().chain(more).collect())
    }

    /// A server without TLS, for behind a proxy.
    pub fn start_plain() -> Self {
        Self::with(vec![("LOCKSTEP_PLAIN_HTTP".to_owned(), "true".to_owned())])
    }

    /// With some options in the environment.
    pub fn start_with(options: &[(&str, &str)]) -> Self {
        Self::with(options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn with(options: Vec<(String, String)>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (child, url, fingerprint) = spawn(data.path(), "127.0.0.1:0", &options);
        Self { data, options, child, url, fingerprint }
    }

    /// Where its data lie.
    pub fn data(&self) -> &std::path::Path {
        self.data.path()
    }

    /// What the first administrator needs.
    pub fn bootstrap_token(&self) -> String {
        std::fs::read_to_string(self.data.path().join("bootstrap-token")).unwrap()
    }

    /// Where it keeps letters.
    pub fn mail(&self) -> std::path::PathBuf {
        self.data.path().join("mail")
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        // On Unix this is SIGKILL.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again on the same data and address.
    pub fn start_again(&mut self) {
        let address = self.url.strip_prefix("https://").unwrap();
        let (child, url, fingerprint) = spawn(self.data.path(), address, &self.options);
        assert_eq!((&url, &fingerprint), (&self.url, &self.fingerprint), "address and certificate are kept");
        self.child = child;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(data: &std::path::Path, listen: &str, options: &[(String, String)]) -> (Child, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstepd"));
    command.envs(options.iter().map(|(name, value)| (name, value)));
    command.arg("serve").arg("--data").arg(data).args(["--listen", listen]);
    // Tests are faster than people.
    command.env("LOCKSTEP_RATE_LIMIT_FACTOR", "1000000");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut find = |prefix: &str| {
        let line =
            lines.find(|line| line.starts_with(prefix)).unwrap_or_else(|| panic!("no line \"{prefix}\""));
        line[prefix.len()..].to_owned()
    };
    let url = find("Lockstep serves at ");
    let plain = url.starts_with("http://");
    let fingerprint = if plain { String::new() } else { find("Certificate, SHA-256: ") };
    // The last line: after it nobody misses the reader of this pipe.
    find("Next: ");
    (child, url, fingerprint)
}
