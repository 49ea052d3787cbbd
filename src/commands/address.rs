//! The address of an account: named by a person who proved the password, confirmed by whoever reads its mail.

use lockstep_events::{
    AccountId, Event, LogError, NewEvent, Outcome, Position, Sealed, Unit,
    event::{AccountEvent, EmailConfirmed, EmailSet, NameLost, RevokeReason},
};
use uuid::Uuid;

use super::{
    account::in_effect,
    end_access::{EndAccess, EndAccessError},
    facts::{Actor, derived, existing_account, new_event},
};
use crate::{
    auth::{
        addresses::{Address, Claims, MailedLink, Purpose, Standing},
        credentials::CredentialError,
    },
    mail::{
        outbox::{About, Task},
        worker,
    },
    state::Server,
    subjects::{self, SubjectError, Subjects},
};

/// Where a sealed address belongs: a row keeps its seal when its standing changes.
const PLACE: &[u8] = b"addresses.sealed";
/// An address is at most so long, in bytes.
const MAX_ADDRESS: usize = 254;
/// What stands before the `@` is at most so long, in bytes.
const MAX_LOCAL: usize = 64;

/// Why an address was not named or confirmed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is not an address.
    #[error("not an e-mail address")]
    Shape,
    /// The link is unknown, used or over, or another address was named since.
    #[error("the link is not valid, or not any more")]
    Gone,
    /// Another account has confirmed the address.
    #[error("the address belongs to another account")]
    Taken,
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// Personal data could not be sealed or opened.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// Sessions could not be ended.
    #[error(transparent)]
    EndAccess(#[from] EndAccessError),
}

/// An address as it may be: one `@`, a local part, a domain of letters, digits, hyphens and dots.
///
/// # Errors
/// [`AddressError::Shape`]
pub fn checked(text: &str) -> Result<&str, AddressError> {
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Shape)?;
    let local_fits = (1..=MAX_LOCAL).contains(&local.len())
        && !local.contains(|c: char| c.is_whitespace() || c.is_control() || "\"(),:;<>@[\\]".contains(c))
        && !local.starts_with('.')
        && !local.ends_with('.');
    let label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let fits = text.len() <= MAX_ADDRESS && local_fits && domain.split('.').all(label);
    if fits { Ok(text) } else { Err(AddressError::Shape) }
}

/// The address itself; none if its owner was erased.
///
/// # Errors
/// [`SubjectError`]
pub async fn open(subjects: &Subjects, address: &Address) -> Result<Option<String>, SubjectError> {
    let sealed = Sealed {
        subject: address.account,
        purpose: subjects::Purpose::Identity.name().to_owned(),
        period: String::new(),
        bytes: address.sealed.clone(),
    };
    let opened = subjects.open(&sealed, PLACE).await?;
    Ok(opened.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()))
}

/// An address is named.
pub struct NameAddress {
    /// Who names it; the password was proven.
    pub actor: Actor,
    /// The address.
    pub address: String,
    /// SHA-256 of the asking client's secret.
    pub initiator: [u8; 32],
}

impl NameAddress {
    /// Names it: from now on it waits for its confirmation, and the present address is told.
    ///
    /// # Errors
    /// [`AddressError`]
    pub async fn run(self, server: &Server) -> Result<(), AddressError> {
        let (account, text) = (self.actor.account, checked(&self.address)?);
        let index = server.keys.name_index(text);
        let present = server.ways.address(account, Standing::Confirmed).await?;
        if present.as_ref().is_some_and(|present| present.index == index) {
            return Ok(());
        }
        let change = Uuid::new_v4();
        let event = self.actor.event(change.into(), None, AccountEvent::EmailSet(EmailSet { change }))?;
        let purpose = subjects::Purpose::Identity;
        let event = server.subjects.seal_into(event, account, purpose, text.as_bytes()).await?;
        append(server, account, vec![event]).await?;
        let sealed = server.subjects.seal(account, purpose, PLACE, text.as_bytes()).await?.bytes;
        let since = server.clock.now();
        let address = Address { account, standing: Standing::Pending, index, sealed, since };
        server.ways.claim_address(&address).await?;
        let confirm = Task::Confirm { account, initiator: self.initiator };
        worker::leave(server, change, &confirm).await?;
        if present.is_some() {
            let told = derived("lockstep/v1/mail-asked", &[change.as_bytes()]);
            let notice = Task::Notice { account, about: About::AddressAsked };
            worker::leave(server, told.0, &notice).await?;
        }
        Ok(())
    }
}

/// An address is confirmed, with the secret of the link that was mailed to it.
pub struct ConfirmAddress {
    /// SHA-256 of the link's secret.
    pub token_hash: [u8; 32],
}

impl ConfirmAddress {
    /// Confirms it. Every step can be done again: a link counts as used only after the last one.
    ///
    /// # Errors
    /// [`AddressError`]
    pub async fn run(self, server: &Server) -> Result<(), AddressError> {
        let now = server.clock.now();
        let link = server.ways.link(self.token_hash, now).await?;
        let link = link.filter(|link| link.purpose == Purpose::Confirm).ok_or(AddressError::Gone)?;
        let standing = server.ways.claims(link.account, link.index).await?;
        let (rivals, replaced) = decide(standing)?;
        let end = EndAccess {
            account: link.account,
            reason: RevokeReason::EmailChanged,
            keep: None,
            actor: None,
            cause: self.token_hash.to_vec(),
            at: now,
        };
        let mut events = vec![self.confirmed(&link, replaced)?];
        if replaced {
            events.push(end.event()?);
        }
        let mut last = append(server, link.account, events).await?;
        for rival in rivals {
            last = last.max(self.displace(server, &end, rival).await?);
        }
        server.ways.confirm_address(link.account, link.index, now).await?;
        if replaced {
            end.settle(server).await?;
            let told = derived("lockstep/v1/mail-changed", &[&self.token_hash]);
            let notice = Task::Notice { account: link.account, about: About::AddressChanged };
            worker::leave(server, told.0, &notice).await?;
        }
        let pressed = server.ways.press_link(self.token_hash, now).await?;
        if let Some(position) = last {
            in_effect(server, position).await;
        }
        pressed.map(|_| ()).ok_or(AddressError::Gone)
    }

    /// The end of an account's sessions that only claimed the address. One that was never finished has none.
    async fn displace(
        &self,
        server: &Server,
        end: &EndAccess,
        rival: AccountId,
    ) -> Result<Option<Position>, AddressError> {
        match append(server, rival, vec![self.lost(rival)?]).await {
            Err(AddressError::NoAccount) => Ok(None),
            Err(other) => Err(other),
            Ok(_) => Ok(EndAccess { account: rival, ..end.clone() }.run(server).await?),
        }
    }

    fn confirmed(&self, link: &MailedLink, replaced: bool) -> Result<NewEvent, LogError> {
        let id = derived("lockstep/v1/email-confirmed", &[&self.token_hash]);
        let event = Event::Account(AccountEvent::EmailConfirmed(EmailConfirmed { replaced }));
        new_event(None, link.account.into(), id, None, &event)
    }

    fn lost(&self, rival: AccountId) -> Result<NewEvent, LogError> {
        let id = derived("lockstep/v1/name-lost", &[&self.token_hash, rival.as_bytes()]);
        new_event(None, rival.into(), id, None, &Event::Account(AccountEvent::NameLost(NameLost {})))
    }
}

/// Who loses the address as a name, and whether it replaces another one.
fn decide(claims: Claims) -> Result<(Vec<AccountId>, bool), AddressError> {
    match claims {
        Claims { pending: false, .. } => Err(AddressError::Gone),
        Claims { taken: true, .. } => Err(AddressError::Taken),
        Claims { rivals, replaces, .. } => Ok((rivals, replaces)),
    }
}

async fn append(
    server: &Server,
    account: AccountId,
    events: Vec<NewEvent>,
) -> Result<Option<Position>, AddressError> {
    let unit = Unit { streams: vec![existing_account(account)], events, ..Unit::default() };
    match server.batcher.append(unit).await? {
        Outcome::Appended(placed) => Ok(placed.iter().map(|placed| placed.position).max()),
        Outcome::IdReused(_) => Err(AddressError::Gone),
        Outcome::Conflict(_) | Outcome::Missing(_) => Err(AddressError::NoAccount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_local_part_and_one_domain() {
        for good in ["ada@example.org", " ada.l+x@localhost ", "zo\u{eb}@b\u{fc}cher.example"] {
            assert_eq!(checked(good).unwrap(), good.trim());
        }
        let bad = [
            "",
            "ada",
            "@example.org",
            "ada@",
            "a b@example.org",
            "a@b@example.org",
            "a\r\nBcc: x@example.org",
            "ada@example..org",
            "ada@-example.org",
            ".ada@example.org",
            "\"a\"@example.org",
            "ada@exam_ple.org",
        ];
        for text in bad {
            assert!(matches!(checked(text), Err(AddressError::Shape)), "{text}");
        }
        assert!(checked(&format!("{}@example.org", "a".repeat(65))).is_err());
    }

    #[test]
    fn an_address_goes_to_who_still_claims_it_unless_another_has_confirmed_it() {
        let rival = AccountId(Uuid::from_u128(7));
        let claims = |pending, taken| Claims { pending, taken, replaces: true, rivals: vec![rival] };
        assert!(matches!(decide(claims(false, false)), Err(AddressError::Gone)));
        assert!(matches!(decide(claims(true, true)), Err(AddressError::Taken)));
        assert_eq!(decide(claims(true, false)).unwrap(), (vec![rival], true));
    }
}
