//! `POST /v1/admin/bootstrap`: the first administrator.

use axum::extract::State;
use lockstep_api::admin::{Bootstrap, Done};

use super::accounts::answered;
use crate::{
    commands::{admin::bootstrap::bootstrap as run, facts::Actor},
    http::{Answer, Json, Routes, caller::Caller, openapi::problems, routes::routes},
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(bootstrap))
}

problems! {
    /// What a bootstrap meets.
    BootstrapProblems: PreconditionFailed;
}

/// Makes the caller the first administrator, by the one-time token that the server wrote when it had none.
#[utoipa::path(post, path = "/v1/admin/bootstrap", operation_id = "bootstrap_administrator", tag = "admin", security(("token" = [])),
    request_body = Bootstrap,
    responses((status = 200, description = "The caller is administrator", body = Done), BootstrapProblems))]
async fn bootstrap(
    State(server): State<Shared>,
    caller: Caller,
    Json(body): Json<Bootstrap>,
) -> Answer<Json<Done>> {
    let by = Actor { account: caller.account, device: caller.device };
    let done = run(&server, by, &body.token).await?;
    crate::private_file::forget(&server.config.bootstrap_path());
    Ok(answered(done))
}
