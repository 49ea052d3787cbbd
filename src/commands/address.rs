//! The address of an account: named by a person who proved the password, confirmed by whoever reads its mail.

use lockstep_events::{
    AccountId, Event, LogError, NewEvent, Outcome, Position, Sealed, Unit,
    event::{AccountEvent, EmailConfirmed, EmailSet, NameLost, RevokeReason},
};
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use super::{
    account::in_effect,
    end_access::{EndAccess, EndAccessError},
    facts::{Actor, derived, existing_account, new_event},
};
use crate::{
    auth::{
        addresses::{Address, Claims, Purpose, Standing},
        credentials::CredentialError,
    },
    mail::{
        outbox::{About, Confirmed, Task, confirmed_id},
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
    /// It could be taken for another one.
    #[error("an e-mail address with characters that cannot be seen, or that stand for others")]
    Unclear,
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

/// Characters that are not seen, in ranges: those of the category Cf, and others that are drawn as nothing.
const UNSEEN: [(char, char); 26] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether an address is what it looks like. Names are compared by their NFKC form: an address that has another one
/// is a mailbox of its own, and would pass for somebody else's.
fn is_clear(text: &str) -> bool {
    let unseen = |c: char| UNSEEN.iter().any(|(first, last)| (*first..=*last).contains(&c));
    text.nfkc().eq(text.chars()) && !text.contains(unseen)
}

/// An address as it may be: one `@`, a local part, a domain of letters, digits, hyphens and dots. A letter and its
/// accent are one character from here on, however they were typed.
///
/// # Errors
/// [`AddressError::Shape`], [`AddressError::Unclear`]
pub fn checked(text: &str) -> Result<String, AddressError> {
    let text = text.trim().nfc().collect::<String>();
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
    if !fits {
        return Err(AddressError::Shape);
    }
    if is_clear(&text) { Ok(text) } else { Err(AddressError::Unclear) }
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
    /// Names it: from now on it waits for its confirmation, and the present address is told. To name the present one
    /// again calls off the one that waits.
    ///
    /// # Errors
    /// [`AddressError`]
    pub async fn run(self, server: &Server) -> Result<(), AddressError> {
        let (account, text) = (self.actor.account, checked(&self.address)?);
        let index = server.keys.name_index(&text);
        let present = server.ways.address(account, Standing::Confirmed).await?;
        if present.as_ref().is_some_and(|present| present.index == index) {
            return Ok(server.ways.forget_address(account, Standing::Pending).await?);
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
    /// Confirms it. The address is given first, to one account of all that ask at the same time; only then is anything
    /// told about it. If that is cut off, the same link finishes it, and a worker does if nobody comes.
    ///
    /// # Errors
    /// [`AddressError`]
    pub async fn run(self, server: &Server) -> Result<(), AddressError> {
        let given = self.given(server).await?;
        if finish(server, &given).await? { Ok(()) } else { Err(AddressError::Gone) }
    }

    async fn given(&self, server: &Server) -> Result<Confirmed, AddressError> {
        let now = server.clock.now();
        let link = server.ways.link(self.token_hash, now).await?;
        let link = link.filter(|link| link.purpose == Purpose::Confirm).ok_or(AddressError::Gone)?;
        match server.ways.confirm_address(&link, now).await? {
            Some(given) => Ok(given),
            None => Err(refusal(&server.ways.claims(link.account, link.index).await?)),
        }
    }
}

/// Why an address is not given to an account.
const fn refusal(claims: &Claims) -> AddressError {
    if claims.pending && claims.taken { AddressError::Taken } else { AddressError::Gone }
}

/// What follows when an account was given an address; whether the link was still to be used. Every step can be done
/// again: a link counts as used only after the last one.
///
/// # Errors
/// [`AddressError`]
pub async fn finish(server: &Server, given: &Confirmed) -> Result<bool, AddressError> {
    let end = EndAccess {
        account: given.account,
        reason: RevokeReason::EmailChanged,
        keep: None,
        actor: None,
        cause: given.link.to_vec(),
        at: given.at,
    };
    let mut events = vec![confirmed(given)?];
    if given.replaced {
        events.push(end.event()?);
    }
    let mut last = append(server, given.account, events).await?;
    for rival in &given.rivals {
        last = last.max(displace(server, given, &end, *rival).await?);
    }
    for other in &given.renamed {
        last = last.max(rename(server, given, *other).await?);
    }
    if given.replaced {
        end.settle(server).await?;
        let told = derived("lockstep/v1/mail-changed", &[&given.link]);
        let notice = Task::Notice { account: given.account, about: About::AddressChanged };
        worker::leave(server, told.0, &notice).await?;
    }
    let now = server.clock.now();
    let pressed = server.ways.press_link(given.link, now).await?;
    server.ways.finish_task(confirmed_id(&given.link), now).await?;
    if let Some(position) = last {
        in_effect(server, position).await;
    }
    Ok(pressed.is_some())
}

/// The end of an account's sessions that only claimed the address. One that was never finished has none.
async fn displace(
    server: &Server,
    given: &Confirmed,
    end: &EndAccess,
    rival: AccountId,
) -> Result<Option<Position>, AddressError> {
    match append(server, rival, vec![lost(given, rival)?]).await {
        Err(AddressError::NoAccount) => Ok(None),
        Err(other) => Err(other),
        Ok(_) => Ok(EndAccess { account: rival, ..end.clone() }.run(server).await?),
    }
}

/// An account whose name was the address, and which has an address of its own: it stays as it is, and is told.
async fn rename(
    server: &Server,
    given: &Confirmed,
    other: AccountId,
) -> Result<Option<Position>, AddressError> {
    let position = append(server, other, vec![lost(given, other)?]).await?;
    let told = derived("lockstep/v1/mail-renamed", &[&given.link, other.as_bytes()]);
    let notice = Task::Notice { account: other, about: About::NameGivenUp };
    worker::leave(server, told.0, &notice).await?;
    Ok(position)
}

fn confirmed(given: &Confirmed) -> Result<NewEvent, LogError> {
    let id = derived("lockstep/v1/email-confirmed", &[&given.link]);
    let event = Event::Account(AccountEvent::EmailConfirmed(EmailConfirmed { replaced: given.replaced }));
    new_event(None, given.account.into(), id, None, &event)
}

fn lost(given: &Confirmed, rival: AccountId) -> Result<NewEvent, LogError> {
    let id = derived("lockstep/v1/name-lost", &[&given.link, rival.as_bytes()]);
    new_event(None, rival.into(), id, None, &Event::Account(AccountEvent::NameLost(NameLost {})))
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
    fn an_address_that_could_be_taken_for_another_one_is_refused() {
        let unclear = [
            "\u{ff56}ictim@example.org",
            "\u{1d42f}ictim@example.org",
            "o\u{fb03}ce@example.org",
            "a\u{200b}@example.org",
            "a\u{202e}b@example.org",
            "a\u{ad}b@example.org",
            "a\u{2060}@example.org",
            "a\u{fe0f}@example.org",
            "a\u{e0061}@example.org",
            "ada@\u{ff45}xample.org",
        ];
        for text in unclear {
            assert!(matches!(checked(text), Err(AddressError::Unclear)), "{}", text.escape_unicode());
        }
        for clear in ["zo\u{eb}@example.org", "\u{430}\u{434}\u{430}@example.org", "\u{5f20}@example.org"] {
            assert_eq!(checked(clear).unwrap(), clear);
        }
        // What is the same letter in Unicode's own eyes is written the one way.
        for (typed, meant) in
            [("zoe\u{308}@example.org", "zo\u{eb}@example.org"), ("\u{212a}@x.org", "K@x.org")]
        {
            assert_eq!(checked(typed).unwrap(), meant);
        }
    }

    #[test]
    fn an_address_that_is_not_given_is_another_ones_or_was_not_asked_for() {
        let claims = |pending, taken| Claims { pending, taken, replaces: true, rivals: Vec::new() };
        assert!(matches!(refusal(&claims(false, false)), AddressError::Gone));
        assert!(matches!(refusal(&claims(false, true)), AddressError::Gone));
        assert!(matches!(refusal(&claims(true, true)), AddressError::Taken));
    }
}
