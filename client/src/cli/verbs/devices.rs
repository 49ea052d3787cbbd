//! `devices`.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    prompt,
};

use super::watch::{clock, short_device};

/// What about them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep devices
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
    /// End a device's access
    Revoke {
        /// Beginning of the device's id
        device: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Lists or revokes.
///
/// # Errors
/// Offline, not found.
pub async fn run(args: Devices, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("devices needs the server", "leave --offline away"));
    }
    let client = app.open().await?;
    let devices = client.devices().await?;
    let Some(Action::Revoke { device, yes }) = args.action else {
        return list(app, &devices);
    };
    let mut hits =
        devices.iter().filter(|known| device.len() >= 4 && known.device.to_string().starts_with(&device));
    let (Some(known), None) = (hits.next(), hits.next()) else {
        let message = format!("no single device begins with \"{}\"", crate::cli::ui::printable(&device));
        return Err(Failure::new(Exit::NotFound, message, "see: lockstep devices --json"));
    };
    if known.current {
        return Err(Failure::usage("that is this device", "lockstep logout ends its access"));
    }
    let question = format!("End the access of device {}?", short_device(known.device));
    if !yes && !prompt::confirm(app.ui, &question)? {
        return Err(Failure::usage("nothing was revoked", "without a terminal to ask at, --yes is needed"));
    }
    client.revoke_device(known.device).await?;
    if app.ui.json {
        return app.ui.document(&json!({ "revoked": known.device }));
    }
    app.ui.done(format!("Device {} is revoked. Change passwords that it knew.", short_device(known.device)));
    Ok(())
}

fn list(app: &App, devices: &[lockstep_api::account::Device]) -> Done {
    if app.ui.json {
        return app.ui.document(&devices);
    }
    let rows: Vec<Vec<String>> = devices
        .iter()
        .map(|device| {
            let state = match device {
                device if device.current => "this one",
                device if device.revoked => "revoked",
                _ => "",
            };
            vec![short_device(device.device), clock(device.added_at.seconds()), state.to_owned()]
        })
        .collect();
    app.ui.table(&["DEVICE", "ADDED (UTC)", "STATE"], &rows)
}
