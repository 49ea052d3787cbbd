//! `add`.

use clap::Args;
use lockstep_client::porting::{
    Body, Item,
    item::{Card, Login, Note, SshKey},
};

use crate::cli::{
    app::{App, content_of},
    failure::{Done, Failure},
    prompt,
};

use super::changes::{Changes, apply, report, warn_of_codes};

/// The kinds of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A name and password for a place
    Login,
    /// Text
    Note,
    /// A payment card
    Card,
    /// A person's details
    Identity,
    /// An SSH key pair
    SshKey,
}

impl Kind {
    /// As lists show it.
    pub fn word(self) -> &'static str {
        self.body().word()
    }

    fn body(self) -> Body {
        match self {
            Self::Login => Body::Login(Login::default()),
            Self::Note => Body::Note(Note::default()),
            Self::Card => Body::Card(Card::default()),
            Self::Identity => Body::Identity(Box::default()),
            Self::SshKey => Body::SshKey(SshKey::default()),
        }
    }
}

/// What is added.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep add github --username ada --uri https://github.com --generate
  lockstep add bank --username 1234 --ask password
  lockstep add server --type ssh-key --stdin private-key < ~/.ssh/id_ed25519
  lockstep add visa --type card --ask number --set month=4 --set year=31
  lockstep add router --ask pin                  # a field of your own, masked
  echo 'the text' | lockstep add recipe --type note --stdin notes

Fields that every entry has: name notes folder tags favourite
  login     username password totp uri uri2 …
  card      cardholder brand number month year code
  ssh-key   private-key public-key fingerprint
  identity  title first-name middle-name last-name email phone address1 city postcode country …")]
pub struct Add {
    /// Name of the entry
    name: String,
    /// What it is
    #[arg(long = "type", short = 't', value_enum, default_value = "login")]
    kind: Kind,
    /// Its fields
    #[command(flatten)]
    changes: Changes,
}

/// Adds one entry.
///
/// # Errors
/// A value that does not fit.
pub async fn run(args: Add, app: &App) -> Done {
    if args.name.trim().is_empty() {
        return Err(Failure::usage("the name of an entry cannot be empty", ""));
    }
    let mut item = Item::new(args.name.as_str(), args.kind.body());
    // Before the password is asked for.
    apply(&mut item.clone(), &args.changes.given()?)?;
    let client = app.open().await?;
    apply(&mut item, &args.changes.all(app)?)?;
    let no_password = args.kind == Kind::Login && item.get("password").is_none();
    if no_password && prompt::can_ask(app.ui) {
        item.set("password", prompt::secret(app.ui, "Password of the entry (Enter: none)")?)
            .map_err(|error| Failure::usage(error.to_string(), ""))?;
    }
    warn_of_codes(app, None, &item);
    let entry = client.add(&content_of(&item)?).await?;
    let sent = app.send_of(&client, &[entry]).await?;
    let saved = client.get(entry).await?;
    let version = saved.winner().map(|head| head.version).ok_or_else(|| {
        Failure::new(crate::cli::failure::Exit::Failure, "the entry was added and is gone again", "")
    })?;
    report(app, ("Added", &args.name), (entry, version), (sent, saved.divergent))
}
