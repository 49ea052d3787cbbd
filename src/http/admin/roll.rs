//! Who may come in here: the roll decides, at every request; the token says nothing of it.

use axum::{extract::FromRequestParts, http::request::Parts};
use lockstep_api::Code;
use lockstep_events::{Micros, event::Role};

use crate::{
    commands::facts::Actor,
    http::{
        Failure,
        caller::{Caller, StepUp},
        openapi::problems,
    },
    state::{Server, Shared},
};

/// After so many seconds without an act the password is asked for again: 15 min.
const IDLE_S: i64 = 15 * 60;
/// After so many seconds it is asked for in any case: 8 h.
const LONGEST_S: i64 = 8 * 3600;

problems! {
    /// What looking meets.
    LookProblems: Forbidden, StepUpRequired;
}

/// An auditor or administrator: may look.
#[derive(Debug, Clone, Copy)]
pub struct Looking {
    /// Who.
    pub by: Actor,
    /// As what.
    pub role: Role,
}

/// An administrator: may act.
#[derive(Debug, Clone, Copy)]
pub struct Acting(pub Actor);

/// An administrator who proved the password within the last five minutes.
#[derive(Debug, Clone, Copy)]
pub struct Resolute(pub Actor);

/// Whether the last proof of the password still counts for somebody whose last act was then.
fn in_time(proven: i64, acted: Option<Micros>, now: i64) -> bool {
    let last = acted.map_or(proven, |acted| acted.seconds().max(proven));
    now - proven <= LONGEST_S && now - last <= IDLE_S
}

fn on_roll(server: &Server, caller: &Caller) -> Result<Looking, Failure> {
    let role = server.feed.administrators.role(caller.account);
    if role == Role::User {
        return Err(Code::Forbidden.into());
    }
    let acted = server.feed.administrators.acted(caller.account, caller.device);
    if !in_time(caller.proven_at, acted, server.clock.now().seconds()) {
        return Err(Code::StepUpRequired.into());
    }
    Ok(Looking { by: Actor { account: caller.account, device: caller.device }, role })
}

impl FromRequestParts<Shared> for Looking {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Failure> {
        on_roll(server, &Caller::from_request_parts(parts, server).await?)
    }
}

impl FromRequestParts<Shared> for Acting {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Failure> {
        let looking = Looking::from_request_parts(parts, server).await?;
        if looking.role == Role::Admin { Ok(Self(looking.by)) } else { Err(Code::Forbidden.into()) }
    }
}

impl FromRequestParts<Shared> for Resolute {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Failure> {
        let Acting(by) = Acting::from_request_parts(parts, server).await?;
        StepUp::from_request_parts(parts, server).await?;
        Ok(Self(by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_idle_minutes_and_eight_hours_end_it() {
        let acted = |seconds: i64| Some(Micros(seconds * 1_000_000));
        assert!(in_time(1000, None, 1000 + IDLE_S));
        assert!(!in_time(1000, None, 1001 + IDLE_S));
        assert!(in_time(1000, acted(2000), 2000 + IDLE_S));
        assert!(!in_time(1000, acted(2000), 2001 + IDLE_S));
        assert!(in_time(1000, acted(1000 + LONGEST_S), 1000 + LONGEST_S));
        assert!(!in_time(1000, acted(1000 + LONGEST_S), 1001 + LONGEST_S));
        assert!(!in_time(0, None, 1_800_000_000));
    }
}
