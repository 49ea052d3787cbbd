//! `register`, `login`, `logout`.

mod target;

use std::path::PathBuf;

use clap::Args;
use lockstep_api::{Code, words::WORDS};
use lockstep_client::{
    Asking, Client, Error, Unlock, crypto::password::Password, model::AlarmKind, profile::Profile,
    server::Server,
};
use lockstep_events::event::RevokeReason;
use serde_json::json;

use super::{
    email,
    entrance::{self, How},
    second_factor::ask_factor,
    watch::{clock, short_device},
};
use crate::cli::{
    advice::DEVICE_REVOKED,
    agent,
    app::{App, count},
    failure::{Done, Exit, Failure},
    prompt,
};

pub use target::{refused, target};

/// What `register --help` ends with.
pub const REGISTER: &str = "\
Examples:
  lockstep register --server https://127.0.0.1:8443 --email ada@example.org
  printf '%s\\n' \"$PASSWORD\" | lockstep register --server … --email … \\
      --fingerprint 3f1c… --password-stdin

A server with a certificate of its own is trusted by its SHA-256 fingerprint (lockstepd prints it at start) or by \
the authority that signed it. It is asked for once and kept in the profile.";

/// Where the account is.
#[derive(Debug, Args)]
pub struct Enter {
    /// Address of the server, HTTPS; known from the profile when logging in again
    #[arg(long, value_name = "URL", env = "LOCKSTEP_SERVER")]
    server: Option<String>,
    /// E-mail address or user name of the account
    #[arg(long, value_name = "ADDR", env = "LOCKSTEP_EMAIL")]
    email: Option<String>,
    /// SHA-256 fingerprint of the server's certificate
    #[arg(long, value_name = "HEX", conflicts_with = "ca")]
    fingerprint: Option<String>,
    /// File with the certificate of the authority that signed the server's, PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Invitation of an administrator, where a server does not let everybody register
    #[arg(long, value_name = "TOKEN", env = "LOCKSTEP_INVITATION", hide_env_values = true)]
    invitation: Option<String>,
}

/// Where the account is, and how to prove that it is yours.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep login --server https://vault.example.org --email ada@example.org \\
      --ca company-ca.pem
  lockstep login --server … --email … --approve     # another device of yours approves this one
  lockstep login --link                   # a new session for this device, by a link in a letter
  lockstep login --oidc google            # or by an identity elsewhere
  LOCKSTEP_CODE=123456 lockstep login --password-stdin
  LOCKSTEP_PASSWORD=… LOCKSTEP_EARLIER_PASSWORD=… lockstep login      # the password was changed elsewhere

With --approve the account's password is not typed here: seven words are shown, and must be the same on the device \
where `lockstep devices approve` runs. The password that is asked for then only opens this device. \
After the password was changed on another device, this one is still locked with the one before: it is asked for, or \
without a terminal taken from LOCKSTEP_EARLIER_PASSWORD, the password that opens this device. From then on that of the \
account opens it. After a restore of the server the account has the password of the backup: give that one, and the newer \
one is what opens this device. \
--link and --oidc are for a device that is enrolled: a link or another identity proves who you are and opens no vault.")]
pub struct Login {
    #[command(flatten)]
    enter: Enter,
    /// Ask another device to approve this one, in the place of the account's password
    #[arg(long, conflicts_with_all = ["link", "oidc"])]
    approve: bool,
    /// Prove who you are by a link in a letter to the confirmed address
    #[arg(long, conflicts_with = "oidc")]
    link: bool,
    /// Prove who you are by an identity of this provider (see: lockstep identities)
    #[arg(long, value_name = "PROVIDER")]
    oidc: Option<String>,
    /// With --oidc: do not open a browser, only print the address
    #[arg(long, requires = "oidc")]
    no_browser: bool,
}

/// What may be lost.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep logout
  lockstep logout --discard      # although changes wait that no server has

While changes wait that no server has, it ends with exit code 8 and deletes nothing: `lockstep sync` sends them, and \
`lockstep status` says what holds them; with --discard they are thrown away with the profile. The same holds for changes \
that the server refused for good: they are on this device alone. And it holds while nobody knows what the server has: \
until `lockstep sync` has compared the two sides after a restore of the server, and after an alarm until it was seen and \
the server's history is believed again.")]
pub struct Logout {
    /// Throw away changes that were not sent yet
    #[arg(long)]
    discard: bool,
}

/// Makes an account.
///
/// # Errors
/// Weak password, name taken, offline.
pub async fn register(args: Enter, app: &App) -> Done {
    if Profile::exists(&app.home) {
        return Err(Error::ProfileExists(app.home.clone()).into());
    }
    let (server, name) = target(&args, "register", app).await?;
    let password = new_password(app, &name)?;
    let wheel = app.ui.wheel("making keys (this takes a second, and makes guessing slow)");
    let client = match &args.invitation {
        None => Client::register(&app.home, &server, &name, &password).await,
        Some(token) => Client::register_invited(&app.home, &server, &name, &password, token.trim()).await,
    };
    wheel.finish_and_clear();
    let client = app.keep(client.map_err(|error| not_registered(error, &args, &server))?);
    entered(app, &client, "registered").await?;
    // A user name is not asked; and without a letter the account is no worse off.
    if name.contains('@')
        && let Ok(words) = client.name_email(&name).await
    {
        email::tell(app, &name, &words);
    }
    Ok(())
}

/// Adds this device, or opens a new session on it.
///
/// # Errors
/// Wrong name or password, offline.
pub async fn login(args: Login, app: &App) -> Done {
    let (server, name) = target(&args.enter, "login", app).await?;
    let known = Profile::exists(&app.home);
    if args.approve {
        // Before anything is asked for: a device that gave up then would be on the roster and nowhere else.
        let password = new_password(app, &name)?;
        let asking = Client::ask_approval(&app.home, &server, &name).await;
        let asking = asking.map_err(|error| refused(error, &args.enter, &server))?;
        return by_approval(asking, &password, app).await;
    }
    let how = match args.oidc {
        Some(provider) => Some(How::Oidc { provider, no_browser: args.no_browser }),
        None => args.link.then_some(How::Link),
    };
    if let Some(how) = how {
        let client = entrance::enter(app, &server, &name, how).await?;
        let client = client.map_err(|error| not_let_in(error, &args.enter, &server))?;
        return entered(app, &client, "logged in").await;
    }
    let password = Password::new(app.passwords.current(app.ui)?.as_str().to_owned());
    let wheel = app.ui.wheel("proving the password without showing it");
    let mut factor = |demanded: &_| ask_factor(app, demanded);
    let mut client = Client::login_with(&app.home, &server, &name, (&password, None), &mut factor).await;
    wheel.finish_and_clear();
    if matches!(client, Err(Error::WrongPassword)) {
        // The profile that is here is still under the password that the account had before.
        let local = earlier_password(app)?;
        client = Client::login_with(&app.home, &server, &name, (&password, Some(&local)), &mut factor).await;
    }
    let client = match client {
        Ok(client) => client,
        Err(error) => return Err(turned_away(error, (&args.enter, &server), (app, &password)).await),
    };
    let client = if known { app.listening(client) } else { app.keep(client) };
    first_sync(app, &client, "logged in").await?;
    entered(app, &client, "logged in").await
}

/// Fetches the vault. The device is in already: a server that cannot do it now does it with the next sync.
pub(super) async fn first_sync(app: &App, client: &Client, what: &str) -> Done {
    let wheel = app.ui.wheel("fetching the vault");
    let synced = client.sync().await;
    wheel.finish_and_clear();
    match synced {
        Err(error @ (Error::Offline(_) | Error::Refused { .. })) => {
            let why = Failure::from(error).message;
            app.ui.warn(format!("{what}; the vault comes with the next sync: {why}"));
            Ok(())
        }
        other => {
            app.say_refused(&other?);
            Ok(())
        }
    }
}

async fn by_approval(asking: Asking, password: &Password, app: &App) -> Done {
    app.ui.needed("On another device of this account: lockstep devices approve");
    app.ui.hint("Ctrl-C withdraws the request.");
    app.ui.needed("Both must show these words:");
    app.ui.needed(format!("\n  {}\n", asking.words().join(" ")));
    let wheel = app.ui.wheel("waiting for the approval");
    // Whatever ends the waiting: nobody waits for the approval then.
    app.withdraw_at_end(Some(asking.withdrawal()));
    let client = Client::approved(&app.home, asking, password).await;
    wheel.finish_and_clear();
    let client = app.keep(client?);
    app.withdraw_at_end(None);
    first_sync(app, &client, "approved").await?;
    entered(app, &client, "approved").await
}

/// As [`not_let_in`]; if this device saw that the server was restored, that is said too: it may want what it had then.
async fn turned_away(
    error: Error,
    (args, server): (&Enter, &Server),
    (app, password): (&App, &Password),
) -> Failure {
    let failed = matches!(error, Error::LoginFailed);
    let failure = not_let_in(error, args, server);
    if !failed || !Profile::exists(&app.home) {
        return failure;
    }
    // What opens this device may be the account's no longer.
    let Ok(here) = Client::open(&app.home, &Unlock::Password(password.clone())).await else { return failure };
    let failure = after_a_restore(&here, failure).await;
    here.close().await;
    failure
}

/// Adds that the server was restored, if this device saw that.
pub(super) async fn after_a_restore(client: &Client, failure: Failure) -> Failure {
    let alarms = client.alarms().await.unwrap_or_default();
    let Some(reset) = alarms.iter().find(|alarm| alarm.kind == AlarmKind::Reset) else { return failure };
    let advice = format!(
        "the server was restored, as this device saw at {} (UTC): it may want the password of then, and \
         {EARLIER_PASSWORD} is the password that opens this device; {}",
        clock(reset.at.seconds()),
        failure.advice
    );
    Failure { advice, ..failure }
}

/// To a device that logs in, an ended session means that it was revoked: it gets no other, whatever is proven.
fn not_let_in(error: Error, args: &Enter, server: &Server) -> Failure {
    match error {
        Error::Revoked(_) => Failure::new(Exit::Locked, "this device was revoked", DEVICE_REVOKED),
        // One that no account can have.
        Error::Password(why) => {
            let message = format!("{why}: it is not the account's");
            Failure::new(Exit::Locked, message, "try again; nothing was changed")
        }
        Error::LoginFailed if args.email.is_none() => Failure::new(
            Exit::Locked,
            Error::LoginFailed.to_string(),
            "if the account has another address now, that is its name: lockstep login --email ADDR; if it was erased, what \
             is here stays readable: lockstep export --offline",
        ),
        other => refused(other, args, server),
    }
}

/// To who sent an invitation it is said that this one is worth nothing.
fn not_registered(error: Error, args: &Enter, server: &Server) -> Failure {
    let failure = refused(error, args, server);
    let demanded = Code::InvitationRequired.as_str();
    if failure.facts.get("problem").is_none_or(|problem| problem != demanded) {
        return failure;
    }
    let (message, advice) = match args.invitation {
        Some(_) => (
            "this invitation is not valid, or not any more: each works once, and for some time",
            "ask the server's administrator for another",
        ),
        None => (
            "this server takes new accounts by invitation only",
            "ask its administrator for one, and give it with --invitation TOKEN; where there is none yet, that is the token which \
             the server printed at its start",
        ),
    };
    Failure { message: message.to_owned(), advice: advice.to_owned(), ..failure }
}

pub async fn entered(app: &App, client: &Client, what: &str) -> Done {
    let status = client.status().await?;
    if app.ui.json {
        return app.ui.document(&json!({
            "account": status.account, "device": status.device, "vault": status.vault, "server": status.server,
            "name": status.name, "fingerprint": status.fingerprint, "entries": status.entries,
            "quarantined": status.quarantined,
        }));
    }
    app.ui.done(format!("{} at {} {what}.", status.name, status.server));
    app.ui.say(format!("  profile              {}", app.home.display()));
    app.ui.say(format!("  account fingerprint  {}", grouped(&status.fingerprint)));
    app.ui.say(format!("  the same in words    {}", in_words(&status.fingerprint)));
    app.ui.say(format!("  entries              {}", status.entries));
    app.ui.hint("Next: lockstep unlock, then lockstep import FILE, lockstep add NAME or lockstep list");
    Ok(())
}

/// A long number in groups that a person can compare.
pub fn grouped(hex: &str) -> String {
    let groups: Vec<&str> = (0..hex.len()).step_by(4).map(|at| &hex[at..hex.len().min(at + 4)]).collect();
    groups.join(" ")
}

/// An account's fingerprint as people compare it: its first 120 bits, as twelve words.
pub fn in_words(hex: &str) -> String {
    const WORD: u32 = 10;
    let bits = hex.get(..30).and_then(|start| u128::from_str_radix(start, 16).ok()).unwrap_or_default();
    let numbers = (0..12).rev().map(|nth| usize::try_from((bits >> (WORD * nth)) & 1023).unwrap_or_default());
    let words = numbers.map(|number| WORDS.split_ascii_whitespace().nth(number).unwrap_or_default());
    words.collect::<Vec<_>>().join(" ")
}

fn new_password(app: &App, name: &str) -> Done<Password> {
    loop {
        let password = Password::new(app.passwords.new_one(app.ui)?.as_str().to_owned());
        match password.check_new(name) {
            Ok(()) => return Ok(password),
            Err(error) if !app.passwords.is_given() => app.ui.warn(error.to_string()),
            Err(error) => return Err(Error::Password(error).into()),
        }
    }
}

/// The environment variable that holds the password that opens a profile, where it is not the account's, for scripts.
const EARLIER_PASSWORD: &str = "LOCKSTEP_EARLIER_PASSWORD";

/// The password that opens the profile that is here, if it is not the account's.
fn earlier_password(app: &App) -> Done<Password> {
    if let Some(given) = std::env::var(EARLIER_PASSWORD).ok().filter(|given| !given.is_empty()) {
        return Ok(Password::new(given));
    }
    if !app.ui.err_is_terminal {
        let advice = format!(
            "if the account's password was changed elsewhere, or the server was restored, give the password that opens \
             this device in {EARLIER_PASSWORD}; nothing was changed"
        );
        return Err(Failure::new(Exit::Locked, Error::WrongPassword.to_string(), advice));
    }
    app.ui.needed(
        "This password does not open the profile that is here. If it was changed on another device, or the server was \
         restored:",
    );
    Ok(Password::new(prompt::secret(app.ui, "The password that opens this device")?.as_str().to_owned()))
}

/// Something may be on this device alone, or came to be meanwhile.
fn not_left(error: Error) -> Failure {
    let Error::Invalid(why) = error else { return error.into() };
    let advice = "`lockstep status` and `lockstep sync` say more, and the profile is as it was; `lockstep logout --discard` \
                  throws it away with all that is in it";
    Failure::new(Exit::Refused, format!("not logged out: {why}"), advice)
}

/// Ends the session and deletes the profile.
///
/// # Errors
/// If changes wait and `--discard` is not given.
pub async fn logout(args: Logout, app: &App) -> Done {
    let client = app.open().await?;
    let status = client.status().await?;
    if status.waiting > 0 && !args.discard {
        let waiting = count(status.waiting, "change waits", "changes wait");
        let message = format!("not logged out: {waiting} that no server has");
        let revoked = status.ended.and_then(|end| end.reason) == Some(RevokeReason::DeviceRevoked);
        let advice = if revoked {
            "nothing sends them any more: `lockstep export --offline` keeps what is here, then `lockstep logout --discard`"
        } else {
            "`lockstep sync` sends them, then log out; `lockstep logout --discard` throws them away"
        };
        return Err(Failure::new(Exit::Refused, message, advice));
    }
    if status.quarantined > 0 && !args.discard {
        let refused = count(status.quarantined, "change is", "changes are");
        let message = format!(
            "not logged out: {refused} on this device alone, because the server refused them for good"
        );
        let advice = "`lockstep status` says why and `lockstep sync --retry` offers them again; `lockstep logout --discard` \
                      throws them away";
        return Err(Failure::new(Exit::Refused, message, advice));
    }
    let told = if app.offline {
        client.logout_here(args.discard).await.map(|()| false)
    } else {
        client.logout(args.discard).await
    };
    let told = told.map_err(not_left)?;
    agent::client::lock(&app.home).await;
    if app.ui.json {
        return app.ui.document(&json!({ "logged_out": true, "device": status.device, "told": told }));
    }
    app.ui.done(format!("{} logged out; the profile in {} is deleted.", status.name, app.home.display()));
    if !told {
        app.ui.warn(format!(
            "the server was not told, and still takes this device for one that is logged in: `lockstep devices revoke {}` \
             on another device ends that",
            short_device(status.device)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lockstep_client::server::Trust;

    use super::*;

    #[test]
    fn a_fingerprint_is_twelve_words_of_ten_bits_each() {
        let word = |nth: usize| WORDS.split_ascii_whitespace().nth(nth).unwrap();
        let hex = format!("{:030x}{}", (1_u128 << 110) | 1023, "ff".repeat(17));
        let zero = [word(0); 10].join(" ");
        assert_eq!(in_words(&hex), format!("{} {zero} {}", word(1), word(1023)));
    }

    #[test]
    fn a_login_of_a_revoked_device_says_so_and_not_that_the_password_is_wrong() {
        let args = Enter { server: None, email: None, fingerprint: None, ca: None, invitation: None };
        let server = Server::new("https://127.0.0.1:9", Trust::System).unwrap();
        let failure = not_let_in(Error::Revoked(None), &args, &server);
        assert_eq!(failure.exit, Exit::Locked);
        assert_eq!(failure.message, "this device was revoked");
        assert!(failure.advice.contains("--home") && failure.advice.contains("export"), "{failure}");
        let wrong = not_let_in(Error::LoginFailed, &args, &server);
        assert_eq!(wrong.message, "the name or the password is not right");
        assert!(wrong.advice.contains("erased") && wrong.advice.contains("export --offline"), "{wrong}");
    }
}
