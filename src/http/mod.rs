//! The HTTP surface: one file per resource; a handler parses, calls, answers.

pub mod access_log;
pub mod accounts;
pub mod activity;
pub mod admin;
pub mod approvals;
pub mod around;
pub mod billing;
pub mod blob_parts;
pub mod blobs;
pub mod caller;
pub mod changes;
pub mod cors;
pub mod devices;
pub mod email;
pub mod extract;
pub mod factors;
pub mod file;
pub mod guests;
pub mod health;
pub mod history;
pub mod idempotency;
pub mod identities;
pub mod jwks;
mod leftover;
pub mod limiting;
pub mod link;
pub mod live;
pub mod me;
pub mod metrics;
pub mod oidc;
pub mod openapi;
pub mod pace;
pub mod passkey_page;
pub mod password;
pub mod patience;
pub mod problem;
pub mod purge;
mod queries;
pub mod reconcile;
pub mod recovery;
mod refusal;
pub mod roster;
pub mod routes;
pub mod second_factor;
pub mod serve;
pub mod sessions;
pub mod sign_in;
pub mod snapshot;
mod snapshot_text;
pub mod step_up;
pub mod streams;
pub mod ticket;
pub mod tls;
pub mod untaken;
pub mod vaults;
pub mod version_list;
pub mod version_text;
mod version_view;
pub mod versions;

use axum::{Router, middleware};
use lockstep_api::Code;
use utoipa::openapi::OpenApi;

pub use extract::{Json, Path, Query};
pub use problem::{Answer, Failure};
pub use routes::Routes;

use crate::state::Shared;

/// Every resource of clients. A new file of routes is added here and nowhere else.
fn resources() -> Vec<Routes> {
    vec![
        accounts::routes(),
        approvals::routes(),
        billing::routes(),
        changes::routes(),
        devices::routes(),
        email::routes(),
        health::routes(),
        blobs::routes(),
        blob_parts::routes(),
        file::routes(),
        history::routes(),
        purge::routes(),
        identities::routes(),
        jwks::routes(),
        link::routes(),
        live::routes(),
        activity::routes(),
        oidc::routes(),
        me::routes(),
        reconcile::routes(),
        roster::routes(),
        sessions::routes(),
        sign_in::routes(),
        passkey_page::routes(),
        password::routes(),
        recovery::routes(),
        factors::routes(),
        second_factor::routes(),
        snapshot::routes(),
        step_up::routes(),
        streams::routes(),
        ticket::routes(),
        vaults::routes(),
        version_list::routes(),
        versions::routes(),
    ]
}

/// The routes for clients, and for administrators unless those are served apart, with what surrounds them.
pub fn router(server: Shared) -> Router {
    let routes = if server.config.admin_apart { Routes::all(resources()) } else { all() };
    routes
        .router()
        .fallback(async || Failure::from(Code::NotFound))
        .method_not_allowed_fallback(async || Failure::from(Code::MethodNotAllowed))
        .layer(middleware::from_fn_with_state(server.clone(), around::around))
        .with_state(server)
}

/// The `OpenAPI` document of all routes.
pub fn document() -> OpenApi {
    let mut document = openapi::start();
    all().describe(&mut document);
    openapi::finished(document)
}

fn all() -> Routes {
    let mut every = resources();
    every.push(admin::routes());
    Routes::all(every)
}
