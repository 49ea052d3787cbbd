//! `/v1/admin`: looking after accounts. Nothing here gives a ciphertext, a wrap or a name, sets a password or adds a
//! device; there is no run-time configuration. Everything that is asked and done is an event first.

mod accounts;
mod acts;
mod audit;
mod bootstrap;
mod invitations;
mod page;
mod proposals;
mod roll;
mod why;

use lockstep_api::Code;

use super::{Failure, Routes};
use crate::commands::admin::AdminError;

/// The routes of this folder.
pub fn routes() -> Routes {
    Routes::all([
        accounts::routes(),
        acts::routes(),
        audit::routes(),
        bootstrap::routes(),
        invitations::routes(),
        proposals::routes(),
    ])
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NoAccount => Code::NotFound.into(),
            AdminError::Illegal(what) => Self::from(Code::PreconditionFailed).detail(what),
            AdminError::Invalid(what) => Self::from(Code::InvalidField).detail(what),
            AdminError::TakesTwo => Self::from(Code::Forbidden).detail(error.to_string()),
            AdminError::Contended => Self::caused(Code::LogUnavailable, error),
            AdminError::Subjects(error) => error.into(),
            AdminError::Look(error) => error.into(),
            AdminError::Log(error) => error.into(),
            AdminError::Credentials(error) => error.into(),
        }
    }
}
