//! What a command does at its end, whatever ends it: a request that nobody waits for is withdrawn, what is new about the
//! account is told, and what was opened is closed.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use lockstep_api::Code;
use lockstep_client::{Client, Error, Withdrawal};

use super::App;
use crate::cli::{
    alerts::{Alerts, Notice},
    verbs::watch::short_device,
};

/// Waits no longer than a person would.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is left to be done.
#[derive(Default)]
pub(super) struct Ending {
    /// The client that was opened.
    opened: Mutex<Option<Client>>,
    /// What is heard of the account meanwhile.
    alerts: Mutex<Option<Alerts>>,
    /// A request to be approved that is waited for.
    asked: Mutex<Option<Withdrawal>>,
}

fn put<T>(place: &Mutex<Option<T>>, value: Option<T>) -> Option<T> {
    std::mem::replace(&mut *place.lock().unwrap_or_else(PoisonError::into_inner), value)
}

impl App {
    /// Remembers a client, so that [`App::close`] closes it.
    pub fn keep(&self, client: Client) -> Client {
        put(&self.ending.opened, Some(client.clone()));
        client
    }

    /// As [`App::keep`], for a profile that was here before: what is new about its account is told at the end. To a new
    /// device all of the account's past would be news.
    pub fn listening(&self, client: Client) -> Client {
        if self.offline {
            client.leave_server_alone();
        }
        self.tell_at_end(Client::profile(&self.home).ok().map(|own| Alerts::of(&client, own.device)));
        self.keep(client)
    }

    /// What is told at the end; nothing for who tells by itself.
    pub fn tell_at_end(&self, alerts: Option<Alerts>) {
        put(&self.ending.alerts, alerts);
    }

    /// A coming erasure is told at the end of this command, whether it is news or not.
    pub fn tell_of_an_erasure(&self) {
        if let Some(mut alerts) = put(&self.ending.alerts, None) {
            alerts.erasure_is_news();
            self.tell_at_end(Some(alerts));
        }
    }

    /// What other devices did to the ways into the account, as far as it was heard until now. What comes later is not
    /// heard by this command.
    pub async fn notices(&self) -> Vec<Notice> {
        let Some(mut alerts) = put(&self.ending.alerts, None) else { return Vec::new() };
        let notices = alerts.notices().await;
        self.tell_at_end(Some(alerts));
        notices
    }

    /// A request to be approved is withdrawn at the end; none: nobody has to withdraw it any more.
    pub fn withdraw_at_end(&self, asked: Option<Withdrawal>) {
        put(&self.ending.asked, asked);
    }

    /// Withdraws what nobody waits for, tells what is new about the account, and closes what was opened.
    pub async fn close(&self) {
        if let Some(asked) = put(&self.ending.asked, None) {
            self.withdraw(&asked).await;
        }
        let (alerts, opened) = (put(&self.ending.alerts, None), put(&self.ending.opened, None));
        if let Some(alerts) = alerts {
            let due = match &opened {
                Some(client) => client.erasure_due_at().await.ok().flatten(),
                None => None,
            };
            alerts.tell(self.ui, due).await;
        }
        if let Some(client) = opened {
            let _ = tokio::time::timeout(PATIENCE, client.close()).await;
        }
    }

    async fn withdraw(&self, asked: &Withdrawal) {
        let device = short_device(asked.device());
        let why = match tokio::time::timeout(PATIENCE, asked.send()).await {
            Ok(Ok(())) => {
                return self.ui.say("The request is withdrawn: no device can approve it any more.");
            }
            Ok(Err(Error::Refused { problem, .. })) => Some(problem.code),
            _ => None,
        };
        if let Some(warning) = still_stands(why, asked.is_young(), &device) {
            self.ui.warn(warning);
        }
    }
}

/// What a person has to know of a request that was not withdrawn, by what the server said.
fn still_stands(why: Option<Code>, young: bool, device: &str) -> Option<String> {
    Some(match why {
        // It is too old for anybody. A server that knows no withdrawing says the same of one that is not.
        Some(Code::NotFound) if !young => return None,
        Some(Code::PreconditionFailed) => format!(
            "device {device} is approved already, and nobody has its key: lockstep devices revoke {device}, on \
             another device"
        ),
        _ => format!(
            "the request could not be withdrawn: for ten minutes a device that is asked may still approve {device}; \
             do not"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_which_the_server_knows_nothing_is_warned_of_while_it_may_be_approved() {
        let said = |why, young| still_stands(why, young, "81d2aa0b").unwrap_or_default();
        assert!(said(Some(Code::NotFound), true).contains("may still approve 81d2aa0b"));
        assert_eq!(said(Some(Code::NotFound), false), "");
        assert!(said(None, false).contains("may still approve"));
        assert!(said(Some(Code::PreconditionFailed), true).contains("devices revoke 81d2aa0b"));
    }
}
