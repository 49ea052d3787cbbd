//! `/v1/admin/accounts`: looking at accounts. What is shown is written down first, in the stream of the account.

use axum::extract::State;
use lockstep_api::{
    Code, admin,
    admin::{AccountList, AccountView, FindAccount, SessionView, SessionViews},
};
use lockstep_events::{
    AccountId,
    event::{OfficeList, Viewed},
};
use lockstep_projections::{Family, rows::AccountRow};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    roll::{Acting, LookProblems, Looking},
    why::{Why, WhyHeader},
};
use crate::{
    commands::{
        account::read_as_heard,
        admin::{Act, AdminError, Done, look},
    },
    http::{
        Answer, Failure, Json, Path, Query, Routes,
        activity::measures,
        routes::routes,
        sessions::{checked_name, coarse},
    },
    retention::history,
    state::{Server, Shared},
};

/// A page has at most so many accounts.
const MAX_PAGE: usize = 100;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(sessions)).routes(routes!(find))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Accounts after this one.
    after: Option<AccountId>,
    /// At most so many.
    #[serde(default = "usual")]
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: usize,
}

fn usual() -> usize {
    50
}

/// What became of an act.
pub(super) fn answered(done: Done) -> Json<admin::Done> {
    Json(admin::Done { position: done.position, proposal: done.proposal })
}

fn view(server: &Server, row: &AccountRow) -> AccountView {
    let now = server.clock.now();
    let (plan, _) = server.quotas.plans.of(&row.standing, now);
    let held = row.standing.plan.as_ref().filter(|_| row.standing.plan_at(now).is_some());
    AccountView {
        account: row.account,
        created_at: row.created_at,
        role: row.standing.role,
        disabled: row.standing.disabled,
        plan: plan.to_owned(),
        plan_until: held.and_then(|held| held.until),
        erasure_due: row.erasure_due,
        erased_at: row.erased_at,
        flags: row.standing.flags.clone(),
        limits: Vec::new(),
        history_days: None,
        history_days_until: None,
        history_days_then: None,
    }
}

/// Accounts in order of id: roles, plans, whether they are disabled. That they were listed is written to each.
#[utoipa::path(get, path = "/v1/admin/accounts", operation_id = "list_accounts", tag = "admin", security(("token" = [])), params(Page, WhyHeader),
    responses((status = 200, description = "A page", body = AccountList), LookProblems))]
async fn list(
    State(server): State<Shared>,
    looking: Looking,
    Why(reason): Why,
    Query(page): Query<Page>,
) -> Answer<Json<AccountList>> {
    if !(1..=MAX_PAGE).contains(&page.limit) {
        return Err(Failure::from(Code::InvalidParameter).detail("limit: 1 to 100"));
    }
    read_as_heard(&server, Family::Account).await?;
    let rows = server.reads.accounts(page.after, page.limit).await?;
    let ids: Vec<AccountId> = rows.iter().map(|row| row.account).collect();
    look::list(&server, looking.by, &ids, &reason).await?;
    let after = (rows.len() == page.limit).then(|| ids.last().copied()).flatten();
    Ok(Json(AccountList { accounts: rows.iter().map(|row| view(&server, row)).collect(), after }))
}

/// One account, with what it uses.
#[utoipa::path(get, path = "/v1/admin/accounts/{account}", operation_id = "show_account", tag = "admin", security(("token" = [])),
    params(("account" = AccountId, Path), WhyHeader),
    responses((status = 200, description = "The account", body = AccountView), LookProblems))]
async fn show(
    State(server): State<Shared>,
    looking: Looking,
    Path(account): Path<AccountId>,
    Why(reason): Why,
) -> Answer<Json<AccountView>> {
    let act = Act { server: &server, by: looking.by, account, reason: &reason };
    look::look(&act, Viewed::Account).await?;
    Ok(Json(whole(&server, account).await?))
}

async fn whole(server: &Server, account: AccountId) -> Answer<AccountView> {
    read_as_heard(server, Family::Account).await?;
    let row = server.reads.account(account).await?.ok_or(Code::NotFound)?;
    let mut shown = view(server, &row);
    shown.limits = measures(server, &row).await?;
    let history = history(server, account).await?;
    shown.history_days = history.kept_days();
    (shown.history_days_until, shown.history_days_then) = history.fewer.unzip();
    Ok(shown)
}

/// The sessions of an account: ids and times.
#[utoipa::path(get, path = "/v1/admin/accounts/{account}/sessions", operation_id = "list_account_sessions", tag = "admin", security(("token" = [])),
    params(("account" = AccountId, Path), WhyHeader),
    responses((status = 200, description = "Oldest first", body = SessionViews), LookProblems))]
async fn sessions(
    State(server): State<Shared>,
    looking: Looking,
    Path(account): Path<AccountId>,
    Why(reason): Why,
) -> Answer<Json<SessionViews>> {
    let act = Act { server: &server, by: looking.by, account, reason: &reason };
    look::look(&act, Viewed::Sessions).await?;
    read_as_heard(&server, Family::Account).await?;
    let rows = server.reads.sessions(account).await?;
    let shown = rows.into_iter().map(|row| SessionView {
        session: row.session,
        device: row.device,
        opened_at: row.opened_at,
        last_seen: coarse(row.refreshed_at),
        ended: row.revoked.is_some(),
    });
    Ok(Json(SessionViews { sessions: shown.collect() }))
}

/// The account that somebody registered under a name, for administrators: to an auditor nobody has a name. The server
/// itself only keeps a keyed hash of names. That one was looked for is an event, also where nobody has it.
#[utoipa::path(post, path = "/v1/admin/accounts/find", operation_id = "find_account", tag = "admin", security(("token" = [])),
    request_body = FindAccount,
    responses((status = 200, description = "The account", body = AccountView),
        (status = 404, description = "`not_found`: nobody has this name"), LookProblems))]
async fn find(
    State(server): State<Shared>,
    Acting(by): Acting,
    Json(body): Json<FindAccount>,
) -> Answer<Json<AccountView>> {
    let index = server.keys.name_index(checked_name(&body.name)?);
    if let Some(found) = server.credentials.password(index).await? {
        let act = Act { server: &server, by, account: found.record.account, reason: &body.reason };
        match look::look(&act, Viewed::Found).await {
            // Somebody began to register, and has not ended.
            Err(AdminError::NoAccount) => {}
            looked => {
                looked?;
                return Ok(Json(whole(&server, act.account).await?));
            }
        }
    }
    look::office(&server, by, (OfficeList::FoundNobody, &[]), &body.reason).await?;
    Err(Code::NotFound.into())
}
