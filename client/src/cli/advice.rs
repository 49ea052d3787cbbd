//! What a person can do about an error of the library, and which exit code it is.

use lockstep_api::account::SessionEnd;
use lockstep_api::problem::{Code, Problem};
use lockstep_client::{Error, error::NotProven};
use lockstep_events::event::RevokeReason;

use super::{
    failure::{Exit, Failure},
    verbs::watch::clock,
};

/// What to do while an alarm holds what waits to be sent.
pub const HELD: &str =
    "see `lockstep status` and speak with the server's operator; `lockstep status --seen` lets it go";

/// What to do on a device that was revoked.
pub const DEVICE_REVOKED: &str =
    "log in with another --home; what is here stays readable and can be exported: lockstep export --offline";

/// A library error as a command's failure: which code, and what to do next.
pub fn failure_of(error: &Error) -> Failure {
    let (exit, advice) = advice(error);
    let message = match error {
        Error::NoProfile(home) => format!("not logged in: there is no profile in {}", home.display()),
        Error::Offline(cause) => format!("the server cannot be reached ({})", root_cause(cause.as_ref())),
        Error::Local(cause) => format!("the local database failed: {cause}"),
        Error::File(cause) => format!("a file of the profile failed: {cause}"),
        Error::Revoked(Some(SessionEnd { at: Some(at), .. })) => {
            format!("{error} ({} UTC)", clock(at.seconds()))
        }
        Error::Refused { problem, .. } => refusal(problem).unwrap_or_else(|| error.to_string()),
        other => other.to_string(),
    };
    let failure = Failure::new(exit, message, advice);
    match error {
        Error::Refused { problem, .. } => failure.fact("problem", problem.code.as_str()),
        Error::Alarm(kind) => failure.fact("alarm", kind.as_str()),
        Error::Revoked(end) => failure.fact("ended", serde_json::json!(end)),
        Error::Held(kind) => failure.fact("alarm", kind.as_str()).fact("held", true),
        _ => failure,
    }
}

/// What the server says of this time alone, where the sentence for all times adds nothing to it. In one line, whatever it
/// wrote.
fn refusal(problem: &Problem) -> Option<String> {
    let alone = problem.code == Code::PreconditionFailed;
    let detail = problem.detail.as_deref().filter(|detail| alone && !detail.is_empty());
    detail.map(|detail| detail.replace(|c: char| c.is_control(), " "))
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
        Error::NotProven(why) => fixed(Exit::Locked, not_proven(*why)),
        Error::Offline(_) => {
            fixed(Exit::Offline, "check the network and the address; what you wrote is safe here")
        }
        Error::Certificate => fixed(
            Exit::Alarm,
            "do not go on until the server's operator explains the new certificate; then: lockstep login --fingerprint \
                 HEX, or lockstep login --ca FILE",
        ),
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
                Code::SecondFactorFailed => {
                    return fixed(
                        Exit::Locked,
                        "each code works once: wait for the app's next one and see that the telephone's clock is right, or \
                         take another from the paper",
                    );
                }
                Code::Unauthenticated | Code::TokenExpired | Code::Revoked | Code::LoginFailed => {
                    Exit::Locked
                }
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
        Error::Revoked(end) => fixed(Exit::Locked, ended(end.and_then(|end| end.reason))),
        Error::KeyStore(_) => fixed(
            Exit::Failure,
            "`lockstep unlock` keeps it open in memory; `lockstep unlock --keep file` in a file, which is weaker",
        ),
        Error::NotFound | Error::ContentGone => fixed(Exit::NotFound, ""),
        Error::FileGone | Error::ContentLost => {
            fixed(Exit::NotFound, "a device that has opened it before brings it back: edit the entry there")
        }
        Error::Local(cause) => fixed(Exit::Failure, local_advice(cause)),
        Error::File(cause) if cause.kind() == std::io::ErrorKind::Interrupted => fixed(Exit::Interrupted, ""),
        Error::File(cause) if cause.kind() == std::io::ErrorKind::StorageFull => {
            fixed(Exit::Failure, "make room on the disk of the profile directory")
        }
        Error::File(_) => fixed(Exit::Failure, "see that the profile directory (--home) can be written"),
        Error::Damaged("kept.json") => fixed(Exit::Failure, HALF_KEPT),
        Error::Damaged(_) => fixed(Exit::Failure, DAMAGED),
        _ => fixed(Exit::Failure, ""),
    }
}

const fn not_proven(why: NotProven) -> &'static str {
    match why {
        NotProven::Link => {
            "letters go only to an address that was confirmed, and a link works once: ask for another one, or log in \
             with the password and see: lockstep email"
        }
        NotProven::Browser => "try again, and sign in with the browser within ten minutes",
        NotProven::Provider => "try again; if it stays so, log in with the password: lockstep login",
        NotProven::Unlinked => "log in with the password, and link it: lockstep identities link PROVIDER",
        NotProven::Another => {
            "choose one of this profile's account, or name another profile with --home; nothing was changed"
        }
        NotProven::Taken => {
            "choose another one at the provider; where it is linked now, `lockstep identities unlink` sets it free"
        }
    }
}

/// What to do about a session that has ended for a reason.
const fn ended(reason: Option<RevokeReason>) -> &'static str {
    match reason {
        Some(RevokeReason::DeviceRevoked) => DEVICE_REVOKED,
        Some(RevokeReason::PasswordChanged) => {
            "`lockstep login` with the new password opens another; if it was not you: lockstep recovery use, with \
             another --home"
        }
        Some(RevokeReason::EmailChanged) => {
            "`lockstep login` opens another; where the address before was the name to log in with, it is now the new one: \
             lockstep login --email ADDR; if it was not you: lockstep help email"
        }
        Some(RevokeReason::Recovered) => {
            "`lockstep login` with the new password opens another; if it was not you, speak with the server's operator"
        }
        Some(RevokeReason::FactorChanged | RevokeReason::RefreshReuse) => {
            "`lockstep login` opens another; if it was not you: lockstep passwd, then lockstep devices"
        }
        Some(RevokeReason::Disabled | RevokeReason::PlanBanned) => {
            "speak with the server's operator; what is on this device stays readable"
        }
        Some(RevokeReason::Deletion) => {
            "where an administrator asked for it, the server's operator calls it off; what is on this device stays \
             readable: lockstep export --offline"
        }
        _ => {
            "`lockstep login` opens another, unless the account was erased; what is on this device stays readable: \
             lockstep export --offline"
        }
    }
}

/// Whatever was sent is on the server.
const HALF_KEPT: &str = "`lockstep lock` takes it away, `lockstep unlock --keep` writes it anew";
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_know_that_the_account_was_erased_is_told_how_to_keep_what_is_here() {
        let ended = failure_of(&Error::Revoked(None)).advice;
        assert!(ended.contains("erased") && ended.contains("export --offline"), "{ended}");
    }

    #[test]
    fn what_the_server_says_of_this_time_stands_alone_where_the_sentence_for_all_times_adds_nothing() {
        let said = |problem: Problem| {
            failure_of(&Error::Refused { problem: Box::new(problem), retry_after: None }).message
        };
        let held = Problem::new(Code::PreconditionFailed).detail("this token was used\nerror: or not");
        assert_eq!(said(held), "this token was used error: or not");
        assert_eq!(said(Problem::new(Code::PreconditionFailed)), "What was expected does not hold");
        let field = Problem::new(Code::InvalidField).detail("no such plan");
        assert_eq!(said(field), "A field is unknown, missing or of the wrong type: no such plan");
    }
}
