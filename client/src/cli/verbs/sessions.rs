//! `sessions`.

use clap::{Args, Subcommand};
use lockstep_api::account::Session;
use serde_json::json;

use super::watch::{clock, hour, short_device};
use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    prompt,
};

/// What about them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep sessions list
  lockstep sessions revoke 5d0c77e1        # ends one; its device must log in again
  lockstep sessions revoke --others --yes  # ends all but this one")]
pub struct Sessions {
    /// What to do; nothing: list the open ones
    #[command(subcommand)]
    action: Option<Action>,
}

/// What is said where nobody said yes.
const NOTHING: &str = "nothing was ended";

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the open sessions of the account
    List,
    /// End sessions
    Revoke {
        /// Beginning of the session's id
        #[arg(required_unless_present = "others")]
        session: Option<String>,
        /// All but this one
        #[arg(long, conflicts_with = "session")]
        others: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Lists or ends sessions.
///
/// # Errors
/// Offline, not found.
pub async fn run(args: Sessions, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("sessions needs the server", "leave --offline away"));
    }
    let client = app.open().await?;
    let open: Vec<Session> = client.sessions().await?.into_iter().filter(|session| !session.ended).collect();
    let Some(Action::Revoke { session, yes, .. }) = args.action else { return list(app, &open) };
    let Some(beginning) = session else {
        prompt::sure(app.ui, yes, "End every session but this one?", NOTHING)?;
        client.end_other_sessions().await?;
        return told(app, json!({ "ended": open.len().saturating_sub(1) }), "All other sessions have ended.");
    };
    let mut hits =
        open.iter().filter(|known| beginning.len() >= 4 && known.session.to_string().starts_with(&beginning));
    let (Some(known), None) = (hits.next(), hits.next()) else {
        let message = format!("no single session begins with \"{}\"", crate::cli::ui::printable(&beginning));
        return Err(Failure::new(Exit::NotFound, message, "see: lockstep sessions --json"));
    };
    if known.current {
        return Err(Failure::usage("that is this session", "lockstep logout ends it"));
    }
    let question = format!("End the session of device {}?", short_device(known.device));
    prompt::sure(app.ui, yes, &question, NOTHING)?;
    client.end_session(known.session).await?;
    told(app, json!({ "ended": known.session }), "The session has ended.")
}

fn told(app: &App, document: serde_json::Value, sentence: &str) -> Done {
    if app.ui.json {
        return app.ui.document(&document);
    }
    app.ui.done(sentence);
    Ok(())
}

fn list(app: &App, open: &[Session]) -> Done {
    if app.ui.json {
        return app.ui.document(&open);
    }
    let rows: Vec<Vec<String>> = open
        .iter()
        .map(|session| {
            vec![
                session.session.to_string()[..8].to_owned(),
                short_device(session.device),
                clock(session.opened_at.seconds()),
                hour(session.last_seen.seconds()),
                if session.current { "this one" } else { "" }.to_owned(),
            ]
        })
        .collect();
    app.ui.table(&["SESSION", "DEVICE", "OPENED (UTC)", "LAST SEEN", ""], &rows)
}
