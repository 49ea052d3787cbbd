//! `/v1/account/factors`: setting and removing second factors.

use axum::{extract::State, http::StatusCode};
use lockstep_api::{
    Bytes64, Code,
    factor::{ConfirmTotp, Factor, FactorIsSet, Factors, MadePasskey, NewPasskey, NewTotp},
};
use rand::{RngCore, rngs::OsRng};
use uuid::Uuid;

use super::{
    Answer, Failure, Json, Path, Routes,
    caller::{Caller, StepUp},
    openapi::problems,
    passkey_page,
    routes::routes,
    second_factor::kind,
};
use crate::{
    auth::{
        attempt::Attempt,
        passkey::{self, RelyingParty},
        totp,
    },
    commands::{
        factor_body::{OpenFactor, demanded, factors},
        facts::Actor,
        set_factor::{Proven, begin_totp, confirm_totp, new_codes, remove, set_passkey},
    },
    state::{Server, Shared},
};

/// A passkey is made within so many seconds.
const LIFE_S: i64 = 300;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(totp))
        .routes(routes!(confirm))
        .routes(routes!(passkey_start))
        .routes(routes!(passkey_finish))
        .routes(routes!(codes))
        .routes(routes!(forget))
}

problems! {
    /// What setting a factor meets.
    SetProblems: StepUpRequired, SecondFactorFailed, AttemptExpired, NotFound, QuotaExceeded;
}

/// For whom passkeys answer.
pub fn relying_party(server: &Server) -> RelyingParty {
    let origins = server.config.passkey_origins.split(',').map(|origin| origin.trim().to_owned());
    RelyingParty { id: server.config.passkey_domain.clone(), origins: origins.collect() }
}

fn proven(caller: &Caller) -> Proven {
    let actor = Actor { account: caller.account, device: caller.device };
    Proven { actor, at: caller.proven_at }
}

/// The second factors of the account.
#[utoipa::path(get, path = "/v1/account/factors", operation_id = "list_factors", tag = "factors", security(("token" = [])),
    responses((status = 200, description = "Oldest first", body = Factors)))]
async fn list(State(server): State<Shared>, caller: Caller) -> Answer<Json<Factors>> {
    let factors = demanded(&server, caller.account).await?;
    let shown = factors.iter().filter_map(|OpenFactor { stored, body }| {
        let kind = kind(stored.kind)?;
        Some(Factor { factor: stored.id, kind, created_at: stored.created_at, left: body.codes_left() })
    });
    Ok(Json(Factors { factors: shown.collect() }))
}

/// Begins a factor of codes by time. Needs a step-up.
#[utoipa::path(post, path = "/v1/account/factors/totp", operation_id = "start_totp", tag = "factors", security(("token" = [])),
    responses((status = 201, description = "Confirm it with its first code", body = NewTotp), SetProblems))]
async fn totp(State(server): State<Shared>, StepUp(caller): StepUp) -> Answer<(StatusCode, Json<NewTotp>)> {
    let (factor, secret) = begin_totp(&server, proven(&caller)).await?;
    let (uri, secret) = (totp::uri(&secret, "Lockstep"), totp::base32(&secret));
    Ok((StatusCode::CREATED, Json(NewTotp { factor, secret, uri })))
}

/// Confirms it: it is demanded from now on. Needs a step-up.
#[utoipa::path(post, path = "/v1/account/factors/totp/confirm", operation_id = "confirm_totp", tag = "factors", request_body = ConfirmTotp,
    security(("token" = [])),
    responses((status = 200, description = "It is set", body = FactorIsSet), SetProblems))]
async fn confirm(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
    Json(body): Json<ConfirmTotp>,
) -> Answer<Json<FactorIsSet>> {
    let codes = confirm_totp(&server, proven(&caller), body.factor, &body.code).await?;
    Ok(Json(FactorIsSet { factor: body.factor, codes }))
}

/// Begins a passkey. Needs a step-up.
#[utoipa::path(post, path = "/v1/account/factors/passkey/start", operation_id = "start_passkey", tag = "factors", security(("token" = [])),
    responses((status = 200, description = "What to ask the authenticator for", body = NewPasskey), SetProblems))]
async fn passkey_start(State(server): State<Shared>, StepUp(caller): StepUp) -> Answer<Json<NewPasskey>> {
    let known = factors(&server, caller.account).await?;
    let known = known.iter().filter_map(|factor| factor.body.passkey());
    let mut challenge = [0; 32];
    OsRng.fill_bytes(&mut challenge);
    let attempt = Uuid::new_v4();
    let state = Attempt::Passkey { session: caller.session, challenge };
    let until = server.clock.now().plus_seconds(LIFE_S);
    server.credentials.put_attempt(attempt, &state.to_bytes(), until).await?;
    Ok(Json(NewPasskey {
        attempt,
        challenge: Bytes64(challenge.to_vec()),
        relying_party: server.config.passkey_domain.clone(),
        page: passkey_page::address(&server.config),
        user: Bytes64(caller.account.as_bytes().to_vec()),
        algorithms: passkey::algorithms(),
        exclude: known.map(|known| Bytes64(known.id.clone())).collect(),
    }))
}

/// Sets the passkey that the authenticator made. Needs a step-up.
#[utoipa::path(post, path = "/v1/account/factors/passkey/finish", operation_id = "finish_passkey", tag = "factors", request_body = MadePasskey,
    security(("token" = [])),
    responses((status = 201, description = "It is set", body = FactorIsSet), SetProblems))]
async fn passkey_finish(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
    Json(body): Json<MadePasskey>,
) -> Answer<(StatusCode, Json<FactorIsSet>)> {
    let stored = server.credentials.take_attempt(body.attempt, server.clock.now()).await?;
    let challenge = match stored.and_then(|bytes| Attempt::from_bytes(&bytes)) {
        Some(Attempt::Passkey { session, challenge }) if session == caller.session => challenge,
        _ => return Err(Code::AttemptExpired.into()),
    };
    let made = relying_party(&server).register(&challenge, &body.client_data.0, &body.attestation.0);
    let credential = made.map_err(|error| Failure::caused(Code::SecondFactorFailed, error))?;
    let (factor, codes) = set_passkey(&server, proven(&caller), &credential).await?;
    Ok((StatusCode::CREATED, Json(FactorIsSet { factor, codes })))
}

/// Makes new codes, in the place of those that are there. Needs a step-up, and a factor that they stand in for.
#[utoipa::path(post, path = "/v1/account/factors/codes", operation_id = "make_factor_codes", tag = "factors", security(("token" = [])),
    responses((status = 201, description = "The codes, shown once", body = FactorIsSet), SetProblems))]
async fn codes(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
) -> Answer<(StatusCode, Json<FactorIsSet>)> {
    let (factor, codes) = new_codes(&server, proven(&caller)).await?;
    Ok((StatusCode::CREATED, Json(FactorIsSet { factor, codes })))
}

/// Removes a factor. Needs a step-up, which the factor is part of: one from before it was set does not count.
#[utoipa::path(delete, path = "/v1/account/factors/{factor}", operation_id = "forget_factor", tag = "factors", security(("token" = [])),
    params(("factor" = Uuid, Path, description = "The factor")),
    responses((status = 204, description = "It is gone"), SetProblems))]
async fn forget(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
    Path(factor): Path<Uuid>,
) -> Answer<StatusCode> {
    remove(&server, proven(&caller), factor).await?;
    Ok(StatusCode::NO_CONTENT)
}
