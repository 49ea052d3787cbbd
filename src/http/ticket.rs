//! `POST /v1/live/ticket`: a one-time ticket for clients that cannot send their token as a first frame.

use axum::extract::State;
use lockstep_api::{Code, live::Ticket};
use lockstep_events::{AccountId, DeviceId, SessionId, event::Method};
use uuid::Uuid;

use super::{
    Answer, Json, Routes,
    caller::{Caller, READ_TOUCH, Scope, in_touch},
    problem::Failure,
    routes::routes,
};
use crate::{auth::signing_keys::Kid, state::Shared};

/// How long a ticket is valid, in seconds.
const LIFE_S: i64 = 30;
/// Tells a ticket from the other attempts that the credential store keeps.
const MARK: &[u8; 8] = b"ticket/3";
const LENGTH: usize = MARK.len() + 3 * 16 + 2 * 8 + 12;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(issue))
}

/// Makes a ticket for this device: valid for 30 s, for one socket, on any node.
#[utoipa::path(post, path = "/v1/live/ticket", operation_id = "make_live_ticket", tag = "live", security(("token" = [])), responses(
    (status = 200, description = "The ticket", body = Ticket)))]
async fn issue(State(server): State<Shared>, caller: Caller) -> Answer<Json<Ticket>> {
    let ticket = Uuid::new_v4();
    let until = server.clock.now().plus_seconds(LIFE_S);
    server.credentials.put_attempt(ticket, &pack(&caller), until).await?;
    Ok(Json(Ticket { ticket }))
}

/// The caller that a ticket was made for. The ticket is worthless afterwards.
///
/// # Errors
/// `unauthenticated` if it was never made, was used, is too old, or was given for a token whose key was revoked since;
/// otherwise as for a token; if the credential store does not answer.
pub async fn redeem(server: &Shared, ticket: &str) -> Result<Caller, Failure> {
    let unknown = || Failure::from(Code::Unauthenticated);
    let id = Uuid::parse_str(ticket).map_err(|_| unknown())?;
    let state = server.credentials.take_attempt(id, server.clock.now()).await?;
    let caller = state.as_deref().and_then(unpack).ok_or_else(unknown)?;
    if !server.tokens.accepts(caller.key) {
        return Err(unknown());
    }
    if server.feed.revocations.refuses(&caller.access()) {
        return Err(Code::Revoked.into());
    }
    in_touch(server, READ_TOUCH)?;
    Ok(caller)
}

fn pack(caller: &Caller) -> Vec<u8> {
    let mut out = Vec::with_capacity(LENGTH);
    out.extend_from_slice(MARK);
    out.extend_from_slice(caller.account.as_bytes());
    out.extend_from_slice(caller.device.as_bytes());
    out.extend_from_slice(caller.session.as_bytes());
    out.extend_from_slice(&caller.expires_at.to_be_bytes());
    out.extend_from_slice(&caller.auth_epoch.to_be_bytes());
    out.extend_from_slice(&caller.key.0);
    out
}

fn unpack(bytes: &[u8]) -> Option<Caller> {
    let (mark, rest) = bytes.split_at_checked(MARK.len())?;
    let fields: &[u8; LENGTH - MARK.len()] = rest.try_into().ok().filter(|_| mark == MARK)?;
    let id = |at: usize| Uuid::from_slice(&fields[16 * at..16 * (at + 1)]).ok();
    let expires_at = i64::from_be_bytes(fields[48..56].try_into().ok()?);
    let auth_epoch = u64::from_be_bytes(fields[56..64].try_into().ok()?);
    let key = Kid(fields[64..].try_into().ok()?);
    Some(Caller {
        account: AccountId(id(0)?),
        device: DeviceId(id(1)?),
        session: SessionId(id(2)?),
        scope: Scope::Vault,
        method: Method::Password,
        expires_at,
        proven_at: 0,
        auth_epoch,
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_names_exactly_its_caller_and_nothing_else_is_one() {
        let id = Uuid::from_u128;
        let caller = Caller {
            account: AccountId(id(1)),
            device: DeviceId(id(2)),
            session: SessionId(id(3)),
            scope: Scope::Vault,
            method: Method::Password,
            expires_at: 1_800_000_000,
            proven_at: 0,
            auth_epoch: 7,
            key: Kid([9; 12]),
        };
        let packed = pack(&caller);
        assert_eq!(unpack(&packed), Some(caller));
        assert_eq!(unpack(&packed[1..]), None);
        assert_eq!(unpack(&[0; LENGTH]), None);
    }
}
