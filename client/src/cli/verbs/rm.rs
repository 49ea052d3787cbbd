//! `rm`.

use clap::Args;
use lockstep_client::Client;
use lockstep_events::VersionId;
use serde_json::json;

use crate::cli::{
    app::{App, Sent},
    failure::Done,
    find::Found,
    prompt,
    ui::printable,
};

use super::{history::show_sides, resolve::is_entry};

/// What is deleted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep rm github
  lockstep rm 3f1c0a7e 81d2aa0b --yes

A deleted entry keeps its history: lockstep restore NAME brings it back. If it was changed apart on several devices, \
all its open versions are shown, and exactly those are deleted. A part of a name is not enough: whether that entry is \
meant is asked, and with --yes or without a terminal nothing is deleted.")]
pub struct Rm {
    /// Whole names, beginnings of ids, or addresses
    #[arg(required = true)]
    entries: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Deletes entries.
///
/// # Errors
/// Not found, ambiguous; nothing is deleted then.
pub async fn run(args: Rm, app: &App) -> Done {
    let client = app.open().await?;
    let mut all = Vec::with_capacity(args.entries.len());
    for wanted in &args.entries {
        let found = app.find_to_change(&client, wanted, args.yes).await?;
        is_entry(&client, &found, "lockstep file put replaces it")?;
        all.push(found);
    }
    all.iter().for_each(|found| show(found, app));
    let question = match all.len() {
        1 => "Delete this entry?".to_owned(),
        n => format!("Delete these {n} entries?"),
    };
    prompt::sure(app.ui, args.yes, &question, "nothing was deleted")?;
    let mut versions = Vec::with_capacity(all.len());
    for found in &all {
        versions.push(delete(found, args.yes, &client).await?);
    }
    let entries: Vec<_> = all.iter().map(|found| found.entry.entry).collect();
    let sent = app.send_of(&client, &entries).await?;
    let mut apart = Vec::with_capacity(all.len());
    for entry in &entries {
        apart.push(app.apart(&client, *entry, false).await?);
    }
    if app.ui.json {
        let one =
            |((entry, version), apart)| json!({ "entry": entry, "version": version, "divergent": apart });
        let deleted: Vec<_> = entries.iter().zip(&versions).zip(&apart).map(one).collect();
        return app.ui.document(&json!({ "deleted": deleted, "sent": sent == Sent::Now }));
    }
    let place = if sent == Sent::Now { "" } else { " on this device" };
    // Where another version stands, it is not gone.
    for (found, _) in all.iter().zip(&apart).filter(|(_, apart)| !**apart) {
        app.ui.done(format!(
            "Deleted{place}: {}. Back with: lockstep restore {}",
            printable(&found.name()),
            found.short_id()
        ));
    }
    Ok(())
}

async fn delete(found: &Found, unasked: bool, client: &Client) -> Done<VersionId> {
    let (entry, mut heads) = (found.entry.entry, found.entry.head_ids());
    loop {
        match client.remove_heads(entry, &heads).await? {
            Some(version) => return Ok(version),
            // Another command of this profile was faster. Nobody was shown anything: what it wrote is meant, too.
            None if unasked => heads = client.get(entry).await?.head_ids(),
            // All heads that were shown, and only those: a version that arrived meanwhile survives.
            None => return Ok(client.remove(entry, &heads).await?),
        }
    }
}

fn show(found: &Found, app: &App) {
    if found.entry.divergent {
        let heads = found.entry.heads.len();
        show_sides(found, &format!("all {heads} open versions would be deleted"), app);
    } else if prompt::can_ask(app.ui) {
        let folder = found.value("folder");
        let place = if folder.is_empty() { String::new() } else { format!("  in {folder}") };
        app.ui.needed(format!("  {}  {}{}", found.short_id(), printable(&found.name()), printable(&place)));
    }
}
