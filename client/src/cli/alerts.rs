//! What of an account's news a person has to be told, whatever was asked for.

use lockstep_api::FORMER_ADDRESS_S;
use lockstep_client::{Client, model::Change};
use lockstep_events::{DeviceId, Micros};
use serde::Serialize;
use tokio::{
    sync::{
        broadcast::{
            Receiver,
            error::{RecvError, TryRecvError},
        },
        oneshot,
    },
    task::JoinHandle,
};

mod ways_in;

use self::ways_in::WaysIn;
use super::{
    ui::Ui,
    verbs::watch::{clock, now, short_device},
};

/// Listens to what is applied from here on.
pub struct Alerts {
    /// Ends the listening, and has what was heard.
    listening: Option<(oneshot::Sender<()>, JoinHandle<Heard>)>,
    heard: Heard,
    own: DeviceId,
    /// A coming erasure is told though it is old.
    again: bool,
}

/// The last of each kind.
#[derive(Default)]
struct Heard {
    reused: bool,
    /// That one was asked for, or was called off at a time.
    erasure: Option<Erasure>,
    /// When an address was named, by which device, and whether it is the account's first.
    named: Option<(Micros, Option<DeviceId>, bool)>,
    changed: Option<Micros>,
    ways: WaysIn,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Erasure {
    Asked,
    CalledOff(Micros),
}

/// What another device did to a way into the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// What it did, as a stable word.
    notice: &'static str,
    /// The device, if it is known.
    device: Option<DeviceId>,
    /// When the server recorded it.
    at: Micros,
    /// The same for people, and what to do if it was somebody else.
    pub text: String,
}

impl Alerts {
    /// Begins to listen. What device `own` did its person knows.
    pub fn of(client: &Client, own: DeviceId) -> Self {
        // It hears while the command works: what comes with thousands of entries is not pushed out by them.
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(listen(client.changes(), stopped));
        Self { listening: Some((stop, task)), heard: Heard::default(), own, again: false }
    }

    /// A coming erasure is told, whenever this device heard of it.
    pub const fn erasure_is_news(&mut self) {
        self.again = true;
    }

    /// Says what came meanwhile: the last of each kind. `due` is when the account is going to be erased.
    pub async fn tell(mut self, ui: Ui, due: Option<Micros>) {
        self.stop().await;
        self.heard.tell(ui, self.own);
        if let Some(due) = due.filter(|_| self.again || self.heard.erasure == Some(Erasure::Asked)) {
            ui.warn(of_an_erasure(due, now()));
        }
    }

    /// What other devices did to the ways into the account. It listens no longer.
    pub async fn notices(&mut self) -> Vec<Notice> {
        self.stop().await;
        self.heard.notices(self.own)
    }

    async fn stop(&mut self) {
        if let Some((stop, task)) = self.listening.take() {
            // It hears until then.
            drop(stop);
            self.heard = task.await.unwrap_or_default();
        }
    }
}

async fn listen(mut changes: Receiver<Change>, mut stopped: oneshot::Receiver<()>) -> Heard {
    let mut heard = Heard::default();
    loop {
        tokio::select! {
            change = changes.recv() => match change {
                Ok(change) => heard.hear(&change),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return heard,
            },
            _ = &mut stopped => break,
        }
    }
    loop {
        match changes.try_recv() {
            Ok(change) => heard.hear(&change),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return heard,
        }
    }
}

impl Heard {
    fn hear(&mut self, change: &Change) {
        let Change::Account { kind, what, device, at } = change else { return };
        self.ways.hear((kind, what.as_deref()), *device, *at);
        match kind.as_str() {
            "session.refresh_reused" => self.reused = true,
            "account.erasure_requested" => self.erasure = Some(Erasure::Asked),
            "account.erasure_cancelled" => self.erasure = Some(Erasure::CalledOff(*at)),
            "account.email_set" => self.named = Some((*at, *device, what.as_deref() == Some("first"))),
            "account.email_confirmed" => self.changed = Some(*at),
            _ => {}
        }
    }

    fn tell(&self, ui: Ui, own: DeviceId) {
        if self.reused {
            ui.warn(
                "a session of this account was used from two places: a profile was copied, or its token stolen. \
                 If it was not you: lockstep passwd, then lockstep devices",
            );
        }
        for notice in self.notices(own) {
            ui.warn(notice.text);
        }
        if let Some(Erasure::CalledOff(at)) = self.erasure {
            ui.say(format!("The erasure of this account was called off, at {} (UTC).", clock(at.seconds())));
        }
    }

    fn notices(&self, own: DeviceId) -> Vec<Notice> {
        let address = self.address(own, now()).zip(self.named).map(|(text, (at, device, _))| {
            let changed = self.changed.is_some_and(|changed| changed >= at);
            let notice = if changed { "address_changed" } else { "address_named" };
            Notice { notice, device, at, text }
        });
        address.into_iter().chain(self.ways.notices(own)).collect()
    }

    /// What became of the account's address by another device than this one.
    fn address(&self, own: DeviceId, now: i64) -> Option<String> {
        let (named, device, first) = self.named?;
        if device == Some(own) {
            return None;
        }
        let by = by(device);
        let at = clock(named.seconds());
        let revoke = revoke(device);
        Some(match self.changed.filter(|changed| *changed >= named) {
            Some(changed) if first => format!(
                "{by} named an address for this account at {at}, and it was confirmed at {} (UTC). If it was not you: \
                 lockstep passwd{revoke}, lockstep email set YOURS",
                clock(changed.seconds()),
            ),
            None if first => format!(
                "{by} named an address for this account at {at} (UTC). If it was not you: lockstep email cancel, lockstep \
                 passwd{revoke}",
            ),
            Some(changed) => format!(
                "the address of this account was changed: {by} named another at {at}, and it was confirmed at {} (UTC). \
                 If it was not you: lockstep passwd{revoke}, lockstep email set YOURS{}",
                clock(changed.seconds()),
                before(changed, now),
            ),
            None => format!(
                "{by} named another address for this account at {at} (UTC); once it is confirmed, it takes the place of \
                 the present one. If it was not you: lockstep email cancel, lockstep passwd{revoke}",
            ),
        })
    }
}

/// What the address before is still good for, until it is not.
fn before(changed: Micros, now: i64) -> String {
    let until = changed.seconds() + FORMER_ADDRESS_S;
    if now >= until {
        return String::new();
    }
    format!(
        "; until {} the address before still is a name to log in with, and so is it for lockstep recovery use",
        clock(until)
    )
}

fn by(device: Option<DeviceId>) -> String {
    device.map_or_else(|| "another device".to_owned(), |device| format!("device {}", short_device(device)))
}

/// What ends the access of who did it, after other advice.
fn revoke(device: Option<DeviceId>) -> String {
    device.map_or_else(String::new, |device| format!(", lockstep devices revoke {}", short_device(device)))
}

/// What there is to know and to do about an erasure that begins at a time.
fn of_an_erasure(due: Micros, now: i64) -> String {
    let at = clock(due.seconds());
    if now < due.seconds() {
        format!("this account is going to be erased at {at} UTC: lockstep account keep calls that off")
    } else {
        format!(
            "this account was to be erased at {at} UTC; what is here stays readable: lockstep export --offline"
        )
    }
}

/// What is said about one piece of news as it comes.
pub fn about(change: &Change, own: DeviceId) -> Option<Notice> {
    let mut heard = Heard::default();
    heard.hear(change);
    heard.notices(own).pop()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn device(n: u128) -> DeviceId {
        Uuid::from_u128(n << 96).into()
    }

    #[test]
    fn the_first_address_is_told_without_one_that_was_before_it() {
        let first = |kind: &str, by: Option<u128>, at: i64| match news(kind, by, at) {
            Change::Account { kind, device, at, .. } => {
                Change::Account { kind, what: Some("first".to_owned()), device, at }
            }
            other => other,
        };
        let named = first("account.email_set", Some(2), 60);
        let text = said(std::slice::from_ref(&named), 120).unwrap();
        assert!(text.starts_with("device 00000002 named an address") && !text.contains("present"), "{text}");
        let both = [named, first("account.email_confirmed", None, 120)];
        let text = said(&both, 120).unwrap();
        assert!(text.contains("was confirmed at 1970-01-01 00:02:00") && text.contains("If it was not you"));
        assert!(!text.contains("changed") && !text.contains("before"), "{text}");
    }

    fn news(kind: &str, by: Option<u128>, at: i64) -> Change {
        let (kind, device) = (kind.to_owned(), by.map(device));
        Change::Account { kind, what: None, device, at: Micros(at * 1_000_000) }
    }

    fn said(all: &[Change], now: i64) -> Option<String> {
        let mut heard = Heard::default();
        all.iter().for_each(|change| heard.hear(change));
        heard.address(device(1), now)
    }

    #[test]
    fn an_address_that_another_device_named_is_told_with_the_device_and_what_to_do() {
        let named = news("account.email_set", Some(2), 60);
        let text = said(std::slice::from_ref(&named), 120).unwrap();
        assert!(text.starts_with("device 00000002 named another address"), "{text}");
        for wanted in ["1970-01-01 00:01:00", "email cancel", "passwd", "devices revoke 00000002"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert_eq!(about(&named, device(1)).unwrap().text, text);
        let both = [named, news("account.email_confirmed", None, 120)];
        let changed = said(&both, 120).unwrap();
        for wanted in [
            "was changed",
            "1970-01-01 00:02:00",
            "until 1970-01-08 00:02:00",
            "recovery use",
            "devices revoke 00000002",
        ] {
            assert!(changed.contains(wanted), "{wanted}: {changed}");
        }
        let over = said(&both, 120 + FORMER_ADDRESS_S).unwrap();
        assert!(over.contains("was changed") && !over.contains("recovery use"), "{over}");
    }

    #[tokio::test]
    async fn what_came_before_more_than_fits_at_once_is_heard() {
        let (send, changes) = tokio::sync::broadcast::channel(2);
        let (stop, stopped) = oneshot::channel();
        let heard = tokio::spawn(listen(changes, stopped));
        send.send(news("account.email_set", Some(2), 60)).unwrap();
        for n in 0..100 {
            tokio::task::yield_now().await;
            send.send(Change::Purged { entry: Uuid::from_u128(n).into() }).unwrap();
        }
        drop(stop);
        assert_eq!(heard.await.unwrap().notices(device(1)).len(), 1);
    }

    #[test]
    fn an_erasure_that_is_over_is_not_called_off_any_more() {
        let due = Micros(60_000_000);
        assert!(of_an_erasure(due, 59).contains("1970-01-01 00:01:00 UTC: lockstep account keep"));
        let over = of_an_erasure(due, 60);
        assert!(over.contains("export --offline") && !over.contains("keep"), "{over}");
    }

    #[test]
    fn an_address_that_this_device_named_is_no_news() {
        let own = news("account.email_set", Some(1), 60);
        assert_eq!(said(&[own, news("account.email_confirmed", None, 120)], 120), None);
        assert_eq!(said(&[news("account.email_confirmed", None, 120)], 120), None);
    }
}
