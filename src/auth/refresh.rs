//! Refresh tokens: `lsr_` and 52 bytes as base64url — session, number, secret. The secret is made from a random seed
//! of the session and a key of the server, so a copied database makes no tokens, and a token of any number can be
//! recognised without a row of its own.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockstep_events::{AccountId, DeviceId, Micros, SessionId, canonical::sha256, event::Method};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::{credentials::StoredSession, server_keys::ServerKeys};

/// By which secret scanners know our tokens.
const PREFIX: &str = "lsr_";
/// Rotations that are remembered: enough for any client that refreshes in parallel.
const REMEMBERED: usize = 8;

/// A refresh token, taken apart but not verified.
#[derive(Clone, Copy)]
pub struct Presented {
    /// The session that it names.
    pub session: SessionId,
    generation: u32,
    secret: [u8; 32],
}

impl Presented {
    /// Takes a token apart.
    pub fn parse(token: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let bytes: [u8; 52] = bytes.try_into().ok()?;
        let mut session = [0; 16];
        session.copy_from_slice(&bytes[..16]);
        let generation = u32::from_be_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
        let mut secret = [0; 32];
        secret.copy_from_slice(&bytes[20..]);
        Some(Self { session: SessionId(Uuid::from_bytes(session)), generation, secret })
    }
}

/// The token of a session with a number.
pub fn token(keys: &ServerKeys, session: SessionId, seed: &[u8; 32], generation: u32) -> String {
    let secret = keys.refresh_secret(session.as_bytes(), seed, generation);
    let bytes = [&session.as_bytes()[..], &generation.to_be_bytes(), &secret].concat();
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// A new session with its first token.
pub fn begin(
    keys: &ServerKeys,
    (account, device, session): (AccountId, DeviceId, SessionId),
    method: Method,
    seed: [u8; 32],
    now: Micros,
) -> StoredSession {
    StoredSession {
        session,
        account,
        device,
        method,
        seed,
        generation: 0,
        token_hash: sha256(token(keys, session, &seed, 0).as_bytes()),
        rotations: Vec::new(),
        opened_at: now,
        ended_at: None,
    }
}

/// How long tokens and sessions live, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Lives {
    /// An unused token.
    pub idle: i64,
    /// A session.
    pub absolute: i64,
    /// A used token.
    pub grace: i64,
}

/// What to do about a presented token.
#[derive(Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is not a token of this session.
    Invalid,
    /// It, or its session, ran out or ended.
    Over,
    /// It is the valid one: move to this state.
    Rotate(Box<StoredSession>),
    /// It was used a moment ago: answer with the present state again.
    Again,
    /// It was used long ago: somebody else has it, so the family ends. The number of the token.
    Reused(u32),
}

/// Whether a session has ended or run out.
pub fn is_over(stored: &StoredSession, lives: Lives, now: Micros) -> bool {
    let used = stored.rotations.first().copied().unwrap_or(stored.opened_at);
    let idle = used.plus_seconds(lives.idle) <= now;
    stored.ended_at.is_some() || idle || stored.opened_at.plus_seconds(lives.absolute) <= now
}

/// Decides about a presented token.
pub fn decide(
    keys: &ServerKeys,
    stored: &StoredSession,
    presented: Presented,
    lives: Lives,
    now: Micros,
) -> Verdict {
    let expected = keys.refresh_secret(stored.session.as_bytes(), &stored.seed, presented.generation);
    let genuine = bool::from(expected.ct_eq(&presented.secret));
    if presented.session != stored.session || !genuine || presented.generation > stored.generation {
        return Verdict::Invalid;
    }
    if is_over(stored, lives, now) {
        return Verdict::Over;
    }
    let age = usize::try_from(stored.generation - presented.generation).unwrap_or(usize::MAX);
    if age == 0 {
        return Verdict::Rotate(Box::new(rotated(keys, stored, now)));
    }
    match stored.rotations.get(age - 1) {
        Some(replaced) if now < replaced.plus_seconds(lives.grace) => Verdict::Again,
        _ => Verdict::Reused(presented.generation),
    }
}

fn rotated(keys: &ServerKeys, stored: &StoredSession, now: Micros) -> StoredSession {
    let generation = stored.generation + 1;
    let text = token(keys, stored.session, &stored.seed, generation);
    let rotations = std::iter::once(now).chain(stored.rotations.iter().copied()).take(REMEMBERED).collect();
    StoredSession { generation, token_hash: sha256(text.as_bytes()), rotations, ..stored.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::OsRng;

    const LIVES: Lives = Lives { idle: 1000, absolute: 5000, grace: 60 };

    fn at(seconds: i64) -> Micros {
        Micros(seconds * 1_000_000)
    }

    fn session(keys: &ServerKeys) -> StoredSession {
        let names = (AccountId::NIL, DeviceId::NIL, SessionId(Uuid::from_u128(7)));
        begin(keys, names, Method::Password, [9; 32], at(0))
    }

    fn present(keys: &ServerKeys, stored: &StoredSession, generation: u32) -> Presented {
        Presented::parse(&token(keys, stored.session, &stored.seed, generation)).unwrap()
    }

    fn rotate(keys: &ServerKeys, stored: &StoredSession, now: Micros) -> StoredSession {
        match decide(keys, stored, present(keys, stored, stored.generation), LIVES, now) {
            Verdict::Rotate(next) => *next,
            _ => panic!("the valid token must rotate"),
        }
    }

    #[test]
    fn a_used_token_gives_the_same_successor_within_the_grace_and_ends_the_family_after_it() {
        let keys = ServerKeys::generate(&mut OsRng);
        let next = rotate(&keys, &session(&keys), at(100));
        let old = present(&keys, &next, 0);
        assert!(decide(&keys, &next, old, LIVES, at(159)) == Verdict::Again);
        assert!(decide(&keys, &next, old, LIVES, at(160)) == Verdict::Reused(0));
    }

    #[test]
    fn each_used_token_has_a_grace_of_its_own() {
        let keys = ServerKeys::generate(&mut OsRng);
        let next = rotate(&keys, &rotate(&keys, &session(&keys), at(100)), at(130));
        assert!(decide(&keys, &next, present(&keys, &next, 0), LIVES, at(159)) == Verdict::Again);
        assert!(decide(&keys, &next, present(&keys, &next, 0), LIVES, at(165)) == Verdict::Reused(0));
        assert!(decide(&keys, &next, present(&keys, &next, 1), LIVES, at(165)) == Verdict::Again);
    }

    #[test]
    fn a_token_runs_out_when_it_is_idle_and_when_its_session_is_old() {
        let keys = ServerKeys::generate(&mut OsRng);
        let mut stored = session(&keys);
        assert!(decide(&keys, &stored, present(&keys, &stored, 0), LIVES, at(1000)) == Verdict::Over);
        for hundred in 1..50 {
            stored = rotate(&keys, &stored, at(hundred * 100));
        }
        let last = present(&keys, &stored, stored.generation);
        assert!(decide(&keys, &stored, last, LIVES, at(5000)) == Verdict::Over);
    }

    #[test]
    fn a_forged_a_foreign_and_a_future_token_are_invalid() {
        let keys = ServerKeys::generate(&mut OsRng);
        let stored = session(&keys);
        let forged = Presented { secret: [0; 32], ..present(&keys, &stored, 0) };
        let future = present(&keys, &stored, 1);
        let foreign = present(&ServerKeys::generate(&mut OsRng), &stored, 0);
        for presented in [forged, future, foreign] {
            assert!(decide(&keys, &stored, presented, LIVES, at(1)) == Verdict::Invalid);
        }
        for text in ["", "lsr_", "lsr_AAAA", "lsx_AAAA"] {
            assert!(Presented::parse(text).is_none());
        }
    }
}
