//! `/v1/account/email`: the address of the account.

use axum::{extract::State, http::StatusCode};
use lockstep_api::ways::{Email, NameEmail};

use super::{
    Answer, Routes,
    caller::{Caller, StepUp},
    extract::Json,
    limiting::Gate,
    openapi::problems,
    routes::routes,
};
use crate::{
    auth::addresses::Standing,
    commands::{
        address::{self, AddressError, NameAddress, checked},
        facts::Actor,
    },
    limits::{Action, Subject},
    state::{Server, Shared},
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(show, name))
}

problems! {
    /// What naming an address meets.
    NameProblems: StepUpRequired;
}

/// The address of the account, and one that waits for its confirmation.
#[utoipa::path(get, path = "/v1/account/email", operation_id = "get_email", tag = "accounts", security(("token" = [])),
    responses((status = 200, description = "The addresses", body = Email)))]
async fn show(State(server): State<Shared>, caller: Caller) -> Answer<Json<Email>> {
    Ok(Json(Email {
        confirmed: opened(&server, &caller, Standing::Confirmed).await?,
        pending: opened(&server, &caller, Standing::Pending).await?,
    }))
}

async fn opened(server: &Server, caller: &Caller, standing: Standing) -> Answer<Option<String>> {
    match server.ways.address(caller.account, standing).await? {
        Some(address) => Ok(address::open(&server.subjects, &address).await.map_err(AddressError::from)?),
        None => Ok(None),
    }
}

/// Names an address, after the password was proven again. A letter asks it for its confirmation, and the present
/// address is told. The present address named again calls off one that waits.
#[utoipa::path(put, path = "/v1/account/email", operation_id = "name_email", tag = "accounts", request_body = NameEmail,
    security(("token" = [])),
    responses((status = 202, description = "It waits for its confirmation"), NameProblems))]
async fn name(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
    gate: Gate,
    Json(body): Json<NameEmail>,
) -> Answer<StatusCode> {
    gate.subject(&server, Action::Mail, Subject::Account(caller.account)).await?;
    // Whoever reads the mail there may be a stranger, whom many accounts name.
    let mailbox = server.keys.name_index(&checked(&body.email)?);
    gate.subject(&server, Action::Mail, Subject::Name(mailbox)).await?;
    let actor = Actor { account: caller.account, device: caller.device };
    NameAddress { actor, address: body.email, initiator: body.initiator.0 }.run(&server).await?;
    Ok(StatusCode::ACCEPTED)
}
