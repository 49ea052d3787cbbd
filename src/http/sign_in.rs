//! `/v1/sign-in`: a link by mail, asked for by one client and given to that client alone; and what an identity opens.
//!
//! Asking costs the same for every name: one row in the outbox. Whether there is such an account is found out when
//! the mail is sent.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use lockstep_api::{
    Code,
    account::{Tokens, proof_message},
    ways::{Identified, OpenVault, SECRET_LEN, SignInFinish, SignInStart, SignInStarted, Waiting},
};
use lockstep_events::{canonical::sha256, event::Method, header::verify};
use uuid::Uuid;

use super::{
    Answer, Failure, Routes, caller,
    extract::Json,
    limiting::Gate,
    openapi::problems,
    routes::routes,
    second_factor,
    sessions::{self, checked_name},
};
use crate::{
    auth::{
        attempt::{Opening, Purpose},
        token::Scope,
    },
    commands::{
        account::in_effect,
        login::{Login, Proof},
        prove_identity::{ProveError, ProveIdentity},
    },
    feed::Access,
    limits::{Action, Subject},
    mail::{
        outbox::Task,
        worker::{SIGN_IN_S, leave},
    },
    state::{Server, Shared},
};

/// A client asks again after so many seconds.
const AGAIN_S: u32 = 2;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(start)).routes(routes!(finish)).routes(routes!(open_vault))
}

problems! {
    /// What the end of a sign-in meets.
    FinishProblems: AccountDisabled;
    /// What opening a vault meets.
    OpenProblems: Forbidden, LoginFailed, AccountDisabled, SecondFactorRequired;
}

/// Asks for a sign-in link by mail. The answer is the same for names that do not exist.
#[utoipa::path(post, path = "/v1/sign-in/start", operation_id = "start_sign_in", tag = "sign-in", request_body = SignInStart,
    responses((status = 202, description = "If there is such an account, and its address is confirmed, a link is \
        mailed: go on with `POST /v1/sign-in/finish`", body = SignInStarted)))]
async fn start(
    State(server): State<Shared>,
    gate: Gate,
    Json(body): Json<SignInStart>,
) -> Answer<(StatusCode, Json<SignInStarted>)> {
    let name = server.keys.name_index(checked_name(&body.name)?);
    gate.subject(&server, Action::Mail, Subject::Name(name)).await?;
    let task = Task::SignIn { name: name.0, initiator: body.initiator.0 };
    leave(&server, Uuid::new_v4(), &task).await?;
    let expires_in = u32::try_from(SIGN_IN_S).unwrap_or_default();
    Ok((StatusCode::ACCEPTED, Json(SignInStarted { expires_in })))
}

/// Asks whether the link was opened and confirmed, by the secret of the client that asked for it. The result is given
/// once.
#[utoipa::path(post, path = "/v1/sign-in/finish", operation_id = "finish_sign_in", tag = "sign-in", request_body = SignInFinish,
    responses((status = 200, description = "It was: a token of scope `identity`", body = Identified),
        (status = 202, description = "Not yet", body = Waiting), FinishProblems))]
async fn finish(State(server): State<Shared>, Json(body): Json<SignInFinish>) -> Answer<Response> {
    let secret = checked_secret(&body.secret.0)?;
    let pressed = server.ways.take_pressed(sha256(secret), server.clock.now()).await?;
    let Some(account) = pressed else {
        let waiting: Json<_> = Json(Waiting { retry_after: AGAIN_S });
        return Ok((StatusCode::ACCEPTED, waiting).into_response());
    };
    let proven = ProveIdentity { account, method: Method::MagicLink };
    let identified: Json<_> = Json(identified(&server, proven).await?);
    Ok(identified.into_response())
}

/// A client's secret of the right length.
///
/// # Errors
/// `invalid_field`
pub fn checked_secret(secret: &[u8]) -> Answer<&[u8]> {
    if secret.len() == SECRET_LEN {
        return Ok(secret);
    }
    Err(Failure::from(Code::InvalidField).detail("secret: 32 bytes"))
}

/// The token of a proven identity.
///
/// # Errors
/// If the account is gone, or the log does not answer.
pub async fn identified(server: &Server, proven: ProveIdentity) -> Answer<Identified> {
    let (bearer, position) = proven.run(server).await?;
    if let Some(position) = position {
        in_effect(server, position).await;
    }
    let token = server.tokens.mint(bearer, server.clock.now());
    Ok(Identified {
        account: bearer.account,
        session: bearer.session,
        identity_token: token.map_err(|e| Failure::caused(Code::Internal, e))?,
        expires_in: server.tokens.life_of(Scope::Identity),
    })
}

/// Opens a session for an enrolled device: the bearer is a token of scope `identity`, and the device proves its key. If
/// the account has a second factor, it is demanded then. Sending the same again gives the same session.
#[utoipa::path(post, path = "/v1/sessions/vault", operation_id = "open_vault_session", tag = "sign-in", request_body = OpenVault,
    security(("identity" = [])),
    responses((status = 200, description = "The session", body = Tokens), OpenProblems))]
async fn open_vault(
    State(server): State<Shared>,
    caller::Identified(caller): caller::Identified,
    Json(body): Json<OpenVault>,
) -> Answer<Json<Tokens>> {
    if caller.scope != Scope::Identity {
        return Err(Code::Forbidden.into());
    }
    let message = proof_message(caller.session.as_bytes());
    let device = server.members.device(caller.account, body.device.device, true).await?;
    let device = device.filter(|device| !device.revoked);
    // First the device: who has none is not even told which factors there are.
    if !device.is_some_and(|device| verify(&device.public_key, &message, &body.device.signature)) {
        return Err(Code::LoginFailed.into());
    }
    let proof = (body.device.device, message, body.device.signature);
    let (account, session, method) = (caller.account, caller.session, caller.method);
    let opening = Opening { account, session, method, proof };
    second_factor::demand(&server, Purpose::Vault(opening.clone())).await?;
    opened(&server, caller.access(), opening).await
}

/// Opens what everything is proven for, if nothing has ended the token that it is asked for with.
///
/// # Errors
/// `login_failed`, `account_disabled`, `revoked`, or what a store does not answer.
pub async fn opened(server: &Server, voucher: Access, opening: Opening) -> Answer<Json<Tokens>> {
    let Opening { account, session, method, proof: (device, message, signature) } = opening;
    let proof = Some(Proof { device, message, signature });
    let (proven_at, voucher) = (server.clock.now(), Some(voucher));
    let done = Login { account, session, method, proven_at, voucher, proof }.run(server).await?;
    let opened = done.opened.ok_or(Code::LoginFailed)?;
    in_effect(server, opened.position).await;
    Ok(Json(sessions::tokens(server, &opened.stored, opened.auth_epoch)?))
}

impl From<ProveError> for Failure {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::NoAccount => Code::LoginFailed.into(),
            ProveError::Disabled => Code::AccountDisabled.into(),
            ProveError::Look(error) => error.into(),
            ProveError::Log(error) => error.into(),
        }
    }
}
