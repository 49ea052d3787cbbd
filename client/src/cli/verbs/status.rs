//! `status`.

use clap::Args;
use lockstep_client::{
    Client, Error,
    keystore::Place,
    model::{Alarm, NoRoom, Quarantined},
};
use serde_json::json;

use crate::cli::{
    agent,
    app::{App, count},
    failure::{Done, Failure},
    ui::printable,
};

use super::{
    account::{grouped, in_words},
    alarms::{Alarms, accept},
    vault,
    watch::{clock, now},
};

/// What to do beside showing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep status
  lockstep status --json | jq .waiting
  lockstep status --json | jq -r .held    # the alarm for which nothing is sent, or null
  lockstep status --seen                  # the alarms shown are dealt with; what they held goes out
  lockstep status --accept 3f2a9c41d07b   # the app of the device that wrote this version was wrong, not the server

After an alarm that says that the server shows what did not happen, this device reads on and works, but sends nothing:
what is written waits, and nothing of it is lost. Speak with the server's operator, then let it go on with --seen.

An alarm about a version that a device of the account did sign stays for as long as the version stands, and its vault \
is not read past it. Whoever knows that the app of that device was wrong sets the version aside with --accept: what \
the alarm says of it is held against the server no more on this device, and everything else is checked as before.")]
pub struct Status {
    /// Mark the alarms as seen: what they held is sent again
    #[arg(long)]
    seen: bool,
    /// Set aside what alarms say of these versions, by the beginnings of their ids: the vault is read on
    #[arg(long, value_name = "VERSION", num_args = 1..)]
    accept: Vec<String>,
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
    if !args.accept.is_empty() {
        accept(&client, &args.accept, app).await?;
    }
    let status = client.status().await?;
    let all = client.alarms().await?;
    let aside = set_aside(&all);
    let alarms: Vec<Alarm> = all.into_iter().filter(|alarm| !alarm.seen).collect();
    let quarantine = client.quarantine().await?;
    if args.seen {
        client.acknowledge(&alarms).await?;
    }
    let (any, named) = (!alarms.is_empty(), Alarms::named(&client, app, alarms).await);
    if app.ui.json {
        let mut value = serde_json::to_value(&status).map_err(std::io::Error::other)?;
        value["locked"] = false.into();
        value["locks_in_seconds"] = locks_in.into();
        value["kept"] = json!(kept);
        value["alarm_list"] = named.document()?.into();
        value["set_aside_list"] = Alarms::named(&client, app, aside).await.document()?.into();
        value["quarantine_list"] = serde_json::to_value(&quarantine).map_err(std::io::Error::other)?;
        return app.ui.document(&value);
    }
    let ended = status.ended.map(|end| Failure::from(Error::Revoked(Some(end))));
    let session = match &ended {
        None if status.logged_in => "logged in".to_owned(),
        None => "logged out: lockstep login".to_owned(),
        Some(ended) => format!("logged out: {}", ended.message),
    };
    let mut rows = vec![
        ("account", format!("{} at {}", status.name, status.server)),
        ("fingerprint", grouped(&status.fingerprint)),
        ("in words", in_words(&status.fingerprint)),
        ("device", status.device.to_string()),
        ("vault", client.vault_name().await?.unwrap_or_else(|| status.vault.to_string())),
        ("vault's key", format!("generation {}", status.key_generation)),
        ("session", session),
        ("lock", lock(locks_in, kept)),
        ("entries", status.entries.to_string()),
        ("conflicts", status.conflicts.to_string()),
        ("waiting to be sent", waiting(&status)),
    ];
    if let Some(due) = status.erasure_due_at {
        let what = if now() < due.seconds() { "account keep" } else { "export --offline" };
        rows.push(("to be erased", format!("{} UTC (lockstep {what})", clock(due.seconds()))));
    }
    rows.extend(status.streams.iter().map(|place| ("stream", format!("{} at {}", place.stream, place.seq))));
    if !aside.is_empty() {
        rows.push(("set aside", count(aside.len() as u64, "alarm about a version", "alarms about versions")));
    }
    show(app, rows)?;
    if let Some(ended) = &ended {
        app.ui.warn(ended.to_string());
    }
    vault::say_left(app, &client).await?;
    say_refused(&quarantine, app);
    named.show(app);
    if any && !args.seen {
        let alarms = count(status.alarms, "alarm", "alarms");
        app.ui.say(format!(
            "{alarms}: speak with the server's operator; `lockstep status --seen` clears the list."
        ));
    }
    if status.held.is_some() && !args.seen {
        app.ui.warn("until then nothing is sent: what is written waits on this device");
    }
    Ok(())
}

/// Whether the next command asks for the password.
fn lock(locks_in: Option<u64>, kept: Option<Place>) -> String {
    match (locks_in, kept) {
        (_, Some(place)) => format!("unlocked by the {}", place.name()),
        (Some(seconds), None) => {
            format!("unlocked, locks after {}", count(seconds.div_ceil(60), "idle minute", "idle minutes"))
        }
        (None, None) => "each command asks the password (lockstep unlock asks once)".to_owned(),
    }
}

/// Says which changes the server refused for good.
fn say_refused(quarantine: &[Quarantined], app: &App) {
    for one in quarantine {
        let entry = crate::cli::find::short(one.entry);
        app.ui.warn(format!("a change of {entry} was refused for good: {}", printable(&one.reason)));
    }
    if !quarantine.is_empty() {
        app.ui.hint(
            "look: lockstep history ENTRY, lockstep get ENTRY --version N; lockstep sync --retry offers it again, lockstep \
             sync --discard ENTRY gives it up",
        );
    }
}

/// What a person has set aside, each once.
fn set_aside(all: &[Alarm]) -> Vec<Alarm> {
    let mut found: Vec<Alarm> = Vec::new();
    for alarm in all.iter().filter(|alarm| alarm.set_aside) {
        if !found.iter().any(|known| (known.kind, &known.detail) == (alarm.kind, &alarm.detail)) {
            found.push(alarm.clone());
        }
    }
    found
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
        let value = printable(&value);
        let line =
            if app.ui.out_is_terminal { format!("{name:<20}{value}") } else { format!("{name}\t{value}") };
        app.ui.data(&line)?;
    }
    Ok(())
}
