//! `/v1/audit/events`: the log, for auditors. Public parts only: no sealed part, no ciphertext.

use axum::extract::State;
use lockstep_api::{
    Code,
    admin::{LoggedEvent, LoggedEvents},
};
use lockstep_events::{
    Position, Recorded,
    event::Role,
    log::{Contents, Filter},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    page::in_reach,
    roll::Looking,
    why::{Why, WhyHeader},
};
use crate::{
    commands::admin::look,
    http::{Answer, Failure, Json, Query, Routes, openapi::problems, routes::routes},
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(events))
}

problems! {
    /// What a reader of the log meets.
    AuditProblems: Forbidden, StepUpRequired;
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Events after this position.
    #[serde(default)]
    after: u64,
    /// At most so many.
    #[serde(default = "usual")]
    #[param(minimum = 1, maximum = 1000, default = 500)]
    limit: u32,
}

fn usual() -> u32 {
    500
}

/// Events of the whole log, for auditors. That it was read is an event itself, with the reason sealed.
#[utoipa::path(get, path = "/v1/audit/events", operation_id = "list_audit_events", tag = "admin", security(("token" = [])), params(Page, WhyHeader),
    responses((status = 200, description = "In the order of the log", body = LoggedEvents), AuditProblems))]
async fn events(
    State(server): State<Shared>,
    looking: Looking,
    Why(reason): Why,
    Query(page): Query<Page>,
) -> Answer<Json<LoggedEvents>> {
    if looking.role != Role::Auditor {
        return Err(Code::Forbidden.into());
    }
    if !(1..=1000).contains(&page.limit) {
        return Err(Failure::from(Code::InvalidParameter).detail("limit: 1 to 1000"));
    }
    in_reach(page.after)?;
    let after = Position(page.after);
    look::read_log(&server, (looking.by, &reason), (after, page.limit)).await?;
    let events = server.log.read_all(after, page.limit as usize, &Filter::default(), Contents::No).await?;
    Ok(Json(LoggedEvents { events: events.into_iter().map(shown).collect() }))
}

fn shown(recorded: Recorded) -> LoggedEvent {
    LoggedEvent {
        position: recorded.position,
        stream: recorded.stream.0,
        seq: recorded.seq,
        event: recorded.event_id.0,
        subject: recorded.subject.map(|subject| subject.0),
        kind: recorded.kind,
        schema: recorded.schema,
        recorded_at: recorded.recorded_at,
        actor: recorded.actor,
        device: recorded.device,
        public: recorded.public,
        sealed_hash: recorded.sealed_hash,
        chain: recorded.chain,
    }
}
