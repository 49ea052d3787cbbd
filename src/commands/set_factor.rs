//! Setting and removing second factors.

use lockstep_events::{
    AccountId, LogError, NewEvent,
    canonical::sha256,
    event::{AccountEvent, FactorRemoved, FactorSet},
};
use rand::{RngCore, rngs::OsRng};
use uuid::Uuid;

use super::{
    factor_body::{Body, OpenFactor, factors},
    facts::{Actor, derived, word},
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

/// An account has at most so many, codes included.
const MAX_FACTORS: u64 = 16;

/// The first and the last words about a factor: an id may come back, as that of a passkey does.
fn event_id(domain: &str, factor: &StoredFactor) -> lockstep_events::EventId {
    derived(domain, &[factor.id.as_bytes(), &factor.created_at.0.to_be_bytes()])
}

fn set_event(actor: Actor, factor: &StoredFactor) -> Result<NewEvent, LogError> {
    let event = FactorSet { factor: factor.id, factor_kind: word(factor.kind.name())? };
    let id = event_id("lockstep/v1/factor-set", factor);
    actor.event(id, Some(factor.id.into()), AccountEvent::FactorSet(event))
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

/// Room for one more, beside the codes that may come with it.
fn room(all: &[OpenFactor]) -> Result<(), FactorError> {
    let used = all.iter().filter(|factor| factor.body.kind() != FactorKind::Codes).count() as u64;
    let limit = MAX_FACTORS - 1;
    if used >= limit {
        return Err(FactorError::TooMany(Exceeded { what: "factors", limit, used }));
    }
    Ok(())
}

/// Begins a TOTP factor: its id and secret. It is demanded once a code confirmed it; whatever else was only begun is
/// forgotten.
///
/// # Errors
/// [`FactorError`]
pub async fn begin_totp(server: &Server, account: AccountId) -> Result<(Uuid, totp::Secret), FactorError> {
    let (begun, set): (Vec<_>, Vec<_>) =
        factors(server, account).await?.into_iter().partition(|factor| !factor.body.is_set());
    room(&set)?;
    for old in begun {
        server.credentials.remove_factor(account, old.stored.id).await?;
    }
    let secret = totp::new_secret(&mut OsRng);
    let body = Body::Totp { secret, confirmed: false, used: 0 };
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
    actor: Actor,
    id: Uuid,
    given: &str,
) -> Result<Vec<String>, FactorError> {
    let all = factors(server, actor.account).await?;
    let begun = |factor: &&OpenFactor| factor.stored.id == id && factor.body.kind() == FactorKind::Totp;
    let factor = all.iter().find(begun).ok_or(FactorError::NoFactor)?;
    let after = factor.body.after_digits(given, server.clock.now()).ok_or(FactorError::Wrong)?;
    let sealed = after.seal(server, actor.account, id).await?;
    append(server, actor.account, set_event(actor, &factor.stored)?).await?;
    if !server.credentials.replace_factor(&factor.stored, &sealed).await? {
        return Err(FactorError::Wrong);
    }
    with_codes(server, actor, &all).await
}

/// Sets a passkey. Its id, and the codes that come with the first factor.
///
/// A credential belongs to one account: its factor's id follows from its own.
///
/// # Errors
/// [`FactorError`]
pub async fn set_passkey(
    server: &Server,
    actor: Actor,
    credential: &Credential,
) -> Result<(Uuid, Vec<String>), FactorError> {
    let all = factors(server, actor.account).await?;
    room(&all)?;
    let hash = server.keys.stable("passkey", &sha256(&credential.id));
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    let id = uuid::Builder::from_random_bytes(id).into_uuid();
    if server.credentials.factor(id).await?.is_some() {
        return Err(FactorError::Wrong);
    }
    let factor = made(server, actor.account, id, &Body::Passkey(credential.clone())).await?;
    append(server, actor.account, set_event(actor, &factor)?).await?;
    server.credentials.put_factor(&factor).await?;
    Ok((id, with_codes(server, actor, &all).await?))
}

/// With the first factor come codes, shown once.
async fn with_codes(
    server: &Server,
    actor: Actor,
    before: &[OpenFactor],
) -> Result<Vec<String>, FactorError> {
    if before.iter().any(|factor| factor.body.kind() == FactorKind::Codes) {
        return Ok(Vec::new());
    }
    Ok(make_codes(server, actor).await?.1)
}

async fn make_codes(server: &Server, actor: Actor) -> Result<(Uuid, Vec<String>), FactorError> {
    let mut seed = [0; 32];
    OsRng.fill_bytes(&mut seed);
    let body = Body::Codes { seed, used: 0 };
    let factor = made(server, actor.account, Uuid::new_v4(), &body).await?;
    append(server, actor.account, set_event(actor, &factor)?).await?;
    server.credentials.put_factor(&factor).await?;
    Ok((factor.id, body.written()))
}

/// New codes in the place of those that are there, for who has a factor.
///
/// # Errors
/// [`FactorError::NoFactor`] if there is no factor that they could stand in for.
pub async fn new_codes(server: &Server, actor: Actor) -> Result<(Uuid, Vec<String>), FactorError> {
    let all = factors(server, actor.account).await?;
    let (old, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|factor| factor.body.kind() == FactorKind::Codes);
    if !others.iter().any(|factor| factor.body.is_set()) {
        return Err(FactorError::NoFactor);
    }
    for factor in old {
        forget(server, actor, &factor.stored).await?;
    }
    make_codes(server, actor).await
}

/// Removes a factor. With the last one that is no code, the codes go, too.
///
/// # Errors
/// [`FactorError`]
pub async fn remove(server: &Server, actor: Actor, id: Uuid) -> Result<(), FactorError> {
    let all = factors(server, actor.account).await?;
    let gone = all.iter().find(|factor| factor.stored.id == id).ok_or(FactorError::NoFactor)?;
    let is_code = |factor: &OpenFactor| factor.body.kind() == FactorKind::Codes;
    let others = || all.iter().filter(|factor| factor.stored.id != id);
    let stays = others().any(|factor| factor.body.is_set() && !is_code(factor));
    let codes = others().filter(|factor| is_code(factor) && !stays);
    for factor in std::iter::once(gone).chain(codes) {
        forget(server, actor, &factor.stored).await?;
    }
    Ok(())
}

async fn forget(server: &Server, actor: Actor, factor: &StoredFactor) -> Result<(), FactorError> {
    append(server, actor.account, removed_event(actor, factor)?).await?;
    Ok(server.credentials.remove_factor(actor.account, factor.id).await?)
}
