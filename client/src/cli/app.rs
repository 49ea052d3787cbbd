//! What every verb works with: the profile, the unlocked client, the entries with their content opened.

pub mod deleted;
mod ending;
mod refused;
mod sending;
mod unheard;

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use indicatif::ProgressBar;
use lockstep_client::{
    Client, Error, Unlock,
    crypto::password::Password,
    model::{Entry, SyncReport, VersionView},
    porting::Item,
};
use lockstep_events::EntryId;

use self::ending::Ending;
use super::{
    advice::failure_of,
    agent, args,
    failure::{Done, Exit, Failure},
    find::{self, Found},
    prompt::Passwords,
    ui::Ui,
};

/// One run of the program.
pub struct App {
    /// The two channels.
    pub ui: Ui,
    /// The profile directory.
    pub home: PathBuf,
    /// Where the password comes from.
    pub passwords: Passwords,
    /// Whether the server is left alone.
    pub offline: bool,
    /// The vault that was named.
    pub vault: Option<String>,
    /// What is done at the end.
    ending: Ending,
    /// What is said if Ctrl-C comes now.
    if_cut_off: Mutex<Option<&'static str>>,
    /// What the server was caught at after something was saved: how the command ends.
    caught: Mutex<Option<Failure>>,
}

impl App {
    /// From the global options.
    ///
    /// # Errors
    /// If no profile directory is named and there is no home directory; if the password's line cannot be read.
    pub fn new(global: &args::Global, ui: Ui) -> Done<Self> {
        let home = match &global.home {
            Some(home) => home.clone(),
            None => default_home()?,
        };
        let passwords = Passwords::new(global.password_stdin)?;
        // The agent outlives this command's working directory.
        let home = std::path::absolute(home)?;
        let (offline, vault) = (global.offline, global.vault.clone());
        let (ending, if_cut_off, caught) = (Ending::default(), Mutex::default(), Mutex::default());
        Ok(Self { ui, home, passwords, offline, vault, ending, if_cut_off, caught })
    }

    /// The unlocked client, at the vault that was named: by the agent, else by the password.
    ///
    /// # Errors
    /// Not logged in, locked, wrong password; no such vault.
    pub async fn open(&self) -> Done<Client> {
        let client = self.unlocked().await?;
        let client = match &self.vault {
            None => client,
            Some(name) => self.at(&client, name).await?,
        };
        if client.vault_is_deleted().await? {
            self.ui.warn("this vault was deleted; `lockstep vault use` chooses another");
        }
        Ok(client)
    }

    /// The same client at the vault that a person means. One that this device has not heard of yet may have been made
    /// on another.
    ///
    /// # Errors
    /// Not found or ambiguous.
    pub async fn at(&self, client: &Client, name: &str) -> Done<Client> {
        let mut meant = find::vault(&client.vaults().await?, name);
        if !self.offline && meant.as_ref().is_err_and(|failure| failure.exit == Exit::NotFound) {
            match client.sync().await {
                // It has read what is new.
                Err(Error::Held(_)) => {}
                synced => self.say_refused(&synced?),
            }
            meant = find::vault(&client.vaults().await?, name);
        }
        Ok(client.in_vault(meant?).await?)
    }

    async fn unlocked(&self) -> Done<Client> {
        Client::profile(&self.home)?;
        if let Some(token) = agent::client::key(&self.home).await {
            let token = zeroize::Zeroizing::new(token.as_str().to_owned());
            match Client::open(&self.home, &Unlock::Token(token)).await {
                Ok(client) => return Ok(self.listening(client)),
                // A key of a profile that was here before: the password decides.
                Err(Error::WrongPassword) => drop(agent::client::lock(&self.home).await),
                Err(error) => return Err(error.into()),
            }
        }
        match Client::open(&self.home, &Unlock::Kept).await {
            Ok(client) => return Ok(self.listening(client)),
            Err(Error::NotKept) => {}
            // It is not worth more than the password: whatever is wrong with it, that opens.
            Err(error) => self.ui.warn(failure_of(&error).message),
        }
        if !self.passwords.is_given() {
            self.ui.hint("Locked; `lockstep unlock` asks only once.");
        }
        self.open_with_password().await
    }

    /// The unlocked client, by the password only.
    ///
    /// # Errors
    /// As [`App::open`].
    pub async fn open_with_password(&self) -> Done<Client> {
        Client::profile(&self.home)?;
        let password = Password::new(self.passwords.current(self.ui)?.as_str().to_owned());
        self.open_by(&password).await
    }

    /// The unlocked client, by this password.
    ///
    /// # Errors
    /// As [`App::open`].
    pub async fn open_by(&self, password: &Password) -> Done<Client> {
        Client::profile(&self.home)?;
        Ok(self.listening(Client::open(&self.home, &Unlock::Password(password.clone())).await?))
    }

    /// Hears first what other devices did, if the server can be reached.
    ///
    /// # Errors
    /// An alarm.
    pub async fn refresh(&self, client: &Client) -> Done {
        if self.offline {
            return Ok(());
        }
        let error = match client.sync().await {
            Ok(report) => {
                self.say_refused(&report);
                return Ok(());
            }
            Err(error) => error,
        };
        let why = failure_of(&error);
        // While an alarm holds the sending, what is read is the truth.
        if why.exit == Exit::Alarm && !matches!(error, Error::Held(_)) {
            return Err(why);
        }
        self.ui.say(format!("Working with what this device has ({}).", why.message));
        if matches!(error, Error::Revoked(_)) {
            self.ui.say(why.advice);
        }
        Ok(())
    }

    /// Every entry that is not deleted, opened, by name.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn all(&self, client: &Client) -> Done<Vec<Found>> {
        let entries = client.entries().await?;
        let mut all: Vec<Found> = entries.into_iter().map(opened).collect();
        all.sort_by_cached_key(|found| (found.name().to_lowercase(), found.entry.entry));
        Ok(all)
    }

    /// Every deleted entry with what it held last, by name.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn deleted(&self, client: &Client) -> Done<Vec<Found>> {
        let mut all = Vec::new();
        for entry in client.deleted().await? {
            let versions = client.history(entry.entry).await?;
            let taken = deleted::taken_away(&versions, &entry.head_ids());
            let item = deleted::shown(&versions, &taken).and_then(|at| item_of(&versions[at]));
            all.push(Found { entry, item });
        }
        all.sort_by_cached_key(|found| (found.name().to_lowercase(), found.entry.entry));
        Ok(all)
    }

    /// The entry that is to be looked at, by its whole id also a deleted one.
    ///
    /// # Errors
    /// Not found or ambiguous.
    pub async fn find(&self, client: &Client, wanted: &str) -> Done<Found> {
        match by_id(client, wanted).await? {
            Some(found) => Ok(found),
            None => {
                let found = find::one(&self.all(client).await?, wanted);
                refused::or_refused(client, wanted, found).await
            }
        }
    }

    /// The same, also among the deleted ones.
    ///
    /// # Errors
    /// Not found or ambiguous.
    pub async fn find_also_deleted(&self, client: &Client, wanted: &str) -> Done<Found> {
        if let Some(found) = by_id(client, wanted).await? {
            return Ok(found);
        }
        let mut all = self.all(client).await?;
        // To open all that was ever deleted takes its time.
        if !find::is_literal(&all, wanted) {
            all.extend(self.deleted(client).await?);
        }
        refused::or_refused(client, wanted, find::one(&all, wanted)).await
    }

    /// The entry that is to be changed: a part of its name is not enough, unless a person says that it is the one. Who
    /// wants nobody to be asked is `unasked`.
    ///
    /// # Errors
    /// Not found or ambiguous.
    pub async fn find_to_change(&self, client: &Client, wanted: &str, unasked: bool) -> Done<Found> {
        match by_id(client, wanted).await? {
            Some(found) => Ok(found),
            None => find::to_change(&self.all(client).await?, wanted, self.ui, unasked),
        }
    }

    /// The same, also among the deleted ones.
    ///
    /// # Errors
    /// Not found or ambiguous.
    pub async fn find_to_change_also_deleted(
        &self,
        client: &Client,
        wanted: &str,
        unasked: bool,
    ) -> Done<Found> {
        if let Some(found) = by_id(client, wanted).await? {
            return Ok(found);
        }
        let all = [self.all(client).await?, self.deleted(client).await?].concat();
        find::to_change(&all, wanted, self.ui, unasked)
    }
}

/// The entry of a whole id, deleted or not; none if the word is no id.
async fn by_id(client: &Client, wanted: &str) -> Done<Option<Found>> {
    let Ok(id) = wanted.parse::<EntryId>() else { return Ok(None) };
    match client.get(id).await {
        Err(Error::NotFound) => Err(Failure::new(
            Exit::NotFound,
            format!("no entry has the id {id}"),
            "lockstep list --json shows ids",
        )),
        found => Ok(Some(opened(found?))),
    }
}

/// Shows how far a transfer of so many bytes is, while it runs.
pub async fn moving<T>(
    ui: Ui,
    client: &Client,
    (what, bytes): (&str, u64),
    work: impl Future<Output = T>,
) -> T {
    const SHORT: u64 = 1024 * 1024;
    let bar = if bytes < SHORT { ui.wheel(what) } else { ui.bytes(bytes, what) };
    let before = client.moved();
    shown(&bar, async || (client.moved() - before).min(bytes), work).await
}

/// Synchronizes, and shows meanwhile how many of the versions that waited were sent; of few it only says `what`.
///
/// # Errors
/// As [`Client::sync`].
pub async fn synced(ui: Ui, client: &Client, what: &str) -> Result<SyncReport, Error> {
    const FEW: u64 = 100;
    let waiting = async || client.waiting().await.unwrap_or_default();
    let all = waiting().await;
    if all < FEW {
        return shown(&ui.wheel(what), async || 0, client.sync()).await;
    }
    let bar = ui.progress(all, "sending");
    let sent = async || {
        let left = waiting().await;
        if left == 0 {
            bar.set_message("confirming");
        }
        all.saturating_sub(left)
    };
    shown(&bar, sent, client.sync()).await
}

/// Moves a bar while something is done.
async fn shown<T>(bar: &ProgressBar, position: impl AsyncFn() -> u64, work: impl Future<Output = T>) -> T {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    // Beside the work, not in turn with it: both may want the same database.
    let moving = async {
        loop {
            tick.tick().await;
            bar.set_position(position().await);
        }
    };
    let done = tokio::select! {
        done = work => done,
        never = moving => never,
    };
    bar.finish_and_clear();
    done
}

/// Whether a change is on the server already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is.
    Now,
    /// It waits on this device.
    Later,
}

/// An entry with the content of its first head.
pub fn opened(entry: Entry) -> Found {
    let item = entry.winner().and_then(item_of);
    Found { entry, item }
}

/// The item in a version, if its content is here and is one.
pub fn item_of(version: &VersionView) -> Option<Item> {
    version.content.bytes().and_then(|bytes| serde_json::from_slice(bytes).ok())
}

/// An item as it is sealed.
///
/// # Errors
/// If it does not fit an entry.
pub fn content_of(item: &Item) -> Done<zeroize::Zeroizing<Vec<u8>>> {
    use lockstep_client::porting::item::MAX_ITEM_BYTES;
    let bytes = zeroize::Zeroizing::new(serde_json::to_vec(item).map_err(std::io::Error::other)?);
    if bytes.len() <= MAX_ITEM_BYTES {
        return Ok(bytes);
    }
    let message = format!("the entry would hold {} bytes; at most {MAX_ITEM_BYTES} fit", bytes.len());
    Err(Failure::new(Exit::Failure, message, "shorten its notes"))
}

/// A number with the right form of a word.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn default_home() -> Done<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(data) = set("XDG_DATA_HOME") {
        return Ok(data.join("lockstep"));
    }
    let home = set("HOME").or_else(|| set("USERPROFILE"));
    home.map(|home| home.join(Path::new(".local/share/lockstep")))
        .ok_or_else(|| Failure::usage("there is no home directory", "name a profile directory with --home"))
}
