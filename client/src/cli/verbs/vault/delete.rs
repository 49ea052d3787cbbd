//! `vault delete`.

use lockstep_client::Client;
use lockstep_events::{EntryId, VaultId, VersionId};
use serde_json::json;

use crate::cli::{
    app::{App, Sent, count},
    failure::{Done, Failure},
    prompt,
    ui::printable,
};

/// Deletes a vault with the entries that are in it.
///
/// # Errors
/// Not found; the one that the account began with; not wanted.
pub async fn run(app: &App, client: &Client, which: &str, yes: bool) -> Done {
    let at = app.at(client, which).await?;
    // The fewer changes it has not heard of, the fewer stay live.
    app.refresh(&at).await?;
    let vaults = at.vaults().await?;
    let vault = at.status().await?.vault;
    if vaults.first().is_some_and(|first| first.vault == vault) {
        let advice = "its entries can be deleted: lockstep rm";
        return Err(Failure::usage("the vault that the account began with cannot be deleted", advice));
    }
    let entries = at.entries().await?;
    let known = vaults.iter().find(|known| known.vault == vault);
    let name = known.and_then(|known| known.name.as_ref().or(known.was.as_ref()));
    let name = name.map_or_else(|| short(vault), |name| printable(name));
    let with = count(entries.len() as u64, "entry", "entries");
    let question = match entries.iter().filter(|entry| entry.divergent).count() {
        0 => format!("Delete the vault {name} with {with}?"),
        apart => {
            format!("Delete the vault {name} with {with}, {apart} of them in all versions that are open?")
        }
    };
    prompt::sure(app.ui, yes, &question, "nothing was deleted")?;
    let shown: Vec<(EntryId, Vec<VersionId>)> =
        entries.iter().map(|entry| (entry.entry, entry.head_ids())).collect();
    at.delete_vault(&shown).await?;
    // Verbs do not go on writing into it.
    let left = Client::profile(&app.home)?.vault == vault;
    if left {
        at.in_first_vault().await?.keep_vault()?;
    }
    let all: Vec<EntryId> = shown.iter().map(|(entry, _)| *entry).chain([at.vault_name_entry()]).collect();
    let sent = app.send_of(&at, &all).await?;
    if app.ui.json {
        let sent = sent == Sent::Now;
        return app.ui.document(&json!({ "deleted": vault, "entries": shown.len(), "sent": sent }));
    }
    let place = if sent == Sent::Now { "" } else { " on this device" };
    let back = short(vault);
    app.ui.done(format!("Deleted{place}: {name}, with {with}. Back with: lockstep vault rename {back} NAME"));
    if left {
        app.ui.say("Verbs work with the vault that the account began with from now on.");
    }
    Ok(())
}

fn short(vault: VaultId) -> String {
    vault.to_string().chars().take(8).collect()
}
