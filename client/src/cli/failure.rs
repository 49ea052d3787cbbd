//! How a command fails: one line that says what happened and what to do next, and an exit code that scripts can use.

use std::fmt;

use serde_json::{Map, Value};

/// Exit codes. The numbers are a promise: scripts depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Anything that has no code of its own.
    Failure = 1,
    /// The command line is not right.
    Usage = 2,
    /// No such entry, field, version or device.
    NotFound = 3,
    /// Not logged in, locked, or the password is wrong.
    Locked = 4,
    /// Two devices changed an entry apart; a person must choose.
    Conflict = 5,
    /// The server cannot be reached.
    Offline = 6,
    /// The server or the network showed something that it must not.
    Alarm = 7,
    /// The server refused; or `logout`, for what was not sent.
    Refused = 8,
    /// Several entries match.
    Ambiguous = 9,
    /// A person pressed Ctrl-C: as a shell expects of a process that ended by SIGINT.
    Interrupted = 130,
}

/// Every exit code with the word in `--json` errors and its meaning.
pub const CODES: &[(u8, &str, &str)] = &[
    (0, "ok", "It worked. Written offline counts: the change is saved here and will be sent."),
    (1, "failure", "Something else went wrong; the message says what."),
    (2, "usage", "The command line is not right."),
    (3, "not_found", "There is no such entry, field, version, device or file."),
    (
        4,
        "locked",
        "Not logged in, or not any more: the session has ended or this device was revoked; locked without a terminal to \
         ask at; or the password is wrong.",
    ),
    (5, "conflict", "The entry was changed apart on several devices and a person must choose."),
    (6, "offline", "The server cannot be reached, and this command needs it."),
    (
        7,
        "alarm",
        "The server or the network showed something that it must not. Until `lockstep status --seen`, nothing is sent. What a \
         command wrote before is saved on this device, and its answer says so.",
    ),
    (
        8,
        "refused",
        "The server refused: quota, rate, permission, or the name is taken. Or `logout` did, for changes that no server has.",
    ),
    (9, "ambiguous", "Several entries match; the message lists them."),
    (130, "interrupted", "Ctrl-C."),
];

impl Exit {
    /// The word in `--json` errors.
    pub fn word(self) -> &'static str {
        CODES.iter().find(|(code, ..)| *code == self as u8).map_or("failure", |(_, word, _)| word)
    }
}

/// A command's failure.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened.
    pub message: String,
    /// What to do next; empty if the message says it.
    pub advice: String,
    /// More for programs.
    pub facts: Map<String, Value>,
}

/// What every command returns.
pub type Done<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with what to do next.
    pub fn new(exit: Exit, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { exit, message: message.into(), advice: advice.into(), facts: Map::new() }
    }

    /// The command line is not right.
    pub fn usage(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, advice)
    }

    /// A fact for programs.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// What this one means where something was made that is shown only once.
    #[must_use]
    pub fn after(self, made: &str, advice: &str) -> Self {
        Self { message: format!("{made} ({})", self.message), advice: advice.to_owned(), ..self }
    }

    /// The failure as a JSON document.
    pub fn json(&self) -> Value {
        let mut error = self.facts.clone();
        error.insert("code".into(), self.exit.word().into());
        error.insert("exit".into(), (self.exit as u8).into());
        error.insert("message".into(), self.message.as_str().into());
        error.insert("advice".into(), self.advice.as_str().into());
        serde_json::json!({ "error": error })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let exit = match error.kind() {
            std::io::ErrorKind::Interrupted => Exit::Interrupted,
            _ => Exit::Failure,
        };
        Self::new(exit, error.to_string(), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_at_a_prompt_ends_with_the_code_of_ctrl_c() {
        let pressed = || std::io::Error::from(std::io::ErrorKind::Interrupted);
        assert_eq!(Failure::from(pressed()).exit as u8, 130);
        assert_eq!(Failure::from(lockstep_client::Error::File(pressed())).exit, Exit::Interrupted);
        assert_eq!(Failure::from(std::io::Error::other("else")).exit, Exit::Failure);
    }
}
