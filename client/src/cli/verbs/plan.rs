//! `plan`.

use lockstep_api::plan::MyPlan;

use crate::cli::{
    app::App,
    failure::{Done, Failure},
    ui::printable,
};

use super::watch::clock;

/// Shows the plan with what is used of it.
///
/// # Errors
/// Offline, logged out.
pub async fn run(app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("plan needs the server", "leave --offline away"));
    }
    let plan: MyPlan = app.open().await?.fetch("/v1/me/plan").await?;
    if app.ui.json {
        return app.ui.document(&plan);
    }
    let until = plan.until.map(|until| format!(", until {} UTC", clock(until.seconds()))).unwrap_or_default();
    app.ui.say(format!("Plan {}{until}", printable(&plan.plan)));
    let mut rows: Vec<Vec<String>> = plan
        .limits
        .iter()
        .map(|measure| {
            let limit = measure.limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
            vec![measure.what.clone(), measure.used.to_string(), limit]
        })
        .collect();
    let days = plan.history_days.map_or_else(|| "-".to_owned(), |days| days.to_string());
    rows.push(vec!["history_days".to_owned(), String::new(), days]);
    rows.extend(
        plan.flags
            .iter()
            .map(|(flag, on)| vec![flag.clone(), if *on { "on" } else { "off" }.to_owned(), String::new()]),
    );
    app.ui.table(&["WHAT", "USED", "LIMIT"], &rows)
}
