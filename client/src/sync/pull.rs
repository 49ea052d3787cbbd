//! Pull: pages of changes from this device's place to the head, one after the other.

use lockstep_api::{
    Code, Cursor, MAX_INLINE, MAX_PAGE,
    sync::{Changes, Streams},
};
use lockstep_events::{Seq, StreamId, StreamKind};

use super::{
    apply::{Applied, Page},
    believed::is_lie,
    places::Told,
};
use crate::{
    engine::Engine,
    error::Error,
    model::AlarmKind,
    store::{streams, streams::Place},
};

/// A page that could not be applied because another task moved the cursor is asked for again, so many times.
const RACES: usize = 16;

impl Engine {
    /// Pulls the account stream, then every vault, then the contents that are missing. Gives the events applied.
    ///
    /// # Errors
    /// What [`Self::pull_all`] gives beside, too.
    pub(crate) async fn pull(&self) -> Result<u64, Error> {
        match self.pull_all().await? {
            (applied, None) => Ok(applied),
            (_, Some(lie)) => Err(lie),
        }
    }

    /// The same, and the alarm about a vault, if there is one: a lie about one is no reason to read no other. Nor is a blob
    /// store that is away, from which a vault wants long ciphertexts.
    pub(crate) async fn pull_all(&self) -> Result<(u64, Option<Error>), Error> {
        let _one = self.pulling.lock().await;
        let mut applied = self.pull_stream(self.account().into(), StreamKind::Account).await?;
        if self.offer_roster_if_due().await? {
            applied += self.pull_stream(self.account().into(), StreamKind::Account).await?;
        }
        applied += self.tend_vault_keys().await?;
        let mut lie = None;
        for vault in self.own_vaults().await? {
            match Box::pin(self.at(vault).pull_vault()).await {
                Ok(events) => applied += events,
                // The first alarm is said, and before what is away only.
                Err(alarm @ Error::Alarm(_)) => {
                    lie = lie.filter(|said| matches!(said, Error::Alarm(_))).or(Some(alarm))
                }
                Err(away) if away.is_blobs_away() => lie = lie.or(Some(away)),
                Err(other) => return Err(other),
            }
        }
        self.forget_unopened().await?;
        Ok((applied, lie))
    }

    async fn pull_vault(&self) -> Result<u64, Error> {
        let read = self.read_vault().await;
        if read.is_ok() || is_lie(&read) {
            self.note_believed(read.is_ok()).await?;
        }
        let (applied, told) = read?;
        self.reconcile_if_due().await?;
        self.demand_shown(&told).await?;
        self.fetch_adopted().await?;
        let denied = self.fetch_contents().await?;
        self.settle_denied(denied).await?;
        self.adopt_identical().await?;
        self.audit_digest().await?;
        Ok(applied)
    }

    /// Reads the vault's history to its head. Beside the events applied: what the server had said before.
    async fn read_vault(&self) -> Result<(u64, Told), Error> {
        let applied = self.first_snapshot().await?;
        let told = self.told().await?;
        Ok((applied + self.pull_stream(self.vault().into(), StreamKind::Vault).await?, told))
    }

    /// Pulls the account stream only.
    pub(crate) async fn pull_account(&self) -> Result<u64, Error> {
        let _one = self.pulling.lock().await;
        self.pull_stream(self.account().into(), StreamKind::Account).await
    }

    pub(crate) async fn pull_stream(&self, stream: StreamId, kind: StreamKind) -> Result<u64, Error> {
        let mut applied = 0;
        let mut races = 0;
        let mut learned = false;
        loop {
            let place = self.place(stream, kind).await?;
            let page = match self.changes_after(&place, 0).await {
                Ok(page) => page,
                Err(Error::Refused { problem, .. }) if problem.code == Code::CursorReset => {
                    drop(problem);
                    self.reset(&place).await?;
                    races += 1;
                    if races > RACES {
                        return Err(Error::Protocol("a stream that resets again and again"));
                    }
                    continue;
                }
                Err(other) => return Err(other),
            };
            let more = page.more;
            match self.apply_with(&page.into(), learned).await? {
                Applied::Done(events) => applied += events,
                Applied::Old if !more => return Ok(applied),
                // The statement stands before whatever is sealed under its key: who reads it now has it.
                Applied::UnknownKey if !learned => {
                    learned = true;
                    applied += self.learn_anew().await?;
                    continue;
                }
                Applied::UnknownKey => {
                    let detail = format!("{stream} after {}: sealed under a key that is not here", place.seq);
                    return Err(self.alarm(AlarmKind::Keys, &detail).await);
                }
                // Another task moved the cursor: not to the head, for all that is known.
                Applied::Old | Applied::Gap | Applied::OtherLife if races < RACES => {
                    races += 1;
                    continue;
                }
                _ => return Err(Error::Protocol("pages that do not begin where they were asked for")),
            }
            if !more {
                return Ok(applied);
            }
        }
    }

    /// One page after a place; waits up to `wait` seconds for news.
    pub(crate) async fn changes_after(&self, place: &Place, wait: u64) -> Result<Changes, Error> {
        let cursor = Cursor { epoch: place.epoch, seq: place.seq };
        let stream = place.stream;
        // What was read in another life of the stream is here already, with its content; and so is what this device
        // wrote. Should it be missing after all, it is fetched as what is too long for a page.
        let inline = if place.lives > 1 && place.seq == Seq::ZERO { 0 } else { MAX_INLINE };
        let path = format!(
            "/v1/streams/{stream}/changes?after={cursor}&limit={MAX_PAGE}&wait={wait}&inline={inline}&own=false"
        );
        let page: Changes = self.fetch(&path).await?;
        if page.stream != stream || page.epoch != place.epoch || page.from != place.seq || page.to < page.from
        {
            return Err(self.alarm(AlarmKind::Page, &format!("{stream} after {}", place.seq)).await);
        }
        Ok(page)
    }

    /// Applies what a long-poll brought.
    pub(crate) async fn apply_polled(&self, page: Changes) -> Result<u64, Error> {
        let _one = self.pulling.lock().await;
        match self.apply_news(&Page::from(page)).await? {
            Applied::Done(events) => Ok(events),
            _ => Ok(0),
        }
    }

    /// Where this device is in a stream; at its beginning for one that it has never read.
    pub(crate) async fn place(&self, stream: StreamId, kind: StreamKind) -> Result<Place, Error> {
        let mut db = self.store.pool().acquire().await?;
        if let Some(place) = streams::get(&mut db, stream).await? {
            return Ok(place);
        }
        drop(db);
        let all: Streams = self.fetch("/v1/streams").await?;
        let info = all.streams.iter().find(|info| info.stream == stream && info.kind == kind);
        let epoch = info.ok_or(Error::Protocol("the account's stream is not in its list"))?.epoch;
        let place = Place::start(stream, kind, epoch);
        let mut tx = self.store.begin().await?;
        if let Some(there) = streams::get(&mut tx, stream).await? {
            return Ok(there);
        }
        streams::put(&mut tx, &place).await?;
        tx.commit().await?;
        Ok(place)
    }
}
