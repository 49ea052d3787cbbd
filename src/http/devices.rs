//! `/v1/devices`: enrolling, listing and revoking devices.

use axum::{extract::State, http::StatusCode};
use lockstep_api::{
    Bytes64, Code,
    account::{
        Device, Devices, EnrolDevice as Body, LabelDevice as LabelBody, RevokeDevice as RevokeBody, Tokens,
    },
};
use lockstep_events::{DeviceId, Micros};
use lockstep_projections::Family;

use super::{
    Answer, Failure, Path, Routes,
    caller::{Caller, Enrolling},
    extract::Json,
    openapi::problems,
    routes::routes,
    sessions,
};
use crate::{
    commands::{
        account::{in_effect, read_as_heard},
        enrol_device::EnrolDevice,
        facts::Actor,
        label_device::{LabelDevice, MAX_LABEL, label_name},
        recovery::RecoveryError,
        revoke_device::RevokeDevice,
        roster::StateError,
    },
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(list, enrol)).routes(routes!(revoke)).routes(routes!(label))
}

problems! {
    /// What an enrolment meets.
    EnrolProblems: Forbidden, QuotaExceeded, RosterConflict;
    /// What a name meets.
    LabelProblems: NotFound, PreconditionFailed;
    /// What a revocation meets.
    RevokeProblems: NotFound, RosterConflict;
}

/// The devices of the account, revoked ones included.
#[utoipa::path(get, path = "/v1/devices", operation_id = "list_devices", tag = "devices", security(("token" = [])),
    responses((status = 200, description = "Oldest first", body = Devices)))]
async fn list(State(server): State<Shared>, caller: Caller) -> Answer<Json<Devices>> {
    read_as_heard(&server, Family::Account).await?;
    let rows = server.reads.devices(caller.account).await?;
    let wraps = server.credentials.held(caller.account).await?.wraps;
    let labelled = |device| {
        let name = label_name(device);
        wraps.iter().find(|wrap| wrap.name == name).map(|wrap| Bytes64(wrap.bytes.clone()))
    };
    let sessions = server.reads.sessions(caller.account).await?;
    let last_seen = |device| {
        let of = sessions.iter().filter(|session| session.device == device);
        of.map(|session| session.refreshed_at).max().map(sessions::coarse)
    };
    let shown = rows.into_iter().map(|row| Device {
        device: row.device,
        public_key: row.public_key,
        added_at: row.added_at,
        added_seq: row.added_seq,
        last_seen: last_seen(row.device),
        revoked: row.revoked.is_some(),
        current: row.device == caller.device,
        label: labelled(row.device),
    });
    Ok(Json(Devices { devices: shown.collect() }))
}

/// Enrols the device that logged in; the bearer is its enrolment token. Sending the same again gives the same answer.
#[utoipa::path(post, path = "/v1/devices", operation_id = "enrol_device", tag = "devices", request_body = Body, security(("enrolment" = [])),
    responses((status = 201, description = "Enrolled", body = Tokens), EnrolProblems))]
async fn enrol(
    State(server): State<Shared>,
    Enrolling(caller): Enrolling,
    Json(body): Json<Body>,
) -> Answer<(StatusCode, Json<Tokens>)> {
    let Caller { session, method, .. } = caller;
    let (voucher, proven_at) = (caller.access(), Micros::default().plus_seconds(caller.proven_at));
    let command = EnrolDevice { voucher, session, method, proven_at, statement: body.statement };
    let opened = command.run(&server).await?;
    in_effect(&server, opened.position).await;
    let tokens = sessions::tokens(&server, &opened.stored, opened.auth_epoch)?;
    Ok((StatusCode::CREATED, Json(tokens)))
}

/// Names a device. The name is encrypted by the client.
#[utoipa::path(put, path = "/v1/devices/{device}/label", operation_id = "label_device", tag = "devices", request_body = LabelBody,
    security(("token" = [])), params(("device" = uuid::Uuid, Path, description = "The device")),
    responses((status = 204, description = "It is named"), LabelProblems))]
async fn label(
    State(server): State<Shared>,
    caller: Caller,
    Path(device): Path<DeviceId>,
    Json(body): Json<LabelBody>,
) -> Answer<StatusCode> {
    if !(1..=MAX_LABEL).contains(&body.label.0.len()) {
        return Err(Failure::from(Code::InvalidField).detail("label: 1 to 512 bytes"));
    }
    let actor = Actor { account: caller.account, device: caller.device };
    let named = LabelDevice { actor, device, label: body.label.0 }.run(&server).await;
    let position = match named {
        Err(RecoveryError::Wrong) => return Err(Code::NotFound.into()),
        other => other?,
    };
    in_effect(&server, position).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes a device: its sessions end, and what it signs from now on is refused.
#[utoipa::path(post, path = "/v1/devices/{device}/revoke", operation_id = "revoke_device", tag = "devices", request_body = RevokeBody,
    security(("token" = [])), params(("device" = uuid::Uuid, Path, description = "The device")),
    responses((status = 204, description = "It is revoked"), RevokeProblems))]
async fn revoke(
    State(server): State<Shared>,
    caller: Caller,
    Path(device): Path<DeviceId>,
    Json(body): Json<RevokeBody>,
) -> Answer<StatusCode> {
    let actor = Actor { account: caller.account, device: caller.device };
    let position = RevokeDevice { actor, device, statement: body.statement }.run(&server).await?;
    in_effect(&server, position).await;
    Ok(StatusCode::NO_CONTENT)
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Roster(error) => Self::from(Code::RosterConflict).detail(error.to_string()),
            StateError::Overtaken => Code::RosterConflict.into(),
            StateError::Invalid(what) => Self::from(Code::InvalidField).detail(what),
            StateError::NoDevice => Code::NotFound.into(),
            StateError::Ended => Code::Revoked.into(),
            StateError::TooManyDevices(exceeded) | StateError::TooManyStatements(exceeded) => exceeded.into(),
            StateError::Look(error) => error.into(),
            StateError::Log(error) => error.into(),
            StateError::Credentials(error) => error.into(),
        }
    }
}
