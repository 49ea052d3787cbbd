//! `/v1/account/identities`: identities elsewhere that are linked to the account.

use axum::{extract::State, http::StatusCode};
use lockstep_api::ways::{Identities, LinkedIdentity, OidcFinish, OidcStart, OidcStarted};
use lockstep_events::canonical::sha256;
use uuid::Uuid;

use super::{
    Answer, Path, Routes,
    caller::{Caller, StepUp},
    extract::Json,
    oidc::{answered, begin},
    openapi::problems,
    routes::routes,
    sign_in::checked_secret,
};
use crate::{
    auth::identities::Identity,
    commands::{
        facts::Actor,
        identities::{BeginFlow, EndFlow, LinkIdentity, UnlinkIdentity},
    },
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(start)).routes(routes!(finish)).routes(routes!(unlink))
}

problems! {
    /// What the begin of a link meets.
    StartProblems: NotFound, StepUpRequired, AttemptExpired, ProviderUnavailable;
    /// What the end of a link meets.
    FinishProblems: LoginFailed, AttemptExpired, StepUpRequired, QuotaExceeded;
    /// What an unlinking meets.
    UnlinkProblems: NotFound, StepUpRequired, PreconditionFailed;
}

/// The identities that are linked, and the providers that there are.
#[utoipa::path(get, path = "/v1/account/identities", operation_id = "list_identities", tag = "accounts", security(("token" = [])),
    responses((status = 200, description = "Oldest first", body = Identities)))]
async fn list(State(server): State<Shared>, caller: Caller) -> Answer<Json<Identities>> {
    let identities = server.ways.identities(caller.account).await?;
    let identities = identities.into_iter().map(shown).collect();
    Ok(Json(Identities { identities, providers: server.idps.names() }))
}

fn shown(identity: Identity) -> LinkedIdentity {
    LinkedIdentity { identity: identity.id, provider: identity.provider, linked_at: identity.linked_at }
}

/// Begins to link an identity, after the password was proven again.
#[utoipa::path(post, path = "/v1/account/identities/{provider}/start", operation_id = "start_identity", tag = "accounts",
    request_body = OidcStart, security(("token" = [])),
    params(("provider" = String, Path, description = "Its name")),
    responses((status = 200, description = "Where the browser has to go", body = OidcStarted), StartProblems))]
async fn start(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
    Path(provider): Path<String>,
    Json(body): Json<OidcStart>,
) -> Answer<Json<OidcStarted>> {
    let link = Some((caller.account, caller.session));
    begin(&server, BeginFlow { provider, owner: body.initiator.0, port: body.port, link }).await
}

/// Links the identity: the session that began brings what came back, and the flow's secret.
#[utoipa::path(post, path = "/v1/account/identities", operation_id = "finish_identity", tag = "accounts", request_body = OidcFinish,
    security(("token" = [])),
    responses((status = 201, description = "It is linked", body = LinkedIdentity), FinishProblems))]
async fn finish(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
    Json(body): Json<OidcFinish>,
) -> Answer<(StatusCode, Json<LinkedIdentity>)> {
    let owner = sha256(checked_secret(&body.secret.0)?);
    let session = Some((caller.account, caller.session));
    let end = EndFlow { owner, answered: answered(&body)?, caller: session };
    let (somebody, provider) = end.run(&server).await?;
    let actor = Actor { account: caller.account, device: caller.device };
    let identity = LinkIdentity { actor, somebody, provider, owner }.run(&server).await?;
    Ok((StatusCode::CREATED, Json(shown(identity))))
}

/// Unlinks an identity, after the password was proven again.
#[utoipa::path(delete, path = "/v1/account/identities/{identity}", operation_id = "unlink_identity", tag = "accounts", security(("token" = [])),
    params(("identity" = Uuid, Path, description = "The link")),
    responses((status = 204, description = "It is unlinked"), UnlinkProblems))]
async fn unlink(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
    Path(identity): Path<Uuid>,
) -> Answer<StatusCode> {
    let actor = Actor { account: caller.account, device: caller.device };
    UnlinkIdentity { actor, identity }.run(&server).await?;
    Ok(StatusCode::NO_CONTENT)
}
