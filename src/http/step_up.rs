//! `/v1/sessions/step-up`: the password is proven again, for what needs a fresh proof.

use axum::extract::State;
use lockstep_api::{
    Code,
    account::{LoginStarted, StepUpFinish, StepUpStart, SteppedUp},
};
use lockstep_events::Micros;
use rand::rngs::OsRng;
use uuid::Uuid;

use super::{
    Answer, Failure, Json, Routes, caller::Caller, limiting::Gate, openapi::problems, routes::routes,
    second_factor, sessions::proof_place,
};
use crate::{
    auth::{
        attempt::{Attempt, LIFE_S, Purpose},
        minting::Bearer,
        opaque,
    },
    commands::{refresh, replace},
    limits::{Action, Subject},
    state::{Server, Shared},
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(start)).routes(routes!(finish))
}

problems! {
    /// What the beginning of a step-up meets.
    BegunProblems: LoginFailed;
    /// What a step-up meets.
    StepUpProblems: LoginFailed, AttemptExpired, SecondFactorRequired;
}

/// Begins to prove the password again (OPAQUE), in the session that asks.
#[utoipa::path(post, path = "/v1/sessions/step-up/start", operation_id = "start_step_up", tag = "sessions", request_body = StepUpStart,
    security(("token" = [])), responses(
    (status = 200, description = "Go on with `POST /v1/sessions/step-up/finish`", body = LoginStarted), BegunProblems))]
async fn start(
    State(server): State<Shared>,
    caller: Caller,
    gate: Gate,
    Json(body): Json<StepUpStart>,
) -> Answer<Json<LoginStarted>> {
    // It is a guess at the password, by somebody who has a token of this device.
    gate.subject(&server, Action::KnownLogin, Subject::Device(caller.account, caller.device)).await?;
    let _place = proof_place(&server).await?;
    let known = replace::password(&server, caller.account).await?.ok_or(Code::LoginFailed)?.record;
    let newest = server.keys.newest_setup().1;
    let setup = server.keys.setup(known.setup).unwrap_or(newest);
    let record = &known.record;
    let answered = opaque::login_response(setup, caller.account, record, &body.request.0, &mut OsRng);
    let (response, state) = answered
        .map_err(|e| Failure::caused(Code::InvalidField, e).detail("request: not an OPAQUE message"))?;
    let attempt = Uuid::new_v4();
    let state = Attempt::StepUp { session: caller.session, state };
    let until = server.clock.now().plus_seconds(LIFE_S);
    server.credentials.put_attempt(attempt, &state.to_bytes(), until).await?;
    Ok(Json(LoginStarted { attempt, response: response.into() }))
}

/// Ends it: an access token of the same session that counts as freshly proven for five minutes.
#[utoipa::path(post, path = "/v1/sessions/step-up/finish", operation_id = "finish_step_up", tag = "sessions", request_body = StepUpFinish,
    security(("token" = [])), responses(
    (status = 200, description = "The password was right", body = SteppedUp), StepUpProblems))]
async fn finish(
    State(server): State<Shared>,
    caller: Caller,
    gate: Gate,
    Json(body): Json<StepUpFinish>,
) -> Answer<Json<SteppedUp>> {
    let now = server.clock.now();
    let stored = server.credentials.take_attempt(body.attempt, now).await?;
    let Some(Attempt::StepUp { session, state }) = stored.and_then(|b| Attempt::from_bytes(&b)) else {
        return Err(Code::AttemptExpired.into());
    };
    let place = proof_place(&server).await?;
    let proven = opaque::login_finish(&state, &body.finalization.0);
    drop(place);
    if proven.is_err() || session != caller.session {
        return Err(Code::LoginFailed.into());
    }
    server.limits.succeeded(Action::KnownLogin, Subject::Device(caller.account, caller.device)).await?;
    gate.administrator(&server, caller.account).await?;
    let purpose = Purpose::StepUp { account: caller.account, session: caller.session };
    second_factor::demand(&server, purpose).await?;
    // As of before it was looked for a factor: one that is set meanwhile was no part of this.
    fresh(&server, &caller, now).await
}

/// An access token of the caller's session that counts as proven at a moment, if the session may have another one.
///
/// # Errors
/// `revoked`, or if no key signs at the moment.
pub async fn fresh(server: &Server, caller: &Caller, proven_at: Micros) -> Answer<Json<SteppedUp>> {
    let Caller { account, device, session, scope, method, auth_epoch, .. } = *caller;
    refresh::is_open(server, session).await?;
    let bearer = Bearer { account, device, session, scope, method, proven_at, auth_epoch };
    let access_token = server.tokens.mint(bearer, server.clock.now());
    let access_token = access_token.map_err(|e| Failure::caused(Code::Internal, e))?;
    Ok(Json(SteppedUp { access_token, expires_in: server.tokens.life_s() }))
}
