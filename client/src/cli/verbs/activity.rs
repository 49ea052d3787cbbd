//! `activity`.

use clap::Args;
use lockstep_api::plan::{Activities, Activity as Item, ActorKind};

use crate::cli::{
    app::App,
    failure::{Done, Failure},
};

use super::watch::{clock, short_device};

/// How much of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep activity
  lockstep activity --limit 1000
  lockstep activity --json | jq '.[] | select(.by == \"administrator\")'

Everything that was done by and to your account: devices, sessions, keys, plans, and every act and look of an
administrator with the reason that was given.")]
pub struct Activity {
    /// At most so many, the newest first
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

/// Shows it.
///
/// # Errors
/// Offline, logged out.
pub async fn run(args: Activity, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("activity needs the server", "leave --offline away"));
    }
    let client = app.open().await?;
    let mut all: Vec<Item> = Vec::new();
    let mut before = String::new();
    while all.len() < args.limit {
        let limit = (args.limit - all.len()).min(500);
        let page: Activities = client.fetch(&format!("/v1/me/activity?limit={limit}{before}")).await?;
        all.extend(page.activity);
        let Some(next) = page.before else { break };
        before = format!("&before={next}");
    }
    if app.ui.json {
        return app.ui.document(&all);
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|item| {
            let by = match item.by {
                ActorKind::You => item.device.map_or_else(|| "you".to_owned(), short_device),
                ActorKind::Administrator => "administrator".to_owned(),
                ActorKind::Server => "server".to_owned(),
            };
            let reason = item.reason.clone().unwrap_or_default();
            vec![clock(item.at.seconds()), item.kind.clone(), by, reason]
        })
        .collect();
    app.ui.table(&["WHEN (UTC)", "WHAT", "BY", "REASON"], &rows)
}
