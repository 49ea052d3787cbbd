//! `passwd`.

use clap::Args;
use lockstep_client::crypto::password::Password;
use serde_json::json;

use super::second_factor::ask_factor;
use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    prompt,
};

/// Nothing but the two passwords.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep passwd                                   # asks for the present password and twice for the new one
  printf '%s\\n' \"$OLD\" |
      LOCKSTEP_NEW_PASSWORD=\"$NEW\" lockstep passwd --password-stdin

Every other session of the account ends. Other devices log in again with the new password.")]
pub struct Passwd {}

/// Changes the password.
///
/// # Errors
/// Wrong or weak password, offline.
pub async fn run(_: Passwd, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("a new password needs the server", "leave --offline away"));
    }
    let old = Password::new(app.passwords.current(app.ui)?.as_str().to_owned());
    let client = app.open_by(&old).await?;
    let name = client.status().await?.name;
    let new = new_password(app, &name)?;
    let wheel = app.ui.wheel("making new keys");
    let mut factor = |demanded: &_| ask_factor(app, demanded);
    let changed = client.change_password_telling(&old, &new, &mut factor, app.sending(PERHAPS)).await;
    wheel.finish_and_clear();
    app.heard(changed, Failure::from)?;
    if app.ui.json {
        return app.ui.document(&json!({ "password_changed": true, "name": name }));
    }
    app.ui.done(format!("The password of {name} is changed. Every other session has ended."));
    app.ui.hint("A recovery code stays as it is: lockstep recovery new makes another one");
    Ok(())
}

/// What is said where the server's answer to a change was not heard, or this device could not follow it.
const PERHAPS: &str = "the password may have been changed on the server, and this device still opens with the one before: \
                       lockstep login, with the new one if the old one is refused";

/// The environment variable that holds a new password, for scripts.
pub const NEW_PASSWORD: &str = "LOCKSTEP_NEW_PASSWORD";

/// A new password that is strong enough: from the environment, or asked twice.
pub fn new_password(app: &App, name: &str) -> Done<Password> {
    if let Some(given) = std::env::var(NEW_PASSWORD).ok().filter(|given| !given.is_empty()) {
        let password = Password::new(given);
        password.check_new(name).map_err(lockstep_client::Error::Password)?;
        return Ok(password);
    }
    if !app.ui.err_is_terminal {
        let message = "there is no terminal to ask for the new password";
        return Err(Failure::new(Exit::Locked, message, format!("set {NEW_PASSWORD}")));
    }
    loop {
        let first = prompt::secret(app.ui, "New password")?;
        if prompt::secret(app.ui, "Once more")? != first {
            app.ui.warn("the two are not the same; once again");
            continue;
        }
        let password = Password::new(first.as_str().to_owned());
        match password.check_new(name) {
            Ok(()) => return Ok(password),
            Err(error) => app.ui.warn(error.to_string()),
        }
    }
}
