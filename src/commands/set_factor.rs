//! Setting and removing second factors.
//!
//! Several requests may change the factors of one account at once, on several nodes. Of what counts each writes its row,
//! then its event, and then looks at all rows once more: it sees those of every event before its own, and by the order
//! of the log everyone finds the same ones to be too many.

use lockstep_events::{
    AccountId, LogError, Micros, NewEvent,
    canonical::sha256,
    event::{AccountEvent, FactorRemoved, FactorSet},
};
use rand::{RngCore, rngs::OsRng};
use uuid::Uuid;

use super::{
    factor_body::{Body, OpenFactor, event_id, last_codes, places, set_id, stored},
    facts::{Actor, word},
    second_factor::{FactorError, append},
};
use crate::{
    auth::{
        factors::{FactorKind, StoredFactor},
        passkey::Credential,
        totp,
    },
    quotas::Exceeded,
    state::Server,
};

/// An account has at most so many, beside the codes that come with them.
const MAX_FACTORS: u64 = 15;

/// Who changes factors.
#[derive(Debug, Clone, Copy)]
pub struct Proven {
    /// Who.
    pub actor: Actor,
    /// When the password was last proven, and a factor if one was demanded, in seconds since 1970.
    pub at: i64,
}

impl Proven {
    /// The factors that are there, if each that counts was set before the proof, and so was part of it. Whoever knows the
    /// password alone takes no factor away, however lately it was set, and adds none by which they could.
    async fn factors(&self, server: &Server) -> Result<Vec<OpenFactor>, FactorError> {
        let all = stored(server, self.actor.account).await?;
        let part = all.iter().all(|factor| factor.was_set_before(self.at));
        if part { Ok(all) } else { Err(FactorError::Unproven) }
    }
}

fn set_event(actor: Actor, factor: &StoredFactor) -> Result<NewEvent, LogError> {
    let event = FactorSet { factor: factor.id, factor_kind: word(factor.kind.name())? };
    actor.event(set_id(factor), Some(factor.id.into()), AccountEvent::FactorSet(event))
}

/// `factor.removed`.
///
/// # Errors
/// Only if serde cannot write one of our own types.
pub(super) fn removed_event(actor: Actor, factor: &StoredFactor) -> Result<NewEvent, LogError> {
    let event = AccountEvent::FactorRemoved(FactorRemoved { factor: factor.id });
    actor.event(event_id("lockstep/v1/factor-removed", factor), Some(factor.id.into()), event)
}

async fn made(
    server: &Server,
    account: AccountId,
    id: Uuid,
    body: &Body,
) -> Result<StoredFactor, FactorError> {
    let sealed = body.seal(server, account, id).await?;
    let created_at = server.clock.now();
    Ok(StoredFactor { id, account, kind: body.kind(), body: sealed, version: 1, created_at })
}

/// Room for one more.
fn room(all: &[OpenFactor]) -> Result<(), FactorError> {
    let used = all.iter().filter(|factor| factor.counts()).count() as u64;
    if used >= MAX_FACTORS { Err(too_many(used)) } else { Ok(()) }
}

fn too_many(used: u64) -> FactorError {
    FactorError::TooMany(Exceeded { what: "factors", limit: MAX_FACTORS, used })
}

/// Begins a TOTP factor: its id and secret. It is demanded once a code confirmed it; whatever else was only begun is
/// forgotten.
///
/// # Errors
/// [`FactorError`]
pub async fn begin_totp(server: &Server, proven: Proven) -> Result<(Uuid, totp::Secret), FactorError> {
    let account = proven.actor.account;
    let (begun, set): (Vec<_>, Vec<_>) =
        proven.factors(server).await?.into_iter().partition(|factor| !factor.body.is_set());
    room(&set)?;
    for old in begun {
        server.credentials.remove_factor(account, old.stored.id).await?;
    }
    let secret = totp::new_secret(&mut OsRng);
    let body = Body::Totp { secret, confirmed: false, used: 0, set_at: Micros(0) };
    let factor = made(server, account, Uuid::new_v4(), &body).await?;
    server.credentials.put_factor(&factor).await?;
    Ok((factor.id, secret))
}

/// Confirms a TOTP factor by its first code. The codes that come with the first factor.
///
/// # Errors
/// [`FactorError`]
pub async fn confirm_totp(
    server: &Server,
    proven: Proven,
    id: Uuid,
    given: &str,
) -> Result<Vec<String>, FactorError> {
    let (actor, all) = (proven.actor, proven.factors(server).await?);
    let begun = |factor: &&OpenFactor| factor.stored.id == id && factor.body.kind() == FactorKind::Totp;
    let factor = all.iter().find(begun).ok_or(FactorError::NoFactor)?;
    let after = factor.body.after_digits(given, server.clock.now()).ok_or(FactorError::Wrong)?;
    if !factor.body.is_set() {
        room(&all)?;
    }
    append(server, actor.account, vec![set_event(actor, &factor.stored)?]).await?;
    // From now on: a proof that comes while the event is appended is not asked for it.
    let sealed = after.set_from(server.clock.now()).seal(server, actor.account, id).await?;
    if !server.credentials.replace_factor(&factor.stored, &sealed).await? {
        return Err(FactorError::Wrong);
    }
    is_set(server, proven, &factor.stored).await
}

/// Sets a passkey. Its id, and the codes that come with the first factor.
///
/// A credential belongs to one account: its factor's id follows from its own.
///
/// # Errors
/// [`FactorError`]
pub async fn set_passkey(
    server: &Server,
    proven: Proven,
    credential: &Credential,
) -> Result<(Uuid, Vec<String>), FactorError> {
    let actor = proven.actor;
    room(&proven.factors(server).await?)?;
    let hash = server.keys.stable("passkey", &sha256(&credential.id));
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    let id = uuid::Builder::from_random_bytes(id).into_uuid();
    let factor = made(server, actor.account, id, &Body::Passkey(credential.clone())).await?;
    // The row first: whoever comes after the event counts it.
    server.credentials.put_factor(&factor).await?;
    if !server.credentials.factor(id).await?.is_some_and(|kept| is_same(&kept, &factor)) {
        // The credential was set before: here, or for somebody else.
        return Err(FactorError::Wrong);
    }
    if let Err(error) = append(server, actor.account, vec![set_event(actor, &factor)?]).await {
        server.credentials.remove_factor(actor.account, id).await?;
        return Err(error);
    }
    Ok((id, is_set(server, proven, &factor).await?))
}

fn is_same(one: &StoredFactor, other: &StoredFactor) -> bool {
    (one.id, one.account, one.created_at) == (other.id, other.account, other.created_at)
}

/// After a factor was set: looks whether it may stay beside those that others set at the same moment. The codes that
/// come with the first one, shown once.
async fn is_set(server: &Server, proven: Proven, own: &StoredFactor) -> Result<Vec<String>, FactorError> {
    let actor = proven.actor;
    let all = tidied(server, actor).await?;
    // Also those whose event stands and that are about to be confirmed.
    let others: Vec<_> = all.iter().filter(|factor| !factor.is_codes()).collect();
    let Some(mine) = others.iter().position(|factor| is_same(&factor.stored, own)) else {
        // It was removed meanwhile.
        append(server, actor.account, vec![removed_event(actor, own)?]).await?;
        return Err(FactorError::Wrong);
    };
    let late = |at: usize| at != mine && !others[at].was_set_before(proven.at);
    if others.len() as u64 > MAX_FACTORS || (0..others.len()).any(late) {
        let places = places(server, &others).await?;
        let before = |at: &usize| places[*at].is_some() && places[*at] < places[mine];
        let before: Vec<usize> = (0..others.len()).filter(before).collect();
        let used = before.len() as u64;
        if used >= MAX_FACTORS || before.into_iter().any(late) {
            forget(server, actor, &[own]).await?;
            return Err(if used >= MAX_FACTORS { too_many(used) } else { FactorError::Unproven });
        }
    }
    if all.iter().any(OpenFactor::is_codes) {
        return Ok(Vec::new());
    }
    let (id, codes) = make_codes(server, actor).await?;
    // Of two first factors at once, the codes that came last count: the others are not shown.
    let stand = tidied(server, actor).await?.iter().any(|factor| factor.stored.id == id);
    Ok(if stand { codes } else { Vec::new() })
}

/// The factors as they are, after what is too many is gone: all codes but the last ones, and those too if there is no
/// factor that they could stand in for.
async fn tidied(server: &Server, actor: Actor) -> Result<Vec<OpenFactor>, FactorError> {
    let all = stored(server, actor.account).await?;
    let kept = if all.iter().any(OpenFactor::counts) { last_codes(server, &all).await? } else { None };
    let stays = |factor: &OpenFactor| !factor.is_codes() || Some(factor.stored.id) == kept;
    let (all, gone): (Vec<_>, Vec<_>) = all.into_iter().partition(stays);
    let gone: Vec<_> = gone.iter().map(|factor| &factor.stored).collect();
    forget(server, actor, &gone).await?;
    Ok(all)
}

async fn make_codes(server: &Server, actor: Actor) -> Result<(Uuid, Vec<String>), FactorError> {
    let mut seed = [0; 32];
    OsRng.fill_bytes(&mut seed);
    let body = Body::Codes { seed, used: 0 };
    let factor = made(server, actor.account, Uuid::new_v4(), &body).await?;
    append(server, actor.account, vec![set_event(actor, &factor)?]).await?;
    server.credentials.put_factor(&factor).await?;
    Ok((factor.id, body.written()))
}

/// New codes in the place of those that are there, for who has a factor.
///
/// # Errors
/// [`FactorError::NoFactor`] if there is no factor that they could stand in for.
pub async fn new_codes(server: &Server, proven: Proven) -> Result<(Uuid, Vec<String>), FactorError> {
    let actor = proven.actor;
    let stands = |all: Vec<OpenFactor>| all.iter().any(OpenFactor::counts);
    if !stands(proven.factors(server).await?) {
        return Err(FactorError::NoFactor);
    }
    let made = make_codes(server, actor).await?;
    if stands(tidied(server, actor).await?) { Ok(made) } else { Err(FactorError::NoFactor) }
}

/// Removes a factor. With the last one that is no code, the codes go, too.
///
/// # Errors
/// [`FactorError`]
pub async fn remove(server: &Server, proven: Proven, id: Uuid) -> Result<(), FactorError> {
    let (actor, all) = (proven.actor, proven.factors(server).await?);
    let named = all.iter().find(|factor| factor.stored.id == id).ok_or(FactorError::NoFactor)?;
    // With codes go those in whose place they have come: these would count again.
    let codes_stay = !named.is_codes() && all.iter().any(|factor| factor.stored.id != id && factor.counts());
    let goes = |factor: &&OpenFactor| factor.stored.id == id || (factor.is_codes() && !codes_stay);
    let gone: Vec<_> = all.iter().filter(goes).map(|factor| &factor.stored).collect();
    forget(server, actor, &gone).await?;
    // Others may have been removed at the same moment.
    tidied(server, actor).await.map(|_| ())
}

async fn forget(server: &Server, actor: Actor, gone: &[&StoredFactor]) -> Result<(), FactorError> {
    if gone.is_empty() {
        return Ok(());
    }
    let events = gone.iter().map(|factor| removed_event(actor, factor));
    append(server, actor.account, events.collect::<Result<_, _>>()?).await?;
    for factor in gone {
        server.credentials.remove_factor(actor.account, factor.id).await?;
    }
    Ok(())
}
