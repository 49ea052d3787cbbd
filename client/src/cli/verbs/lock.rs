//! `lock` and `unlock`.

use std::time::Duration;

use clap::Args;
use lockstep_client::{Client, porting::Secret};
use serde_json::json;

use crate::cli::{agent, app::App, failure::Done};

/// How long.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep unlock                # until nothing asked for fifteen minutes
  lockstep unlock --idle 120     # two hours
  lockstep lock

A small process of your own keeps the key in memory; its socket in the profile directory answers only you.")]
pub struct Unlock {
    /// Lock after so many minutes without a command
    #[arg(long, value_name = "MINUTES", default_value = "15", value_parser = clap::value_parser!(u64).range(1..=10080))]
    idle: u64,
}

/// Asks the password and starts the agent.
///
/// # Errors
/// Wrong password.
pub async fn unlock(args: Unlock, app: &App) -> Done {
    let client = app.open_with_password().await?;
    let token = client.unlock_token();
    agent::client::start(&app.home, Secret::from(token.as_str()), Duration::from_secs(args.idle * 60))
        .await?;
    if app.ui.json {
        return app.ui.document(&json!({ "unlocked": true, "locks_in_seconds": args.idle * 60 }));
    }
    app.ui
        .done(format!("Unlocked. Locks by itself after {} idle minutes, or with: lockstep lock", args.idle));
    Ok(())
}

/// Ends the agent.
///
/// # Errors
/// Not logged in.
pub async fn lock(app: &App) -> Done {
    Client::profile(&app.home)?;
    let was = agent::client::lock(&app.home).await;
    if app.ui.json {
        return app.ui.document(&json!({ "unlocked": false, "was_unlocked": was }));
    }
    app.ui.done(if was { "Locked." } else { "It was locked already." });
    Ok(())
}
