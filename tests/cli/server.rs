//! A `lockstepd` of its own for each test.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::{mode::Mode, port::Port};

/// A server with its data; killed and deleted with this value.
pub struct Server {
    data: tempfile::TempDir,
    options: Vec<(String, String)>,
    port: Port,
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

    /// With some options in the environment, or as flags where they begin with two dashes.
    pub fn start_with(options: &[(&str, &str)]) -> Self {
        Self::with(options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn with(options: Vec<(String, String)>) -> Self {
        let (data, port) = (tempfile::tempdir().unwrap(), Port::reserve());
        let (child, url, fingerprint) = spawn(data.path(), &port, &options);
        Self { data, options, port, child, url, fingerprint }
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Where its data lie.
    pub fn data(&self) -> &std::path::Path {
        self.data.path()
    }

    /// Its options in the environment, without those that every server has here.
    pub fn options(&self) -> &[(String, String)] {
        &self.options
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

    /// A command of whoever runs it, with its options.
    pub fn operator(&self) -> Command {
        operator(self.data.path(), &self.options)
    }

    /// What begins such commands for a server that has not been started.
    pub fn stopped(data: &tempfile::TempDir, options: &[(String, String)]) -> impl Fn() -> Command + use<> {
        let (data, options) = (data.path().to_owned(), options.to_vec());
        move || operator(&data, &options)
    }

    /// From now on it has other stores; those that it had.
    pub fn go(
        &mut self,
        data: tempfile::TempDir,
        options: Vec<(String, String)>,
    ) -> (tempfile::TempDir, Vec<(String, String)>) {
        (std::mem::replace(&mut self.data, data), std::mem::replace(&mut self.options, options))
    }

    /// Starts again on the same data and address.
    pub fn start_again(&mut self) {
        let kept = self.fingerprint.clone();
        self.start_again_with_another_certificate();
        assert_eq!(self.fingerprint, kept, "the certificate is kept");
    }

    /// Starts again on the same data and address, with the certificate that its operator has put there.
    pub fn start_again_with_another_certificate(&mut self) {
        let (child, url, fingerprint) = spawn(self.data.path(), &self.port, &self.options);
        assert_eq!(url, self.url, "the address is kept");
        (self.child, self.fingerprint) = (child, fingerprint);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(data: &std::path::Path, port: &Port, options: &[(String, String)]) -> (Child, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstepd"));
    command.arg("serve").arg("--data").arg(data).args(["--listen", &port.addr().to_string()]);
    for (name, value) in options {
        if name.starts_with("--") {
            command.arg(name).arg(value)
        } else {
            command.env(name, value)
        };
    }
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

fn operator(data: &std::path::Path, options: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstepd"));
    command.envs(options.iter().map(|(name, value)| (name, value))).arg("--data").arg(data);
    command
}
