//! What of an account's news a person has to be told, whatever was asked for.

use lockstep_client::{Client, model::Change};
use lockstep_events::{DeviceId, Micros};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use super::{
    ui::Ui,
    verbs::watch::{clock, now, short_device},
};

/// Listens to what is applied from here on.
pub struct Alerts {
    changes: Receiver<Change>,
    own: DeviceId,
    /// A coming erasure is told though it is old.
    again: bool,
}

/// The last of each kind.
#[derive(Default)]
struct Heard {
    reused: bool,
    erasure: Option<bool>,
    named: Option<(Micros, Option<DeviceId>)>,
    changed: Option<Micros>,
}

impl Alerts {
    /// Begins to listen. What device `own` did its person knows.
    pub fn of(client: &Client, own: DeviceId) -> Self {
        Self { changes: client.changes(), own, again: false }
    }

    /// A coming erasure is told, whenever this device heard of it.
    pub const fn erasure_is_news(&mut self) {
        self.again = true;
    }

    /// Says what came meanwhile: the last of each kind. `due` is when the account is going to be erased.
    pub fn tell(mut self, ui: Ui, due: Option<Micros>) {
        let mut heard = Heard::default();
        loop {
            match self.changes.try_recv() {
                Ok(change) => heard.hear(&change),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        heard.tell(ui, self.own);
        if let Some(due) = due.filter(|_| self.again || heard.erasure == Some(true)) {
            ui.warn(of_an_erasure(due, now()));
        }
    }
}

impl Heard {
    fn hear(&mut self, change: &Change) {
        let Change::Account { kind, device, at } = change else { return };
        match kind.as_str() {
            "session.refresh_reused" => self.reused = true,
            "account.erasure_requested" => self.erasure = Some(true),
            "account.erasure_cancelled" => self.erasure = Some(false),
            "account.email_set" => self.named = Some((*at, *device)),
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
        if let Some(text) = self.address(own) {
            ui.warn(text);
        }
        if self.erasure == Some(false) {
            ui.say("The erasure of this account was called off.");
        }
    }

    /// What became of the account's address by another device than this one.
    fn address(&self, own: DeviceId) -> Option<String> {
        let (at, device) = self.named?;
        if device == Some(own) {
            return None;
        }
        let by = device
            .map_or_else(|| "another device".to_owned(), |device| format!("device {}", short_device(device)));
        let at = clock(at.seconds());
        let revoke = device
            .map_or_else(String::new, |device| format!(", lockstep devices revoke {}", short_device(device)));
        Some(match self.changed {
            Some(changed) if changed >= self.named?.0 => format!(
                "the address of this account was changed: {by} named another at {at}, and it was confirmed at {} (UTC). \
                 If it was not you: lockstep passwd{revoke}, lockstep email set YOURS; the address before still is a \
                 name to log in with for seven days, and so is it for lockstep recovery use",
                clock(changed.seconds()),
            ),
            _ => format!(
                "{by} named another address for this account at {at} (UTC); once it is confirmed, it takes the place of \
                 the present one. If it was not you: lockstep email cancel, lockstep passwd{revoke}",
            ),
        })
    }
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
pub fn about(change: &Change, own: DeviceId) -> Option<String> {
    let mut heard = Heard::default();
    heard.hear(change);
    heard.address(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn device(n: u128) -> DeviceId {
        Uuid::from_u128(n << 96).into()
    }

    fn news(kind: &str, by: Option<u128>, at: i64) -> Change {
        Change::Account { kind: kind.to_owned(), device: by.map(device), at: Micros(at * 1_000_000) }
    }

    fn said(all: &[Change]) -> Option<String> {
        let mut heard = Heard::default();
        all.iter().for_each(|change| heard.hear(change));
        heard.address(device(1))
    }

    #[test]
    fn an_address_that_another_device_named_is_told_with_the_device_and_what_to_do() {
        let named = news("account.email_set", Some(2), 60);
        let text = said(std::slice::from_ref(&named)).unwrap();
        assert!(text.starts_with("device 00000002 named another address"), "{text}");
        for wanted in ["1970-01-01 00:01:00", "email cancel", "passwd", "devices revoke 00000002"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert_eq!(about(&named, device(1)), Some(text));
        let changed = said(&[named, news("account.email_confirmed", None, 120)]).unwrap();
        for wanted in ["was changed", "1970-01-01 00:02:00", "recovery use", "devices revoke 00000002"] {
            assert!(changed.contains(wanted), "{wanted}: {changed}");
        }
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
        assert_eq!(said(&[own, news("account.email_confirmed", None, 120)]), None);
        assert_eq!(said(&[news("account.email_confirmed", None, 120)]), None);
    }
}
