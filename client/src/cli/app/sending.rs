//! After something was written: it goes out, or waits, and a person is told which.

use lockstep_client::{
    Client, Error,
    model::{NoRoom, SyncReport},
};
use lockstep_events::EntryId;

use super::{App, Sent, count, moving, opened, synced};
use crate::cli::{
    advice::failure_of,
    failure::{Done, Failure},
    ui::printable,
    verbs::conflicts,
};

impl App {
    /// Sends what was just written. Being offline is no failure: the change is safe here. Where the server was caught the
    /// command goes on, to say what was saved, and [`App::ended`] has the failure.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn send(&self, client: &Client) -> Done<Sent> {
        self.send_files(client, 0).await
    }

    /// The same, for whether these entries are on the server: others may wait, as where the plan has no room for them.
    ///
    /// # Errors
    /// As [`App::send`].
    pub async fn send_of(&self, client: &Client, entries: &[EntryId]) -> Done<Sent> {
        self.send_files_of(client, entries, 0).await
    }

    /// As [`App::send_of`], with files of so many bytes.
    ///
    /// # Errors
    /// As [`App::send`].
    pub async fn send_files_of(&self, client: &Client, entries: &[EntryId], bytes: u64) -> Done<Sent> {
        if self.send_files(client, bytes).await? == Sent::Now {
            return Ok(Sent::Now);
        }
        for entry in entries {
            if client.get(*entry).await?.pending {
                if let Some(met) = client.status().await?.no_room {
                    self.say_no_room("it", &met);
                }
                return Ok(Sent::Later);
            }
        }
        let refused = client.quarantine().await?.iter().any(|one| entries.contains(&one.entry));
        Ok(if refused { Sent::Later } else { Sent::Now })
    }

    /// Warns, and gives, that what was sent stands beside another version: one that nobody here has seen. `known`, if the
    /// entry was divergent before.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn apart(&self, client: &Client, entry: EntryId, known: bool) -> Done<bool> {
        let found = match client.get(entry).await {
            // Another device has erased it.
            Err(Error::NotFound) => return Ok(false),
            found => opened(found?),
        };
        if found.entry.divergent && !known {
            let (name, id) = (printable(&found.name()), found.short_id());
            self.ui.warn(format!(
                "{name} was changed on another device, too, and both versions stay: lockstep resolve {id}"
            ));
        }
        Ok(found.entry.divergent)
    }

    /// Says that the plan has no room for something, which waits.
    pub fn say_no_room(&self, for_what: &str, met: &NoRoom) {
        let NoRoom { what, limit, used, .. } = met;
        let what = printable(what);
        self.ui.warn(format!("the plan has no room for {for_what}: {what}, limit {limit}, used {used}"));
        self.ui.hint("It stays here and is sent when there is room: lockstep plan shows the limits");
    }

    /// Says that the server refused something for good: it is kept, and shown in no list of entries.
    pub fn say_refused(&self, report: &SyncReport) {
        if report.quarantined > 0 {
            let changes = count(report.quarantined, "change was", "changes were");
            self.ui.warn(format!("{changes} refused for good by the server: see `lockstep status`"));
        }
    }

    /// As [`App::send`], with files of so many bytes.
    ///
    /// # Errors
    /// As [`App::send`].
    pub async fn send_files(&self, client: &Client, bytes: u64) -> Done<Sent> {
        if self.offline {
            return Ok(Sent::Later);
        }
        let synced = match bytes {
            0 => synced(self.ui, client, "sending").await,
            _ => moving(self.ui, client, ("sending", bytes), client.sync()).await,
        };
        match synced {
            Ok(report) => self.sent(client, &report).await,
            Err(error @ Error::Alarm(_)) => {
                if let Ok(mut caught) = self.caught.lock() {
                    *caught = Some(saved_but(failure_of(&error)));
                }
                Ok(Sent::Later)
            }
            Err(error @ (Error::Held(_) | Error::Revoked(_))) => {
                let failure = failure_of(&error);
                self.ui.warn(format!("saved on this device only: {}", failure.message));
                self.ui.say(failure.advice);
                Ok(Sent::Later)
            }
            Err(error) => {
                let why = failure_of(&error).message;
                // It may have gone out, and only what others did meanwhile could not be fetched.
                if matches!(client.status().await, Ok(status) if status.waiting == 0 && status.quarantined == 0)
                {
                    self.ui.say(format!("Sent; what is new on the server comes with the next sync ({why})."));
                    return Ok(Sent::Now);
                }
                if error.is_blobs_away() {
                    self.ui.say(format!("What has a file to send waits for the next sync ({why})."));
                    return Ok(Sent::Later);
                }
                if error.is_full() {
                    self.ui.say(format!("What could not be sent waits for the next sync ({why})."));
                    return Ok(Sent::Later);
                }
                self.ui.say(format!("Saved on this device; it goes out with the next sync ({why})."));
                Ok(Sent::Later)
            }
        }
    }

    /// How a command ends that did this: as that, or with what the server was caught at meanwhile.
    ///
    /// # Errors
    /// Either.
    pub fn ended(&self, done: Done) -> Done {
        let Some(caught) = self.caught.lock().ok().and_then(|mut caught| caught.take()) else { return done };
        if let Err(failure) = done {
            self.ui.warn(failure.to_string());
        }
        Err(caught)
    }

    async fn sent(&self, client: &Client, report: &SyncReport) -> Done<Sent> {
        if report.quarantined > 0 {
            self.ui.warn("the server refused a change for good; see `lockstep status`");
        }
        if report.conflicts > 0 {
            let entries = count(report.conflicts, "entry needs you", "entries need you");
            self.ui.hint(format!("{entries}: {}", conflicts::commands(self, client).await?));
        }
        Ok(if report.waiting == 0 && report.quarantined == 0 { Sent::Now } else { Sent::Later })
    }
}

/// An alarm, to whoever wrote something: not that was refused, but what the server showed.
fn saved_but(alarm: Failure) -> Failure {
    let message = format!("what was written is saved on this device; of the server {}", alarm.message);
    let advice = "see `lockstep status` and speak with the server's operator".to_owned();
    Failure { message, advice, ..alarm }
}
