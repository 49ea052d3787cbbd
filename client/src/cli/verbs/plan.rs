//! `plan`.

use lockstep_api::plan::MyPlan;
use lockstep_events::Micros;

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
    let days = history_days(plan.history_days, plan.history_days_until.zip(plan.history_days_then));
    rows.push(vec!["history_days".to_owned(), String::new(), days]);
    rows.extend(
        plan.flags
            .iter()
            .map(|(flag, on)| vec![flag.clone(), if *on { "on" } else { "off" }.to_owned(), String::new()]),
    );
    app.ui.table(&["WHAT", "USED", "LIMIT"], &rows)
}

/// For how many days old versions keep their content, and until when if it will be fewer.
pub fn history_days(days: Option<u32>, fewer: Option<(Micros, u32)>) -> String {
    match (days, fewer) {
        (None, None) => "-".to_owned(),
        (Some(days), None) => days.to_string(),
        (days, Some((until, then))) => {
            let days = days.map_or_else(|| "all".to_owned(), |days| days.to_string());
            let day: String = clock(until.seconds()).chars().take(10).collect();
            format!("{days} until {day}, then {then}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_will_be_shorter_says_so() {
        let until = Micros(1_798_761_600_000_000);
        assert_eq!(history_days(None, None), "-");
        assert_eq!(history_days(Some(10), None), "10");
        assert_eq!(history_days(Some(3650), Some((until, 10))), "3650 until 2027-01-01, then 10");
        assert_eq!(history_days(None, Some((until, 10))), "all until 2027-01-01, then 10");
    }
}
