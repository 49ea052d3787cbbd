//! The second factor of a login, a step-up or an opened vault: demanded once the rest is proven, then shown.

use axum::extract::State;
use lockstep_api::{
    Bytes64, Code,
    account::{LoggedIn, SteppedUp, Tokens},
    factor::{Demanded, Kind, ShowFactor, Shown},
};
use lockstep_events::{AccountId, Micros};
use rand::{RngCore, rngs::OsRng};
use uuid::Uuid;

use super::{
    Answer, Failure, Json, Routes,
    caller::{Caller, Identified},
    factors::relying_party,
    limiting::Gate,
    openapi::problems,
    passkey_page,
    routes::routes,
    sessions, sign_in, step_up,
};
use crate::{
    auth::{
        attempt::{Attempt, Purpose},
        factors::FactorKind,
        passkey::Assertion,
        token::Scope,
    },
    commands::{
        factor_body::{self, BodyError},
        second_factor::{self, CheckFactor, FactorError},
    },
    limits::Subject,
    state::{Server, Shared},
};

/// A demand is valid so long, in seconds.
const LIFE_S: i64 = 300;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(login)).routes(routes!(stepped)).routes(routes!(vault))
}

problems! {
    /// What a shown factor meets.
    ShownProblems: SecondFactorFailed, AttemptExpired, LoginFailed, AccountDisabled, Forbidden, Revoked;
}

/// Demands a second factor, if the account has one.
///
/// # Errors
/// `second_factor_required`, with what may be shown.
pub async fn demand(server: &Server, purpose: Purpose) -> Answer<()> {
    let factors = factor_body::demanded(server, purpose.account()).await?;
    if factors.is_empty() {
        return Ok(());
    }
    let attempt = Uuid::new_v4();
    let mut challenge = [0; 32];
    OsRng.fill_bytes(&mut challenge);
    let shown = [Kind::Totp, Kind::Passkey, Kind::Codes];
    let has = |kind: &Kind| factors.iter().any(|factor| self::kind(factor.body.kind()) == Some(*kind));
    let kinds = shown.into_iter().filter(has).collect();
    let passkeys = factors.iter().filter_map(|factor| factor.body.passkey());
    let passkeys = passkeys.map(|known| Bytes64(known.id.clone())).collect();
    let state = Attempt::SecondFactor { purpose, challenge };
    let until = server.clock.now().plus_seconds(LIFE_S);
    server.credentials.put_attempt(attempt, &state.to_bytes(), until).await?;
    let challenge = Bytes64(challenge.to_vec());
    let relying_party = server.config.passkey_domain.clone();
    let page = passkey_page::address(&server.config);
    let facts = Demanded { attempt, kinds, challenge, relying_party, passkeys, page };
    Err(Failure::from(Code::SecondFactorRequired).facts(facts))
}

/// A kind as it is shown; none for what is no second factor.
pub fn kind(kind: FactorKind) -> Option<Kind> {
    match kind {
        FactorKind::Totp => Some(Kind::Totp),
        FactorKind::Passkey => Some(Kind::Passkey),
        FactorKind::Codes => Some(Kind::Codes),
        FactorKind::Recovery | FactorKind::Approval => None,
    }
}

/// Ends a login whose password is proven, with the second factor.
#[utoipa::path(post, path = "/v1/sessions/second-factor", operation_id = "show_login_factor", tag = "sessions", request_body = ShowFactor,
    responses((status = 200, description = "The factor was right", body = LoggedIn), ShownProblems))]
async fn login(
    State(server): State<Shared>,
    gate: Gate,
    Json(body): Json<ShowFactor>,
) -> Answer<Json<LoggedIn>> {
    let (challenge, purpose) = attempted(&server, &body).await?;
    let Purpose::Login(mut proven) = purpose else { return Err(Code::AttemptExpired.into()) };
    let set_at = checked(&server, &gate, &body, proven.account, &challenge).await?;
    // As fresh as the password; what was demanded beside it was part of the proof all the same.
    proven.at = proven.at.max(set_at.plus_seconds(1));
    sessions::logged_in(&server, proven).await
}

/// Ends a step-up whose password is proven, with the second factor.
#[utoipa::path(post, path = "/v1/sessions/step-up/second-factor", operation_id = "show_step_up_factor", tag = "sessions", request_body = ShowFactor,
    security(("token" = [])),
    responses((status = 200, description = "The factor was right", body = SteppedUp), ShownProblems))]
async fn stepped(
    State(server): State<Shared>,
    caller: Caller,
    gate: Gate,
    Json(body): Json<ShowFactor>,
) -> Answer<Json<SteppedUp>> {
    let now = server.clock.now();
    match attempted(&server, &body).await? {
        (challenge, Purpose::StepUp { account, session }) if session == caller.session => {
            let set_at = checked(&server, &gate, &body, account, &challenge).await?;
            // What was demanded was part of the proof, even if it was set in this very second.
            step_up::fresh(&server, &caller, now.max(set_at.plus_seconds(1))).await
        }
        _ => Err(Code::AttemptExpired.into()),
    }
}

/// Opens the vault of a proven identity whose device has shown its key, with the second factor.
#[utoipa::path(post, path = "/v1/sessions/vault/second-factor", operation_id = "show_vault_factor", tag = "sign-in", request_body = ShowFactor,
    security(("identity" = [])),
    responses((status = 200, description = "The factor was right", body = Tokens), ShownProblems))]
async fn vault(
    State(server): State<Shared>,
    Identified(caller): Identified,
    gate: Gate,
    Json(body): Json<ShowFactor>,
) -> Answer<Json<Tokens>> {
    if caller.scope != Scope::Identity {
        return Err(Code::Forbidden.into());
    }
    match attempted(&server, &body).await? {
        (challenge, Purpose::Vault(opening)) if opening.session == caller.session => {
            checked(&server, &gate, &body, opening.account, &challenge).await?;
            sign_in::opened(&server, caller.access(), opening).await
        }
        _ => Err(Code::AttemptExpired.into()),
    }
}

/// What the attempt is for, and what a passkey signs for it.
async fn attempted(server: &Server, body: &ShowFactor) -> Answer<([u8; 32], Purpose)> {
    let stored = server.credentials.attempt(body.attempt, server.clock.now()).await?;
    match stored.and_then(|bytes| Attempt::from_bytes(&bytes)) {
        Some(Attempt::SecondFactor { purpose, challenge }) => Ok((challenge, purpose)),
        _ => Err(Code::AttemptExpired.into()),
    }
}

/// Counts the guess, and then looks whether the factor is right: since when all have been set that were demanded. The
/// attempt is used then.
async fn checked(
    server: &Server,
    gate: &Gate,
    body: &ShowFactor,
    account: AccountId,
    challenge: &[u8],
) -> Answer<Micros> {
    // Counted first: who stops after the look, or asks twice at once, has guessed all the same.
    gate.guess(server, Some(body.attempt), Subject::Account(account)).await?;
    let shown = match &body.factor {
        Shown::Totp { code } => second_factor::Shown::Totp(code),
        Shown::Codes { code } => second_factor::Shown::Code(code),
        Shown::Passkey { credential, client_data, authenticator_data, signature } => {
            let (client_data, authenticator_data) = (&client_data.0[..], &authenticator_data.0[..]);
            let proof = Assertion { client_data, authenticator_data, signature: &signature.0 };
            second_factor::Shown::Passkey(&credential.0, proof)
        }
    };
    let relying_party = &relying_party(server);
    let attempt = body.attempt;
    let check = CheckFactor { account, attempt, challenge, relying_party, shown };
    let set_at = check.run(server).await?;
    server.limits.guessed(Subject::Account(account)).await?;
    // Of two that are right at once, one goes on.
    match server.credentials.take_attempt(attempt, server.clock.now()).await? {
        Some(_) => Ok(set_at),
        None => Err(Code::AttemptExpired.into()),
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Subjects(error) => error.into(),
            BodyError::Credentials(error) => error.into(),
        }
    }
}

impl From<FactorError> for Failure {
    fn from(error: FactorError) -> Self {
        match error {
            FactorError::Wrong => Code::SecondFactorFailed.into(),
            FactorError::TooMany(exceeded) => exceeded.into(),
            FactorError::Body(error) => error.into(),
            FactorError::Unproven => Code::StepUpRequired.into(),
            FactorError::NoFactor => Code::NotFound.into(),
            FactorError::Log(error) => error.into(),
            FactorError::Credentials(error) => error.into(),
        }
    }
}
