//! `factors`.

use clap::{Args, Subcommand};
use lockstep_api::{
    Code,
    factor::{ConfirmTotp, Factor, FactorIsSet, Factors as Listed, Kind, NewPasskey, NewTotp},
};
use lockstep_client::{Client, ways::passkey::AskingPasskey};
use serde_json::json;

use super::{
    entrance::open_browser,
    second_factor::{plain, proven},
    watch::clock,
};
use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    find, prompt,
};

const PATH: &str = "/v1/account/factors";

/// What about them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep factors list
  lockstep factors totp                    # shows a secret for an authenticator app, and asks for its first code
  lockstep factors confirm 5d0c77e1-9a0b-4c1d-8e2f-3a4b5c6d7e8f 492039  # as `totp` said, where it did not ask
  lockstep factors passkey                 # makes a passkey in a browser on this machine
  lockstep factors codes                   # ten new codes for who loses the app, printed this once
  lockstep factors remove 5d0c77e1

From the first factor on, a login and a proof of the password need one, too: asked for, or from LOCKSTEP_CODE, which \
is a code, or the word passkey for the one in the browser.")]
pub struct Factors {
    /// What to do; nothing: list them
    #[command(subcommand)]
    action: Option<Action>,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the second factors of the account
    List,
    /// Add an authenticator app
    Totp,
    /// Add a passkey, in a browser on this machine
    Passkey {
        /// Do not open a browser, only print the address
        #[arg(long)]
        no_browser: bool,
    },
    /// Confirm an authenticator app by its first code, where it was not asked for
    Confirm {
        /// The factor's whole id, as `totp` printed it: it is in no list yet
        factor: uuid::Uuid,
        /// Six digits
        code: String,
    },
    /// Make new codes, in the place of those before
    Codes,
    /// Remove a factor
    Remove {
        /// Beginning of the factor's id
        factor: String,
    },
}

/// Lists, adds or removes second factors.
///
/// # Errors
/// Offline, wrong password or code, not found.
pub async fn run(args: Factors, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("factors needs the server", "leave --offline away"));
    }
    if let Some(Action::Confirm { code, .. }) = &args.action {
        let code = plain(code);
        if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Failure::usage("that is no code of an authenticator app", "six digits"));
        }
    }
    let client = app.open().await?;
    match args.action.unwrap_or(Action::List) {
        Action::List => list(app, &client.fetch::<Listed>(PATH).await?.factors),
        Action::Totp => totp(app, &client).await,
        Action::Confirm { factor, code } => confirm(app, &client, factor, &code).await,
        Action::Passkey { no_browser } => passkey(app, &client, no_browser).await,
        Action::Codes => {
            let set = proven(app, &client, async || client.act(&format!("{PATH}/codes"), &()).await).await;
            let set: FactorIsSet = set.map_err(|failure| match failure.exit {
                Exit::NotFound => {
                    let message = "codes stand in for another factor, and there is none";
                    Failure::new(Exit::NotFound, message, "add one: lockstep factors totp, or passkey")
                }
                _ => failure,
            })?;
            told(app, &set, "The codes from before are worthless now.")
        }
        Action::Remove { factor } => remove(app, &client, &factor).await,
    }
}

/// The address of a secret with the account's name, which the server does not know: apps tell several by it.
fn labelled(uri: &str, name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte);
    let written = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    uri.replacen('?', &format!(":{}?", name.bytes().map(written).collect::<String>()), 1)
}

async fn totp(app: &App, client: &Client) -> Done {
    let mut made: NewTotp =
        proven(app, client, async || client.act(&format!("{PATH}/totp"), &()).await).await?;
    made.uri = labelled(&made.uri, &Client::profile(&app.home)?.name);
    if app.ui.json {
        return app.ui.document(&made);
    }
    app.ui.say("Type this secret into an authenticator app, or show it the address below as a QR code:");
    app.ui.data(&made.secret)?;
    app.ui.say(&made.uri);
    // Before it is asked for: it may be confirmed from another place, or after this was broken off.
    app.ui.say(format!("Confirm it by its first code: lockstep factors confirm {} CODE", made.factor));
    if !app.ui.err_is_terminal {
        return app.ui.data(&made.factor.to_string());
    }
    let code = prompt::secret(app.ui, "Its first code")?;
    confirm(app, client, made.factor, code.as_str()).await
}

async fn passkey(app: &App, client: &Client, no_browser: bool) -> Done {
    let begin = format!("{PATH}/passkey/start");
    let new: NewPasskey = proven(app, client, async || client.act(&begin, &()).await).await?;
    let name = Client::profile(&app.home)?.name;
    let asking = AskingPasskey::make(&new, &name).await?;
    open_browser(app, "Make a passkey", asking.url(), no_browser);
    let wheel = app.ui.wheel("waiting for the browser");
    let made = asking.made().await;
    wheel.finish_and_clear();
    let set: FactorIsSet = client.act(&format!("{PATH}/passkey/finish"), &made?).await?;
    told(app, &set, "From now on a login needs the passkey, or another factor, too.")
}

async fn confirm(app: &App, client: &Client, factor: uuid::Uuid, code: &str) -> Done {
    let body = ConfirmTotp { factor, code: plain(code) };
    let path = format!("{PATH}/totp/confirm");
    let set = proven(app, client, async || client.act(&path, &body).await).await;
    let set: FactorIsSet = set.map_err(|failure| {
        let wrong =
            failure.facts.get("problem").is_some_and(|code| code == Code::SecondFactorFailed.as_str());
        let advice = "wait for the app's next code, and see that the telephone's clock is right";
        if wrong { Failure { advice: advice.to_owned(), ..failure } } else { failure }
    })?;
    told(app, &set, "From now on a login needs a code of the app, too.")
}

async fn remove(app: &App, client: &Client, beginning: &str) -> Done {
    let all = client.fetch::<Listed>(PATH).await?.factors;
    let known =
        find::beginning(&all, |known| known.factor, beginning, ("factor", "lockstep factors --json"))?;
    let path = format!("{PATH}/{}", known.factor);
    proven(app, client, async || client.take_away(&path).await).await?;
    if app.ui.json {
        return app.ui.document(&json!({ "removed": known.factor }));
    }
    app.ui.done("The factor is removed.");
    Ok(())
}

fn told(app: &App, set: &FactorIsSet, sentence: &str) -> Done {
    if app.ui.json {
        return app.ui.document(set).map_err(|why| not_shown(set, why));
    }
    app.ui.done(sentence);
    if set.codes.is_empty() {
        return Ok(());
    }
    app.ui.say("Write these codes down. They are shown this once, and each works once, without the app:");
    app.ui.data(&set.codes.join("\n")).map_err(|why| not_shown(set, why))
}

/// The codes are made, and nobody has them.
fn not_shown(set: &FactorIsSet, why: Failure) -> Failure {
    if set.codes.is_empty() {
        return why;
    }
    let made = "new codes for who loses the app were made and not shown, and those before are worthless";
    why.after(made, "make others: lockstep factors codes")
}

fn list(app: &App, all: &[Factor]) -> Done {
    if app.ui.json {
        return app.ui.document(&all);
    }
    if all.is_empty() {
        app.ui.say("No second factors: the password is enough. Add one: lockstep factors totp, or passkey");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|factor| {
            let kind = match factor.kind {
                Kind::Totp => "authenticator app",
                Kind::Passkey => "passkey",
                Kind::Codes => "codes on paper",
            };
            let left = factor.left.map_or_else(String::new, |left| format!("{left} left"));
            vec![
                factor.factor.to_string()[..8].to_owned(),
                kind.to_owned(),
                clock(factor.created_at.seconds()),
                left,
            ]
        })
        .collect();
    app.ui.table(&["FACTOR", "WHAT", "ADDED (UTC)", ""], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_told_whose_codes_they_are() {
        let labelled = labelled("otpauth://totp/Lockstep?secret=ABC", "zo\u{eb} x@example.org");
        assert_eq!(labelled, "otpauth://totp/Lockstep:zo%C3%AB%20x@example.org?secret=ABC");
    }
}
