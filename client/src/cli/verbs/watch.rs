//! `watch`: changes as they arrive, and how fresh this device is.

use std::time::Duration;

use clap::Args;
use console::Style;
use lockstep_client::{
    Client, Follow,
    model::{Change, Link},
};
use lockstep_events::{DeviceId, EntryId, VaultId, VersionKind};
use serde_json::json;
use tokio::sync::{broadcast, mpsc};

use crate::cli::{
    advice::HELD,
    alerts,
    app::App,
    failure::{Done, Exit, Failure},
    find::short,
    ui::printable,
};

/// So long a connection may take before it is said that there is none.
const FIRST: Duration = Duration::from_secs(1);

/// How long.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep watch
  lockstep watch --json | jq -c 'select(.change == \"version\")'
  lockstep watch --count 1 --seconds 60      # wait for the next change, at most a minute

The words at the left say how fresh this device is:
  live     changes come within milliseconds; a line that breaks, or a server that cannot read its log, is noticed within
           forty seconds
  polling  the socket cannot be had, or another `lockstep watch` of this profile has it; changes come by long-poll
  stale    the server cannot be reached, or was caught: what you see may be old; `lockstep sync` says why

After an ALARM it reads on and sends nothing, until `lockstep status --seen`. What the alarm is about stays old until \
the server shows the truth, and the word stays stale; the other vaults are followed.

When the session has ended or this device was revoked, it ends with an error and exit code 4; when the server shows \
another certificate than the one that this profile trusts, with exit code 7.")]
pub struct Watch {
    /// End after so many changes of entries
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

/// Follows until it is told to stop.
///
/// # Errors
/// If the session has ended, this device was revoked, or the server's certificate is another one.
pub async fn run(args: Watch, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("watch needs the server", "leave --offline away"));
    }
    let client = app.open().await?;
    // It tells what comes as it comes.
    app.tell_at_end(None);
    let status = client.status().await?;
    if let Some(kind) = status.held {
        app.ui.warn(format!("ALARM, nothing is sent: {kind}"));
        app.ui.say(HELD);
    }
    let follow = follow(args.count, app, &client, status.device);
    match args.seconds {
        None => follow.await,
        Some(seconds) => {
            let limited = tokio::time::timeout(Duration::from_secs(seconds), follow).await;
            limited.unwrap_or_else(|_| match args.count {
                None => Ok(()),
                Some(_) => Err(Failure::new(Exit::Failure, "fewer changes than asked for came in time", "")),
            })
        }
    }
}

async fn follow(count: Option<u64>, app: &App, client: &Client, own: DeviceId) -> Done {
    let Follow { changes, mut link, mut loops } = client.follow();
    let mut changes = unhurried(changes);
    app.ui.hint("Following. Ctrl-C ends it.");
    // Whoever has only just begun is not stale yet.
    let _ = tokio::time::timeout(FIRST, link.changed()).await;
    let mut shown = Shown { app, client, own, link: *link.borrow_and_update(), seen: 0 };
    shown.say_link()?;
    while count.is_none_or(|count| shown.seen < count) {
        tokio::select! {
            // What happened before the end is shown before it.
            biased;
            Ok(()) = link.changed() => {
                let now = *link.borrow_and_update();
                shown.set_link(now)?;
            }
            Some(change) = changes.recv() => shown.change(&change).await?,
            why = loops.ended() => return Err(why.into()),
        }
    }
    Ok(())
}

/// Takes changes as fast as they come, so that a slow terminal loses none of them.
fn unhurried(mut changes: broadcast::Receiver<Change>) -> mpsc::UnboundedReceiver<Change> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let change = match changes.recv().await {
                Ok(change) => change,
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return,
            };
            if sender.send(change).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Shown<'a> {
    app: &'a App,
    client: &'a Client,
    own: DeviceId,
    link: Link,
    seen: u64,
}

impl Shown<'_> {
    fn set_link(&mut self, link: Link) -> Done {
        if self.link == link {
            return Ok(());
        }
        self.link = link;
        self.say_link()
    }

    fn say_link(&self) -> Done {
        if self.app.ui.json {
            return self
                .app
                .ui
                .document_line(&json!({ "at": now_text(), "change": "link", "link": self.link }));
        }
        let (word, style) = self.word();
        self.app.ui.say_styled(&clock(now()), &style, word);
        Ok(())
    }

    fn word(&self) -> (&'static str, Style) {
        match self.link {
            Link::Live => ("live", Style::new().green()),
            Link::Polling => ("polling", Style::new().yellow()),
            Link::Stale => ("stale", Style::new().red()),
        }
    }

    async fn change(&mut self, change: &Change) -> Done {
        match change {
            Change::Link { link } => return self.set_link(*link),
            Change::Version { .. } | Change::Purged { .. } => self.seen += 1,
            Change::Account { kind, .. } if kind == "session.refreshed" && !self.app.ui.json => return Ok(()),
            _ => {}
        }
        if self.app.ui.json {
            let mut value = serde_json::to_value(change).map_err(std::io::Error::other)?;
            value["at"] = now_text().into();
            match change {
                Change::Version { vault, entry, .. } => {
                    value["vault_name"] = self.client.is_vault_name(*vault, *entry).into();
                    value["file"] = (*entry == self.client.file_entry()).into();
                    value["name"] = self.name(*vault, *entry).await.into();
                }
                Change::Alarm(alarm) => value["holds_sending"] = alarm.kind.holds_sending().into(),
                _ => {}
            }
            if let Some(notice) = alerts::about(change, self.own) {
                value["notice"] = json!(notice);
            }
            return self.app.ui.document_line(&value);
        }
        let text = self.sentence(change).await;
        let (word, style) = self.word();
        let word = style.apply_to(format!("{word:<7}"));
        self.app.ui.data(&format!("{}  {word}  {text}", clock(now())))?;
        if let Some(notice) = alerts::about(change, self.own) {
            self.app.ui.warn(notice.text);
        }
        if matches!(change, Change::Alarm(alarm) if alarm.kind.holds_sending()) {
            self.app.ui.warn("nothing is sent from now on; what is written waits here");
            self.app.ui.say(HELD);
        }
        Ok(())
    }

    async fn sentence(&self, change: &Change) -> String {
        match change {
            Change::Version { vault, entry, kind, device, divergent, .. } => {
                let did = match kind {
                    VersionKind::Edit => "changed",
                    VersionKind::Merge => "merged",
                    VersionKind::Adopt => "kept",
                    VersionKind::Tombstone => "deleted",
                };
                let by = if *device == self.own {
                    "here".to_owned()
                } else {
                    format!("by {}", short_device(*device))
                };
                let named = self.client.is_vault_name(*vault, *entry);
                let verb = if named { "conflicts" } else { "resolve" };
                let mark = Style::new().red().bold().apply_to(format!("  ← two versions: lockstep {verb}"));
                let conflict = if *divergent { mark.to_string() } else { String::new() };
                let whose = if named { "the name of a vault: " } else { "" };
                let name = format!("{whose}{}", printable(&self.name(*vault, *entry).await));
                format!("{did:<8} {}  {name}  {by}{conflict}", short(*entry))
            }
            Change::Purged { entry } => format!("erased   {}", short(*entry)),
            Change::Device { device, revoked: true } => {
                format!("device {} was revoked", short_device(*device))
            }
            Change::Device { device, .. } => format!("device {} was added", short_device(*device)),
            Change::Account { kind, .. } => format!("account  {}", printable(kind)),
            Change::Quarantined { reason, .. } => {
                format!("refused  a change of this device: {}", printable(reason))
            }
            Change::Alarm(alarm) => {
                Style::new().red().bold().apply_to(format!("ALARM    {}", alarm.kind)).to_string()
            }
            Change::Link { .. } => String::new(),
        }
    }

    async fn name(&self, vault: VaultId, entry: EntryId) -> String {
        if entry == self.client.file_entry() {
            return "the file".to_owned();
        }
        let Ok(client) = self.client.in_vault(vault).await else { return String::new() };
        if client.is_vault_name(vault, entry) {
            return client.vault_name().await.ok().flatten().unwrap_or_default();
        }
        match client.get(entry).await {
            Ok(entry) if entry.deleted => String::new(),
            Ok(entry) => crate::cli::app::opened(entry).name(),
            Err(_) => String::new(),
        }
    }
}

/// The first eight characters of a device's id.
pub fn short_device(device: DeviceId) -> String {
    device.to_string().chars().take(8).collect()
}

/// Seconds since 1970, by this device's clock.
pub fn now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

fn now_text() -> String {
    stamp(now())
}

/// RFC 3339, UTC.
pub fn stamp(seconds: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

/// Day and time of day for people, UTC.
pub fn clock(seconds: i64) -> String {
    let text = stamp(seconds);
    format!("{} {}", text.get(..10).unwrap_or_default(), text.get(11..19).unwrap_or_default())
}

/// Day and hour, where the server keeps no more of a time.
pub fn hour(seconds: i64) -> String {
    let text = stamp(seconds);
    format!("{} {}h", text.get(..10).unwrap_or_default(), text.get(11..13).unwrap_or_default())
}
