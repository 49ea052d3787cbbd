//! A profile directory and the `lockstep` command in it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::server::Server;

pub const PASSWORD: &str = "violet anchor mumbles seventeen";
pub const NAME: &str = "ada@example.org";

/// What a command did.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One device.
pub struct Device {
    home: tempfile::TempDir,
    password: Option<&'static str>,
}

impl Device {
    /// A directory without a profile.
    pub fn empty() -> Self {
        Self { home: tempfile::tempdir().unwrap(), password: Some(PASSWORD) }
    }

    /// The first device of a new account.
    pub fn registered(server: &Server) -> Self {
        let device = Self::empty();
        device.ok(&device.enter("register", server, NAME));
        device
    }

    /// A further device of the account.
    pub fn logged_in(server: &Server) -> Self {
        let device = Self::empty();
        device.ok(&device.enter("login", server, NAME));
        device
    }

    /// The arguments of `register` and `login`.
    pub fn enter<'a>(&self, verb: &'a str, server: &'a Server, name: &'a str) -> [&'a str; 7] {
        [verb, "--server", &server.url, "--email", name, "--fingerprint", &server.fingerprint]
    }

    /// Commands get no password from now on.
    pub fn forget_password(&mut self) {
        self.password = None;
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The command, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args).env("LOCKSTEP_HOME", self.home()).env_remove("LOCKSTEP_PASSWORD");
        command.env_remove("LOCKSTEP_ARCHIVE_PASSWORD").stdin(Stdio::null());
        if let Some(password) = self.password {
            command.env("LOCKSTEP_PASSWORD", password);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Answer {
        answer(&self.command(args).output().unwrap())
    }

    /// Runs a command with something on its standard input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Answer {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        answer(&child.wait_with_output().unwrap())
    }

    /// Starts a command whose output is read later.
    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs a command that must work, and returns its output.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let answer = self.run(args);
        assert_eq!(answer.code, 0, "{args:?}: {}", answer.err);
        answer.out
    }

    /// Runs a command with `--json` that must work, and returns its document.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        let answer = self.run(&all);
        assert_eq!(answer.code, 0, "{args:?}: {}", answer.err);
        answer.json()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // An agent that this test started would otherwise outlive it.
        let _ = self.command(&["lock"]).output();
    }
}

pub fn answer(output: &Output) -> Answer {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Answer { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// `lockstep` lies beside `lockstepd`: cargo builds both for a test of the workspace.
fn program() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_lockstepd")).with_file_name("lockstep");
    assert!(path.exists(), "build it first: cargo build -p lockstep-client");
    path
}
