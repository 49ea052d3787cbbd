//! `email`.

use clap::{Args, Subcommand};
use lockstep_client::Client;
use serde_json::json;

use super::second_factor::proven;
use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    ui::printable,
};

/// What about it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep email
  lockstep email set ada@example.org      # a letter asks the address for its confirmation
  lockstep email cancel                   # the address that waits is called off

A confirmed address is the name to log in with, if the one before was. It ends every session, this one too:
`lockstep login --email ADDR` opens a new one. For seven days the address before still is a name to log in with, and \
nobody else gets it.

If somebody else changed it: log in with the old one (lockstep login; if the password was changed too, lockstep recovery \
use with another --home). Then change the password (lockstep passwd), look which device named the address (lockstep \
activity), end its access (lockstep devices revoke DEVICE), and name yours again (lockstep email set ADDR).")]
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
    /// Call off the address that waits for its confirmation
    Cancel,
}

/// Shows or names the address.
///
/// # Errors
/// Offline, not an address, wrong password.
pub async fn run(args: Email, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("email needs the server", "leave --offline away"));
    }
    if let Some(Action::Set { address }) = &args.action {
        is_address(address)?;
    }
    let client = app.open().await?;
    match args.action {
        Some(Action::Cancel) => cancel(app, &client).await,
        Some(Action::Set { address }) => {
            if client.email().await?.confirmed.as_deref() == Some(address.trim()) {
                let advice = "lockstep email cancel calls off one that waits";
                return Err(Failure::new(Exit::Refused, "the account has this address already", advice));
            }
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

async fn cancel(app: &App, client: &Client) -> Done {
    let email = client.email().await?;
    let Some(pending) = email.pending else {
        return Err(Failure::new(
            Exit::NotFound,
            "no address waits for its confirmation",
            "see: lockstep email",
        ));
    };
    let Some(confirmed) = email.confirmed else {
        let advice = "lockstep email set ADDR names another in its place";
        return Err(Failure::new(Exit::Refused, "the account has no other address yet", advice));
    };
    // The present address named again: what waited is over.
    proven(app, client, async || client.name_email(&confirmed).await).await?;
    if app.ui.json {
        return app.ui.document(&json!({ "confirmed": confirmed, "cancelled": pending }));
    }
    app.ui.done(format!(
        "{} is called off; the address stays {}",
        printable(&pending),
        printable(&confirmed)
    ));
    Ok(())
}

/// Fails for what no server takes, before a password is asked for. Whether it takes the others it says itself.
fn is_address(text: &str) -> Done {
    let halves = text.trim().rsplit_once('@').filter(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && domain.split('.').all(|label| !label.is_empty())
    });
    if halves.is_some() && !text.trim().contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Ok(());
    }
    let message = format!("\"{}\" is no e-mail address", printable(text));
    Err(Failure::usage(message, "for example: lockstep email set ada@example.org"))
}

/// Says that a letter is on its way, and which words it shows: nothing shows them again.
pub fn tell(app: &App, address: &str, words: &str) {
    app.ui.needed(format!(
        "A letter asks {} for its confirmation. Confirm only if it shows: {words}",
        printable(address)
    ));
}
