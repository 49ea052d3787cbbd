//! `sync`.

use clap::Args;
use lockstep_client::{Client, Error, model::SyncReport};

use crate::cli::{
    advice::HELD,
    app::{App, count, synced},
    failure::{Done, Exit, Failure},
    ui::printable,
};

use super::{account::after_a_restore, conflicts, vault};

/// What to do before.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep sync
  lockstep sync --retry                # offers again what the server refused for good, after its limits were raised
  lockstep sync --discard 3f2a9c41     # the entry as `lockstep status` shows it, or its name

Exit code 7 says that the server was caught: what it showed is not taken, and nothing is sent until a person has \
looked (lockstep status) and said so (lockstep status --seen).

What the server refused for good is kept on this device, out of sight and in the way of nothing; `lockstep status` \
lists it, and `lockstep get ENTRY --version N` shows it.")]
pub struct Sync {
    /// Offer again what the server refused for good
    #[arg(long)]
    retry: bool,
    /// Give up the changes of this entry that the server refused for good
    #[arg(long, value_name = "ENTRY", conflicts_with = "retry")]
    discard: Option<String>,
}

/// One round.
///
/// # Errors
/// Offline, refused, or the server was caught.
pub async fn run(args: Sync, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("sync needs the server", "leave --offline away"));
    }
    let client = app.open().await?;
    if args.retry {
        for refused in client.quarantine().await? {
            client.release(refused.version, false).await?;
        }
    }
    if let Some(wanted) = &args.discard {
        discard(app, &client, wanted).await?;
    }
    let known: Vec<i64> = client.alarms().await?.iter().map(|alarm| alarm.id).collect();
    app.tell_of_an_erasure();
    let report = match synced(app.ui, &client, "in step with the server").await {
        Ok(report) => report,
        // Nobody said why: a restored server does not know the session.
        Err(error @ Error::Revoked(end)) if end.and_then(|end| end.reason).is_none() => {
            return Err(after_a_restore(&client, error.into()).await);
        }
        Err(error) => return Err(error.into()),
    };
    let raised = client.alarms().await?.into_iter();
    let raised = raised.filter(|alarm| !known.contains(&alarm.id)).find(|alarm| alarm.kind.holds_sending());
    if app.ui.json {
        let mut document = serde_json::to_value(&report).map_err(std::io::Error::other)?;
        document["notices"] = serde_json::json!(app.notices().await);
        app.ui.document(&document)?;
    }
    if let Some(alarm) = raised {
        // What came with it was taken as far as it goes: it is not in step all the same.
        let message = format!("ALARM {}: {}", alarm.kind, printable(&alarm.detail));
        return Err(Failure::new(Exit::Alarm, message, HELD).fact("alarm", alarm.kind.as_str()));
    }
    if app.ui.json {
        return Ok(());
    }
    let mut parts = vec![format!("{} received", report.pulled), format!("{} sent", report.pushed)];
    for (n, what) in [
        (report.forked, if report.forked == 1 { "became a branch" } else { "became branches" }),
        (report.waiting, "still waiting"),
        (report.quarantined, "refused for good"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    app.ui.done(format!("In step: {}.", parts.join(", ")));
    if let Some(met) = &report.no_room {
        app.say_no_room("what waits", met);
    }
    app.say_refused(&report);
    say_waiting(app, &report);
    vault::say_left(app, &client).await?;
    if report.conflicts > 0 {
        let entries = count(report.conflicts, "entry was", "entries were");
        let see = conflicts::commands(app, &client).await?;
        app.ui.warn(format!("{entries} changed apart on several devices; see: {see}"));
    }
    Ok(())
}

/// Why something waits still, and what to do.
fn say_waiting(app: &App, report: &SyncReport) {
    if report.fileless > 0 {
        let changes = count(report.fileless, "change waits", "changes wait");
        app.ui.warn(format!(
            "{changes} for a file that the server lost and another device of the account has: lockstep sync there, then here"
        ));
    } else if report.waiting > 0 && report.no_room.is_none() {
        app.ui.say(
            "What waits still was written meanwhile, or goes behind such a change: lockstep sync sends it.",
        );
    }
}

/// Gives up what was refused of an entry, which is named as anywhere, or by the beginning of its id.
async fn discard(app: &App, client: &Client, wanted: &str) -> Done {
    let refused = client.quarantine().await?;
    let by_id = |entry: &lockstep_events::EntryId| wanted.len() >= 4 && entry.to_string().starts_with(wanted);
    let mut fits: Vec<_> = refused.iter().map(|refused| refused.entry).filter(by_id).collect();
    fits.sort_unstable();
    fits.dedup();
    let entry = match fits.as_slice() {
        [entry] => *entry,
        [] => app.find_to_change(client, wanted, false).await?.entry.entry,
        several => {
            let message = format!("{} refused entries begin with \"{}\"", several.len(), printable(wanted));
            return Err(Failure::new(Exit::Ambiguous, message, "say more of the id: lockstep status --json"));
        }
    };
    let mut given_up = 0;
    // The newest first: each was built on the one before.
    for refused in refused.iter().rev().filter(|refused| refused.entry == entry) {
        client.release(refused.version, true).await?;
        given_up += 1;
    }
    if given_up == 0 {
        let message = format!("nothing of \"{}\" was refused for good", printable(wanted));
        return Err(Failure::new(Exit::NotFound, message, "lockstep status lists what was"));
    }
    app.ui.say(format!("{} given up.", count(given_up, "change", "changes")));
    Ok(())
}
