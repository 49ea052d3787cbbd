//! `vault`.

use clap::{Args, Subcommand};
use lockstep_client::Client;
use lockstep_events::VaultId;
use serde_json::json;

use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    find,
    ui::printable,
};

/// What about them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep vault
  lockstep vault create Work               # how many there may be, says the plan
  lockstep --vault Work add github --username ada
  lockstep vault use Work                  # what verbs work with where --vault says nothing else
  lockstep vault rename Work \"Old work\"
  lockstep vault rotate                    # a new key for what is written from now on

sync and watch cover every vault. Removing a device (lockstep devices revoke) rotates the key of
each by itself. Names are encrypted on this device.")]
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
    /// Begin another vault
    Create {
        /// What it is called
        name: String,
    },
    /// Call a vault something else
    Rename {
        /// Its name, or the beginning of its id
        #[arg(value_name = "VAULT")]
        which: String,
        /// What it is called from now on
        name: String,
    },
    /// Work with a vault from now on, on this device
    Use {
        /// Its name, or the beginning of its id
        #[arg(value_name = "VAULT")]
        which: String,
    },
    /// Begin the next generation of a vault's key
    Rotate {
        /// Its name, or the beginning of its id; nothing: the vault that verbs work with
        #[arg(value_name = "VAULT")]
        which: Option<String>,
    },
}

/// Lists, creates, renames, chooses or rotates.
///
/// # Errors
/// Offline, not found, no room in the plan.
pub async fn run(args: Vault, app: &App) -> Done {
    let action = args.action.unwrap_or(Action::List);
    if app.offline && matches!(action, Action::Create { .. } | Action::Rotate { .. }) {
        return Err(Failure::usage("that needs the server", "leave --offline away"));
    }
    let client = app.open().await?;
    match action {
        Action::List => list(app, &client).await,
        Action::Create { name } => create(app, &client, &name).await,
        Action::Rename { which, name } => rename(app, &app.at(&client, &which).await?, &name).await,
        Action::Use { which } => chosen(app, &app.at(&client, &which).await?).await,
        Action::Rotate { which: None } => rotate(app, &client).await,
        Action::Rotate { which: Some(which) } => rotate(app, &app.at(&client, &which).await?).await,
    }
}

async fn list(app: &App, client: &Client) -> Done {
    let vaults = client.vaults().await?;
    if app.ui.json {
        return app.ui.document(&vaults);
    }
    let row = |vault: &lockstep_client::model::Vault| {
        let state = match (vault.current, vault.due) {
            (_, true) => "key due to rotate: lockstep sync",
            (true, _) => "this one",
            _ => "",
        };
        let name = vault.name.as_deref().map(printable).unwrap_or_default();
        vec![vault.vault.to_string(), name, vault.key_generation.to_string(), state.to_owned()]
    };
    let rows: Vec<Vec<String>> = vaults.iter().map(row).collect();
    app.ui.table(&["VAULT", "NAME", "KEY", "STATE"], &rows)
}

/// Names are what people tell vaults apart by: none of the others may be meant by this one.
async fn unused(client: &Client, name: &str, own: Option<VaultId>) -> Done {
    let mut others = client.vaults().await?;
    others.retain(|other| Some(other.vault) != own);
    match find::vault(&others, name) {
        Err(failure) if failure.exit == Exit::NotFound => Ok(()),
        _ => {
            Err(Failure::usage(format!("\"{}\" means a vault already", printable(name)), "take another name"))
        }
    }
}

async fn create(app: &App, client: &Client, name: &str) -> Done {
    unused(client, name, None).await?;
    let vault = client.create_vault(name).await?;
    app.send(client).await?;
    if app.ui.json {
        return app.ui.document(&json!({ "vault": vault, "name": name.trim() }));
    }
    app.ui.done(format!("The vault {} is there.", printable(name.trim())));
    app.ui.hint("--vault works with it once, `lockstep vault use` from now on.");
    Ok(())
}

async fn rename(app: &App, client: &Client, name: &str) -> Done {
    let vault = client.status().await?.vault;
    unused(client, name, Some(vault)).await?;
    client.name_vault(name).await?;
    app.send(client).await?;
    if app.ui.json {
        return app.ui.document(&json!({ "vault": vault, "name": name.trim() }));
    }
    app.ui.done(format!("The vault is called {}.", printable(name.trim())));
    Ok(())
}

async fn chosen(app: &App, client: &Client) -> Done {
    client.keep_vault()?;
    let (vault, name) = (client.status().await?.vault, client.vault_name().await?);
    if app.ui.json {
        return app.ui.document(&json!({ "vault": vault, "name": name }));
    }
    let name = name.map_or_else(|| vault.to_string(), |name| printable(&name));
    app.ui.done(format!("Verbs work with the vault {name} from now on."));
    Ok(())
}

async fn rotate(app: &App, client: &Client) -> Done {
    let vault = client.status().await?.vault;
    let generation = client.rotate_vault_key(vault).await?;
    if app.ui.json {
        return app.ui.document(&json!({ "vault": vault, "key_generation": generation }));
    }
    app.ui.done(format!("The vault's key is generation {generation}: what is written from now on needs it."));
    Ok(())
}
