//! Asking for the password again, and for a second factor, where the server demands one.

use lockstep_api::{
    Code, Problem,
    factor::{Demanded, Kind, Shown},
};
use lockstep_client::{Client, Error, crypto::password::Password, ways::passkey::AskingPasskey};

use super::entrance::open_browser;
use crate::cli::{
    app::App,
    failure::{Done, Exit},
    prompt,
};

/// The environment variable that holds a code, for scripts.
const CODE: &str = "LOCKSTEP_CODE";

/// In the place of a code: the passkey.
const PASSKEY: &str = "passkey";

/// A code of an authenticator app, one of the codes on paper, or a passkey in a browser.
///
/// # Errors
/// If nobody can be asked.
pub fn ask_factor(app: &App, demanded: &Demanded) -> Result<Shown, Error> {
    let has = |kind| demanded.kinds.contains(&kind);
    let given = std::env::var(CODE).ok().filter(|code| !code.is_empty());
    let code = match given {
        Some(code) => code,
        None => {
            let label = match (has(Kind::Totp), has(Kind::Passkey)) {
                (_, true) => "Enter for the passkey in a browser, or a code",
                (true, false) => "Code of the authenticator app, or one of the codes on paper",
                (false, false) => "One of the codes on paper",
            };
            let asked = prompt::secret(app.ui, label).map(|code| code.as_str().to_owned());
            asked.map_err(|failure| {
                if failure.exit == Exit::Interrupted {
                    return Error::File(std::io::ErrorKind::Interrupted.into());
                }
                let problem = Box::new(Problem::new(Code::SecondFactorRequired));
                Error::Refused { problem, retry_after: None }
            })?
        }
    };
    if has(Kind::Passkey) && ["", PASSKEY].contains(&code.trim()) {
        return passkey(app, demanded);
    }
    let code = plain(&code);
    let six = code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit());
    Ok(if six { Shown::Totp { code } } else { Shown::Codes { code } })
}

/// A code without what apps and paper group it by.
pub fn plain(code: &str) -> String {
    code.chars().filter(|letter| !letter.is_whitespace() && *letter != '-').collect()
}

/// Whoever asks for a factor waits for it, as for a code that is typed.
fn passkey(app: &App, demanded: &Demanded) -> Result<Shown, Error> {
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(async {
            let asking = AskingPasskey::show(demanded).await?;
            open_browser(app, "Use the passkey", asking.url(), false);
            let wheel = app.ui.wheel("waiting for the browser");
            let shown = asking.shown().await;
            wheel.finish_and_clear();
            shown
        })
    })
}

/// Asks the server; where it wants a fresh proof, asks for the password, proves it and asks again.
///
/// # Errors
/// What the server refuses.
pub async fn proven<T>(
    app: &App,
    client: &Client,
    mut ask: impl AsyncFnMut() -> Result<T, Error>,
) -> Done<T> {
    match ask().await {
        Err(Error::Refused { problem, .. }) if problem.code == Code::StepUpRequired => {
            app.ui.needed("The server wants the password to be proven again.");
            let password = Password::new(app.passwords.current(app.ui)?.as_str().to_owned());
            client.step_up(&password, &mut |demanded| ask_factor(app, demanded)).await?;
            Ok(ask().await?)
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_taken_as_an_app_shows_it() {
        for typed in ["795317", "795 317", "795-317", " 795\u{a0}317 "] {
            assert_eq!(plain(typed), "795317");
        }
    }
}
