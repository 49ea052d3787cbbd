//! `admin invitation`.

use clap::{Args, Subcommand};
use lockstep_api::admin::{InvitationState, InvitationView, Invitations};
use lockstep_client::Client;
use serde_json::json;
use uuid::Uuid;

use super::{invite, none, proven, whole};
use crate::cli::{app::App, failure::Done, find, verbs::watch::clock};

/// Invitations.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep admin invitation add --plan paid --reason 'ticket 12'
  lockstep admin invitation list --all
  lockstep admin invitation revoke 3f1c0a52 --reason 'sent to the wrong person'")]
pub struct Invitation {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Invite somebody: the same as `admin user add`
    Add(invite::Add),
    /// List those that can still be used
    List {
        /// Also those that were used, revoked or not used in time
        #[arg(long)]
        all: bool,
        /// Why
        #[arg(long, default_value = "looking at the list of invitations", value_parser = super::reason)]
        reason: String,
    },
    /// Make one that was not used worth nothing
    Revoke(One),
}

/// An invitation.
#[derive(Debug, Args)]
pub(super) struct One {
    /// Beginning of its id
    invitation: String,
    /// Why. It is sealed, and `account export` shows it to you
    #[arg(long, value_parser = super::reason)]
    reason: String,
}

/// Runs it.
///
/// # Errors
/// Offline, refused.
pub async fn run(args: Invitation, app: &App, client: &Client) -> Done {
    match args.what {
        What::Add(add) => invite::add(add, app, client).await,
        What::List { all, reason } => list(app, client, all, &reason).await,
        What::Revoke(one) => revoke(app, client, &one).await,
    }
}

/// Withdraws an invitation.
///
/// # Errors
/// Offline, refused.
pub(super) async fn revoke(app: &App, client: &Client, one: &One) -> Done {
    let invitation = meant(app, client, one).await?;
    let path = format!("/v1/admin/invitations/{invitation}");
    let done = proven(app, client, async || client.withdraw(&path, &one.reason).await).await;
    done.map_err(|failure| {
        none(failure, "no invitation has this id", "see: lockstep admin invitation list")
    })?;
    if app.ui.json {
        return app.ui.document(&json!({ "withdrawn": invitation }));
    }
    app.ui.done("The invitation is worth nothing now.");
    Ok(())
}

/// The invitation whose id is or begins so. To look for it is an act of its own, for the same reason.
async fn meant(app: &App, client: &Client, one: &One) -> Done<Uuid> {
    if let Ok(id) = one.invitation.parse() {
        return Ok(id);
    }
    let all = fetched(app, client, true, &one.reason).await?;
    let see = ("invitation", "lockstep admin invitation list");
    Ok(find::beginning(&all, |view| view.invitation, &one.invitation, see)?.invitation)
}

async fn fetched(app: &App, client: &Client, every: bool, reason: &str) -> Done<Vec<InvitationView>> {
    let path = &format!("/v1/admin/invitations?limit=100&all={every}");
    whole(app, client, (path, reason), |page: Invitations| (page.invitations, page.after)).await
}

async fn list(app: &App, client: &Client, every: bool, reason: &str) -> Done {
    let all = fetched(app, client, every, reason).await?;
    if app.ui.json {
        return app.ui.document(&all);
    }
    if all.is_empty() {
        app.ui.say("No invitations wait. Make one: lockstep admin invitation add --reason …");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    app.ui.table(&["INVITATION", "MADE (UTC)", "UNTIL (UTC)", "PLAN", "STATE"], &rows)
}

fn row(view: &InvitationView) -> Vec<String> {
    let state = match view.state {
        InvitationState::Open => "",
        InvitationState::Used => "used",
        InvitationState::Withdrawn => "revoked",
        InvitationState::Expired => "expired",
    };
    let (made, until) = (clock(view.made_at.seconds()), clock(view.until.seconds()));
    let plan = view.plan.clone().unwrap_or_default();
    vec![view.invitation.to_string(), made, until, plan, state.to_owned()]
}
