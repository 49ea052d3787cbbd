//! `purge`.

use clap::Args;
use lockstep_client::{Client, Error};
use serde_json::json;

use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    find::{Found, shell_word},
    prompt,
    ui::printable,
};

use super::resolve::is_entry;

/// What is erased.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep purge github                  # deleted or not
  lockstep purge 3f1c0a7e --yes

Erases an entry with all its versions and files, on the server at once and on every device with its next sync. Nothing \
brings it back. Copies that were made outside (exports, backups of a device) stay. `rm` deletes and keeps the history. \
A part of a name is not enough: whether that entry is meant is asked, and with --yes or without a terminal nothing is \
erased.")]
pub struct Purge {
    /// Whole name, beginning of the id, or address of the entry; deleted ones too
    entry: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Deletes an entry where it is not, and erases it.
///
/// # Errors
/// Offline, not found, changed meanwhile.
pub async fn run(args: Purge, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("purge needs the server", "leave --offline away"));
    }
    let client = app.open().await?;
    let found = app.find_to_change_also_deleted(&client, &args.entry, args.yes).await?;
    is_entry(&client, &found, "lockstep file put replaces it")?;
    let (entry, name) = (found.entry.entry, printable(&found.name()));
    let question =
        format!("Erase {name} ({}) with its whole history, on every device and for good?", found.short_id());
    prompt::sure(app.ui, args.yes, &question, "nothing was erased")?;
    deleted(app, &client, &found).await?;
    let now = client.get(entry).await?;
    if !now.deleted {
        // What another device wrote meanwhile nobody here was shown.
        let advice = format!("see: lockstep resolve {}", shell_word(&found.short_id()));
        return Err(Failure::new(
            Exit::Conflict,
            "it was changed on another device: nothing was erased",
            advice,
        ));
    }
    client.purge(entry, &now.head_ids()).await?;
    // It is erased here, too, whatever else waits.
    app.send(&client).await?;
    let here = match client.get(entry).await {
        Err(Error::NotFound) => false,
        found => !found?.heads.is_empty(),
    };
    if app.ui.json {
        return app.ui.document(&json!({ "purged": entry }));
    }
    app.ui.done(format!("Erased: {name}."));
    if here {
        app.ui.say("On this device it is erased with the next sync.");
    }
    Ok(())
}

/// Devices erase what a device has deleted, and nothing else: the deletion goes out first.
async fn deleted(app: &App, client: &Client, found: &Found) -> Done {
    // What could not be erased is not deleted either.
    client.may_ask().await?;
    if !found.entry.deleted {
        client.remove(found.entry.entry, &found.entry.head_ids()).await?;
    }
    app.send(client).await?;
    if client.get(found.entry.entry).await?.pending {
        let advice = "lockstep sync, then once more";
        return Err(Failure::new(Exit::Offline, "it is deleted on this device only, and not erased", advice));
    }
    Ok(())
}
