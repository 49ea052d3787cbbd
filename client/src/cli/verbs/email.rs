//! `email`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::second_factor::proven;
use crate::cli::{
    app::App,
    failure::{Done, Failure},
    ui::printable,
};

/// What about it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep email
  lockstep email set ada@example.org      # a letter asks the address for its confirmation")]
pub struct Email {
    /// What to do; nothing: show it
    #[command(subcommand)]
    action: Option<Action>,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Name another address; it counts once it is confirmed
    Set {
        /// The address
        address: String,
    },
}

/// Shows or names the address.
///
/// # Errors
/// Offline, not an address, wrong password.
pub async fn run(args: Email, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("email needs the server", "leave --offline away"));
    }
    let client = app.open().await?;
    match args.action {
        Some(Action::Set { address }) => {
            let words = proven(app, &client, async || client.name_email(&address).await).await?;
            if app.ui.json {
                return app.ui.document(&json!({ "pending": address, "words": words }));
            }
            tell(app, &address, &words);
            Ok(())
        }
        None => {
            let email = client.email().await?;
            if app.ui.json {
                return app.ui.document(&email);
            }
            let shown = |address: Option<String>| address.map_or("none".to_owned(), |a| printable(&a));
            let rows = [
                vec!["confirmed".to_owned(), shown(email.confirmed)],
                vec!["waiting".to_owned(), shown(email.pending)],
            ];
            app.ui.table(&["ADDRESS", ""], &rows)
        }
    }
}

/// Says that a letter is on its way, and which words it shows.
pub fn tell(app: &App, address: &str, words: &str) {
    app.ui.say(format!(
        "A letter asks {} for its confirmation. Confirm only if it shows: {words}",
        printable(address)
    ));
}
