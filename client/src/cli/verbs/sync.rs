//! `sync`.

use crate::cli::{
    app::{App, count},
    failure::{Done, Failure},
};

/// One round.
///
/// # Errors
/// Offline, refused, or the server was caught.
pub async fn run(app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("sync needs the server", "leave --offline away"));
    }
    let client = app.open().await?;
    let wheel = app.ui.wheel("in step with the server");
    let synced = client.sync().await;
    wheel.finish_and_clear();
    let report = synced?;
    if app.ui.json {
        return app.ui.document(&report);
    }
    let mut parts = vec![format!("{} received", report.pulled), format!("{} sent", report.pushed)];
    for (n, what) in [
        (report.forked, "became branches"),
        (report.waiting, "still waiting"),
        (report.quarantined, "refused for good"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    app.ui.done(format!("In step: {}.", parts.join(", ")));
    if let Some(met) = &report.no_room {
        app.ui.warn(format!(
            "the plan has no room for what waits: {}, limit {}, used {}",
            met.what, met.limit, met.used
        ));
        app.ui.hint("It stays here and is sent when there is room: lockstep plan shows the limits");
    }
    if report.conflicts > 0 {
        let entries = count(report.conflicts, "entry was", "entries were");
        app.ui.warn(format!("{entries} changed apart on several devices; see: lockstep conflicts"));
    }
    Ok(())
}
