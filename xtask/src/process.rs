//! Running other programs: visibly, with their lines watched, or only for their answer.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a task stopped: one sentence that says what was being done.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub type Result<T> = std::result::Result<T, Failure>;

/// A failure from text.
pub fn fail<T>(text: impl Into<String>) -> Result<T> {
    Err(Failure(text.into()))
}

/// Turns any error into a failure that says what was being done.
pub trait Doing<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where xtask keeps its own things between runs.
pub fn cache() -> PathBuf {
    target().join("xtask")
}

/// The cargo that started us, working in the root of the repository.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    // What `cargo run` set for xtask itself must not change the fingerprints of what we build.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| {
            let word = word.to_string_lossy();
            let name = if word.contains('/') && word.ends_with("/cargo") { "cargo" } else { &word };
            if name.contains(' ') { format!("'{name}'") } else { name.to_owned() }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs the command with its output on ours.
pub fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let status = command.status().doing(shown(command))?;
    if status.success() { Ok(()) } else { fail(format!("{} ended with {status}", shown(command))) }
}

/// Runs the command, passes every line of its output on, and shows each line to `watch` as well.
pub fn run_watching(command: &mut Command, mut watch: impl FnMut(&str)) -> Result<()> {
    println!("$ {}", shown(command));
    let (reader, writer) = std::io::pipe().doing("open a pipe")?;
    command.stdout(writer.try_clone().doing("share a pipe")?).stderr(writer);
    let mut child = command.spawn().doing(shown(command))?;
    // The command holds the writing ends; without this the reading end would never see the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).doing("read the output")? > 0 {
        std::io::stdout().write_all(&line).doing("write the output")?;
        watch(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    let status = child.wait().doing("wait for the command")?;
    if status.success() { Ok(()) } else { fail(format!("{} ended with {status}", shown(command))) }
}

/// Runs the command quietly and returns what it wrote to stdout.
pub fn answer(command: &mut Command) -> Result<String> {
    let output = command.output().doing(shown(command))?;
    if output.status.success() {
        return String::from_utf8(output.stdout).doing(shown(command));
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    fail(format!("{} ended with {}\n{errors}", shown(command), output.status))
}

/// The full path of a program, if there is one.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let also = ["/usr/sbin", "/usr/local/bin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(also).map(|folder| folder.join(program)).find(|file| file.is_file())
}
