//! `login --link` and `login --oidc`: a new session for an enrolled device without the account's password reaching the
//! server, by a proof of who one is and this device's key.

use std::process::{Command, Stdio};

use lockstep_api::ways::Identified;
use lockstep_client::{
    Client, Error,
    server::Server,
    ways::{LinkSignIn, OidcSignIn, providers},
};

use super::second_factor::ask_factor;
use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    prompt,
    ui::printable,
};

/// How it is proven who one is.
pub enum How {
    /// By a mailed link.
    Link,
    /// By an identity of this provider.
    Oidc {
        /// Its name.
        provider: String,
        /// Do not open a browser.
        no_browser: bool,
    },
}

/// Opens a session.
///
/// # Errors
/// Not proven in time, or a device that is not enrolled; inside, what the server refuses.
pub async fn enter(app: &App, server: &Server, name: &str, how: How) -> Done<Result<Client, Error>> {
    // First of all: without this device's key the proof would open nothing.
    let client = match app.open().await {
        Err(_) if Client::profile(&app.home).is_err() => {
            let message = "this device is not enrolled: a link or another identity opens no vault by itself";
            return Err(Failure::new(Exit::Refused, message, "log in with the password first"));
        }
        opened => opened?,
    };
    if let How::Oidc { provider, .. } = &how {
        is_known(server, provider).await?;
    }
    let proof = prove(app, server, name, how).await?;
    let entered = client.enter(server, &proof, &mut |demanded| ask_factor(app, demanded)).await;
    Ok(entered.map(|client| app.listening(client)))
}

/// Fails where a server knows no such identity provider, and says which it knows. What keeps it from saying so will keep
/// it from the rest, too.
pub async fn is_known(server: &Server, provider: &str) -> Done {
    let Ok(known) = providers(server).await else { return Ok(()) };
    if known.iter().any(|name| name == provider) {
        return Ok(());
    }
    let message = format!("this server knows no identity provider \"{}\"", printable(provider));
    let advice = match known.len() {
        0 => "it knows none".to_owned(),
        _ => format!("it knows: {}", printable(&known.join(", "))),
    };
    Err(Failure::new(Exit::NotFound, message, advice))
}

async fn prove(app: &App, server: &Server, name: &str, how: How) -> Result<Identified, Error> {
    match how {
        How::Link => {
            let asked = LinkSignIn::start(server, name).await?;
            app.ui.needed("If the account has a confirmed address, a link is on its way to it.");
            app.ui.needed("Press the button there only if the page shows these two words:\n");
            app.ui.needed(format!("  {}\n", asked.words()));
            let wheel = app.ui.wheel("waiting for the link");
            let proof = asked.wait().await;
            wheel.finish_and_clear();
            proof
        }
        How::Oidc { provider, no_browser } => {
            let flow = OidcSignIn::start(server, &provider).await?;
            open_browser(app, "Sign in", flow.url(), no_browser);
            let wheel = app.ui.wheel("waiting for the browser");
            let proof = flow.wait().await;
            wheel.finish_and_clear();
            proof
        }
    }
}

/// Shows an address, and opens it in the system's browser unless told otherwise.
pub fn open_browser(app: &App, what: &str, url: &str, only_show: bool) {
    app.ui.needed(format!("{what} with a browser on this machine:\n\n  {}\n", printable(url)));
    if only_show {
        return;
    }
    let named = std::env::var("BROWSER").ok().filter(|browser| !browser.is_empty());
    let program = named.as_deref().unwrap_or(if cfg!(target_os = "macos") { "open" } else { "xdg-open" });
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    prompt::keep_secrets_from(&mut command);
    if command.spawn().is_err() {
        app.ui.hint("No browser could be opened; open the address yourself.");
    }
}
