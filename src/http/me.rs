//! `/v1/me`: everything that the server holds about who asks, and its end.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use lockstep_api::{
    Code,
    privacy::{Erase, ErasureDue, ExportLine},
};
use lockstep_events::{EventId, event::AskedBy};

use super::{
    Answer, Failure, Json, Routes,
    caller::{Caller, StepUp},
    idempotency::{KeyHeader, Keyed},
    openapi::problems,
    routes::routes,
};
use crate::{
    commands::{
        account::in_effect,
        erase::{CancelErasure, EraseError, Erasure, ErasureState, RequestErasure},
        export_account::{ExportAccount, ExportRefused},
        facts::Actor,
    },
    state::Shared,
    subjects::SubjectError,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(export)).routes(routes!(erasure, erase, keep))
}

problems! {
    /// What an export meets.
    ExportProblems: StepUpRequired;
    /// What an erasure meets.
    EraseProblems: NotFound, PreconditionFailed, StepUpRequired;
    /// What calling off meets.
    KeepProblems: NotFound;
}

/// Everything about the account: one JSON object a line, each ended by a line feed: an `ExportLine`, which is what the
/// schema of the answer describes. The first is `begin`, the last one a signed `manifest`; an answer without it broke off.
/// That it was asked for is an event first. Needs a fresh step-up.
#[utoipa::path(get, path = "/v1/me/export", operation_id = "export_account", tag = "me", security(("token" = [])),
    responses((status = 200, description = "One object a line", body = ExportLine,
        content_type = "application/x-ndjson"), ExportProblems))]
async fn export(State(server): State<Shared>, StepUp(caller): StepUp) -> Answer<Response> {
    let signer = server.tokens.signer().ok_or(Code::Internal)?;
    let asked = ExportAccount {
        account: caller.account,
        actor: Some(Actor { account: caller.account, device: caller.device }),
        by: AskedBy::Person,
        reason: None,
    };
    let position = asked.run(&server.batcher, &server.subjects).await?;
    in_effect(&server, position).await;
    let lines = server.exporter().start(caller.account, signer);
    let body = stream::unfold(lines, |mut lines| async {
        let line = lines.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), lines))
    });
    let mut response = Body::from_stream(body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// Whether the account will be erased, and when.
#[utoipa::path(get, path = "/v1/me/erasure", operation_id = "get_erasure", tag = "me", security(("token" = [])),
    responses((status = 200, description = "It was asked for", body = ErasureDue), KeepProblems))]
async fn erasure(State(server): State<Shared>, caller: Caller) -> Answer<Json<ErasureDue>> {
    match Erasure::of(&*server.log, caller.account).await?.state {
        ErasureState::Due(due_at) | ErasureState::Begun(due_at) => Ok(Json(ErasureDue { due_at })),
        ErasureState::None | ErasureState::Erased => Err(Code::NotFound.into()),
    }
}

/// Erases the account: after a time in which it can be called off, everything about it is destroyed for good. Needs a
/// fresh step-up.
#[utoipa::path(post, path = "/v1/me/erasure", operation_id = "request_erasure", tag = "me", security(("token" = [])),
    params(KeyHeader),
    request_body = Erase,
    responses((status = 202, description = "It will be erased", body = ErasureDue), EraseProblems))]
async fn erase(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
    headers: HeaderMap,
    Json(body): Json<Erase>,
) -> Answer<(StatusCode, Json<ErasureDue>)> {
    if body.account != caller.account {
        return Err(Failure::from(Code::InvalidField).detail("account: not the one of this token"));
    }
    let keyed = Keyed::new(&headers, &caller, "erase", &body)?;
    let request = RequestErasure {
        account: caller.account,
        actor: Some(Actor { account: caller.account, device: caller.device }),
        by: AskedBy::Person,
        reason: None,
        due_at: server.clock.now().plus_seconds(server.config.erasure_wait_s()),
        event_id: EventId(uuid::Builder::from_custom_bytes(keyed.seed()).into_uuid()),
    };
    let (due_at, position) = request.run(&server.desk()).await?;
    if let Some(position) = position {
        in_effect(&server, position).await;
    }
    Ok((StatusCode::ACCEPTED, Json(ErasureDue { due_at })))
}

/// Calls the erasure off: the account stays as it is.
#[utoipa::path(delete, path = "/v1/me/erasure", operation_id = "call_off_erasure", tag = "me", security(("token" = [])),
    params(KeyHeader),
    responses((status = 204, description = "It is called off"), KeepProblems))]
async fn keep(State(server): State<Shared>, caller: Caller, headers: HeaderMap) -> Answer<StatusCode> {
    let keyed = Keyed::new(&headers, &caller, "keep", &())?;
    let cancel = CancelErasure {
        account: caller.account,
        actor: Some(Actor { account: caller.account, device: caller.device }),
        event_id: EventId(uuid::Builder::from_custom_bytes(keyed.seed()).into_uuid()),
    };
    cancel.run(&server.desk(), server.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<ExportRefused> for Failure {
    fn from(error: ExportRefused) -> Self {
        match error {
            ExportRefused::NoAccount => Code::NotFound.into(),
            ExportRefused::Log(error) => error.into(),
            ExportRefused::Reason(error) => error.into(),
        }
    }
}

impl From<EraseError> for Failure {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::NoAccount => Code::NotFound.into(),
            EraseError::NothingToCancel => {
                Self::from(Code::NotFound).detail("nobody asked for an erasure, or it has begun")
            }
            EraseError::OnRoll => Self::from(Code::PreconditionFailed).detail(error.to_string()),
            EraseError::Contended => Self::caused(Code::LogUnavailable, error),
            EraseError::Log(error) => error.into(),
            EraseError::Reason(error) => error.into(),
            EraseError::Queue(error) => SubjectError::Store(error).into(),
        }
    }
}
