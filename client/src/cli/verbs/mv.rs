//! `mv`.

use clap::Args;
use lockstep_client::{Client, NewEntry, crypto::wipe::Plaintext, porting::item::AttachmentRef};
use lockstep_events::EntryId;
use serde_json::json;

use crate::cli::{
    app::{App, Sent, content_of},
    failure::{Done, Exit, Failure},
    find::{Found, shell_word, short},
    ui::printable,
};

use super::{attachment::fetch, edit::readable};

/// What is moved where.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep mv github --to Work
  lockstep --vault Work mv github --to Home

What the entry holds, its files with it, becomes a new entry of the other vault, and the entry here is deleted. Its \
earlier versions stay where they are: lockstep restore brings it back, lockstep purge erases it.")]
pub struct Mv {
    /// Whole name, beginning of the id, or address of the entry
    entry: String,
    /// Name of the other vault, or the beginning of its id
    #[arg(long, value_name = "VAULT")]
    to: String,
}

/// Copies an entry to another vault, then deletes it.
///
/// # Errors
/// Not found, in conflict, a file that cannot be had, no room there; the entry stays then.
pub async fn run(args: Mv, app: &App) -> Done {
    if app.offline {
        let advice = "an entry is deleted here only once its copy is there; leave --offline away";
        return Err(Failure::usage("mv needs the server", advice));
    }
    let client = app.open().await?;
    let found = app.find_to_change(&client, &args.entry, false).await?;
    let there = app.at(&client, &args.to).await?;
    let vault = there.status().await?.vault;
    if vault == found.entry.vault {
        return Err(Failure::usage("it is in that vault already", ""));
    }
    if found.entry.divergent {
        let advice = format!("choose first: lockstep resolve {}", shell_word(&args.entry));
        return Err(Failure::new(Exit::Conflict, "it was changed apart on several devices", advice));
    }
    // A copy that could not be sent would wait here for nothing.
    client.may_ask().await?;
    let new = copied(app, &client, &found, &there).await?;
    there.add_prepared(std::slice::from_ref(&new), &mut |_| {}).await?;
    // The copy goes out before the deletion, and if it cannot, the entry stays: a copy that waits is on this device only.
    let bytes = new.attachments.iter().map(|file| file.size).sum();
    if app.send_files(&there, bytes).await? == Sent::Later {
        still_here(&there, new.entry, &args.entry).await?;
    }
    let Some(_) = client.remove_heads(found.entry.entry, &found.entry.head_ids()).await? else {
        let message = "the entry was changed meanwhile: it stays in both vaults";
        let advice = format!("compare them; the copy is {}", short(new.entry));
        return Err(Failure::new(Exit::Conflict, message, advice));
    };
    let sent = app.send_of(&client, &[found.entry.entry]).await?;
    if app.ui.json {
        return app.ui.document(&json!({
            "entry": new.entry, "vault": vault, "deleted": found.entry.entry, "sent": sent == Sent::Now,
        }));
    }
    let place = if sent == Sent::Now { "" } else { " on this device" };
    let (name, to) = (printable(&found.name()), printable(&args.to));
    app.ui.done(format!("Moved{place}: {name} is {} in {to}, and deleted here.", short(new.entry)));
    Ok(())
}

/// What an entry holds, as a new one of another vault: its files are sealed anew, because they open in their entry only.
async fn copied(app: &App, client: &Client, found: &Found, there: &Client) -> Done<NewEntry> {
    let (entry, mut item) = (there.new_entry(), readable(found)?);
    let mut attachments = Vec::with_capacity(item.attachments.len());
    for file in &mut item.attachments {
        // What was left out of an import has no bytes anywhere.
        if file.sealed().is_none() {
            continue;
        }
        let content = fetch(app, client, (found.entry.entry, file)).await?;
        let sealed = there.attach(entry, &content).await?;
        *file = AttachmentRef::new(file.name.clone(), &sealed);
        attachments.push(sealed);
    }
    Ok(NewEntry { entry, content: Plaintext::new(content_of(&item)?.to_vec()), attachments })
}

/// Fails if the copy did not reach the server.
async fn still_here(there: &Client, copy: EntryId, wanted: &str) -> Done {
    if there.quarantine().await?.iter().any(|one| one.entry == copy) {
        let message = "the copy was refused: the entry stays in both vaults";
        return Err(Failure::new(Exit::Refused, message, "see: lockstep status"));
    }
    if !there.get(copy).await?.pending {
        return Ok(());
    }
    let exit = if there.status().await?.no_room.is_some() { Exit::Refused } else { Exit::Offline };
    let message = "the copy is not sent yet: the entry stays in both vaults";
    let advice = format!("once `lockstep sync` has sent it: lockstep rm {}", shell_word(wanted));
    Err(Failure::new(exit, message, advice))
}
