//! What needs a password that was proven just now: all of it, and nothing else. Each operation is asked as it should be,
//! by whom it is for, with a token that was proven too long ago.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockstep_api::Code;
use lockstep_events::{
    Clock, EventId, Micros, Position, StreamKind,
    log::{Contents, Filter},
};
use lockstepd::auth::{minting::Bearer, token::Claims};
use reqwest::Response;
use serde_json::Value;

use crate::{
    bola::{World, row::Row, rows},
    support::{Mode, problem},
};

in_both_modes! {
    a_proof_of_six_minutes_ago_does_nothing_that_needs_a_fresh_one_and_everything_else,
    after_twenty_idle_minutes_the_office_does_nothing_before_the_password_is_proven_again,
}

/// What needs a proof of the last five minutes.
const FRESH: [&str; 19] = [
    "DELETE /v1/account/factors/{factor}",
    "DELETE /v1/account/identities/{identity}",
    "GET /v1/me/export",
    "POST /v1/account/factors/codes",
    "POST /v1/account/factors/passkey/finish",
    "POST /v1/account/factors/passkey/start",
    "POST /v1/account/factors/totp",
    "POST /v1/account/factors/totp/confirm",
    "POST /v1/account/identities",
    "POST /v1/account/identities/{provider}/start",
    "POST /v1/account/password/finish",
    "POST /v1/account/password/start",
    "POST /v1/admin/accounts/{account}/delete",
    "POST /v1/admin/accounts/{account}/role",
    "POST /v1/admin/proposals/{proposal}",
    "POST /v1/approvals/{approval}/approve",
    "POST /v1/me/erasure",
    "PUT /v1/account/email",
    "PUT /v1/account/recovery",
];

/// What administrators and auditors do and look at as long as they are at it.
const AT_WORK: [&str; 14] = [
    "DELETE /v1/admin/invitations/{invitation}",
    "GET /v1/admin/accounts",
    "GET /v1/admin/accounts/{account}",
    "GET /v1/admin/accounts/{account}/sessions",
    "GET /v1/admin/invitations",
    "GET /v1/admin/proposals",
    "GET /v1/audit/events",
    "POST /v1/admin/accounts/find",
    "POST /v1/admin/accounts/{account}/disable",
    "POST /v1/admin/accounts/{account}/enable",
    "POST /v1/admin/accounts/{account}/flags",
    "POST /v1/admin/accounts/{account}/plan",
    "POST /v1/admin/accounts/{account}/sessions/end",
    "POST /v1/admin/invitations",
];

fn name(row: &Row) -> String {
    format!("{} {}", row.method, row.template)
}

/// Every operation that says of itself that it may ask for a proof.
fn documented() -> BTreeSet<String> {
    let document = serde_json::to_value(lockstepd::http::document()).unwrap();
    let says = |operation: &Value| operation.to_string().contains(Code::StepUpRequired.as_str());
    let paths = document["paths"].as_object().unwrap().iter();
    let operations =
        paths.flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |one| (path, one)));
    let asking = operations.filter(|(_, (_, operation))| says(operation));
    asking.map(|(path, (method, _))| format!("{} {path}", method.to_uppercase())).collect()
}

/// The same token as whoever an operation is for has, made now: the password was proven so many seconds ago.
fn proven_ago(world: &World, row: &Row, seconds: i64) -> Option<String> {
    let (server, now) = (&world.node.running().server, world.node.clock.now());
    // It may have run out meanwhile.
    let claims = URL_SAFE_NO_PAD.decode(world.token(row)?.split('.').nth(1).unwrap()).unwrap();
    let claims: Claims = serde_json::from_slice(&claims).unwrap();
    let bearer = Bearer {
        account: claims.sub,
        device: claims.did,
        session: claims.sid,
        scope: claims.scope,
        method: claims.acr,
        proven_at: Micros((now.seconds() - seconds) * 1_000_000),
        auth_epoch: claims.aep,
    };
    Some(server.tokens.mint(bearer, now).unwrap())
}

async fn ask(world: &World, row: &Row, seconds: i64) -> Response {
    row.ask(&world.node, proven_ago(world, row, seconds).as_deref()).await
}

/// What has happened, besides what a server does of itself.
async fn events(world: &World) -> Vec<EventId> {
    let log = &world.node.running().server.log;
    let all = log.read_all(Position::ZERO, 10_000, &Filter::default(), Contents::No).await.unwrap();
    let theirs = all.iter().filter(|event| event.stream_kind != StreamKind::System);
    theirs.map(|event| event.event_id).collect()
}

/// Asserts that each of these asks for a proof, and that nothing is written.
async fn all_ask_for_a_proof(world: &World, rows: &[&Row], seconds: i64) {
    let before = events(world).await;
    for row in rows {
        let problem = problem(ask(world, row, seconds).await).await;
        assert_eq!(problem.code, Code::StepUpRequired, "{}", name(row));
    }
    assert_eq!(events(world).await, before, "something was appended");
}

async fn a_proof_of_six_minutes_ago_does_nothing_that_needs_a_fresh_one_and_everything_else(mode: Mode) {
    let world = World::new(mode).await;
    let rows = rows(&world).await;
    let (fresh, others): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| FRESH.contains(&name(row).as_str()));
    assert_eq!(fresh.len(), FRESH.len());
    all_ask_for_a_proof(&world, &fresh, 6 * 60).await;
    // Administrators too, who have not been idle: it is for the proof's age alone that they were refused.
    for row in others {
        let text = ask(&world, row, 6 * 60).await.text().await.unwrap();
        assert!(!text.contains(Code::StepUpRequired.as_str()), "{}: {text}", name(row));
    }
}

async fn after_twenty_idle_minutes_the_office_does_nothing_before_the_password_is_proven_again(mode: Mode) {
    let world = World::new(mode).await;
    let rows = rows(&world).await;
    let expected: BTreeSet<String> = FRESH.iter().chain(&AT_WORK).map(|name| (*name).to_owned()).collect();
    assert_eq!(
        documented(),
        expected,
        "an operation that asks for a proof says so, and stands in a list here"
    );
    let asking: Vec<&Row> = rows.iter().filter(|row| expected.contains(&name(row))).collect();
    world.node.clock.pass(20 * 60);
    all_ask_for_a_proof(&world, &asking, 20 * 60).await;
}
