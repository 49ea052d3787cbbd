//! `vault`.

use clap::{Args, Subcommand};
use lockstep_client::Client;
use lockstep_events::VaultId;
use serde_json::json;

use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    ui::printable,
};

/// What about it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep vault
  lockstep vault --json | jq '.[].key_generation'
  lockstep vault rotate                    # a new key for what is written from now on
  lockstep vault rotate 5d0c77e1           # of the vault whose id begins so

Removing a device (lockstep devices revoke) rotates the key of every vault by itself.")]
pub struct Vault {
    /// What to do; nothing: list the vaults
    #[command(subcommand)]
    action: Option<Action>,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the vaults of the account and the generation of each one's key
    List,
    /// Begin the next generation of a vault's key
    Rotate {
        /// Beginning of the vault's id; nothing: the vault of this profile
        vault: Option<String>,
    },
}

/// Lists or rotates.
///
/// # Errors
/// Offline, not found.
pub async fn run(args: Vault, app: &App) -> Done {
    match args.action {
        None | Some(Action::List) => list(app).await,
        Some(Action::Rotate { vault }) => rotate(app, vault.as_deref()).await,
    }
}

async fn list(app: &App) -> Done {
    let vaults = app.open().await?.vaults().await?;
    if app.ui.json {
        return app.ui.document(&vaults);
    }
    let state = |due: bool| if due { "due to rotate: lockstep sync" } else { "" };
    let row = |vault: &lockstep_client::model::Vault| {
        let current = if vault.current { "this one" } else { "" };
        let generation = vault.key_generation.to_string();
        vec![vault.vault.to_string(), generation, current.to_owned(), state(vault.due).to_owned()]
    };
    let rows: Vec<Vec<String>> = vaults.iter().map(row).collect();
    app.ui.table(&["VAULT", "KEY GENERATION", "", ""], &rows)
}

async fn rotate(app: &App, beginning: Option<&str>) -> Done {
    if app.offline {
        return Err(Failure::usage("vault rotate needs the server", "leave --offline away"));
    }
    let client = app.open().await?;
    let vault = single(&client, beginning).await?;
    let generation = client.rotate_vault_key(vault).await?;
    if app.ui.json {
        return app.ui.document(&json!({ "vault": vault, "key_generation": generation }));
    }
    app.ui.done(format!("The vault's key is generation {generation}: what is written from now on needs it."));
    Ok(())
}

/// The one vault that begins so.
async fn single(client: &Client, beginning: Option<&str>) -> Done<VaultId> {
    let vaults = client.vaults().await?;
    let mut hits = vaults.iter().filter(|known| match beginning {
        Some(beginning) => beginning.len() >= 4 && known.vault.to_string().starts_with(beginning),
        None => known.current,
    });
    let (Some(known), None) = (hits.next(), hits.next()) else {
        let message = format!("no single vault begins with \"{}\"", printable(beginning.unwrap_or_default()));
        return Err(Failure::new(Exit::NotFound, message, "see: lockstep vault list"));
    };
    Ok(known.vault)
}
