//! The listener for operators: `/metrics`, `/health`, and `/v1/admin` if administrators are served apart. Nothing of it is
//! reachable where clients are served.

use axum::{
    Router,
    extract::State,
    http::header,
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use lockstep_api::Code;

use super::{admin, around, health, problem::Failure};
use crate::{blobs::Touch, metrics::Gauge, state::Shared};

/// The router of the listener for operators.
pub fn router(server: Shared) -> Router {
    let mut router = health::routes().router();
    if server.config.admin_apart {
        router = router.merge(admin::routes().router());
    }
    router
        .route("/metrics", get(metrics))
        .fallback(async || Failure::from(Code::NotFound))
        .method_not_allowed_fallback(async || Failure::from(Code::MethodNotAllowed))
        .layer(middleware::from_fn_with_state(server.clone(), around::around))
        .with_state(server)
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
async fn metrics(State(server): State<Shared>) -> Response {
    let (feed, progress, end) = (&server.feed, &server.progress, server.feed.position().borrow().0);
    let yes = |yes: bool| f64::from(u8::from(yes));
    let text = server.metrics.text(&[
        Gauge::one(
            "lockstep_connected",
            "Live sockets, event streams and long-polls",
            feed.sockets.len() as f64,
        ),
        Gauge::one("lockstep_bus_connected", "Whether the bus answers", yes(server.bus.connected())),
        Gauge::one(
            "lockstep_blobs_connected",
            "Whether the blob store answered when it was last asked, and took what was written",
            yes(server.blob_watch.touch() == Touch::Answers),
        ),
        Gauge::by_store(
            "lockstep_no_room",
            "Whether a store has refused something of late for want of room",
            |store| yes(server.no_room.is_full(store)),
        ),
        Gauge::one(
            "lockstep_out_of_touch_seconds",
            "Since this node last knew all of the log",
            feed.out_of_touch().as_secs_f64(),
        ),
        Gauge::by_family(
            "lockstep_projection_lag_positions",
            "Events of the log, as far as this node knows it, that are not in its read models yet",
            |family| end.saturating_sub(progress.of(family).position.0) as f64,
        ),
        Gauge::by_family(
            "lockstep_projection_stopped",
            "Whether read models met an event that they cannot fold, and stand still",
            |family| yes(progress.of(family).stopped.is_some()),
        ),
    ]);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
