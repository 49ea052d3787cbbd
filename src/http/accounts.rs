//! `/v1/accounts` and `/v1/account`: registering, and what an account is.

use std::collections::HashMap;

use axum::{extract::State, http::StatusCode};
use lockstep_api::{
    Bytes64, Code,
    account::{Account, RegisterFinish, RegisterStart, RegisterStarted, Tokens, Wrap},
};
use lockstep_events::{
    AccountId, VaultId,
    roster::{Claim, vault_key_place},
};
use lockstep_projections::rows::AccountRow;
use uuid::Uuid;

use super::{
    Answer, Failure, Routes,
    caller::Caller,
    extract::Json,
    limiting::Gate,
    openapi::problems,
    routes::routes,
    sessions::{self, checked_name, proof_place},
};
use crate::{
    auth::{
        attempt::{Attempt, LIFE_S},
        credentials::{Held, NameIndex, PasswordRecord, Wrapped},
        opaque,
    },
    commands::{
        account::{in_effect, present},
        register::{Register, RegisterError},
        replace,
    },
    limits::{Action, Subject},
    state::{Server, Shared},
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(start)).routes(routes!(finish)).routes(routes!(account))
}

problems! {
    /// What a registration meets.
    FinishProblems: NameTaken, AttemptExpired, InvitationRequired;
}

/// Begins a registration (OPAQUE).
#[utoipa::path(post, path = "/v1/accounts/start", operation_id = "start_registration", tag = "accounts", request_body = RegisterStart,
    responses((status = 200, description = "Go on with `POST /v1/accounts/finish`", body = RegisterStarted)))]
async fn start(
    State(server): State<Shared>,
    gate: Gate,
    Json(body): Json<RegisterStart>,
) -> Answer<Json<RegisterStarted>> {
    let name = checked_name(&body.name)?;
    gate.subject(&server, Action::Register, Subject::Name(server.keys.name_index(name))).await?;
    let _place = proof_place(&server).await?;
    let account = AccountId(Uuid::new_v4());
    let (setup_id, setup) = server.keys.newest_setup();
    let response = opaque::registration_response(setup, account, &body.request.0)
        .map_err(|e| Failure::caused(Code::InvalidField, e).detail("request: not an OPAQUE message"))?;
    let attempt = Uuid::new_v4();
    let state = Attempt::register(server.keys.name_index(name), account, setup_id);
    let until = server.clock.now().plus_seconds(LIFE_S);
    server.credentials.put_attempt(attempt, &state.to_bytes(), until).await?;
    Ok(Json(RegisterStarted { attempt, account, response: response.into() }))
}

/// Ends a registration: the account, its first device, its default vault and its first session begin together.
/// Sending the same again within the attempt's life gives the same answer.
#[utoipa::path(post, path = "/v1/accounts/finish", operation_id = "finish_registration", tag = "accounts", request_body = RegisterFinish,
    responses((status = 201, description = "Registered", body = Tokens), FinishProblems))]
async fn finish(
    State(server): State<Shared>,
    Json(body): Json<RegisterFinish>,
) -> Answer<(StatusCode, Json<Tokens>)> {
    let stored = server.credentials.attempt(body.attempt, server.clock.now()).await?;
    let Some(Attempt::Register { name, account, setup }) = stored.and_then(|b| Attempt::from_bytes(&b))
    else {
        return Err(Code::AttemptExpired.into());
    };
    let place = proof_place(&server).await?;
    let record = opaque::record(&body.upload.0)
        .map_err(|e| Failure::caused(Code::InvalidField, e).detail("upload: not an OPAQUE message"))?;
    drop(place);
    let command = Register {
        attempt: body.attempt,
        name: NameIndex(name),
        password: PasswordRecord { account, setup, suite: body.suite, record },
        statements: body.statements,
        device: body.device,
        vault: body.vault,
        wraps: body.wraps.into_iter().map(wrapped).collect(),
        invitation: body.invitation,
    };
    let opened = command.run(&server).await?;
    in_effect(&server, opened.position).await;
    let tokens = sessions::tokens(&server, &opened.stored, opened.auth_epoch)?;
    Ok((StatusCode::CREATED, Json(tokens)))
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::NameTaken => Code::NameTaken.into(),
            RegisterError::NoInvitation => Code::InvitationRequired.into(),
            RegisterError::Invalid(what) => Self::from(Code::InvalidField).detail(what),
            RegisterError::Roster(error) => {
                Self::from(Code::InvalidField).detail(format!("statements: {error}"))
            }
            RegisterError::Differs => Self::from(Code::AttemptExpired).detail("it was finished before"),
            RegisterError::Log(error) => error.into(),
            RegisterError::Credentials(error) => error.into(),
        }
    }
}

/// The account's roster, wrapped keys and vaults.
#[utoipa::path(get, path = "/v1/account", operation_id = "get_account", tag = "accounts", security(("token" = [])),
    responses((status = 200, description = "The account", body = Account)))]
async fn account(State(server): State<Shared>, caller: Caller) -> Answer<Json<Account>> {
    let row = present(&server, caller.account).await?.ok_or_else(|| Failure::from(Code::NotFound))?;
    Ok(Json(shown(&server, row).await?))
}

/// A wrapped key as the credential store has it.
pub fn wrapped(wrap: Wrap) -> Wrapped {
    Wrapped { name: wrap.name, generation: wrap.generation, bytes: wrap.bytes.0 }
}

/// An account as its own devices see it: of vaults' keys exactly the generations that its roster names.
pub async fn shown(server: &Server, row: AccountRow) -> Answer<Account> {
    let mut held = server.credentials.held(row.account).await?;
    // A change whose event stands and that was cut off is carried out first. Whoever has carried it out since then: what
    // was read may lack a key that the roster names.
    if held.staged {
        replace::settle(server, row.account).await?;
        held = server.credentials.held(row.account).await?;
    }
    let Held { mut wraps, suite, .. } = held;
    let mut newest: HashMap<VaultId, u32> = HashMap::new();
    for stated in &row.roster {
        if let Claim::VaultKeyGen { vault, generation } = stated.claim {
            let known = newest.entry(vault).or_default();
            *known = generation.max(*known);
        }
    }
    wraps.retain(|wrap| match vault_key_place(&wrap.name) {
        Some((vault, generation)) => newest.get(&vault).is_some_and(|newest| *newest >= generation),
        None => true,
    });
    let wrap = |w: Wrapped| Wrap { name: w.name, generation: w.generation, bytes: Bytes64(w.bytes) };
    Ok(Account {
        account: row.account,
        roster: row.roster,
        wraps: wraps.into_iter().map(wrap).collect(),
        vaults: row.vaults,
        suite: suite.unwrap_or(1),
    })
}
