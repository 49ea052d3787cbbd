//! `vault`.

use clap::{Args, Subcommand};
use lockstep_client::{Client, model};
use lockstep_events::VaultId;
use serde_json::json;

use crate::cli::{
    app::{App, count},
    failure::{Done, Exit, Failure},
    find::{self, vault_word},
    ui::printable,
};

use super::devices::is_name;

mod delete;

/// What about them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep vault list
  lockstep vault create Work               # how many there may be, says the plan
  lockstep --vault Work add github --username ada
  lockstep vault use Work                  # what verbs work with where --vault says nothing else
  lockstep vault rename Work \"Old work\"
  lockstep vault delete \"Old work\"          # with all its entries
  lockstep vault rotate                    # a new key for what is written from now on

A deleted vault keeps its history: `lockstep vault rename ID NAME` names it again, `lockstep --vault ID restore ENTRY` \
brings back what was in it. What another device wrote in it meanwhile is not deleted: the list says how much there is. \
Of two names that were given apart both are listed, until it is renamed.

sync and watch cover every vault. Removing a device (lockstep devices revoke) rotates the key of \
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
    /// Delete a vault with all its entries; not the one that the account began with
    Delete {
        /// Its name, or the beginning of its id
        #[arg(value_name = "VAULT")]
        which: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
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

/// Lists, creates, renames, deletes, chooses or rotates.
///
/// # Errors
/// Offline, not found, no room in the plan.
pub async fn run(args: Vault, app: &App) -> Done {
    let action = args.action.unwrap_or(Action::List);
    if app.offline && matches!(action, Action::Create { .. } | Action::Rotate { .. }) {
        return Err(Failure::usage("that needs the server", "leave --offline away"));
    }
    if let Action::Create { name } | Action::Rename { name, .. } = &action {
        is_name(name)?;
    }
    let client = app.open().await?;
    match action {
        Action::List => list(app, &client).await,
        Action::Create { name } => create(app, &client, &name).await,
        Action::Rename { which, name } => rename(app, &app.at(&client, &which).await?, &name).await,
        Action::Delete { which, yes } => delete::run(app, &client, &which, yes).await,
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
    let row = |vault: &model::Vault| {
        let name = vault.name.as_ref().or(vault.was.as_ref()).map(|name| printable(name)).unwrap_or_default();
        vec![vault.vault.to_string(), name, vault.key_generation.to_string(), state(vault)]
    };
    let rows: Vec<Vec<String>> = vaults.iter().map(row).collect();
    app.ui.table(&["VAULT", "NAME", "KEY", "STATE"], &rows)
}

fn state(vault: &model::Vault) -> String {
    let mut states = Vec::new();
    if vault.current {
        states.push("this one".to_owned());
    }
    match vault.left {
        _ if !vault.deleted => {}
        0 => states.push("deleted".to_owned()),
        left => states.push(format!("deleted, but {} live", count(left, "entry is", "entries are"))),
    }
    if vault.divergent {
        states.push(apart(vault));
    }
    if vault.due {
        states.push("key due to rotate: lockstep sync".to_owned());
    }
    states.join("; ")
}

/// What else devices did to the name of a vault that has two.
fn apart(vault: &model::Vault) -> String {
    if vault.also.is_empty() {
        return "deleted on one device, named on another".to_owned();
    }
    let also: Vec<String> = vault.also.iter().map(|name| printable(name)).collect();
    format!("named apart, also {}", also.join(", "))
}

/// What a conflict of the name of a vault is, and what ends it.
pub fn name_conflict(vaults: &[model::Vault], wanted: VaultId) -> Option<String> {
    let vault = vaults.iter().find(|vault| vault.vault == wanted)?;
    let (name, word) = (vault.name.as_deref().map(printable).unwrap_or_default(), vault_word(vaults, wanted));
    let what = apart(vault);
    Some(format!("{name}: {what}; lockstep vault rename {word} NAME, or lockstep vault delete {word}"))
}

/// Says which deleted vaults have entries that other devices wrote.
///
/// # Errors
/// If the local database fails.
pub async fn say_left(app: &App, client: &Client) -> Done {
    let vaults = client.vaults().await?;
    for vault in vaults.iter().filter(|vault| vault.left > 0) {
        let (left, word) =
            (count(vault.left, "entry in it is", "entries in it are"), vault_word(&vaults, vault.vault));
        let name = vault.was.as_deref().map(|name| format!(" {}", printable(name))).unwrap_or_default();
        app.ui
            .warn(format!("the vault{name} was deleted, but {left} not; see: lockstep --vault {word} list"));
    }
    Ok(())
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
