//! `conflicts`.

use lockstep_client::{Client, model::Vault};
use serde_json::json;

use crate::cli::{
    app::{App, count, item_of, opened},
    failure::Done,
    find::vault_word,
    ui::printable,
};

use super::{
    history::{arrived, described, is_unreadable},
    resolve::contested,
    vault::name_conflict,
};

/// Lists entries that were changed apart.
///
/// # Errors
/// Locked.
pub async fn run(app: &App) -> Done {
    let client = app.open().await?;
    let (conflicts, vaults) = (client.conflicts().await?, client.vaults().await?);
    if app.ui.json {
        let documents: Vec<serde_json::Value> = conflicts
            .iter()
            .map(|conflict| {
                let (vault, entry) = (conflict.entry.vault, conflict.entry.entry);
                let named = client.is_vault_name(vault, entry);
                let known = vaults.iter().find(|known| named && known.vault == vault);
                json!({
                    "id": entry,
                    "file": entry == client.file_entry(),
                    "vault_name": named,
                    "names": known.map(|known| known.name.iter().chain(&known.also).collect::<Vec<_>>()),
                    "name": known.map_or_else(|| opened(conflict.entry.clone()).name(), |known| known.name.clone().unwrap_or_default()),
                    "heads": conflict.entry.heads.iter().map(|head| json!({
                        "version": head.version, "kind": head.kind, "device": head.device, "branch": head.branch, "time": head.client_time, "arrived": arrived(head),
                    })).collect::<Vec<_>>(),
                    "differs": if named { Vec::new() } else { contested(conflict) },
                })
            })
            .collect();
        return app.ui.document(&documents);
    }
    if conflicts.is_empty() {
        app.ui.say("No conflicts.");
        return elsewhere(app, &client).await;
    }
    for conflict in &conflicts {
        if conflict.entry.entry == client.file_entry() {
            app.ui.data("file      the one encrypted file was put apart: lockstep file resolve")?;
            continue;
        }
        if client.is_vault_name(conflict.entry.vault, conflict.entry.entry) {
            let what = name_conflict(&vaults, conflict.entry.vault).unwrap_or_default();
            app.ui.data(&format!("vault     {what}"))?;
            continue;
        }
        let found = opened(conflict.entry.clone());
        let fields = contested(conflict).iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ");
        let deleted = conflict.entry.heads.iter().any(|head| item_of(head).is_none());
        let what = if conflict.entry.heads.iter().any(is_unreadable) {
            "cannot be read on one side".to_owned()
        } else if deleted && fields.is_empty() {
            "deleted on one side".to_owned()
        } else {
            format!("differs in {fields}")
        };
        app.ui.data(&format!("{}  {}  {what}", found.short_id(), printable(&found.name())))?;
        for (head, nth) in conflict.entry.heads.iter().zip(1..) {
            app.ui.data(&format!("    {nth}  {}", described(head)))?;
        }
    }
    app.ui.hint("Compare and choose: lockstep resolve ENTRY");
    elsewhere(app, &client).await
}

/// Says which other vaults have some.
async fn elsewhere(app: &App, client: &Client) -> Done {
    let vaults = client.vaults().await?;
    for (vault, conflicts) in in_vaults(client, &vaults).await?.iter().filter(|(vault, _)| !vault.current) {
        let more = count(*conflicts, "entry was", "entries were");
        let word = vault_word(&vaults, vault.vault);
        app.ui.say(format!("In another vault {more} changed apart; see: lockstep --vault {word} conflicts"));
    }
    Ok(())
}

/// The vaults that have entries that were changed apart, and how many.
async fn in_vaults<'v>(client: &Client, vaults: &'v [Vault]) -> Done<Vec<(&'v Vault, u64)>> {
    let mut all = Vec::new();
    for vault in vaults {
        let conflicts = client.in_vault(vault.vault).await?.status().await?.conflicts;
        if conflicts > 0 {
            all.push((vault, conflicts));
        }
    }
    Ok(all)
}

/// The commands that list what was changed apart, one for each vault that has any.
///
/// # Errors
/// If the local database fails.
pub async fn commands(app: &App, client: &Client) -> Done<String> {
    let vaults = client.vaults().await?;
    let found = in_vaults(client, &vaults).await?;
    let commands = found.iter().map(|(vault, _)| match &app.vault {
        None if vault.current => "lockstep conflicts".to_owned(),
        _ => format!("lockstep --vault {} conflicts", vault_word(&vaults, vault.vault)),
    });
    Ok(commands.collect::<Vec<_>>().join(", "))
}
