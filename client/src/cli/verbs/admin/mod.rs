//! `admin`: looking after accounts.

mod invitation;
mod invite;
mod proposal;
mod user;

use std::fmt::Display;

use clap::{Args, Subcommand};
use lockstep_api::{
    Code,
    admin::{Bootstrap, Done as Answer},
};
use lockstep_client::Client;
use serde::de::DeserializeOwned;

use super::second_factor::proven;
use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
};

/// What to look after.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep admin bootstrap lsb_81d2…                       # the first administrator, by the server's token
  lockstep admin user list
  lockstep admin --at https://10.0.0.5:9464 user list      # where the server keeps administrators apart
  lockstep admin user disable ada@example.org --reason 'asked by telephone'
  lockstep admin invitation list
  lockstep admin proposal approve 3f1c0a52 --reason 'as agreed'

Every act and every look is written into the log of the account, where its owner reads it with your reason; what is \
about no account, into the server's own. \
Administrators see no entries, no keys and no names; they cannot set passwords and cannot add devices.")]
pub struct Admin {
    /// Where the server serves administrators, if not where it serves everybody
    #[arg(long, value_name = "URL", env = "LOCKSTEP_ADMIN_URL")]
    at: Option<String>,
    /// What to do
    #[command(subcommand)]
    what: What,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum What {
    /// Become the first administrator, with the token that the server printed
    Bootstrap {
        /// The token, `lsb_…`
        token: String,
    },
    /// Accounts
    User(user::User),
    /// Invitations
    Invitation(invitation::Invitation),
    /// What takes two administrators
    Proposal(proposal::Proposal),
    /// Withdraw an invitation that was not used: `invitation revoke`
    #[command(after_help = "Examples:\n  lockstep admin withdraw 3f1c0a52 --reason 'asked by mistake'")]
    Withdraw(invitation::One),
    /// Approve what another administrator proposed: `proposal approve`
    #[command(after_help = "Examples:\n  lockstep admin approve 3f1c0a52 --reason 'as agreed'")]
    Approve(proposal::One),
    /// Withdraw a proposal: `proposal revoke`
    #[command(after_help = "Examples:\n  lockstep admin reject 3f1c0a52 --reason 'not now'")]
    Reject(proposal::One),
}

/// Why something is done, as a server takes it: said before the password is asked for.
fn reason(text: &str) -> Result<String, &'static str> {
    let fits = (1..=500).contains(&text.len()) && !text.trim().is_empty();
    if fits && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("1 to 500 bytes of text are a reason")
    }
}

/// Runs it.
///
/// # Errors
/// Offline, refused.
pub async fn run(args: Admin, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("admin needs the server", "leave --offline away"));
    }
    if args.at.as_ref().is_some_and(|at| !at.starts_with("https://")) {
        return Err(Failure::usage("--at is not an https:// address", "write it as the server prints it"));
    }
    let client = app.open().await?;
    if let Some(at) = &args.at {
        client.serve_administrators_at(at);
    }
    let done = match args.what {
        What::Bootstrap { token } => bootstrap(app, &client, token).await,
        What::User(args) => user::run(args, app, &client).await,
        What::Invitation(args) => invitation::run(args, app, &client).await,
        What::Proposal(args) => proposal::run(args, app, &client).await,
        What::Withdraw(one) => invitation::revoke(app, &client, &one).await,
        What::Approve(one) => proposal::settle(app, &client, one, true).await,
        What::Reject(one) => proposal::settle(app, &client, one, false).await,
    };
    done.map_err(whose)
}

async fn bootstrap(app: &App, client: &Client, token: String) -> Done {
    let body = Bootstrap { token };
    let done = proven(app, client, async || client.act("/v1/admin/bootstrap", &body).await).await?;
    told(app, &done, "You are the administrator of this server.")
}

/// To who may not do this it is said who may.
fn whose(failure: Failure) -> Failure {
    // With a reason of its own it says more than that.
    if failure.message != Code::Forbidden.title() {
        return failure;
    }
    let message = "this is for the administrators of the server";
    Failure {
        message: message.to_owned(),
        advice: "an auditor may look, and change nothing".to_owned(),
        ..failure
    }
}

/// Where the server has nothing under an id or a name, what it is that is not there.
fn none(failure: Failure, message: &str, advice: &str) -> Failure {
    match failure.exit {
        Exit::NotFound => Failure { message: message.to_owned(), advice: advice.to_owned(), ..failure },
        _ => failure,
    }
}

/// A whole list that the server gives in pages. `path` is a query without `after`; `part` takes what is on a page, and
/// after what the next one begins.
async fn whole<P: DeserializeOwned, T, A: Display>(
    app: &App,
    client: &Client,
    (path, reason): (&str, &str),
    part: impl Fn(P) -> (Vec<T>, Option<A>),
) -> Done<Vec<T>> {
    let mut all: Vec<T> = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("{path}{after}");
        let (shown, next) = part(proven(app, client, async || client.look(&path, reason).await).await?);
        all.extend(shown);
        let Some(next) = next else { return Ok(all) };
        after = format!("&after={next}");
    }
}

/// What was done, or that it waits for somebody else.
fn told(app: &App, done: &Answer, words: &str) -> Done {
    if app.ui.json {
        return app.ui.document(done);
    }
    match done.proposal {
        None => app.ui.done(words),
        Some(proposal) => {
            app.ui.say("Proposed: another administrator has to approve it.");
            app.ui.say(format!("  lockstep admin approve {proposal} --reason …"));
        }
    }
    Ok(())
}
