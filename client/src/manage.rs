//! The state of a profile, alarms, quarantine, raw requests.

use lockstep_events::{EntryId, VersionId};
use reqwest::Method;

use crate::{
    engine::Engine,
    error::Error,
    model::{Alarm, Quarantined, Status, StreamPlace, SyncReport},
    one_file,
    store::{alarms, entries, keys, outbox, streams, versions},
    sync::push::PushReport,
    transport::Body,
};

/// What was pushed may leave something more to send, where a branch turns out to say what another one says: it goes out
/// in the same run, at most so often.
const ROUNDS: usize = 3;

impl Engine {
    /// Pulls, pushes, and pulls once more so that what was pushed has its place.
    pub(crate) async fn sync_once(&self) -> Result<SyncReport, Error> {
        let (mut pulled, mut lie) = self.pull_all().await?;
        self.finish_vaults().await?;
        let mut done = PushReport::default();
        for _ in 0..ROUNDS {
            let pushed = self.push().await;
            // Once a person has seen it, a lie about one vault keeps nothing of the others here; it is said all the same.
            if let Some(lie) = lie.take() {
                return Err(lie);
            }
            let pushed = pushed?;
            let any = pushed.pushed > 0;
            done.add(pushed);
            if !any {
                break;
            }
            pulled += self.pull().await?;
            if self.waiting().await? == 0 {
                break;
            }
        }
        let mut db = self.store.pool().acquire().await?;
        let mut conflicts = 0;
        for vault in self.own_vaults().await? {
            let rows = entries::all_shown(&mut db, vault).await?;
            conflicts += rows.iter().filter(|row| row.heads.is_divergent()).count() as u64;
        }
        Ok(SyncReport {
            pulled,
            pushed: done.pushed,
            forked: done.forked,
            quarantined: done.quarantined,
            waiting: outbox::count(&mut db).await?,
            fileless: outbox::count_of(&mut db, &done.fileless).await?,
            conflicts,
            no_room: outbox::no_room(&mut db).await?,
        })
    }

    /// The state of the profile.
    pub(crate) async fn status(&self) -> Result<Status, Error> {
        let logged_in = self.has_session().await?;
        let mut db = self.store.pool().acquire().await?;
        let rows = entries::all_shown(&mut db, self.vault()).await?;
        let live = rows.iter().filter(|row| !row.heads.is_deleted() && !self.is_hidden(row)).count();
        let places = streams::all(&mut db).await?;
        Ok(Status {
            account: self.account(),
            device: self.device(),
            vault: self.vault(),
            key_generation: keys::newest_generation(&mut db, self.vault()).await?,
            server: self.profile.server.url.clone(),
            name: self.profile.name.clone(),
            fingerprint: keys::trusted(&mut db).await?.roster.fingerprint.to_string(),
            logged_in,
            ended: if logged_in { None } else { self.session_end().await? },
            erasure_due_at: keys::erasure(&mut db).await?.map(|(_, due)| due),
            streams: places
                .into_iter()
                .map(|place| StreamPlace { stream: place.stream, epoch: place.epoch, seq: place.seq })
                .collect(),
            entries: live as u64,
            conflicts: rows.iter().filter(|row| row.heads.is_divergent()).count() as u64,
            waiting: outbox::count(&mut db).await?,
            no_room: outbox::no_room(&mut db).await?,
            quarantined: outbox::quarantined_ids(&mut db).await?.len() as u64,
            alarms: alarms::unseen(&mut db).await?,
            held: alarms::holding(&mut db).await?,
        })
    }

    /// All alarms, newest first.
    pub(crate) async fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        alarms::all(&mut *self.store.pool().acquire().await?).await
    }

    /// Marks all alarms up to one of them as seen: what they held goes out.
    pub(crate) async fn acknowledge_alarms(&self, last: i64) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        alarms::acknowledge(&mut tx, last).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(())
    }

    /// Sets aside what an alarm says of a version: exactly this is held against nobody any more.
    pub(crate) async fn set_aside(&self, alarm: &Alarm) -> Result<(), Error> {
        if alarm.about.is_none() {
            return Err(Error::Invalid("only what is said of a version can be set aside"));
        }
        let mut tx = self.store.begin().await?;
        alarms::set_aside(&mut tx, alarm, self.now()).await?;
        tx.commit().await?;
        self.behind.notify_one();
        self.outbox.notify_one();
        Ok(())
    }

    /// What the server refused for good.
    pub(crate) async fn quarantine(&self) -> Result<Vec<Quarantined>, Error> {
        let mut db = self.store.pool().acquire().await?;
        let mut all = Vec::new();
        for (version, reason, at) in outbox::quarantined(&mut db).await? {
            if let Some(kept) = versions::get(&mut db, version).await? {
                all.push(Quarantined { version, entry: kept.header.entry, reason, at });
            }
        }
        Ok(all)
    }

    /// Offers a quarantined version again, or deletes it.
    pub(crate) async fn release(&self, version: VersionId, discard: bool) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        let of_file = match versions::get(&mut tx, version).await? {
            Some(kept) => kept.header.entry == self.file_entry(),
            None => false,
        };
        if discard && of_file {
            one_file::give_up_refused(&mut tx).await?;
        }
        if !outbox::release(&mut tx, version).await? {
            return Err(Error::NotFound);
        }
        if discard {
            versions::forget(&mut tx, version).await?;
        } else {
            let kept = versions::get(&mut tx, version).await?.ok_or(Error::NotFound)?;
            // What had its place once, and what another device signed, is taken as something offered again only.
            let reoffer = kept.accepted_at.is_some() || kept.signer != self.device();
            outbox::add(&mut tx, (kept.header.vault, version), None, reoffer).await?;
        }
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(())
    }

    /// Shows a head first on this device.
    pub(crate) async fn pin(&self, entry: EntryId, version: Option<VersionId>) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        let shown = entries::shown(&mut tx, entry).await?.ok_or(Error::NotFound)?;
        if shown.vault != self.vault() || version.is_some_and(|version| !shown.heads.ids().contains(&version))
        {
            return Err(Error::NotFound);
        }
        let mut row = entries::accepted(&mut tx, shown.vault, entry).await?;
        row.pinned = version;
        entries::put(&mut tx, &row).await?;
        Ok(tx.commit().await?)
    }

    /// Calls the server with this device's token; any status is an answer.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(u16, String), Error> {
        if !path.starts_with('/') {
            return Err(Error::Invalid("a path begins with /"));
        }
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
            .map_err(|_| Error::Invalid("not a method of HTTP"))?;
        let body = body.map_or(Ok(Body::None), Body::json)?;
        let answer = self.request(method, path, body).await?;
        Ok((answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned()))
    }
}
