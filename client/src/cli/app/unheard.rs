//! What the server does once and for all, and answers once: whoever is kept from the answer is told what it may have done.

use lockstep_client::Error;

use super::App;
use crate::cli::failure::{Done, Failure};

impl App {
    /// To be called when it goes to the server: from then on this is said if Ctrl-C comes, or anything else.
    pub fn sending(&self, perhaps: &'static str) -> impl FnOnce() + Send {
        move || {
            self.if_cut_off(Some(perhaps));
        }
    }

    /// What came of it; `failed` says why nothing did.
    ///
    /// # Errors
    /// As it ended.
    pub fn heard<T>(&self, ended: Result<T, Error>, failed: impl FnOnce(Error) -> Failure) -> Done<T> {
        let sent = self.if_cut_off(None);
        ended.map_err(|error| failure(error, sent, failed))
    }

    /// Ctrl-C came: says what has to be said of what it broke off.
    pub fn was_cut_off(&self) {
        if let Some(text) = self.if_cut_off(None) {
            self.ui.warn(text);
        }
    }

    /// What has to be said if Ctrl-C comes from now on; what had to be until now.
    fn if_cut_off(&self, text: Option<&'static str>) -> Option<&'static str> {
        let mut kept = self.if_cut_off.lock().ok()?;
        std::mem::replace(&mut *kept, text)
    }
}

/// Why it did not end, with what that means once it was sent: only a refusal says that nothing was changed.
fn failure(error: Error, sent: Option<&str>, failed: impl FnOnce(Error) -> Failure) -> Failure {
    let refused = matches!(error, Error::Refused { .. } | Error::Revoked(_) | Error::LoginFailed)
        && !error.is_transient();
    let failure = failed(error);
    match sent {
        Some(perhaps) if !refused => Failure { advice: perhaps.to_owned(), ..failure },
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use lockstep_api::problem::{Code, Problem};
    use lockstep_client::model::AlarmKind;

    use super::*;

    fn refused(code: Code) -> Error {
        Error::Refused { problem: Box::new(Problem::new(code)), retry_after: None }
    }

    fn said(error: Error, sent: Option<&str>) -> Failure {
        failure(error, sent, Failure::from)
    }

    #[test]
    fn only_a_refusal_says_that_what_was_sent_changed_nothing() {
        let unknown: [fn() -> Error; 6] = [
            || Error::Offline("cut off".into()),
            || refused(Code::Internal),
            || refused(Code::CredentialsUnavailable),
            || Error::Protocol("no answer"),
            || Error::Alarm(AlarmKind::Keys),
            || Error::File(std::io::ErrorKind::StorageFull.into()),
        ];
        for error in unknown {
            assert_eq!(said(error(), Some("perhaps")).advice, "perhaps", "{:?}", error());
            assert_ne!(said(error(), None).advice, "perhaps", "it was not sent: {:?}", error());
            assert_eq!(said(error(), Some("perhaps")).exit, Failure::from(error()).exit);
        }
        let known: [fn() -> Error; 3] =
            [|| refused(Code::InvalidField), || Error::Revoked(None), || Error::LoginFailed];
        for error in known {
            assert_ne!(said(error(), Some("perhaps")).advice, "perhaps", "{:?}", error());
        }
    }
}
