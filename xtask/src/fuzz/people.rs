//! Who asks: real clients, each with a vault of its own and something in it.

use crate::build;
use crate::process::{self, Doing, Failure, Result, fail};
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PRINTED_WITHIN: Duration = Duration::from_secs(30);

/// As whom a run asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Nobody,
    User,
    Auditor,
    Admin,
}

impl Role {
    /// The administrator comes last: it disables accounts of others and deletes them.
    pub const ALL: [Self; 4] = [Self::Nobody, Self::User, Self::Auditor, Self::Admin];
    const NAMED: [Self; 3] = [Self::User, Self::Auditor, Self::Admin];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "nobody",
            Self::User => "user",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        })
    }
}

/// What there is on the server, for requests that shall find something.
pub struct Known {
    /// Whom administrators look after.
    pub account: String,
    pub vault: String,
    pub entry: String,
    pub device: String,
    pub version: String,
    pub blob: String,
}

/// Somebody of each role, and the first administrator, who appointed them.
pub struct People {
    program: PathBuf,
    folder: PathBuf,
    url: String,
    fingerprint: String,
}

impl People {
    /// Registers them with a server that nobody has used, and gives each a vault with an entry and a file in it.
    pub fn register(url: &str, folder: &Path) -> Result<Self> {
        let (fingerprint, bootstrap) = (printed(folder, "--fingerprint")?, printed(folder, "bootstrap")?);
        let people = Self {
            program: build::program("lockstep")?,
            folder: folder.to_owned(),
            url: url.to_owned(),
            fingerprint,
        };
        let file = folder.join("attached");
        std::fs::write(&file, vec![7; 40_000]).doing("write a file to attach")?;
        people.enter("register", "first")?;
        people.ask("first", &["admin", "bootstrap", &bootstrap])?;
        people.enter("login", "first")?;
        for role in Role::NAMED.map(|role| role.to_string()) {
            people.enter("register", &role)?;
            people.ask(&role, &["add", "an entry", "--set", "username=ada"])?;
            people.ask(&role, &["attachment", "add", "an entry", &file.display().to_string()])?;
            if role != Role::User.to_string() {
                let named = format!("{role}@example.org");
                people
                    .ask("first", &["admin", "user", "set-role", &named, &role, "--reason", "to be tried"])?;
                // A change of role ends all sessions.
                people.enter("login", &role)?;
            }
        }
        Ok(people)
    }

    /// A token of a session that has just proven its password: much is allowed for five minutes only.
    pub fn token(&self, role: Role) -> Result<String> {
        self.enter("login", &role.to_string())?;
        Ok(self.ask(&role.to_string(), &["api", "--print-token"])?.trim().to_owned())
    }

    /// What somebody of this role finds in the own vault. Who is nobody knows what the user has.
    pub fn known(&self, role: Role) -> Result<Known> {
        let role = if role == Role::Nobody { Role::User } else { role };
        let name = role.to_string();
        let streams = self.get(&name, "/v1/streams")?;
        let vault = stream(&streams, "vault")?;
        let changes = self.get(&name, &format!("/v1/streams/{vault}/changes"))?;
        let events = changes["events"].as_array().into_iter().flatten();
        let entry = text(events.clone().find_map(|event| event.get("subject")))?;
        let history = self.get(&name, &format!("/v1/vaults/{vault}/entries/{entry}/versions"))?;
        let devices = self.get(&name, "/v1/devices")?;
        let mut versions = history["versions"].as_array().into_iter().flatten();
        Ok(Known {
            account: stream(&self.get(&Role::User.to_string(), "/v1/streams")?, "account")?,
            vault,
            entry,
            device: text(devices.pointer("/devices/0/device"))?,
            version: text(history.pointer("/heads/0/version"))?,
            blob: text(versions.find_map(|version| version.pointer("/attachments/0")))?,
        })
    }

    fn get(&self, who: &str, path: &str) -> Result<Value> {
        serde_json::from_str(&self.ask(who, &["api", "GET", path])?).doing(format!("understand {path}"))
    }

    /// Registers, or logs in anew.
    fn enter(&self, verb: &str, who: &str) -> Result<String> {
        let email = format!("{who}@example.org");
        self.ask(who, &[verb, "--server", &self.url, "--email", &email, "--fingerprint", &self.fingerprint])
    }

    fn ask(&self, who: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .env("LOCKSTEP_PASSWORD", "a passphrase that nobody uses twice")
            .env("LOCKSTEP_HOME", self.folder.join(who));
        process::answer(command.args(arguments).stdin(Stdio::null()))
    }
}

/// The word that the server printed behind another at its start. It may take connections a moment before it says so.
fn printed(folder: &Path, before: &str) -> Result<String> {
    let started = Instant::now();
    loop {
        let log = std::fs::read_to_string(folder.join("server/log")).doing("read the server's output")?;
        let mut words = log.split_whitespace().skip_while(|word| *word != before).skip(1);
        if let (Some(word), true) = (words.next(), log.ends_with('\n')) {
            return Ok(word.to_owned());
        }
        if started.elapsed() > PRINTED_WITHIN {
            return fail(format!("the server printed no {before}:\n{log}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn stream(streams: &Value, kind: &str) -> Result<String> {
    let mut all = streams["streams"].as_array().into_iter().flatten();
    text(all.find(|stream| stream["kind"] == kind).and_then(|stream| stream.get("stream")))
}

fn text(value: Option<&Value>) -> Result<String> {
    let text = value.and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| Failure("the server has nothing to be found".to_owned()))
}
