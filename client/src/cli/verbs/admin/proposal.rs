//! `admin proposal`.

use clap::{Args, Subcommand};
use lockstep_api::admin::{ProposalView, Proposals, Settle};
use lockstep_client::Client;
use lockstep_events::event::Role;
use uuid::Uuid;

use super::{none, proven, told, whole};
use crate::cli::{app::App, failure::Done, find, ui::printable, verbs::watch::clock};

/// What takes two administrators.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep admin proposal list
  lockstep admin proposal approve 3f1c0a52 --reason 'as agreed'
  lockstep admin proposal revoke 3f1c0a52 --reason 'asked by mistake'")]
pub struct Proposal {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List what waits for another administrator
    List {
        /// Why; the owners of the accounts read it
        #[arg(long, default_value = "looking at the list of proposals", value_parser = super::reason)]
        reason: String,
    },
    /// Approve what another administrator proposed
    Approve(One),
    /// Withdraw a proposal
    Revoke(One),
}

/// A proposal.
#[derive(Debug, Args)]
pub(super) struct One {
    /// Beginning of its id
    proposal: String,
    /// Why; the account's owner reads it
    #[arg(long, value_parser = super::reason)]
    reason: String,
}

/// Runs it.
///
/// # Errors
/// Offline, refused.
pub async fn run(args: Proposal, app: &App, client: &Client) -> Done {
    match args.what {
        What::List { reason } => list(app, client, &reason).await,
        What::Approve(one) => settle(app, client, one, true).await,
        What::Revoke(one) => settle(app, client, one, false).await,
    }
}

/// Approves or withdraws.
///
/// # Errors
/// Offline, refused.
pub(super) async fn settle(app: &App, client: &Client, what: One, approve: bool) -> Done {
    let path = format!("/v1/admin/proposals/{}", meant(app, client, &what).await?);
    let body = Settle { approve, reason: what.reason };
    let done = proven(app, client, async || client.act(&path, &body).await).await;
    let done = done
        .map_err(|failure| none(failure, "no proposal has this id", "see: lockstep admin proposal list"))?;
    told(app, &done, if approve { "Approved and done." } else { "The proposal is withdrawn." })
}

/// The proposal whose id is or begins so. To look for it is an act of its own, for the same reason.
async fn meant(app: &App, client: &Client, what: &One) -> Done<Uuid> {
    if let Ok(id) = what.proposal.parse() {
        return Ok(id);
    }
    let all = fetched(app, client, &what.reason).await?;
    let see = ("proposal", "lockstep admin proposal list");
    Ok(find::beginning(&all, |view| view.proposal, &what.proposal, see)?.proposal)
}

async fn fetched(app: &App, client: &Client, reason: &str) -> Done<Vec<ProposalView>> {
    let path = "/v1/admin/proposals?limit=100";
    whole(app, client, (path, reason), |page: Proposals| (page.proposals, page.after)).await
}

async fn list(app: &App, client: &Client, reason: &str) -> Done {
    let all = fetched(app, client, reason).await?;
    if app.ui.json {
        return app.ui.document(&all);
    }
    if all.is_empty() {
        app.ui.say("No proposals wait.");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    app.ui.table(&["PROPOSAL", "ACCOUNT", "WHAT", "UNTIL (UTC)", "WHY"], &rows)
}

fn row(view: &ProposalView) -> Vec<String> {
    let what = match view.role {
        None => "delete",
        Some(Role::User) => "role user",
        Some(Role::Auditor) => "role auditor",
        Some(Role::Admin) => "role admin",
    };
    let reason = view.reason.as_deref().map(printable).unwrap_or_default();
    let until = clock(view.until.seconds());
    vec![view.proposal.to_string(), view.account.to_string(), what.to_owned(), until, reason]
}
