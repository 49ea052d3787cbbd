//! Letters as a person finds them: in the folder of the embedded default, or in the mailbox of a real SMTP server.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::Node;
use crate::port::Port;

/// Longer than any machine needs to send a letter.
const PATIENCE: Duration = Duration::from_secs(60);

/// A letter.
#[derive(Debug, Clone)]
pub struct Letter {
    /// All of it, without soft line ends.
    pub text: String,
}

impl Letter {
    /// None: it was deleted meanwhile.
    fn read(path: &Path) -> Option<Self> {
        let text = String::from_utf8(std::fs::read(path).ok()?).unwrap();
        Some(Self { text: text.replace("=\r\n", "").replace("=3D", "=") })
    }

    /// The path of the link in it.
    pub fn link(&self) -> String {
        let at = self.text.find("/link/").unwrap_or_else(|| panic!("no link: {}", self.text));
        self.text[at..].split(|c: char| c.is_whitespace() || c == '"').next().unwrap().to_owned()
    }

    pub fn subject(&self) -> &str {
        self.header("Subject")
    }

    pub fn to(&self) -> &str {
        self.header("To")
    }

    pub fn header(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        self.text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default()
    }
}

/// The letters in a folder, oldest first.
pub fn letters(folder: &Path) -> Vec<Letter> {
    letters_in(&[folder.to_owned()])
}

/// The letters in all of these folders, oldest first.
fn letters_in(folders: &[PathBuf]) -> Vec<Letter> {
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
    let files = files.map(|file| file.unwrap().path());
    let mut files: Vec<(std::time::SystemTime, PathBuf)> = files
        .filter(|path| path.extension().is_some_and(|end| end == "eml"))
        .filter_map(|path| Some((path.metadata().ok()?.modified().unwrap(), path)))
        .collect();
    files.sort();
    files.iter().filter_map(|(_, path)| Letter::read(path)).collect()
}

/// Waits until a folder has so many letters that fit, and gives them.
pub async fn awaited(folder: &Path, count: usize, fits: impl Fn(&Letter) -> bool) -> Vec<Letter> {
    awaited_in(&[folder.to_owned()], count, fits).await
}

async fn awaited_in(folders: &[PathBuf], count: usize, fits: impl Fn(&Letter) -> bool) -> Vec<Letter> {
    let since = Instant::now();
    loop {
        let found: Vec<Letter> = letters_in(folders).into_iter().filter(&fits).collect();
        if found.len() >= count {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "{} of {count} letters in {folders:?}", found.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Node {
    /// Where the embedded default keeps letters.
    pub fn mail_folder(&self) -> PathBuf {
        self.data().join("mail")
    }

    /// Waits for the letter with this subject to this address; the newest, when there are so many. Of several servers
    /// any may have sent it.
    pub async fn letter(&self, to: &str, subject: &str, count: usize) -> Letter {
        let fits = |letter: &Letter| letter.to() == to && letter.subject().contains(subject);
        let folders: Vec<PathBuf> = self.all().map(Self::mail_folder).collect();
        awaited_in(&folders, count, fits).await.pop().unwrap()
    }
}

/// A real SMTP server, as a process.
pub struct Sink {
    child: Child,
    folder: TempDir,
    port: Port,
}

/// How the server wants to be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Plain,
    StartTls,
    Tls,
}

impl Sink {
    /// Starts it on a free port.
    pub fn start(manner: Manner) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        std::fs::create_dir(folder.path().join("mail")).unwrap();
        let port = Port::reserve();
        let child = spawn(folder.path(), &port, manner);
        Self { child, folder, port }
    }

    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port.
    pub fn start_again(&mut self, manner: Manner) {
        self.child = spawn(self.folder.path(), &self.port, manner);
    }

    /// The URL with this scheme, name and password.
    pub fn url(&self, scheme: &str, login: &str) -> String {
        format!("{scheme}://{login}localhost:{}", self.port.number())
    }

    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub fn mailbox(&self) -> PathBuf {
        self.folder.path().join("mail")
    }
}

fn spawn(folder: &Path, port: &Port, manner: Manner) -> Child {
    let python = std::env::var("LOCKSTEP_TEST_SMTP_PYTHON");
    let python =
        python.unwrap_or_else(|_| panic!("LOCKSTEP_TEST_SMTP_PYTHON is not set: run cargo xtask test"));
    let word = match manner {
        Manner::Plain => "plain",
        Manner::StartTls => "starttls",
        Manner::Tls => "tls",
    };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/smtp_sink.py");
    let mut child = Command::new(python)
        .arg(program)
        .arg(folder.join("mail"))
        .arg(port.number().to_string())
        .arg(word)
        .arg(folder.join("ca.pem"))
        .arg(folder.join("key.pem"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), port.number().to_string(), "it listens");
    child
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
