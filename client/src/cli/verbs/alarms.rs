//! The alarms of `status`: what each is about, and how a person sets one aside.

use std::collections::BTreeMap;

use lockstep_client::{
    Client,
    model::{About, Alarm},
};
use lockstep_events::{DeviceId, VersionId};
use serde_json::{Value, json};

use crate::cli::{
    app::{App, opened},
    failure::{Done, Exit, Failure},
    find::short,
    ui::printable,
};

use super::watch::{clock, short_device};

/// Alarms, and what devices and entries in them are called.
pub struct Alarms {
    all: Vec<Alarm>,
    names: Vec<Option<Names>>,
}

/// What the device and the entry of an alarm are called, where that is known.
struct Names {
    device: Option<String>,
    entry: Option<String>,
}

impl Alarms {
    /// Looks up names. Those of devices need the server; without it their ids have to do.
    pub async fn named(client: &Client, app: &App, all: Vec<Alarm>) -> Self {
        let about_any = all.iter().any(|alarm| alarm.about.is_some());
        let devices = if about_any && !app.offline { devices(client).await } else { BTreeMap::new() };
        let mut names = Vec::with_capacity(all.len());
        for alarm in &all {
            names.push(match &alarm.about {
                Some(about) => Some(Names {
                    device: devices.get(&about.device).cloned(),
                    entry: entry_name(client, about).await,
                }),
                None => None,
            });
        }
        Self { all, names }
    }

    /// For programs.
    pub fn document(&self) -> Done<Vec<Value>> {
        let mut documents = Vec::with_capacity(self.all.len());
        for (alarm, names) in self.all.iter().zip(&self.names) {
            let mut value = serde_json::to_value(alarm).map_err(std::io::Error::other)?;
            if let Some(Names { device, entry }) = names {
                value["about"]["device_name"] = json!(device);
                value["about"]["entry_name"] = json!(entry);
            }
            documents.push(value);
        }
        Ok(documents)
    }

    /// For people.
    pub fn show(&self, app: &App) {
        for (alarm, names) in self.all.iter().zip(&self.names) {
            let detail = printable(&alarm.detail);
            app.ui.warn(format!("ALARM {}: {} ({detail})", clock(alarm.at.seconds()), alarm.kind));
            if let (Some(about), Some(names)) = (&alarm.about, names) {
                app.ui.say(described(about, names));
            }
        }
        if let Some(about) = self.all.iter().find_map(|alarm| alarm.about) {
            app.ui.say(format!(
                "A device of this account signed it: its app is wrong, or the server shows devices different histories. \
                 If you know that it is the app, `lockstep status --accept {}` sets this version aside, and its vault \
                 is read on.",
                beginning(about.version)
            ));
        }
    }
}

fn described(about: &About, names: &Names) -> String {
    let named = |name: &Option<String>, id: String| match name {
        Some(name) => format!("{} ({id})", printable(name)),
        None => id,
    };
    let entry = named(&names.entry, short(about.entry));
    let device = named(&names.device, short_device(about.device));
    format!("  version {} of entry {entry}, written by device {device}", beginning(about.version))
}

fn beginning(version: VersionId) -> String {
    version.to_string().chars().take(12).collect()
}

async fn devices(client: &Client) -> BTreeMap<DeviceId, String> {
    let known = client.devices().await.unwrap_or_default();
    known.iter().filter_map(|device| Some((device.device, client.device_name(device)?))).collect()
}

async fn entry_name(client: &Client, about: &About) -> Option<String> {
    let found = opened(client.in_vault(about.vault).await.ok()?.get(about.entry).await.ok()?);
    found.item.is_some().then(|| found.name())
}

/// Sets aside what is said of versions, each named by the beginning of its id: what nobody has seen yet, or else what was
/// said last.
///
/// # Errors
/// If a beginning names no version or several; nothing is set aside then.
pub async fn accept(client: &Client, wanted: &[String], app: &App) -> Done {
    let all: Vec<Alarm> = client.alarms().await?.into_iter().filter(|alarm| !alarm.set_aside).collect();
    let mut chosen = Vec::new();
    for beginning in wanted {
        chosen.extend(meant(&all, beginning)?);
    }
    for alarm in chosen {
        client.set_aside(alarm).await?;
        app.ui.done(format!("Set aside: {}: {}", alarm.kind, printable(&alarm.detail)));
    }
    Ok(())
}

fn meant<'a>(all: &'a [Alarm], wanted: &str) -> Done<Vec<&'a Alarm>> {
    let wanted = wanted.to_lowercase();
    let begins = |alarm: &&Alarm| {
        let version = alarm.about.map(|about| about.version.to_string());
        wanted.len() >= 8 && version.is_some_and(|version| version.starts_with(&wanted))
    };
    let hits: Vec<&Alarm> = all.iter().filter(begins).collect();
    let Some(last) = hits.first() else {
        let message = format!("no alarm is about a version that begins with \"{}\"", printable(&wanted));
        return Err(Failure::new(Exit::NotFound, message, "lockstep status says which they are about"));
    };
    if hits.iter().any(|alarm| alarm.about != last.about) {
        let message = format!("several versions begin with \"{wanted}\"");
        return Err(Failure::new(Exit::Ambiguous, message, "say more of its id"));
    }
    let unseen: Vec<&Alarm> = hits.iter().copied().filter(|alarm| !alarm.seen).collect();
    Ok(if unseen.is_empty() { vec![*last] } else { unseen })
}

#[cfg(test)]
mod tests {
    use lockstep_client::model::AlarmKind;
    use lockstep_events::{EntryId, Micros, VaultId};

    use super::*;

    fn alarm(id: i64, version: u8, seen: bool) -> Alarm {
        let about = About {
            version: VersionId([version; 32]),
            vault: VaultId::NIL,
            entry: EntryId::NIL,
            device: DeviceId::NIL,
        };
        let (kind, detail) = (AlarmKind::Content, format!("{id}"));
        Alarm { id, kind, at: Micros(0), detail, seen, about: Some(about), set_aside: false }
    }

    #[test]
    fn a_version_is_named_by_the_beginning_of_its_id_and_what_nobody_has_seen_of_it_is_meant() {
        let general = Alarm { about: None, ..alarm(9, 0x11, false) };
        let all = [
            general,
            alarm(8, 0x11, true),
            alarm(7, 0x11, false),
            alarm(6, 0x22, true),
            alarm(5, 0x22, true),
        ];
        let ids = |wanted: &str| {
            let found = meant(&all, wanted).map_err(|failure| failure.exit);
            found.map(|found| found.iter().map(|alarm| alarm.id).collect::<Vec<_>>())
        };
        assert_eq!(ids("11111111"), Ok(vec![7]));
        assert_eq!(ids("2222222222"), Ok(vec![6]), "all are seen: the last");
        assert_eq!(ids("1111111"), Err(Exit::NotFound), "too short");
        assert_eq!(ids("33333333"), Err(Exit::NotFound));
    }
}
