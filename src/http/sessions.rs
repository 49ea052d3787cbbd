//! `/v1/sessions`: logging in, refreshing, and ending sessions.

use std::time::Duration;

use axum::{extract::State, http::StatusCode};
use lockstep_api::{
    Code,
    account::{
        LoggedIn, LoginFinish, LoginStart, LoginStarted, Refresh, Session, SessionEnd, Sessions, Tokens,
        proof_message,
    },
};
use lockstep_events::{
    AccountId, DeviceId, Micros, SessionId,
    canonical::sha256,
    event::{Method, RevokeReason},
    header::verify,
};
use lockstep_projections::Family;
use rand::rngs::OsRng;
use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use super::{
    Answer, Failure, Path, Routes, accounts,
    caller::{Caller, Scope, WRITE_TOUCH, in_touch},
    extract::Json,
    limiting::Gate,
    openapi::problems,
    routes::routes,
    second_factor,
};
use crate::{
    auth::{
        attempt::{Attempt, LIFE_S, Proven, Purpose},
        credentials::{KnownPassword, NameIndex, PasswordRecord, StoredSession},
        minting::Bearer,
        opaque, refresh,
    },
    commands::{
        account::{LookError, in_effect, read_as_heard},
        end_access::{EndAccess, EndAccessError},
        end_session::{EndError, EndSession},
        facts::Actor,
        login::{Login, LoginError, Proof},
        refresh::{RefreshError, RefreshSession},
        replace,
    },
    limits::{Action, Subject},
    state::{Server, Shared},
};

/// A password proof waits at most so long for its turn.
const TURN: Duration = Duration::from_secs(5);
/// A name is at most so long, in bytes.
const MAX_NAME: usize = 254;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, end_others))
        .routes(routes!(start))
        .routes(routes!(finish))
        .routes(routes!(renew))
        .routes(routes!(end))
}

problems! {
    /// What a login meets.
    LoginProblems: LoginFailed, Revoked, AttemptExpired, SecondFactorRequired, AccountDisabled;
    /// What a refresh meets.
    RefreshProblems: RefreshFailed, Revoked;
    /// What the end of a session meets.
    EndProblems: NotFound;
}

/// A name that may be one.
///
/// # Errors
/// `invalid_field`
pub fn checked_name(name: &str) -> Answer<&str> {
    let fits = (1..=MAX_NAME).contains(&name.len()) && !name.trim().is_empty();
    let plain = !name.chars().any(char::is_control);
    if fits && plain {
        Ok(name)
    } else {
        Err(Failure::from(Code::InvalidField).detail("name: 1 to 254 bytes of text"))
    }
}

/// A turn for the work of a password proof: only so many are worked on at the same time.
///
/// # Errors
/// `too_many_requests`
pub async fn proof_place(server: &Server) -> Answer<SemaphorePermit<'_>> {
    match tokio::time::timeout(TURN, server.proofs.acquire()).await {
        Ok(Ok(place)) => Ok(place),
        _ => Err(Code::TooManyRequests.into()),
    }
}

/// What is known of a name.
pub struct Named {
    /// Its blind index.
    pub index: NameIndex,
    /// Its password record, with its account; or those that a name without an account seems to have.
    pub password: PasswordRecord,
}

/// Looks a name up. A change that was cut off is brought to its end first. A name without an account takes the same way:
/// it is found with a record that no password opens.
///
/// # Errors
/// If a store does not answer.
pub async fn named(server: &Server, name: &str) -> Answer<Named> {
    let index = server.keys.name_index(name);
    let nobody = nobody(server, name);
    let mut known = server.credentials.password_or(index, &nobody).await?;
    if replace::outdated(server, Some(&known)).await? {
        known = server.credentials.password_or(index, &nobody).await?;
    }
    Ok(Named { index, password: known.record })
}

/// What a name without an account is found with.
fn nobody(server: &Server, name: &str) -> PasswordRecord {
    let (setup, keys) = server.keys.newest_setup();
    let record = opaque::nobodys_record(keys, &mut OsRng);
    PasswordRecord { account: server.keys.fake_account(name), setup, suite: 1, record }
}

/// Begins a login (OPAQUE). The answer is the same kind of answer for names that do not exist.
#[utoipa::path(post, path = "/v1/sessions/start", operation_id = "start_login", tag = "sessions", request_body = LoginStart,
    responses((status = 200, description = "Go on with `POST /v1/sessions/finish`", body = LoginStarted)))]
async fn start(
    State(server): State<Shared>,
    gate: Gate,
    Json(body): Json<LoginStart>,
) -> Answer<Json<LoginStarted>> {
    let name = checked_name(&body.name)?;
    let Named { index, password: PasswordRecord { account, setup, record, .. } } =
        named(&server, name).await?;
    let (action, subject) = match own_device(&server, account, &body).await? {
        Some(device) => (Action::KnownLogin, Subject::Device(account, device)),
        None => (Action::Login, Subject::Name(index)),
    };
    gate.subject(&server, action, subject).await?;
    let _place = proof_place(&server).await?;
    let setup = server.keys.setup(setup).unwrap_or(server.keys.newest_setup().1);
    let (response, state) = opaque::login_response(setup, account, &record, &body.request.0, &mut OsRng)
        .map_err(|e| Failure::caused(Code::InvalidField, e).detail("request: not an OPAQUE message"))?;
    let attempt = Uuid::new_v4();
    let name = matches!(action, Action::Login).then_some(index.0);
    let state = Attempt::Login { name, account, record: sha256(&record), state };
    let until = server.clock.now().plus_seconds(LIFE_S);
    server.credentials.put_attempt(attempt, &state.to_bytes(), until).await?;
    Ok(Json(LoginStarted { attempt, response: response.into() }))
}

/// The enrolled device of this account that sends a login, if it proves its key: then whoever guesses at the name from
/// elsewhere cannot keep it out.
async fn own_device(server: &Server, account: AccountId, body: &LoginStart) -> Answer<Option<DeviceId>> {
    let Some(proof) = &body.device else { return Ok(None) };
    let message = proof_message(&body.request.0);
    let own = server.reads.device(account, proof.device).await?.filter(|row| row.revoked.is_none());
    let proven = own.filter(|row| verify(&row.public_key, &message, &proof.signature));
    Ok(proven.map(|row| row.device))
}

/// Ends a login. An enrolled device gets its tokens, any other one a token to enrol itself with.
#[utoipa::path(post, path = "/v1/sessions/finish", operation_id = "finish_login", tag = "sessions", request_body = LoginFinish,
    responses((status = 200, description = "The password was right", body = LoggedIn), LoginProblems))]
async fn finish(
    State(server): State<Shared>,
    gate: Gate,
    Json(body): Json<LoginFinish>,
) -> Answer<Json<LoggedIn>> {
    // Before anything is looked at: what the account gets meanwhile, this proof knows nothing of.
    let at = server.clock.now();
    let stored = server.credentials.take_attempt(body.attempt, at).await?;
    let Some(Attempt::Login { name, account, record, state }) = stored.and_then(|b| Attempt::from_bytes(&b))
    else {
        return Err(Code::AttemptExpired.into());
    };
    let place = proof_place(&server).await?;
    let proven = opaque::login_finish(&state, &body.finalization.0);
    drop(place);
    proven.map_err(|_| Code::LoginFailed)?;
    let message = proof_message(body.attempt.as_bytes());
    let proof = body.device.map(|p| (p.device, message, p.signature));
    let proven = Proven { name, account, record, at, proof };
    let known = still(&server, account, &proven.record).await?;
    gate.administrator(&server, account).await?;
    if known.factors {
        second_factor::demand(&server, Purpose::Login(proven.clone())).await?;
    }
    entered(&server, proven).await
}

/// The password of an account, if it is still the one that was proven, by the SHA-256 of its record.
async fn still(server: &Server, account: AccountId, proven: &[u8; 32]) -> Answer<KnownPassword> {
    let present = replace::password(server, account).await?;
    let same = present.filter(|present| sha256(&present.record.record) == *proven);
    Ok(same.ok_or(Code::LoginFailed)?)
}

/// Ends a login in which everything is proven, if the password is still the one that was proven.
///
/// # Errors
/// `login_failed`, or what a store does not answer.
pub async fn logged_in(server: &Server, proven: Proven) -> Answer<Json<LoggedIn>> {
    still(server, proven.account, &proven.record).await?;
    entered(server, proven).await
}

async fn entered(server: &Server, proven: Proven) -> Answer<Json<LoggedIn>> {
    let Proven { name, account, record, at: proven_at, proof } = proven;
    let (session, method) = (SessionId(Uuid::new_v4()), Method::Password);
    let proof = proof.map(|(device, message, signature)| Proof { device, message, signature });
    let done = Login { account, session, method, proven_at, voucher: None, proof }.run(server).await?;
    // A change of the password that came between has ended what was open then, and this was not: it is looked at once
    // more, after the account was and after the session stands.
    if let Err(changed) = still(server, account, &record).await {
        if let Some(opened) = &done.opened {
            let actor = Actor { account, device: opened.stored.device };
            EndSession { actor, own: SessionId::NIL, session }.run(server).await?;
        }
        return Err(changed);
    }
    if let Some(name) = name {
        server.limits.succeeded(Action::Login, Subject::Name(NameIndex(name))).await?;
    } else if let Some(opened) = &done.opened {
        // Begun by a device that proved its key.
        let device = Subject::Device(account, opened.stored.device);
        server.limits.succeeded(Action::KnownLogin, device).await?;
    }
    let epoch = done.row.auth_epoch;
    let (tokens, enrol_token) = if let Some(opened) = &done.opened {
        in_effect(server, opened.position).await;
        (Some(self::tokens(server, &opened.stored, epoch)?), None)
    } else {
        let now = server.clock.now();
        let (device, scope) = (DeviceId::NIL, Scope::Enrol);
        let bearer = Bearer { account, device, session, scope, method, proven_at, auth_epoch: epoch };
        (None, Some(server.tokens.mint(bearer, now).map_err(|e| Failure::caused(Code::Internal, e))?))
    };
    let account = accounts::shown(server, done.row).await?;
    Ok(Json(LoggedIn { account, tokens, enrol_token }))
}

/// The tokens of a session.
///
/// # Errors
/// If no key signs at the moment.
pub fn tokens(server: &Server, stored: &StoredSession, auth_epoch: u64) -> Answer<Tokens> {
    let bearer = Bearer {
        account: stored.account,
        device: stored.device,
        session: stored.session,
        scope: Scope::Vault,
        method: stored.method,
        proven_at: if stored.method == Method::Password { stored.opened_at } else { Micros(0) },
        auth_epoch,
    };
    let access_token = server.tokens.mint(bearer, server.clock.now());
    Ok(Tokens {
        account: stored.account,
        device: stored.device,
        session: stored.session,
        access_token: access_token.map_err(|e| Failure::caused(Code::Internal, e))?,
        expires_in: server.tokens.life_s(),
        refresh_token: refresh::token(&server.keys, stored.session, &stored.seed, stored.generation),
    })
}

/// New tokens for a session. A used token gives the same successor for a minute, and ends the session after that.
#[utoipa::path(post, path = "/v1/sessions/refresh", operation_id = "refresh_session", tag = "sessions", request_body = Refresh,
    responses((status = 200, description = "The new tokens", body = Tokens), RefreshProblems))]
async fn renew(State(server): State<Shared>, gate: Gate, Json(body): Json<Refresh>) -> Answer<Json<Tokens>> {
    let presented = refresh::Presented::parse(&body.refresh_token).ok_or(Code::RefreshFailed)?;
    // A token that was used a moment ago is answered without the log: what has ended since is known by it alone.
    in_touch(&server, WRITE_TOUCH)?;
    let message = proof_message(body.refresh_token.as_bytes());
    let command = RefreshSession { presented, message, signature: body.signature };
    // Who has a token and not the device's key uses up nothing of the session's.
    let proven = command.proven(&server).await?;
    gate.subject(&server, Action::Refresh, Subject::Session(presented.session)).await?;
    let (stored, auth_epoch) = proven.run(&server).await?;
    Ok(Json(tokens(&server, &stored, auth_epoch)?))
}

/// The sessions of the account.
#[utoipa::path(get, path = "/v1/sessions", operation_id = "list_sessions", tag = "sessions", security(("token" = [])),
    responses((status = 200, description = "Oldest first", body = Sessions)))]
async fn list(State(server): State<Shared>, caller: Caller) -> Answer<Json<Sessions>> {
    read_as_heard(&server, Family::Account).await?;
    let rows = server.reads.sessions(caller.account).await?;
    let shown = rows.into_iter().map(|row| Session {
        session: row.session,
        device: row.device,
        opened_at: row.opened_at,
        last_seen: coarse(row.refreshed_at),
        ended: row.revoked.is_some(),
        current: row.session == caller.session,
    });
    Ok(Json(Sessions { sessions: shown.collect() }))
}

/// To the hour: nobody needs to know more about where a person was when.
pub fn coarse(at: Micros) -> Micros {
    const HOUR: i64 = 3_600_000_000;
    Micros(at.0.div_euclid(HOUR) * HOUR)
}

/// Ends every session of the account but the one that asks.
#[utoipa::path(delete, path = "/v1/sessions", operation_id = "end_other_sessions", tag = "sessions", security(("token" = [])),
    responses((status = 204, description = "All others have ended")))]
async fn end_others(State(server): State<Shared>, caller: Caller) -> Answer<StatusCode> {
    let end = EndAccess {
        account: caller.account,
        reason: RevokeReason::Others,
        keep: Some(caller.session),
        actor: Some(Actor { account: caller.account, device: caller.device }),
        cause: Uuid::new_v4().as_bytes().to_vec(),
        at: server.clock.now(),
    };
    if let Some(position) = end.run(&server).await? {
        in_effect(&server, position).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

impl From<EndAccessError> for Failure {
    fn from(error: EndAccessError) -> Self {
        match error {
            EndAccessError::NoAccount => Code::NotFound.into(),
            EndAccessError::Log(error) => error.into(),
            EndAccessError::Credentials(error) => error.into(),
        }
    }
}

/// Ends a session: a log-out if it is the one that asks. Ending it again changes nothing.
#[utoipa::path(delete, path = "/v1/sessions/{session}", operation_id = "end_session", tag = "sessions", security(("token" = [])),
    params(("session" = Uuid, Path, description = "The session")),
    responses((status = 204, description = "It has ended"), EndProblems))]
async fn end(
    State(server): State<Shared>,
    caller: Caller,
    Path(session): Path<SessionId>,
) -> Answer<StatusCode> {
    let actor = Actor { account: caller.account, device: caller.device };
    let position = EndSession { actor, own: caller.session, session }.run(&server).await?;
    if let Some(position) = position {
        in_effect(&server, position).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

impl From<LookError> for Failure {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Log(error) => error.into(),
            LookError::Reads(error) => error.into(),
            LookError::Behind(error) => Self::caused(Code::ReadsUnavailable, error),
            LookError::Damaged => Self::caused(Code::Internal, error),
        }
    }
}

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Failed => Code::LoginFailed.into(),
            LoginError::Revoked | LoginError::Ended => Code::Revoked.into(),
            LoginError::Disabled => Code::AccountDisabled.into(),
            LoginError::Look(error) => error.into(),
            LoginError::Log(error) => error.into(),
            LoginError::Credentials(error) => error.into(),
        }
    }
}

/// Whoever holds the refresh token and the device's key is told when and why the session ended.
fn ended(code: Code, at: Option<Micros>, reason: Option<RevokeReason>) -> Failure {
    Failure::from(code).facts(SessionEnd { at, reason })
}

impl From<RefreshError> for Failure {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Invalid => Code::RefreshFailed.into(),
            RefreshError::Reused => ended(Code::RefreshFailed, None, Some(RevokeReason::RefreshReuse)),
            RefreshError::Ended(None) => Code::Revoked.into(),
            RefreshError::Ended(Some((at, reason))) => ended(Code::Revoked, Some(at), Some(reason)),
            RefreshError::RanOut => ended(Code::Revoked, None, None),
            RefreshError::Look(error) => error.into(),
            RefreshError::Log(error) => error.into(),
            RefreshError::Credentials(error) => error.into(),
        }
    }
}

impl From<EndError> for Failure {
    fn from(error: EndError) -> Self {
        match error {
            EndError::NoSession => Code::NotFound.into(),
            EndError::Reads(error) => error.into(),
            EndError::Log(error) => error.into(),
            EndError::Credentials(error) => error.into(),
        }
    }
}
