//! `/v1/vaults`: further vaults of the account (the first one comes with it), and the keys of all.

use axum::{extract::State, http::StatusCode};
use lockstep_api::account::{CreateVault as Body, TurnVaultKey as TurnBody};
use lockstep_events::VaultId;

use super::{
    Answer, Failure, Path, Routes, accounts::wrapped, caller::Caller, extract::Json, openapi::problems,
    routes::routes,
};
use crate::{
    commands::{
        account::in_effect,
        create_vault::{CreateVault, VaultError},
        facts::Actor,
        turn_vault_key::TurnVaultKey,
    },
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(create)).routes(routes!(turn))
}

problems! {
    /// What a new vault meets.
    VaultProblems: NotFound, PreconditionFailed, QuotaExceeded, RosterConflict;
    /// What the next generation of a key meets.
    TurnProblems: NotFound, PreconditionFailed, QuotaExceeded, RosterConflict;
}

/// Creates a further vault, if the plan has room for it. Sending the same again changes nothing.
#[utoipa::path(post, path = "/v1/vaults", operation_id = "create_vault", tag = "accounts", request_body = Body, security(("token" = [])),
    responses((status = 201, description = "It is there"), VaultProblems))]
async fn create(State(server): State<Shared>, caller: Caller, Json(body): Json<Body>) -> Answer<StatusCode> {
    let actor = Actor { account: caller.account, device: caller.device };
    let command = CreateVault { actor, statement: body.statement, wrap: wrapped(body.wrap), offered: false };
    let position = command.run(&server).await?;
    in_effect(&server, position).await;
    Ok(StatusCode::CREATED)
}

/// Begins the next generation of a vault's key; the older ones stay. Sending the same again changes nothing.
#[utoipa::path(post, path = "/v1/vaults/{vault}/key", operation_id = "turn_vault_key", tag = "accounts", request_body = TurnBody,
    security(("token" = [])), params(("vault" = uuid::Uuid, Path, description = "The vault")),
    responses((status = 204, description = "It has begun"), TurnProblems))]
async fn turn(
    State(server): State<Shared>,
    caller: Caller,
    Path(vault): Path<VaultId>,
    Json(body): Json<TurnBody>,
) -> Answer<StatusCode> {
    let actor = Actor { account: caller.account, device: caller.device };
    let command = TurnVaultKey { actor, vault, statement: body.statement, wrap: wrapped(body.wrap) };
    let position = command.run(&server).await?;
    in_effect(&server, position).await;
    Ok(StatusCode::NO_CONTENT)
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::TooMany(exceeded) => exceeded.into(),
            VaultError::State(error) => error.into(),
            VaultError::Replace(error) => error.into(),
        }
    }
}
