//! `devices`.

use clap::{Args, Subcommand};
use lockstep_api::account::Device;
use lockstep_client::{Client, crypto::label::MAX_NAME, model::Vault};
use serde_json::json;

use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    prompt,
    ui::printable,
};

use super::watch::{clock, hour, short_device};

/// What about them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep devices list
  lockstep devices name 81d2aa0b telephone  # only the account's devices read the name
  lockstep devices approve                # a new device that shows the same seven words
  lockstep devices revoke 81d2aa0b        # a lost telephone: it gets nothing from now on")]
pub struct Devices {
    /// What to do; nothing: list them
    #[command(subcommand)]
    action: Option<Action>,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the devices of the account
    List,
    /// Approve a device that asks with `lockstep login --approve`
    Approve {
        /// The words on its screen, for who cannot be asked
        #[arg(long, value_name = "WORDS")]
        words: Option<String>,
    },
    /// Give a device a name
    Name {
        /// Beginning of the device's id
        device: String,
        /// Its name
        name: String,
    },
    /// End a device's access and rotate the key of every vault
    Revoke {
        /// Beginning of the device's id
        device: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Lists, names, approves or revokes.
///
/// # Errors
/// Offline, not found.
pub async fn run(args: Devices, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("devices needs the server", "leave --offline away"));
    }
    if let Some(Action::Name { name, .. }) = &args.action {
        is_name(name)?;
    }
    let client = app.open().await?;
    if let Some(Action::Approve { words }) = &args.action {
        return super::approve::run(&client, words.as_deref(), app).await;
    }
    let devices = client.devices().await?;
    match args.action {
        Some(Action::Revoke { device, yes }) => revoke(app, &client, single(&devices, &device)?, yes).await,
        Some(Action::Name { device, name }) => {
            let known = single(&devices, &device)?;
            client.name_device(known.device, &name).await?;
            if app.ui.json {
                return app.ui.document(&json!({ "named": known.device }));
            }
            app.ui.done(format!(
                "Device {} is called {}.",
                short_device(known.device),
                printable(name.trim())
            ));
            Ok(())
        }
        _ => list(app, &client, &devices).await,
    }
}

/// Fails for what neither a device nor a vault is called, before a password is asked for.
pub fn is_name(text: &str) -> Done {
    let text = text.trim();
    if (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::usage("that is no name", "1 to 64 bytes of text"))
}

/// The one device that begins so.
fn single<'a>(devices: &'a [Device], beginning: &str) -> Done<&'a Device> {
    let mut hits = devices
        .iter()
        .filter(|known| beginning.len() >= 4 && known.device.to_string().starts_with(beginning));
    let (Some(known), None) = (hits.next(), hits.next()) else {
        let message = format!("no single device begins with \"{}\"", printable(beginning));
        return Err(Failure::new(Exit::NotFound, message, "see: lockstep devices --json"));
    };
    Ok(known)
}

async fn revoke(app: &App, client: &Client, known: &Device, yes: bool) -> Done {
    if known.current {
        return Err(Failure::usage("that is this device", "lockstep logout ends its access"));
    }
    if known.revoked {
        if app.ui.json {
            return app.ui.document(&json!({ "revoked": known.device, "already": true }));
        }
        app.ui.done(format!("Device {} is revoked already.", short_device(known.device)));
        return Ok(());
    }
    let question = format!("End the access of device {}?", short_device(known.device));
    prompt::sure(app.ui, yes, &question, "nothing was revoked")?;
    client.revoke_device(known.device).await?;
    let vaults = client.vaults().await?;
    let rotated = vaults.iter().all(|vault| !vault.due);
    if app.ui.json {
        return app.ui.document(&json!({ "revoked": known.device, "keys_rotated": rotated }));
    }
    app.ui.done(format!("Device {} is revoked. Change passwords that it knew.", short_device(known.device)));
    if rotated {
        say_generation(app, &vaults);
    } else {
        app.ui.warn("the server did not take a new key for the vault yet: the next sync tries again");
    }
    Ok(())
}

fn say_generation(app: &App, vaults: &[Vault]) {
    if let Some(vault) = vaults.iter().find(|vault| vault.current) {
        app.ui.say(format!("The vault's key is generation {}.", vault.key_generation));
    }
}

async fn list(app: &App, client: &Client, devices: &[Device]) -> Done {
    say_generation(app, &client.vaults().await?);
    let sessions = client.sessions().await?;
    let logged_in =
        |device: &Device| sessions.iter().any(|session| session.device == device.device && !session.ended);
    if app.ui.json {
        let named = |device: &Device| {
            let mut shown = serde_json::to_value(device).unwrap_or_default();
            shown["name"] = client.device_name(device).into();
            shown["logged_in"] = logged_in(device).into();
            shown
        };
        return app.ui.document(&devices.iter().map(named).collect::<Vec<_>>());
    }
    let rows: Vec<Vec<String>> = devices
        .iter()
        .map(|device| {
            let state = match device {
                device if device.current => "this one",
                device if device.revoked => "revoked",
                device if !logged_in(device) => "logged out",
                _ => "",
            };
            let name = client.device_name(device).map(|name| printable(&name)).unwrap_or_default();
            let seen = device.last_seen.map(|at| hour(at.seconds())).unwrap_or_default();
            vec![short_device(device.device), name, clock(device.added_at.seconds()), seen, state.to_owned()]
        })
        .collect();
    app.ui.table(&["DEVICE", "NAME", "ADDED (UTC)", "LAST SEEN", "STATE"], &rows)
}
