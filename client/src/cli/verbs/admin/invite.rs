//! `admin user add`.

use clap::Args;
use lockstep_api::admin::{Invite, Invited};
use lockstep_client::Client;

use super::{proven, user::days_from_now};
use crate::cli::{app::App, failure::Done, verbs::watch::clock};

/// An invitation.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep admin user add --reason 'ticket 12'
  lockstep admin user add --plan paid --plan-days 30 --hours 24 --reason trial")]
pub struct Add {
    /// The plan that the account begins with
    #[arg(long)]
    plan: Option<String>,
    /// That plan is for so many days
    #[arg(long, value_name = "N", requires = "plan", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    plan_days: Option<u32>,
    /// The invitation is valid for so many hours
    #[arg(long, value_name = "N", default_value_t = 72)]
    hours: u32,
    /// Why: who is invited, for example. It is sealed, and `account export` shows it to you
    #[arg(long, value_parser = super::reason)]
    reason: String,
}

/// Makes an invitation; its token is the data.
///
/// # Errors
/// Offline, refused.
pub async fn add(args: Add, app: &App, client: &Client) -> Done {
    let plan_until = args.plan_days.map(days_from_now);
    let body = Invite { plan: args.plan, plan_until, hours: args.hours, reason: args.reason };
    let made: Invited =
        proven(app, client, async || client.act("/v1/admin/invitations", &body).await).await?;
    if app.ui.json {
        return app.ui.document(&made);
    }
    app.ui.say(format!("Valid until {} UTC, once. The person runs:", clock(made.until.seconds())));
    app.ui.say("  lockstep register --server … --email … --invitation TOKEN");
    app.ui.say(format!("To withdraw it: lockstep admin withdraw {} --reason …", made.invitation));
    app.ui.data(&made.token)
}
