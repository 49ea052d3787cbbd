//! Who asks: the verified access token of a request.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{self, Extensions, header, request::Parts},
};
use lockstep_api::Code;
use lockstep_events::{AccountId, DeviceId, SessionId, event::Method};

use super::{limiting::Gate, problem::Failure};
use crate::{
    auth::{
        signing_keys::Kid,
        token::{Claims, TokenError},
    },
    commands::factor_body::all_set_before,
    feed::Access,
    state::{Server, Shared},
};

pub use crate::auth::token::Scope;

/// A node that has not heard of the log or of the signing keys for so long refuses to write.
pub const WRITE_TOUCH: Duration = Duration::from_secs(10);
/// What needs a step-up needs a password that was proven at most so long ago, in seconds.
const FRESH_S: i64 = 5 * 60;
/// A node that has not heard of the log or of the signing keys for so long refuses everything.
pub const READ_TOUCH: Duration = Duration::from_secs(30);

/// A verified caller, extracted from the `Authorization` header: revocation is checked already.
///
/// As an extractor it demands scope [`Scope::Vault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// The session.
    pub session: SessionId,
    /// What the token allows.
    pub scope: Scope,
    /// How the session proved itself.
    pub method: Method,
    /// When the token expires, seconds since 1970.
    pub expires_at: i64,
    /// When the password was last proven, seconds since 1970; 0 if it was not.
    pub proven_at: i64,
    /// The account's auth epoch when the token was made.
    pub auth_epoch: u64,
    /// The key that signed the token.
    pub key: Kid,
}

impl Caller {
    /// Verifies a token and checks that its session and device were not revoked.
    ///
    /// # Errors
    /// `unauthenticated`, `token_expired`, `revoked`; `log_unavailable` or `credentials_unavailable` if this node cannot
    /// know what was revoked.
    pub fn verified(server: &Server, token: &str) -> Result<Self, Failure> {
        let claims = server.tokens.verify(token, server.clock.now()).map_err(|error| match error {
            TokenError::Invalid => Failure::from(Code::Unauthenticated),
            TokenError::Expired => Failure::from(Code::TokenExpired),
        })?;
        let caller = Self::from(&claims);
        caller.still(server)?;
        in_touch(server, READ_TOUCH)?;
        Ok(caller)
    }

    /// Whether nothing has ended the access meanwhile: to be asked once more after whatever took time.
    ///
    /// # Errors
    /// `revoked`
    pub fn still(&self, server: &Server) -> Result<(), Failure> {
        if server.feed.revocations.refuses(&self.access()) { Err(Code::Revoked.into()) } else { Ok(()) }
    }

    /// What may end before the token does.
    pub fn access(&self) -> Access {
        let Self { account, device, session, auth_epoch, .. } = *self;
        Access { account, device, session, auth_epoch }
    }
}

impl From<&Claims> for Caller {
    fn from(claims: &Claims) -> Self {
        Self {
            account: claims.sub,
            device: claims.did,
            session: claims.sid,
            scope: claims.scope,
            method: claims.acr,
            expires_at: claims.exp,
            proven_at: claims.auth_time,
            auth_epoch: claims.aep,
            key: claims.key,
        }
    }
}

/// Whether this node has heard within this time of whatever may have ended.
///
/// # Errors
/// `log_unavailable` without news of sessions and devices, `credentials_unavailable` without news of signing keys.
pub fn in_touch(server: &Server, at_most: Duration) -> Result<(), Failure> {
    if server.feed.out_of_touch() > at_most {
        return Err(Failure::from(Code::LogUnavailable).detail("this node has lost touch with the log"));
    }
    if server.tokens.out_of_touch() > at_most {
        let detail = "this node has lost touch with the signing keys";
        return Err(Failure::from(Code::CredentialsUnavailable).detail(detail));
    }
    Ok(())
}

/// Whoever a request was let in for, with whom it is that knows better: a body may take half a minute to come, and is
/// not worked on if the access has ended meanwhile.
#[derive(Clone)]
pub struct LetIn {
    caller: Caller,
    server: Shared,
    /// Whether what was proven is asked for as well.
    by_proof: bool,
}

impl LetIn {
    /// Whether a request may still go on.
    ///
    /// # Errors
    /// `revoked`, or that the proof does not count any more.
    pub async fn still(extensions: &Extensions) -> Result<(), Failure> {
        let Some(Self { caller, server, by_proof }) = extensions.get() else { return Ok(()) };
        caller.still(server)?;
        if *by_proof { counts(server, caller).await } else { Ok(()) }
    }
}

/// Whether what a caller has proven counts: not if a second factor was set since, which was no part of it. Or the password
/// alone would do, within five minutes, what the factor is there to prevent.
async fn counts(server: &Server, caller: &Caller) -> Result<(), Failure> {
    if all_set_before(server, caller.account, caller.proven_at).await? {
        return Ok(());
    }
    Err(match caller.scope {
        Scope::Enrol => Failure::from(Code::Forbidden).detail("a second factor was set since: log in again"),
        _ => Code::StepUpRequired.into(),
    })
}

/// Lets somebody in by what they have proven, now and when the body is there.
async fn by_proof(parts: &mut Parts, server: &Shared, caller: Caller) -> Result<Caller, Failure> {
    counts(server, &caller).await?;
    parts.extensions.insert(LetIn { caller, server: Arc::clone(server), by_proof: true });
    Ok(caller)
}

/// The caller of a request, whatever its scope, counted.
async fn any_scope(parts: &mut Parts, server: &Shared) -> Result<Caller, Failure> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Code::Unauthenticated.into());
    };
    let (scheme, token) = value.to_str().ok().and_then(|v| v.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Code::Unauthenticated.into());
    }
    let caller = Caller::verified(server, token)?;
    if parts.method != http::Method::GET && parts.method != http::Method::HEAD {
        in_touch(server, WRITE_TOUCH)?;
    }
    Gate::of(parts, server).caller(server, &caller).await?;
    parts.extensions.insert(LetIn { caller, server: Arc::clone(server), by_proof: false });
    Ok(caller)
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Failure> {
        let caller = any_scope(parts, server).await?;
        if caller.scope == Scope::Vault { Ok(caller) } else { Err(Code::VaultProofRequired.into()) }
    }
}

/// Someone who proved the password on a device that is not enrolled yet, and a second factor if one is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolling(pub Caller);

impl FromRequestParts<Shared> for Enrolling {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Failure> {
        let caller = any_scope(parts, server).await?;
        if caller.scope != Scope::Enrol {
            return Err(Code::Forbidden.into());
        }
        by_proof(parts, server, caller).await.map(Self)
    }
}

/// A device of the account, or someone who proved its password: for what the account's own key vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnOrEnrolling(pub Caller);

impl FromRequestParts<Shared> for OwnOrEnrolling {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Failure> {
        let caller = any_scope(parts, server).await?;
        let fits = matches!(caller.scope, Scope::Vault | Scope::Enrol);
        if fits { Ok(Self(caller)) } else { Err(Code::Forbidden.into()) }
    }
}

/// Someone who is who they say, whether or not they know a key: scope [`Scope::Identity`] or [`Scope::Vault`].
///
/// Only for routes that give neither ciphertext nor wraps nor the feed. Everything else takes a [`Caller`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identified(pub Caller);

impl FromRequestParts<Shared> for Identified {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Failure> {
        let caller = any_scope(parts, server).await?;
        match caller.scope {
            Scope::Identity | Scope::Vault => Ok(Self(caller)),
            Scope::Enrol => Err(Code::VaultProofRequired.into()),
        }
    }
}

/// A caller of scope [`Scope::Vault`] who proved the password within the last five minutes, and every second factor that
/// is set was demanded for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepUp(pub Caller);

impl FromRequestParts<Shared> for StepUp {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Failure> {
        let caller = Caller::from_request_parts(parts, server).await?;
        let fresh = caller.proven_at.saturating_add(FRESH_S) > server.clock.now().seconds();
        if !fresh {
            return Err(Code::StepUpRequired.into());
        }
        by_proof(parts, server, caller).await.map(Self)
    }
}
