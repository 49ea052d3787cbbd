//! Which server and which account are meant, and why the server's certificate is trusted.

use lockstep_client::{
    Error,
    profile::Profile,
    server::{Fingerprint, Server, Trust, certificate_fingerprint},
    ways::providers,
};

use super::{Enter, grouped};
use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    prompt,
};

/// Which server, and which account; `verb` asks.
///
/// # Errors
/// If one of them is not said and nobody can be asked; no address, no trust.
pub async fn target(args: &Enter, verb: &str, app: &App) -> Done<(Server, String)> {
    let known = Profile::read(&app.home).ok();
    let missing = |what: &str| {
        let message = format!("--{what} is missing: there is no profile in {}", app.home.display());
        let advice =
            format!("give --{what}, or set LOCKSTEP_{}; see: lockstep help {verb}", what.to_uppercase());
        Failure::usage(message, advice)
    };
    let name = match (&args.email, &known) {
        (Some(name), _) => name.clone(),
        (None, Some(profile)) => profile.name.clone(),
        (None, None) => prompt::line(app.ui, "E-mail address")?.ok_or_else(|| missing("email"))?,
    };
    if name.trim().is_empty() {
        let advice = format!("see: lockstep help {verb}");
        return Err(Failure::usage("the name of an account cannot be empty", advice));
    }
    if app.offline {
        return Err(Failure::usage("this needs the server", "leave --offline away"));
    }
    let server = match (&args.server, known) {
        // How a known server is trusted from now on may be said without its address.
        (None, Some(profile)) if names_trust(args) => {
            let url = profile.server.url.as_str();
            Server::new(url, trust(args, url, app).await?)?
        }
        (None, Some(profile)) => profile.server,
        (None, None) => return Err(missing("server")),
        (Some(url), Some(profile)) if profile.server.url == *url && !names_trust(args) => profile.server,
        (Some(url), _) => Server::new(url, trust(args, url, app).await?)?,
    };
    Ok((server, name))
}

const fn names_trust(args: &Enter) -> bool {
    args.fingerprint.is_some() || args.ca.is_some()
}

async fn trust(args: &Enter, url: &str, app: &App) -> Done<Trust> {
    if let Some(text) = &args.fingerprint {
        return Ok(Trust::Pinned(
            text.parse::<Fingerprint>()
                .map_err(|error| Failure::usage(error.to_string(), "lockstepd prints it when it starts"))?,
        ));
    }
    if let Some(file) = &args.ca {
        let failed = |why: String| {
            let message = format!("{}: {why}", file.display());
            Failure::new(Exit::NotFound, message, "name a PEM file")
        };
        let text =
            std::fs::read_to_string(file).map_err(|error| failed(format!("cannot be read ({error})")))?;
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            return Err(failed("holds no certificate".to_owned()));
        }
        return Ok(Trust::Authorities(text));
    }
    ask_trust(args, url, app).await
}

/// Without a flag: the authorities of the system, unless a person confirms what the server shows.
async fn ask_trust(args: &Enter, url: &str, app: &App) -> Done<Trust> {
    Server::new(url, Trust::System)?;
    if !prompt::can_ask(app.ui) {
        return Ok(Trust::System);
    }
    let shown = certificate_fingerprint(url).await?;
    app.ui.needed(format!("{url} shows a certificate with this SHA-256 fingerprint:\n"));
    let text = grouped(&shown.to_string());
    app.ui.needed(format!("  {}\n  {}\n", text[..39].trim_end(), text[40..].trim_end()));
    app.ui.needed("lockstepd printed it when it started. If it is the same, this device will trust exactly this certificate.");
    if prompt::confirm(app.ui, "Is it the same?")? {
        return Ok(Trust::Pinned(shown));
    }
    app.ui.say("Not pinned: the certificate must be vouched for by an authority that this system knows.");
    // Before a password is thought of in vain.
    let server = Server::new(url, Trust::System)?;
    match providers(&server).await {
        Err(error @ Error::Certificate) => Err(refused(error, args, &server)),
        // Whatever else is wrong is said by what is asked for next.
        _ => Ok(Trust::System),
    }
}

/// A certificate that nobody has trusted yet is no alarm of a profile: the person has not said how to trust it.
pub fn refused(error: Error, args: &Enter, server: &Server) -> Failure {
    let (message, advice) = match (&error, &server.trust) {
        (Error::Certificate, Trust::System) => (
            format!("no authority that this system knows vouches for the certificate of {}", server.url),
            "if it is a server's own one, name it: --fingerprint HEX, which lockstepd prints when it starts; or --ca FILE",
        ),
        (Error::Certificate, Trust::Pinned(_)) if args.fingerprint.is_some() => (
            format!("{} shows a certificate with another fingerprint than --fingerprint says", server.url),
            "compare it with what lockstepd prints when it starts; if that is another server, do not go on",
        ),
        (Error::Certificate, Trust::Authorities(_)) if args.ca.is_some() => (
            format!("the authority of --ca does not vouch for the certificate of {}", server.url),
            "ask the server's operator for the right file",
        ),
        _ => return error.into(),
    };
    Failure::new(Exit::Alarm, message, advice)
}
