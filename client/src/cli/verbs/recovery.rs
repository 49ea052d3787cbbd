//! `recovery`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lockstep_client::{
    Client, Error,
    crypto::{password::Password, recovery::RecoveryCode},
    server::Server,
};
use serde_json::json;

use super::{
    account::{Enter, entered, first_sync, in_words, refused, target},
    passwd::{NEW_PASSWORD, new_password},
    second_factor::ask_factor,
};
use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    prompt,
};

/// What about it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep recovery new                    # prints a code, this once: write it down
  lockstep recovery use --server https://… --email ada@example.org
  LOCKSTEP_NEW_PASSWORD=… lockstep recovery use --server … --email … \\
      --code FILE

A new code takes the place of the one before. A code that was used is worthless afterwards: make a new one.")]
pub struct Recovery {
    /// What to do
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Make a recovery code and print it, this once
    New,
    /// Set a new password by the recovery code; this directory becomes a new device
    Use(Use),
}

/// Where, who, and the code.
#[derive(Debug, Args)]
pub struct Use {
    #[command(flatten)]
    enter: Enter,
    /// File that holds the code; otherwise it is asked for
    #[arg(long, value_name = "FILE")]
    code: Option<PathBuf>,
}

/// Makes or uses a recovery code.
///
/// # Errors
/// Wrong password or code, offline.
pub async fn run(args: Recovery, app: &App) -> Done {
    match args.action {
        Action::New => make(app).await,
        Action::Use(args) => recover(args, app).await,
    }
}

async fn make(app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("a recovery code needs the server", "leave --offline away"));
    }
    let password = Password::new(app.passwords.current(app.ui)?.as_str().to_owned());
    let client = app.open_by(&password).await?;
    let mut factor = |demanded: &_| ask_factor(app, demanded);
    let made = client.new_recovery_code_telling(&password, &mut factor, app.sending(PERHAPS_MADE)).await;
    let code = app.heard(made, Failure::from)?;
    let text = code.to_text();
    if app.ui.json {
        return app.ui.document(&json!({ "recovery_code": text.as_str() })).map_err(not_shown);
    }
    app.ui.say(
        "Write this down and keep it where nobody finds it. It is shown this once, and it opens everything:",
    );
    app.ui.data(text.as_str()).map_err(not_shown)?;
    let fingerprint = client.status().await?.fingerprint;
    app.ui.say("Beside it, the account's fingerprint in words. The device that the code is used on shows them again:");
    app.ui.say(in_words(&fingerprint));
    app.ui.hint("It is used with: lockstep recovery use");
    Ok(())
}

/// What is said where the server's answer to a new code was not heard.
const PERHAPS_MADE: &str = "perhaps a new recovery code was made and not shown, and the one before is worthless: \
                            lockstep recovery new makes another one";

/// What is said where its answer to the use of one was not heard, or no profile could be made of it.
const PERHAPS_USED: &str = "perhaps the new password counts already, and the code is used up: lockstep login with the new \
                            password; if that is refused, nothing was changed";

/// The code is made, and nobody has it.
fn not_shown(why: Failure) -> Failure {
    let made = "a new recovery code was made and not shown, and the one before is worthless";
    why.after(made, "make another one: lockstep recovery new")
}

/// The server never says what of it was wrong.
fn not_recovered(error: Error, args: &Enter, server: &Server) -> Failure {
    match error {
        Error::LoginFailed => Failure::new(
            Exit::Locked,
            "the name or the recovery code is not right",
            "or that code was used, or a newer one made: each works once, and only the newest; if it was you who \
             used it: lockstep login, with the password that you chose then",
        ),
        other => refused(other, args, server),
    }
}

async fn recover(args: Use, app: &App) -> Done {
    let (server, name) = target(&args.enter, "recovery", app).await?;
    let typed = match &args.code {
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            Failure::new(
                Exit::NotFound,
                format!("{}: {error}", file.display()),
                "name the file with the code",
            )
        })?,
        None => {
            let other = format!("give its file with --code FILE, and the new password in {NEW_PASSWORD}");
            prompt::secret_or(app.ui, "Recovery code", &other)?.as_str().to_owned()
        }
    };
    let typed = zeroize::Zeroizing::new(typed);
    let code = RecoveryCode::parse(typed.trim()).map_err(|_| {
        Failure::usage("that is no recovery code", "it has 32 letters and digits in groups of four")
    })?;
    let password = new_password(app, &name)?;
    let wheel = app.ui.wheel("making new keys");
    let sending = app.sending(PERHAPS_USED);
    let client = Client::recover_telling(&app.home, &server, &name, &code, &password, sending).await;
    wheel.finish_and_clear();
    let client = app.keep(app.heard(client, |error| not_recovered(error, &args.enter, &server))?);
    app.ui.warn("the code is used up; lockstep recovery new makes another one");
    first_sync(app, &client, "recovered").await?;
    entered(app, &client, "recovered").await
}
