//! `lock` and `unlock`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use lockstep_client::{Client, keystore::Place, porting::Secret};
use serde_json::json;

use crate::cli::{
    agent,
    app::{App, count},
    failure::Done,
};

/// How long.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep unlock                # until nothing asked for fifteen minutes
  lockstep unlock --idle 120     # two hours
  lockstep unlock --keep         # until `lockstep lock`, by the key store of the system
  lockstep unlock --keep file    # without one: weaker, whoever can read the profile can open it
  lockstep lock

A small process of your own keeps the key in memory; its socket in the profile directory answers only you. With --keep \
a secret in the key store (GNOME Keyring, KWallet, KeePassXC) opens the profile whenever you are logged in there.")]
pub struct Unlock {
    /// Lock after so many minutes without a command
    #[arg(long, value_name = "MINUTES", default_value = "15", value_parser = clap::value_parser!(u64).range(1..=10080))]
    idle: u64,
    /// Keep it open without a process, by the key store of the system or by a file
    #[arg(long, value_name = "WHERE", num_args = 0..=1, default_missing_value = "system", conflicts_with = "idle")]
    keep: Option<Keep>,
}

/// Where the secret is kept.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Keep {
    /// The key store of the system
    System,
    /// A file in the profile that only you can read: weaker
    File,
}

impl From<Keep> for Place {
    fn from(keep: Keep) -> Self {
        match keep {
            Keep::System => Self::System,
            Keep::File => Self::File,
        }
    }
}

/// Asks the password and starts the agent.
///
/// # Errors
/// Wrong password.
pub async fn unlock(args: Unlock, app: &App) -> Done {
    let client = app.open_with_password().await?;
    if let Some(keep) = args.keep {
        return kept(&client, keep.into(), app).await;
    }
    let token = client.unlock_token();
    agent::client::start(&app.home, Secret::from(token.as_str()), Duration::from_secs(args.idle * 60))
        .await?;
    if app.ui.json {
        return app.ui.document(&json!({ "unlocked": true, "locks_in_seconds": args.idle * 60 }));
    }
    let idle = count(args.idle, "idle minute", "idle minutes");
    app.ui.done(format!("Unlocked. Locks by itself after {idle}, or with: lockstep lock"));
    Ok(())
}

async fn kept(client: &Client, place: Place, app: &App) -> Done {
    client.keep_unlocked(place).await?;
    // What keeps it open now also ends with `lock`: an agent beside it would end sooner.
    agent::client::lock(&app.home).await;
    if app.ui.json {
        return app.ui.document(&json!({ "unlocked": true, "kept": place, "locks_in_seconds": null }));
    }
    if place == Place::File {
        app.ui
            .warn("a file opens this profile now: whoever can read the profile directory can read the vault");
    }
    app.ui.done(format!("Unlocked by the {}, until: lockstep lock", place.name()));
    Ok(())
}

/// Ends the agent, and takes the secret out of wherever it is kept.
///
/// # Errors
/// Not logged in; the key store does not answer.
pub async fn lock(app: &App) -> Done {
    Client::profile(&app.home)?;
    let agent = agent::client::lock(&app.home).await;
    let was = Client::forget_unlocked(&app.home).await? || agent;
    if app.ui.json {
        return app.ui.document(&json!({ "unlocked": false, "was_unlocked": was }));
    }
    app.ui.done(if was { "Locked." } else { "It was locked already." });
    Ok(())
}
