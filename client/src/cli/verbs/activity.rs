//! `activity`.

use clap::Args;
use lockstep_api::plan::{Activities, Activity as Item, ActorKind};
use serde_json::Value;

use crate::cli::{
    app::App,
    failure::{Done, Failure},
    ui::printable,
};

use super::watch::{clock, short_device};

/// How much of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep activity
  lockstep activity --limit 1000
  lockstep activity --json | jq '.[] | select(.by == \"administrator\")'

Everything that was done to your account, by you or others: devices, sessions, keys, plans, exports, and every act and \
look of an administrator with the reason that was given. What you change in your vaults is not in it (lockstep history), \
and neither is what you do to others as an administrator, or what the server's own log has: all of that is in \
lockstep account export.")]
pub struct Activity {
    /// At most so many, the newest first
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

/// Shows it.
///
/// # Errors
/// Offline, logged out.
pub async fn run(args: Activity, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("activity needs the server", "leave --offline away"));
    }
    let client = app.open().await?;
    let mut all: Vec<Item> = Vec::new();
    let mut before = String::new();
    while all.len() < args.limit {
        let limit = (args.limit - all.len()).min(500);
        let page: Activities = client.fetch(&format!("/v1/me/activity?limit={limit}{before}")).await?;
        all.extend(page.activity);
        let Some(next) = page.before else { break };
        before = format!("&before={next}");
    }
    if app.ui.json {
        return app.ui.document(&all);
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|item| {
            let by = match item.by {
                ActorKind::You => item.device.map_or_else(|| "you".to_owned(), short_device),
                ActorKind::Administrator => "administrator".to_owned(),
                ActorKind::Server => "server".to_owned(),
            };
            let reason = item.reason.clone().unwrap_or_default();
            let what = [item.kind.as_str(), &detail(&item.what)].join(" ");
            vec![clock(item.at.seconds()), what.trim_end().to_owned(), by, reason]
        })
        .collect();
    // What was done, and what an administrator gave as the reason, is what it is read for.
    app.ui.whole_table(&["WHEN (UTC)", "WHAT", "BY", "REASON"], &rows)
}

/// What of an event tells people something, in this order. Hashes, keys and statements tell them nothing.
const TOLD: [&str; 12] = [
    "plan",
    "until",
    "role",
    "flag",
    "on",
    "credential",
    "kind",
    "provider",
    "method",
    "reason",
    "what",
    "by",
];

/// The telling parts of an event, in brackets; nothing if there are none.
fn detail(what: &Value) -> String {
    let told: Vec<String> = TOLD.iter().filter_map(|name| word(name, what.get(name)?)).collect();
    if told.is_empty() { String::new() } else { format!("({})", printable(&told.join(", "))) }
}

fn word(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(on) => Some(format!("{name}: {on}")),
        Value::Number(at) if name == "until" => Some(format!("until {}", clock(at.as_i64()? / 1_000_000))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_says_to_what_something_was_set_and_no_hashes() {
        let plan = json!({ "plan": "paid", "until": 1_800_000_000_000_000_i64, "commitment": "ab12" });
        assert_eq!(detail(&plan), "(paid, until 2027-01-15 08:00:00)");
        assert_eq!(detail(&json!({ "flag": "watch", "on": false })), "(watch, on: false)");
        assert_eq!(detail(&json!({ "credential": "ark/recovery", "generation": 2 })), "(ark/recovery)");
        assert_eq!(detail(&json!({ "session": 7, "until": null })), "");
    }
}
