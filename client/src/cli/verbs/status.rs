//! `status`.

use clap::Args;
use lockstep_client::{
    Client,
    model::{Alarm, NoRoom},
};
use serde_json::json;

use crate::cli::{
    agent,
    app::{App, count},
    failure::Done,
};

use super::{account::grouped, watch::clock};

/// What to do beside showing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep status
  lockstep status --json | jq .waiting
  lockstep status --json | jq -r .held    # the alarm for which nothing is sent, or null
  lockstep status --seen                  # the alarms shown are dealt with; what they held goes out

After an alarm that says that the server shows what did not happen, this device reads on and works, but sends nothing:
what is written waits, and nothing of it is lost. Speak with the server's operator, then let it go on with --seen.")]
pub struct Status {
    /// Mark the alarms as seen: what they held is sent again
    #[arg(long)]
    seen: bool,
}

/// Shows who, where, how fresh, and what waits.
///
/// # Errors
/// Not logged in, locked.
pub async fn run(args: Status, app: &App) -> Done {
    let locks_in = agent::client::locks_in(&app.home).await;
    let kept = Client::kept_unlocked(&app.home)?;
    let profile = Client::profile(&app.home)?;
    if locks_in.is_none()
        && kept.is_none()
        && !app.passwords.is_given()
        && !crate::cli::prompt::can_ask(app.ui)
    {
        return locked(&profile, app);
    }
    let client = app.open().await?;
    let status = client.status().await?;
    let alarms: Vec<Alarm> = client.alarms().await?.into_iter().filter(|alarm| !alarm.seen).collect();
    let quarantine = client.quarantine().await?;
    if args.seen {
        client.acknowledge(&alarms).await?;
    }
    if app.ui.json {
        let mut value = serde_json::to_value(&status).map_err(std::io::Error::other)?;
        value["locked"] = false.into();
        value["locks_in_seconds"] = locks_in.into();
        value["kept"] = json!(kept);
        value["alarm_list"] = serde_json::to_value(&alarms).map_err(std::io::Error::other)?;
        value["quarantine_list"] = serde_json::to_value(&quarantine).map_err(std::io::Error::other)?;
        return app.ui.document(&value);
    }
    let lock = match (locks_in, kept) {
        (_, Some(place)) => format!("unlocked by the {}", place.name()),
        (Some(seconds), None) => {
            format!("unlocked, locks after {}", count(seconds.div_ceil(60), "idle minute", "idle minutes"))
        }
        (None, None) => "each command asks the password (lockstep unlock asks once)".to_owned(),
    };
    let session = if status.logged_in { "logged in" } else { "logged out: lockstep login" };
    let mut rows = vec![
        ("account", format!("{} at {}", status.name, status.server)),
        ("fingerprint", grouped(&status.fingerprint)),
        ("device", status.device.to_string()),
        ("vault", client.vault_name().await?.unwrap_or_else(|| status.vault.to_string())),
        ("vault's key", format!("generation {}", status.key_generation)),
        ("session", session.to_owned()),
        ("lock", lock),
        ("entries", status.entries.to_string()),
        ("conflicts", status.conflicts.to_string()),
        ("waiting to be sent", waiting(&status)),
    ];
    rows.extend(status.streams.iter().map(|place| ("stream", format!("{} at {}", place.stream, place.seq))));
    show(app, rows)?;
    for one in &quarantine {
        let entry = crate::cli::find::short(one.entry);
        app.ui.warn(format!("a change of {entry} was refused for good: {}", one.reason));
    }
    if !quarantine.is_empty() {
        app.ui.hint("lockstep sync --retry offers it again, lockstep sync --discard ENTRY gives it up");
    }
    for alarm in &alarms {
        app.ui.warn(format!("ALARM {}: {} ({})", clock(alarm.at.seconds()), alarm.kind, alarm.detail));
    }
    if !alarms.is_empty() && !args.seen {
        let alarms = count(alarms.len() as u64, "alarm", "alarms");
        app.ui.say(format!(
            "{alarms}: speak with the server's operator; `lockstep status --seen` clears the list."
        ));
    }
    if status.held.is_some() && !args.seen {
        app.ui.warn("until then nothing is sent: what is written waits on this device");
    }
    Ok(())
}

fn waiting(status: &lockstep_client::model::Status) -> String {
    match &status.no_room {
        None if status.held.is_some() => format!("{} (held by an alarm)", status.waiting),
        None => status.waiting.to_string(),
        Some(met) => {
            let NoRoom { what, limit, used, .. } = met;
            format!("{} (over quota: {what}, limit {limit}, used {used})", status.waiting)
        }
    }
}

fn locked(profile: &lockstep_client::profile::Profile, app: &App) -> Done {
    if app.ui.json {
        return app.ui.document(&json!({
            "locked": true, "name": profile.name, "server": profile.server.url,
            "account": profile.account, "device": profile.device, "vault": profile.vault,
        }));
    }
    let rows = vec![
        ("account", format!("{} at {}", profile.name, profile.server.url)),
        ("device", profile.device.to_string()),
        ("lock", "locked: lockstep unlock".to_owned()),
    ];
    show(app, rows)
}

fn show(app: &App, rows: Vec<(&str, String)>) -> Done {
    for (name, value) in rows {
        let line =
            if app.ui.out_is_terminal { format!("{name:<20}{value}") } else { format!("{name}\t{value}") };
        app.ui.data(&line)?;
    }
    Ok(())
}
