//! `/v1/admin/proposals`: what one administrator proposed and another one has to approve.

use std::collections::{BTreeSet, HashMap};

use axum::extract::State;
use lockstep_api::admin::{Done, ProposalView, Proposals, Settle};
use lockstep_events::{
    AccountId, EventId,
    event::{OfficeList, Proposal},
};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{
    accounts::answered,
    acts::ActProblems,
    page::{Part, part},
    roll::{LookProblems, Looking, Resolute},
    why::{Why, WhyHeader},
};
use crate::{
    commands::admin::{look, pending::Waiting, propose},
    http::{Answer, Json, Path, Query, Routes, activity::reasons_of, routes::routes},
    state::{Server, Shared},
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(settle))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Those that were made after this one.
    #[serde(default)]
    after: u64,
    /// At most so many.
    #[serde(default = "super::page::usual")]
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: usize,
}

/// Proposals that can still be approved. That they were listed is an event, also in the stream of each account that one
/// of them is about.
#[utoipa::path(get, path = "/v1/admin/proposals", operation_id = "list_proposals", tag = "admin", security(("token" = [])), params(Page, WhyHeader),
    responses((status = 200, description = "A page", body = Proposals), LookProblems))]
async fn list(
    State(server): State<Shared>,
    looking: Looking,
    Why(reason): Why,
    Query(page): Query<Page>,
) -> Answer<Json<Proposals>> {
    let now = server.clock.now();
    let mut all = server.office.proposals(server.log.as_ref()).await?;
    all.retain(|waiting| now < waiting.made.until);
    let Part { shown, after } = part(all, (page.after, page.limit), |waiting| waiting.seq)?;
    let present = present(&server, &shown).await?;
    let shown: Vec<Waiting> =
        shown.into_iter().filter(|waiting| present.contains(&waiting.made.account)).collect();
    let accounts: Vec<AccountId> = present.into_iter().collect();
    look::office(&server, looking.by, (OfficeList::Proposals, &accounts), &reason).await?;
    let ids: Vec<EventId> = shown.iter().map(|waiting| waiting.event).collect();
    let mut reasons: HashMap<EventId, String> = reasons_of(&server, &ids).await?.into_iter().collect();
    let proposals = shown.into_iter().map(|waiting| {
        let reason = reasons.remove(&waiting.event);
        view(waiting, reason)
    });
    Ok(Json(Proposals { proposals: proposals.collect(), after }))
}

/// Those of the accounts that were not erased: about the others nothing is written any more.
async fn present(server: &Server, shown: &[Waiting]) -> Answer<BTreeSet<AccountId>> {
    let mut present = BTreeSet::new();
    for account in shown.iter().map(|waiting| waiting.made.account).collect::<BTreeSet<_>>() {
        if server.reads.account(account).await?.is_some_and(|row| row.erased_at.is_none()) {
            present.insert(account);
        }
    }
    Ok(present)
}

fn view(waiting: Waiting, reason: Option<String>) -> ProposalView {
    let role = match waiting.made.what {
        Proposal::Role { role } => Some(role),
        Proposal::Delete => None,
    };
    ProposalView {
        proposal: waiting.made.proposal,
        account: waiting.made.account,
        role,
        proposed_by: waiting.by,
        proposed_at: waiting.at,
        until: waiting.made.until,
        reason,
    }
}

/// Approves what another administrator proposed, which is done by it, or withdraws it. Needs a fresh step-up.
#[utoipa::path(post, path = "/v1/admin/proposals/{proposal}", operation_id = "settle_proposal", tag = "admin", security(("token" = [])),
    params(("proposal" = Uuid, Path, description = "The proposal")), request_body = Settle,
    responses((status = 200, description = "Settled", body = Done), ActProblems))]
async fn settle(
    State(server): State<Shared>,
    Resolute(by): Resolute,
    Path(proposal): Path<Uuid>,
    Json(body): Json<Settle>,
) -> Answer<Json<Done>> {
    Ok(answered(propose::settle(&server, by, proposal, (body.approve, &body.reason)).await?))
}
