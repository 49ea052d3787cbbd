//! Who asks: the verified access token of a request.

use std::time::Duration;

use axum::{
    extract::FromRequestParts,
    http::{Method, header, request::Parts},
};
use lockstep_api::Code;
use lockstep_events::{AccountId, DeviceId, SessionId};

use super::{limiting::Gate, problem::Failure};
use crate::{
    auth::token::{Claims, TokenError},
    state::{Server, Shared},
};

pub use crate::auth::token::Scope;

/// A node that has not heard of the log for so long refuses to write.
const WRITE_TOUCH: Duration = Duration::from_secs(10);
/// A node that has not heard of the log for so long refuses everything.
const READ_TOUCH: Duration = Duration::from_secs(30);

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
    /// When the token expires, seconds since 1970.
    pub expires_at: i64,
}

impl Caller {
    /// Verifies a token and checks that its session and device were not revoked.
    ///
    /// # Errors
    /// `unauthenticated`, `token_expired`, `revoked`; `log_unavailable` if this node cannot know of revocations.
    pub fn verified(server: &Server, token: &str) -> Result<Self, Failure> {
        let claims = server.tokens.verify(token, server.clock.now()).map_err(|error| match error {
            TokenError::Invalid => Failure::from(Code::Unauthenticated),
            TokenError::Expired => Failure::from(Code::TokenExpired),
        })?;
        if server.feed.revocations.refuses(claims.did, claims.sid) {
            return Err(Code::Revoked.into());
        }
        in_touch(server, READ_TOUCH)?;
        Ok(Self::from(&claims))
    }
}

impl From<&Claims> for Caller {
    fn from(claims: &Claims) -> Self {
        Self {
            account: claims.sub,
            device: claims.did,
            session: claims.sid,
            scope: claims.scope,
            expires_at: claims.exp,
        }
    }
}

fn in_touch(server: &Server, at_most: Duration) -> Result<(), Failure> {
    if server.feed.out_of_touch() > at_most {
        return Err(Failure::from(Code::LogUnavailable).detail("this node has lost touch with the log"));
    }
    Ok(())
}

/// The caller of a request, whatever its scope, counted.
async fn any_scope(parts: &Parts, server: &Server) -> Result<Caller, Failure> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Code::Unauthenticated.into());
    };
    let (scheme, token) = value.to_str().ok().and_then(|v| v.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Code::Unauthenticated.into());
    }
    let caller = Caller::verified(server, token)?;
    if parts.method != Method::GET && parts.method != Method::HEAD {
        in_touch(server, WRITE_TOUCH)?;
    }
    Gate::of(parts, server).caller(server, &caller).await?;
    Ok(caller)
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Failure> {
        let caller = any_scope(parts, server).await?;
        if caller.scope == Scope::Vault { Ok(caller) } else { Err(Code::VaultProofRequired.into()) }
    }
}

/// Someone who proved the password on a device that is not enrolled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolling(pub Caller);

impl FromRequestParts<Shared> for Enrolling {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Failure> {
        let caller = any_scope(parts, server).await?;
        if caller.scope == Scope::Enrol { Ok(Self(caller)) } else { Err(Code::Forbidden.into()) }
    }
}
