//! Asking a person, or not: where there is no terminal, nothing waits for an answer.

use std::io::{self, BufRead, IsTerminal, Write};

use lockstep_client::porting::Secret;

use super::{
    failure::{Done, Exit, Failure},
    ui::Ui,
};

/// The environment variable that holds the account's password.
pub const PASSWORD_VARIABLE: &str = "LOCKSTEP_PASSWORD";

/// Takes from a command that is about to be started what scripts give to this one in its environment: passwords and
/// codes, whatever they are called.
pub fn keep_secrets_from(command: &mut std::process::Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LOCKSTEP_") && name != "LOCKSTEP_HOME" {
            command.env_remove(name);
        }
    }
}

/// Where the account's password comes from.
#[derive(Debug)]
pub struct Passwords {
    first_line: FirstLine,
}

/// What `--password-stdin` found.
#[derive(Debug)]
enum FirstLine {
    /// It was not said.
    NotMeant,
    /// Standard input is empty.
    Absent,
    /// The password.
    Read(Secret),
}

impl Passwords {
    /// Takes the password's line from standard input at once, if it is there: whatever a command reads from there
    /// later begins after it, whether the password was needed or not.
    ///
    /// # Errors
    /// If standard input cannot be read.
    pub fn new(from_stdin: bool) -> Done<Self> {
        let first_line = match from_stdin {
            true => stdin_line()?.map_or(FirstLine::Absent, FirstLine::Read),
            false => FirstLine::NotMeant,
        };
        Ok(Self { first_line })
    }

    /// The account's password.
    pub fn current(&self, ui: Ui) -> Done<Secret> {
        self.given()?.map_or_else(|| password(ui, "Password"), Ok)
    }

    /// A new password, asked twice at a terminal.
    pub fn new_one(&self, ui: Ui) -> Done<Secret> {
        if let Some(given) = self.given()? {
            return Ok(given);
        }
        loop {
            let first = password(ui, "New password")?;
            if password(ui, "Once more")? == first {
                return Ok(first);
            }
            ui.warn("the two are not the same; once again");
        }
    }

    /// Whether a password can be had without asking.
    pub fn is_given(&self) -> bool {
        !matches!(self.first_line, FirstLine::NotMeant) || std::env::var_os(PASSWORD_VARIABLE).is_some()
    }

    fn given(&self) -> Done<Option<Secret>> {
        match &self.first_line {
            FirstLine::Read(password) => return Ok(Some(password.clone())),
            FirstLine::Absent => {
                let message = "standard input holds no password";
                return Err(Failure::new(Exit::Locked, message, "send it as the first line"));
            }
            FirstLine::NotMeant => {}
        }
        match std::env::var(PASSWORD_VARIABLE) {
            Ok(password) if !password.is_empty() => Ok(Some(password.into())),
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Failure::usage(format!("{PASSWORD_VARIABLE} is not valid UTF-8"), "set it again"))
            }
        }
    }
}

/// The next line of standard input, without its end.
fn stdin_line() -> Done<Option<Secret>> {
    let mut line = zeroize::Zeroizing::new(String::new());
    if io::stdin().lock().read_line(&mut line).map_err(|error| no_text(error, "write it in UTF-8"))? == 0 {
        return Ok(None);
    }
    let text = line.strip_suffix('\n').unwrap_or(&line);
    Ok(Some(text.strip_suffix('\r').unwrap_or(text).into()))
}

/// Everything that is left on standard input; one line end at its end is not part of it.
pub fn stdin_rest() -> Done<Secret> {
    let mut text = String::new();
    let read = io::Read::read_to_string(&mut io::stdin().lock(), &mut text);
    read.map_err(|error| {
        no_text(error, "what is no text goes beside an entry: lockstep attachment add ENTRY FILE")
    })?;
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    Ok(trimmed.strip_suffix('\r').unwrap_or(trimmed).into())
}

/// What is wrong with standard input.
fn no_text(error: io::Error, advice: &str) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidData => {
            Failure::new(Exit::Failure, "standard input is no text (UTF-8)", advice)
        }
        _ => error.into(),
    }
}

/// The account's password, typed without being shown.
fn password(ui: Ui, label: &str) -> Done<Secret> {
    secret_or(ui, label, &format!("use --password-stdin or {PASSWORD_VARIABLE}"))
}

/// A value that is typed without being shown, for who has seen that there is a terminal.
pub fn secret(ui: Ui, label: &str) -> Done<Secret> {
    secret_or(ui, label, "start it in one")
}

/// A value that is typed without being shown; `other` says how to give it without a terminal.
pub fn secret_or(ui: Ui, label: &str, other: &str) -> Done<Secret> {
    if !ui.err_is_terminal {
        let message = format!("there is no terminal to ask for: {}", label.to_lowercase());
        return Err(Failure::new(Exit::Locked, message, other));
    }
    // While it asks, Ctrl-C comes as a character and is no signal: it is reported as an interrupted read.
    Ok(rpassword::prompt_password(format!("{label}: "))?.into())
}

/// A yes or no; `no` is what Enter means. Without a terminal the answer is no.
pub fn confirm(ui: Ui, question: &str) -> Done<bool> {
    if !can_ask(ui) {
        return Ok(false);
    }
    let answer = ask(&format!("{question} [y/N] "))?.to_lowercase();
    Ok(matches!(answer.as_str(), "y" | "yes"))
}

/// Goes on if a person says yes, or said so beforehand; `not` is what did not happen otherwise.
pub fn sure(ui: Ui, yes: bool, question: &str, not: &str) -> Done {
    if yes || confirm(ui, question)? {
        return Ok(());
    }
    if can_ask(ui) {
        return Err(Failure::new(Exit::Failure, not, ""));
    }
    Err(Failure::usage(not, "without a terminal to ask at, --yes is needed"))
}

/// One line of text; none if there is no terminal.
pub fn line(ui: Ui, label: &str) -> Done<Option<String>> {
    if can_ask(ui) { ask(&format!("{label}: ")).map(Some) } else { Ok(None) }
}

/// Whether a person can answer.
pub fn can_ask(ui: Ui) -> bool {
    ui.err_is_terminal && io::stdin().is_terminal()
}

fn ask(question: &str) -> Done<String> {
    let mut err = io::stderr();
    err.write_all(question.as_bytes())?;
    err.flush()?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        return Err(Failure::new(Exit::Failure, "no answer", ""));
    }
    Ok(answer.trim().to_owned())
}
