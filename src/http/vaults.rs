//! `/v1/vaults`: further vaults of the account. The first one comes with it.

use axum::{extract::State, http::StatusCode};
use lockstep_api::account::CreateVault as Body;
use utoipa_axum::routes;

use super::{Answer, Failure, Routes, accounts::wrapped, caller::Caller, extract::Json, openapi::problems};
use crate::{
    commands::{
        account::in_effect,
        create_vault::{CreateVault, VaultError},
        facts::Actor,
    },
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(create))
}

problems! {
    /// What a new vault meets.
    VaultProblems: NotFound, PreconditionFailed, QuotaExceeded, RosterConflict;
}

/// Creates a further vault, if the plan has room for it. Sending the same again changes nothing.
#[utoipa::path(post, path = "/v1/vaults", tag = "accounts", request_body = Body, security(("token" = [])),
    responses((status = 201, description = "It is there"), VaultProblems))]
async fn create(State(server): State<Shared>, caller: Caller, Json(body): Json<Body>) -> Answer<StatusCode> {
    let actor = Actor { account: caller.account, device: caller.device };
    let command = CreateVault { actor, statement: body.statement, wrap: wrapped(body.wrap) };
    let position = command.run(&server).await?;
    in_effect(&server, position).await;
    Ok(StatusCode::CREATED)
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
