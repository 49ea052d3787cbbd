//! `conflicts`.

use serde_json::json;

use crate::cli::{
    app::{App, item_of, opened},
    failure::Done,
    ui::printable,
};

use super::{history::described, resolve::contested};

/// Lists entries that were changed apart.
///
/// # Errors
/// Locked.
pub async fn run(app: &App) -> Done {
    let client = app.open().await?;
    let conflicts = client.conflicts().await?;
    if app.ui.json {
        let documents: Vec<serde_json::Value> = conflicts
            .iter()
            .map(|conflict| {
                json!({
                    "id": conflict.entry.entry,
                    "file": conflict.entry.entry == client.file_entry(),
                    "name": opened(conflict.entry.clone()).name(),
                    "heads": conflict.entry.heads.iter().map(|head| json!({
                        "version": head.version, "kind": head.kind, "device": head.device, "branch": head.branch, "time": head.client_time,
                    })).collect::<Vec<_>>(),
                    "differs": contested(conflict),
                })
            })
            .collect();
        return app.ui.document(&documents);
    }
    if conflicts.is_empty() {
        app.ui.say("No conflicts.");
        return Ok(());
    }
    for conflict in &conflicts {
        if conflict.entry.entry == client.file_entry() {
            app.ui.data("file      the one encrypted file was put apart: lockstep file resolve")?;
            continue;
        }
        let found = opened(conflict.entry.clone());
        let fields = contested(conflict).iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ");
        let deleted = conflict.entry.heads.iter().any(|head| item_of(head).is_none());
        let what = if deleted && fields.is_empty() {
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
    Ok(())
}
