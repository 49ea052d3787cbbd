//! `admin user`.

use clap::{Args, Subcommand, ValueEnum};
use lockstep_api::admin::{
    AccountList, AccountView, Done as Answer, FindAccount, Reason, SessionViews, SetFlag, SetPlan, SetRole,
};
use lockstep_client::Client;
use lockstep_events::{AccountId, Micros, event::Role};

use super::{invite, none, proven, told, whole};
use crate::cli::{
    app::App,
    failure::{Done, Failure},
    ui::printable,
    verbs::{
        plan::history_days,
        watch::{clock, hour, now, short_device},
    },
};

/// Accounts.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep admin user add --reason 'ticket 12'              # an invitation: the person chooses their own password
  lockstep admin user list
  lockstep admin user show ada@example.org --reason 'ticket 12'
  lockstep admin user disable ada@example.org --reason 'asked by telephone'
  lockstep admin user enable ada@example.org --reason 'found it again'
  lockstep admin user delete ada@example.org --reason 'asked by letter'
  lockstep admin user set-role grace@example.org auditor --reason 'as agreed'
  lockstep admin user set-plan ada@example.org paid --days 365 --reason invoice
  lockstep admin user set-flag ada@example.org attachments off --reason trial
  lockstep admin user sessions ada@example.org --end --reason 'stolen laptop'

USER is an account's whole id, or the name that the person registered with: to look for the beginning of an id would \
be a look at others, which is written into their logs. An auditor says the id: only administrators look for names.")]
pub struct User {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Invite somebody: prints a token with which they register
    Add(invite::Add),
    /// List accounts
    List {
        /// Why; the owners read it
        #[arg(long, default_value = "looking at the list of accounts", value_parser = super::reason)]
        reason: String,
    },
    /// Show an account: role, plan, what it uses
    Show(Of),
    /// Disable an account: its sessions end, nobody logs in to it
    Disable(Of),
    /// Let a disabled account be used again
    Enable(Of),
    /// Delete an account
    Delete(Of),
    /// Give another role
    SetRole {
        #[command(flatten)]
        of: Of,
        /// The role
        #[arg(value_enum)]
        role: RoleWord,
    },
    /// Give another plan
    SetPlan {
        #[command(flatten)]
        of: Of,
        /// A plan of the server's configuration
        plan: String,
        /// For so many days; left out: for ever
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
    },
    /// Switch a feature for this account alone
    SetFlag {
        #[command(flatten)]
        of: Of,
        /// The feature: one that no plan has is switched for this account alone
        flag: String,
        /// On, off, or what the plan says
        #[arg(value_enum)]
        on: Switch,
    },
    /// List the sessions of an account, or end them
    Sessions {
        #[command(flatten)]
        of: Of,
        /// End all of them
        #[arg(long)]
        end: bool,
    },
}

/// Whose account, and why.
#[derive(Debug, Args)]
struct Of {
    /// Whole id of the account, or the name that the person registered with
    user: String,
    /// Why; the account's owner reads it
    #[arg(long, value_parser = super::reason)]
    reason: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleWord {
    User,
    Auditor,
    Admin,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
    Plan,
}

/// Runs it.
///
/// # Errors
/// Offline, refused, no such account.
pub async fn run(args: User, app: &App, client: &Client) -> Done {
    match args.what {
        What::Add(add) => invite::add(add, app, client).await,
        What::List { reason } => list(app, client, &reason).await,
        What::Show(of) => show(app, client, &of).await,
        What::Disable(of) => plain(app, client, of, "disable", "The account is disabled.").await,
        What::Enable(of) => plain(app, client, of, "enable", "The account can be used again.").await,
        What::Delete(of) => {
            plain(
                app,
                client,
                of,
                "delete",
                "The account is disabled, and will be erased when the time to call it off is over.",
            )
            .await
        }
        What::SetRole { of, role } => {
            let role = match role {
                RoleWord::User => Role::User,
                RoleWord::Auditor => Role::Auditor,
                RoleWord::Admin => Role::Admin,
            };
            let body = SetRole { role, reason: of.reason.clone() };
            act(app, client, &of, "role", &body, "The role is changed.").await
        }
        What::SetPlan { of, plan, days } => {
            let until = days.map(days_from_now);
            let body = SetPlan { plan, until, reason: of.reason.clone() };
            act(app, client, &of, "plan", &body, "The plan is changed.").await
        }
        What::SetFlag { of, flag, on } => {
            let on = match on {
                Switch::On => Some(true),
                Switch::Off => Some(false),
                Switch::Plan => None,
            };
            let body = SetFlag { flag, on, reason: of.reason.clone() };
            act(app, client, &of, "flags", &body, "The feature is switched.").await
        }
        What::Sessions { of, end: true } => {
            plain(app, client, of, "sessions/end", "All sessions have ended.").await
        }
        What::Sessions { of, end: false } => sessions(app, client, &of).await,
    }
}

/// So many days after now.
pub(super) fn days_from_now(days: u32) -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    now.plus_seconds(i64::from(days) * 24 * 3600)
}

/// The account that is meant. A name goes to the server in a body, and that it was looked for is written down.
async fn account(app: &App, client: &Client, of: &Of) -> Done<AccountId> {
    if let Ok(id) = of.user.parse::<uuid::Uuid>() {
        return Ok(AccountId(id));
    }
    let body = FindAccount { name: of.user.clone(), reason: of.reason.clone() };
    let found: Done<AccountView> =
        proven(app, client, async || client.act("/v1/admin/accounts/find", &body).await).await;
    Ok(found.map_err(|failure| no_account(failure, of))?.account)
}

fn no_account(failure: Failure, of: &Of) -> Failure {
    let message = format!("no account has the name or the id \"{}\"", printable(&of.user));
    none(failure, &message, "a name is the one that the person logs in with; ids: lockstep admin user list")
}

async fn plain(app: &App, client: &Client, of: Of, verb: &str, words: &str) -> Done {
    let body = Reason { reason: of.reason.clone() };
    act(app, client, &of, verb, &body, words).await
}

async fn act(
    app: &App,
    client: &Client,
    of: &Of,
    verb: &str,
    body: &(impl serde::Serialize + Sync),
    words: &str,
) -> Done {
    let path = format!("/v1/admin/accounts/{}/{verb}", account(app, client, of).await?);
    let done: Done<Answer> = proven(app, client, async || client.act(&path, body).await).await;
    told(app, &done.map_err(|failure| no_account(failure, of))?, words)
}

async fn list(app: &App, client: &Client, reason: &str) -> Done {
    let path = "/v1/admin/accounts?limit=100";
    let all = whole(app, client, (path, reason), |page: AccountList| (page.accounts, page.after)).await?;
    if app.ui.json {
        return app.ui.document(&all);
    }
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    app.ui.table(&["ACCOUNT", "SINCE (UTC)", "ROLE", "PLAN", "STATE"], &rows)
}

fn row(view: &AccountView) -> Vec<String> {
    let role = match view.role {
        Role::User => "user",
        Role::Auditor => "auditor",
        Role::Admin => "admin",
    };
    let state = state(view, now());
    let since = clock(view.created_at.seconds());
    vec![view.account.to_string(), since, role.to_owned(), view.plan.clone(), state]
}

/// Disabled, erased, being erased or about to be; nothing for most.
fn state(view: &AccountView, now: i64) -> String {
    let erasure = match (view.erased_at, view.erasure_due) {
        (Some(erased), _) => return format!("erased {}", clock(erased.seconds())),
        (None, Some(due)) if due.seconds() <= now => format!("being erased since {}", clock(due.seconds())),
        (None, Some(due)) => format!("will be erased {}", clock(due.seconds())),
        (None, None) => String::new(),
    };
    match (view.disabled, erasure.is_empty()) {
        (true, true) => "disabled".to_owned(),
        (true, false) => format!("disabled, {erasure}"),
        (false, _) => erasure,
    }
}

async fn show(app: &App, client: &Client, of: &Of) -> Done {
    let path = format!("/v1/admin/accounts/{}", account(app, client, of).await?);
    let view: Done<AccountView> = proven(app, client, async || client.look(&path, &of.reason).await).await;
    let view = view.map_err(|failure| no_account(failure, of))?;
    if app.ui.json {
        return app.ui.document(&view);
    }
    let names = ["account", "since (UTC)", "role", "plan", "state"];
    let mut values = row(&view);
    if let Some(state) = values.last_mut().filter(|state| state.is_empty()) {
        "active".clone_into(state);
    }
    let mut rows: Vec<Vec<String>> =
        names.iter().zip(values).map(|(name, value)| vec![(*name).to_owned(), value]).collect();
    if let Some(until) = view.plan_until {
        rows.insert(4, vec!["plan until (UTC)".to_owned(), clock(until.seconds())]);
    }
    rows.extend(view.limits.iter().map(|measure| {
        let limit = measure.limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
        vec![measure.what.clone(), format!("{}{limit}", measure.used)]
    }));
    let days = history_days(view.history_days, view.history_days_until.zip(view.history_days_then));
    rows.push(vec!["history_days".to_owned(), days]);
    rows.extend(view.flags.iter().map(|(flag, on)| vec![flag.clone(), on.to_string()]));
    app.ui.table(&["WHAT", ""], &rows)
}

async fn sessions(app: &App, client: &Client, of: &Of) -> Done {
    let path = format!("/v1/admin/accounts/{}/sessions", account(app, client, of).await?);
    let views: Done<SessionViews> = proven(app, client, async || client.look(&path, &of.reason).await).await;
    let views = views.map_err(|failure| no_account(failure, of))?;
    if app.ui.json {
        return app.ui.document(&views.sessions);
    }
    let rows: Vec<Vec<String>> = views
        .sessions
        .iter()
        .map(|session| {
            let state = if session.ended { "ended" } else { "open" };
            let (opened, seen) = (session.opened_at.seconds(), session.last_seen.seconds());
            vec![short_device(session.device), clock(opened), hour(seen), state.to_owned()]
        })
        .collect();
    app.ui.table(&["DEVICE", "OPENED (UTC)", "LAST SEEN (UTC)", "STATE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erasure_that_has_begun_is_not_one_to_come() {
        let of = |disabled: bool| {
            let view = serde_json::json!({
                "account": AccountId::NIL, "created_at": 0, "role": "user", "disabled": disabled, "plan": "free",
                "erasure_due": 60_000_000, "flags": {},
            });
            serde_json::from_value::<AccountView>(view).unwrap()
        };
        assert_eq!(state(&of(false), 59), "will be erased 1970-01-01 00:01:00");
        assert_eq!(state(&of(false), 60), "being erased since 1970-01-01 00:01:00");
        assert_eq!(state(&of(true), 60), "disabled, being erased since 1970-01-01 00:01:00");
    }
}
