//! `/health/live` and `/health/ready`: for load balancers and container runtimes. No token needed.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use lockstep_projections::{Family, Projection};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Routes, extract::Json, routes::routes};
use crate::{blobs::Touch, clock_watch::Together, no_room::Store, state::Shared};

/// Whether a port answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PortState {
    /// It answers.
    Ok,
    /// It does not; requests that need it get a 503.
    Down,
    /// It does not, and most of what is asked is served without it: the rest is slower, or gets a 503.
    Degraded,
    /// It answers, and has no room left: what is stored is served, and what would be written there gets a 507.
    Full,
}

/// The state of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Whether requests are served.
    pub ready: bool,
    /// `log`, `reads`, `credentials`, `blobs`, `bus`; `clock`: how this node's goes with that of the database.
    pub ports: BTreeMap<String, PortState>,
}

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(live)).routes(routes!(ready))
}

/// The process runs.
#[utoipa::path(get, path = "/health/live", operation_id = "health_live", tag = "health",
    responses((status = 200, description = "The process runs", body = Health)))]
async fn live() -> Json<Health> {
    Json(Health { ready: true, ports: BTreeMap::new() })
}

/// Every port answers, and this node takes requests.
#[utoipa::path(get, path = "/health/ready", operation_id = "health_ready", tag = "health", responses(
    (status = 200, description = "This node serves", body = Health),
    (status = 503, description = "This node does not serve: a port is down, its clock is wrong, or it is stopping", body = Health)))]
async fn ready(State(server): State<Shared>) -> Response {
    let wait = Duration::from_secs(2);
    let log = tokio::time::timeout(wait, server.log.tail());
    let reads = tokio::time::timeout(wait, server.reads.checkpoint(Projection::Accounts));
    let credentials = tokio::time::timeout(wait, server.credentials.ready());
    let (log, reads, credentials) = tokio::join!(log, reads, credentials);
    let stopped = Family::ALL.iter().any(|family| server.progress.of(*family).stopped.is_some());
    let most = |ok: bool| if ok { PortState::Ok } else { PortState::Degraded };
    let state = |ok: bool| if ok { PortState::Ok } else { PortState::Down };
    let mut ports = BTreeMap::from([
        ("log".to_owned(), state(matches!(log, Ok(Ok(_))) && server.feed.ready())),
        ("reads".to_owned(), if matches!(reads, Ok(Ok(_))) { most(!stopped) } else { PortState::Down }),
        ("credentials".to_owned(), state(matches!(credentials, Ok(Ok(()))))),
        // A node that were taken out for it could not serve what needs no blob either. So it is not asked here: of a store
        // that hangs the answer would come too late for whoever asks this.
        ("blobs".to_owned(), most(server.blob_watch.touch() == Touch::Answers)),
        ("bus".to_owned(), most(server.bus.connected())),
        (
            "clock".to_owned(),
            match server.clock_watch.together() {
                Together::Near => PortState::Ok,
                Together::Apart => PortState::Degraded,
                Together::Far => PortState::Down,
            },
        ),
    ]);
    for store in Store::ALL {
        if let Some(port) = ports.get_mut(store.name()).filter(|port| **port != PortState::Down)
            && server.no_room.is_full(store)
        {
            *port = PortState::Full;
        }
    }
    let ready = !server.draining.is_cancelled() && ports.values().all(|port| *port != PortState::Down);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = (status, Json::<_>(Health { ready, ports })).into_response();
    response.extensions_mut().insert(super::around::Written);
    response
}
