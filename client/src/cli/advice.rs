//! What a person can do about an error of the library, and which exit code it is.

use lockstep_api::problem::Code;
use lockstep_client::Error;

use super::failure::{Exit, Failure};

/// What to do while an alarm holds what waits to be sent.
pub const HELD: &str =
    "see `lockstep status` and speak with the server's operator; `lockstep status --seen` lets it go";

/// A library error as a command's failure: which code, and what to do next.
pub fn failure_of(error: &Error) -> Failure {
    let (exit, advice) = advice(error);
    let message = match error {
        Error::NoProfile(home) => format!("not logged in: there is no profile in {}", home.display()),
        Error::Offline(cause) => format!("the server cannot be reached ({})", root_cause(cause.as_ref())),
        Error::Local(cause) => format!("the local database failed: {cause}"),
        Error::File(cause) => format!("a file of the profile failed: {cause}"),
        other => other.to_string(),
    };
    let failure = Failure::new(exit, message, advice);
    match error {
        Error::Refused { problem, .. } => failure.fact("problem", problem.code.as_str()),
        Error::Alarm(kind) => failure.fact("alarm", kind.as_str()),
        Error::Held(kind) => failure.fact("alarm", kind.as_str()).fact("held", true),
        _ => failure,
    }
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn advice(error: &Error) -> (Exit, String) {
    let fixed = |exit, advice: &str| (exit, advice.to_owned());
    match error {
        Error::NoProfile(_) => {
            fixed(Exit::Locked, "begin with `lockstep register` or `lockstep login`, or name another --home")
        }
        Error::ProfileExists(_) => {
            fixed(Exit::Usage, "name another directory with --home, or `lockstep logout` first")
        }
        Error::Occupied(_) => fixed(Exit::Usage, "name an empty or new one with --home"),
        Error::Password(_) => fixed(Exit::Usage, "`lockstep generate --words 6` makes a good one"),
        Error::WrongPassword | Error::LoginFailed => fixed(Exit::Locked, "try again; nothing was changed"),
        Error::Offline(_) => {
            fixed(Exit::Offline, "check the network and the address; what you wrote is safe here")
        }
        Error::Certificate => {
            fixed(Exit::Alarm, "do not go on until the server's operator explains the new certificate")
        }
        Error::Address(_) => fixed(Exit::Usage, "an address is https://HOST[:PORT]"),
        Error::Refused { problem, retry_after } => {
            let wait = retry_after.map(|wait| match wait.as_secs() {
                seconds @ ..120 => format!("try again in {} s", seconds.max(1)),
                seconds => format!("try again in {} minutes", seconds.div_ceil(60)),
            });
            let exit = match problem.code {
                Code::NotFound => Exit::NotFound,
                Code::NameTaken => return fixed(Exit::Refused, "if it is yours: lockstep login"),
                Code::SecondFactorRequired => {
                    return fixed(Exit::Locked, "set LOCKSTEP_CODE, or use a terminal");
                }
                Code::Unauthenticated
                | Code::TokenExpired
                | Code::Revoked
                | Code::LoginFailed
                | Code::SecondFactorFailed => Exit::Locked,
                _ if problem.status >= 500 => Exit::Offline,
                _ => Exit::Refused,
            };
            (exit, wait.unwrap_or_default())
        }
        Error::Alarm(_) => fixed(
            Exit::Alarm,
            "nothing of it was applied; see `lockstep status` and speak with the server's operator",
        ),
        Error::Held(_) => fixed(Exit::Alarm, HELD),
        Error::Revoked => fixed(Exit::Locked, "`lockstep login` opens a new one"),
        Error::KeyStore(_) => fixed(
            Exit::Failure,
            "`lockstep unlock` keeps it open in memory; `lockstep unlock --keep file` in a file, which is weaker",
        ),
        Error::NotFound | Error::ContentGone => fixed(Exit::NotFound, ""),
        Error::Local(cause) => fixed(Exit::Failure, local_advice(cause)),
        Error::File(cause) if cause.kind() == std::io::ErrorKind::Interrupted => fixed(Exit::Interrupted, ""),
        Error::File(cause) if cause.kind() == std::io::ErrorKind::StorageFull => {
            fixed(Exit::Failure, "make room on the disk of the profile directory")
        }
        Error::File(_) => fixed(Exit::Failure, "see that the profile directory (--home) can be written"),
        Error::Damaged(_) => fixed(Exit::Failure, DAMAGED),
        _ => fixed(Exit::Failure, ""),
    }
}

/// Whatever was sent is on the server.
const DAMAGED: &str = "move the profile directory away, or restore it, and `lockstep login`: what was sent comes back from the server";

/// By the primary result code of SQLite.
fn local_advice(cause: &sqlx::Error) -> &'static str {
    let code = cause.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(13) => "make room on the disk of the profile directory; nothing that was saved is lost",
        Some(8 | 14) => "see that the profile directory (--home) is whole and can be written",
        Some(5 | 6) => "another lockstep is at work in this profile; try again",
        Some(11) => DAMAGED,
        _ => "",
    }
}
