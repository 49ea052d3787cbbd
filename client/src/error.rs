//! What can go wrong in the client, by what a person can do about it.

use std::{path::PathBuf, time::Duration};

use lockstep_api::{Code, Problem, account::SessionEnd};
use lockstep_events::event::RevokeReason;

use crate::{
    crypto::{Rejected, password::PasswordError, version::MakeError},
    model::AlarmKind,
};

/// The client library's error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no profile in this directory.
    #[error("there is no profile in {0}: register or log in first")]
    NoProfile(PathBuf),
    /// There is a profile of an account already.
    #[error("{0} holds a profile already")]
    ProfileExists(PathBuf),
    /// The directory holds what is not of a profile.
    #[error("{0} holds other files, and a profile has a directory of its own")]
    Occupied(PathBuf),
    /// The password cannot be used.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The local password does not open this profile.
    #[error("the password does not open this profile")]
    WrongPassword,
    /// Name or password are not right, or the server is not the one that holds the account.
    #[error("the name or the password is not right")]
    LoginFailed,
    /// A mailed link or an identity elsewhere did not prove who one is.
    #[error("{0}")]
    NotProven(NotProven),
    /// The server cannot be reached; what was done is kept and goes out later.
    #[error("the server cannot be reached")]
    Offline(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server's certificate is not the one that this profile trusts.
    #[error("the server's certificate is not the one that this profile trusts")]
    Certificate,
    /// The address is not one of a server.
    #[error("not an address of a server: {0}")]
    Address(String),
    /// The server refused.
    #[error("{}", describe(.problem))]
    Refused {
        /// Its words.
        problem: Box<Problem>,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The server answered with something that is no answer.
    #[error("the server's answer is not one: {0}")]
    Protocol(&'static str),
    /// Something received is not authentic. An alarm was kept.
    #[error("not applied: {0}")]
    Alarm(AlarmKind),
    /// Something received was not authentic, and nobody has looked at the alarm yet: what waits, waits.
    #[error("nothing is sent until a person has seen the alarm: {0}")]
    Held(AlarmKind),
    /// This device or its session was revoked: when and why, if the server told.
    #[error("{}", why_ended(*.0))]
    Revoked(Option<SessionEnd>),
    /// A newer program wrote something that this one does not know.
    #[error("update this program: it does not know {0}")]
    UpdateNeeded(String),
    /// No such entry or version here.
    #[error("no such entry or version")]
    NotFound,
    /// The content of the version is not on this device and not on the server.
    #[error("the content of this version is gone")]
    ContentGone,
    /// The file is not on this device and not on the server.
    #[error("the server does not have this file")]
    FileGone,
    /// The content of the version should be on the server, which does not have it any more, and is not on this device.
    #[error("the server has lost this file")]
    ContentLost,
    /// The request contradicts what is known: for example a resolution that names a version of another entry.
    #[error("{0}")]
    Invalid(&'static str),
    /// A file of this profile does not have its form.
    #[error("{0} is damaged")]
    Damaged(&'static str),
    /// A version cannot be made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// A key or box of this profile does not open.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// Nothing keeps this profile open.
    #[error("nothing keeps this profile open")]
    NotKept,
    /// The key store of the system cannot be used.
    #[error("the key store of this system cannot be used: {0}")]
    KeyStore(String),
    /// The local database failed.
    #[error("the local database failed")]
    Local(#[from] sqlx::Error),
    /// A file of the profile failed.
    #[error("a file of the profile failed")]
    File(#[from] std::io::Error),
}

/// In one line, whatever the server wrote: a second one could pass for a line of the program.
fn describe(problem: &Problem) -> String {
    let words = match &problem.detail {
        Some(detail) => format!("{}: {detail}", problem.title),
        None => problem.title.clone(),
    };
    words.replace(|c: char| c.is_control(), " ")
}

/// Why a way in besides the password did not lead to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// Nobody pressed a mailed link in time.
    #[error("nobody opened the link and pressed its button in time")]
    Link,
    /// Nobody came back from the browser in time.
    #[error("nobody came back from the browser in time")]
    Browser,
    /// The provider, or the server that looked at its answer, refused.
    #[error("the identity provider's answer was refused")]
    Provider,
    /// The identity is linked to no account.
    #[error("the identity is not linked to this account")]
    Unlinked,
    /// It was proven, and is another account than the profile's.
    #[error("this belongs to another account than this profile")]
    Another,
    /// The identity that was to be linked is another account's.
    #[error("another account has this identity")]
    Taken,
}

const fn why_ended(end: Option<SessionEnd>) -> &'static str {
    let Some(end) = end else { return "this session has ended" };
    let Some(reason) = end.reason else { return "this session has run out" };
    match reason {
        RevokeReason::Logout => "this session was logged out",
        RevokeReason::Remote | RevokeReason::Others => {
            "this session was ended from another device of the account"
        }
        RevokeReason::DeviceRevoked => "this device was revoked",
        RevokeReason::RefreshReuse => {
            "this session was used from two places, and has ended: a profile was copied, or its token stolen"
        }
        RevokeReason::Replaced => "this device has opened a newer session",
        RevokeReason::DeviceLimit => "the account has too many devices, and this session was ended",
        RevokeReason::PasswordChanged => {
            "the password of the account was changed, and this session was ended"
        }
        RevokeReason::Recovered => "the recovery code of the account was used, and this session was ended",
        RevokeReason::EmailChanged => "the address of the account was changed, and this session was ended",
        RevokeReason::RoleChanged => "the role of the account was changed, and this session was ended",
        RevokeReason::PlanBanned => "the plan of the account forbids access",
        RevokeReason::Admin => "an administrator ended this session",
        RevokeReason::Disabled => "an administrator disabled the account",
        RevokeReason::Deletion => "the account is going to be erased, and this session was ended",
        RevokeReason::FactorChanged => {
            "the second factors of the account were changed, and this session was ended"
        }
    }
}

impl Error {
    /// Whether the same may work later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Offline(_) => true,
            Self::Refused { problem, .. } => problem.status >= 500 || problem.status == 429,
            _ => false,
        }
    }

    /// Whether the server does not reach its store of long ciphertexts: what needs none of them goes on.
    pub fn is_blobs_away(&self) -> bool {
        matches!(self, Self::Refused { problem, .. } if problem.code == Code::BlobsUnavailable)
    }

    /// Whether a store of the server has no room left: what does not go there goes on.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Refused { problem, .. } if problem.code == Code::NoRoom)
    }
}
