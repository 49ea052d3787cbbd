//! `/v1/me`: what a person may have, and all that was done to their account.

use axum::extract::State;
use lockstep_api::{
    Code,
    plan::{Activities, Activity, ActorKind, Measure, MyPlan},
};
use lockstep_events::{AccountId, EventId, Recorded, Seq, StreamId, log::Contents};
use lockstep_projections::rows::AccountRow;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Failure, Json, Query, Routes, caller::Caller, routes::routes};
use crate::{
    commands::{account, enrol_device::Places},
    retention::history,
    state::{Server, Shared},
    subjects::Purpose,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(plan)).routes(routes!(activity))
}

/// Every limit of an account's plan with what it uses.
///
/// # Errors
/// If the read models do not answer.
pub async fn measures(server: &Server, row: &AccountRow) -> Answer<Vec<Measure>> {
    let (_, plan) = server.quotas.plans.of(&row.standing, server.clock.now());
    // As an enrolment counts them.
    let (places, devices) = Places::of(server, row).await?.counted(&account::roster(row)?);
    let vaults = server.quotas.vaults_in_use(&row.vaults).await?;
    let (mut entries, mut bytes) = (0, 0);
    for vault in &row.vaults {
        let vault = server.reads.vault(*vault).await?;
        entries += vault.as_ref().map_or(0, |vault| vault.live_entries);
        bytes += vault.as_ref().map_or(0, |vault| vault.content_bytes);
    }
    let measure = |what: &str, limit, used| Measure { what: what.to_owned(), limit, used };
    Ok(vec![
        measure("vaults", plan.vaults, vaults),
        measure("entries", plan.entries, entries),
        measure("devices", Some(places), devices),
        measure("storage_bytes", plan.storage_bytes, bytes),
    ])
}

/// The caller's plan: its limits with what is used, its features.
#[utoipa::path(get, path = "/v1/me/plan", operation_id = "get_plan", tag = "me", security(("token" = [])),
    responses((status = 200, description = "The plan", body = MyPlan)))]
async fn plan(State(server): State<Shared>, caller: Caller) -> Answer<Json<MyPlan>> {
    let row = server.reads.account(caller.account).await?.ok_or(Code::NotFound)?;
    let now = server.clock.now();
    let (name, _) = server.quotas.plans.of(&row.standing, now);
    let history = history(&server, caller.account).await?;
    let (history_days_until, history_days_then) = history.fewer.unzip();
    let held = row.standing.plan.as_ref().filter(|_| row.standing.plan_at(now) == Some(name));
    Ok(Json(MyPlan {
        plan: name.to_owned(),
        until: held.and_then(|held| held.until),
        role: row.standing.role,
        limits: measures(&server, &row).await?,
        history_days: history.kept_days(),
        history_days_until,
        history_days_then,
        flags: server.quotas.plans.flags(&row.standing, now),
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only what stands before this seq of the account stream.
    before: Option<u64>,
    /// At most so many.
    #[serde(default = "usual")]
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: u64,
}

fn usual() -> u64 {
    100
}

/// All that was done to the caller's account, by itself or others, newest first: every event of its own stream, with the
/// reason that an administrator gave. What it did in its vaults, to others or in the server's own stream is in the export.
#[utoipa::path(get, path = "/v1/me/activity", operation_id = "list_activity", tag = "me", security(("token" = [])), params(Page),
    responses((status = 200, description = "A page", body = Activities)))]
async fn activity(
    State(server): State<Shared>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Answer<Json<Activities>> {
    if !(1..=500).contains(&page.limit) {
        return Err(Failure::from(Code::InvalidParameter).detail("limit: 1 to 500"));
    }
    if page.before.is_some_and(|before| i64::try_from(before).is_err()) {
        return Err(Failure::from(Code::InvalidParameter).detail("before: no seq is so high"));
    }
    let stream = StreamId::from(caller.account);
    let head = server.log.stream_heads(&[stream]).await?.first().map_or(0, |head| head.seq.0);
    let end = page.before.unwrap_or(u64::MAX).min(head.saturating_add(1)).max(1);
    let start = end.saturating_sub(page.limit).max(1);
    let limit = usize::try_from(end - start).unwrap_or(0);
    let events = match limit {
        0 => Vec::new(),
        limit => server.log.read_stream(stream, Seq(start - 1), limit, Contents::No).await?,
    };
    let reasons = reasons(&server, &events).await?;
    let shown = events.iter().map(|recorded| shown(recorded, caller.account, &reasons));
    let mut activity: Vec<Activity> = shown.collect();
    activity.reverse();
    Ok(Json(Activities { activity, before: (start > 1).then_some(Seq(start)) }))
}

/// Reasons that can still be read.
async fn reasons(server: &Server, events: &[Recorded]) -> Answer<Vec<(EventId, String)>> {
    let sealed = events.iter().filter(|recorded| recorded.sealed_hash.is_some());
    reasons_of(server, &sealed.map(|recorded| recorded.event_id).collect::<Vec<_>>()).await
}

/// Reasons of some events, of those that have one.
///
/// # Errors
/// If the log or the store of keys does not answer.
pub async fn reasons_of(server: &Server, ids: &[EventId]) -> Answer<Vec<(EventId, String)>> {
    let mut reasons = Vec::new();
    for (id, sealed) in server.log.sealed_parts(ids).await? {
        if sealed.purpose != Purpose::Audit.name() {
            continue;
        }
        if let Some(bytes) = server.subjects.open_of(id, &sealed).await? {
            reasons.push((id, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    Ok(reasons)
}

fn shown(recorded: &Recorded, own: AccountId, reasons: &[(EventId, String)]) -> Activity {
    let by = match recorded.actor {
        Some(actor) if actor == own => ActorKind::You,
        Some(_) => ActorKind::Administrator,
        None => ActorKind::Server,
    };
    let reason = reasons.iter().find(|(id, _)| *id == recorded.event_id).map(|(_, reason)| reason.clone());
    Activity {
        seq: recorded.seq,
        at: recorded.recorded_at,
        kind: recorded.kind.clone(),
        by,
        actor: recorded.actor,
        device: recorded.device,
        reason,
        what: serde_json::from_str(&recorded.public).unwrap_or_default(),
    }
}
