//! Applying a page or a live frame: everything is checked first, then events and cursor change in one transaction
//! (C1), then whoever watches is told.

use std::collections::BTreeSet;

use lockstep_api::sync::{Changes, StreamEvent};
use lockstep_events::{
    Chain, EntryId, Epoch, Event, Micros, Recorded, Seq, SetDigest, StreamId, VaultId,
    event::{AccountEvent, VaultEvent, VersionAdded},
    graph::{Heads, MAX_BRANCHES},
    roster::{Claim, Statement},
};
use sqlx::SqliteConnection;

use super::{
    check::{self, Against, Received, Refusal},
    contents::{not_shown, same_files},
    erasing::may_erase,
    graph::{self, Fits},
    judge::{Judge, unstated, wants_keys},
    telling::{told, with_what_waits},
};
use crate::{
    crypto::version::generation_of,
    engine::Engine,
    error::Error,
    model::{Alarm, AlarmKind, Change},
    store::{
        alarms, attachments, entries,
        keys::{self, Trusted},
        outbox, streams,
        streams::Place,
        versions::{self, ContentState, Kept},
    },
};

/// Says that the account has another plan.
const PLAN_SET: &str = "account.plan_set";

/// A page of changes or a live frame.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) stream: StreamId,
    pub(crate) epoch: Epoch,
    pub(crate) from: Seq,
    pub(crate) to: Seq,
    pub(crate) chain: Chain,
    pub(crate) set_digest: Option<SetDigest>,
    pub(crate) events: Vec<StreamEvent>,
}

impl From<Changes> for Page {
    fn from(page: Changes) -> Self {
        let Changes { stream, epoch, from, to, chain, set_digest, events, .. } = page;
        Self { stream, epoch, from, to, chain, set_digest, events }
    }
}

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// So many events were applied.
    Done(u64),
    /// All of it was here already.
    Old,
    /// It does not begin where this device is: pull.
    Gap,
    /// It is of another life of the stream: pull, which will say so.
    OtherLife,
    /// Something of it is sealed under a key that the roster does not name, or that is not here yet: read the roster
    /// first.
    UnknownKey,
}

/// Why a page was not applied.
enum Stop {
    UnknownKey,
    /// A lie, or what devices of the account signed and a person has to look at.
    Refused(Vec<Refusal>),
    Failed(Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(vec![refusal])
    }
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn refused(kind: AlarmKind, detail: impl Into<String>) -> Stop {
    Refusal::new(kind, detail).into()
}

impl Engine {
    /// Applies a page if it begins where this device is.
    ///
    /// # Errors
    /// [`Error::Alarm`] if anything of it is not authentic: then nothing of it is applied, and the alarm is kept.
    pub(crate) async fn apply(&self, page: &Page) -> Result<Applied, Error> {
        self.apply_with(page, false).await
    }

    /// The same; `learned`, if the roster was just read: then a key that it does not name is one.
    pub(super) async fn apply_with(&self, page: &Page, learned: bool) -> Result<Applied, Error> {
        let mut tx = self.store.begin().await?;
        let Some(place) = streams::get(&mut tx, page.stream).await? else { return Ok(Applied::Gap) };
        if place.epoch != page.epoch {
            return Ok(Applied::OtherLife);
        }
        if page.to <= place.seq {
            drop(tx);
            if page.to == place.seq && page.chain != place.chain {
                return Err(self
                    .alarm(AlarmKind::Chain, &format!("{} at {}", place.stream, place.seq))
                    .await);
            }
            self.heard_digest(page.stream, (page.epoch, page.to), page.set_digest).await?;
            self.tell_missed(&place).await?;
            return Ok(Applied::Old);
        }
        if page.from != place.seq {
            return Ok(Applied::Gap);
        }
        match self.apply_at(&mut tx, place, page).await {
            Ok((changes, alarm)) => {
                tx.commit().await?;
                self.tell(alarm);
                self.tell_missed(&place).await?;
                let plan =
                    |change: &Change| matches!(change, Change::Account { kind, .. } if kind == PLAN_SET);
                if changes.iter().any(plan) {
                    // There may be room now for what waits.
                    self.outbox.notify_one();
                }
                if changes.iter().any(|change| matches!(change, Change::Purged { .. })) {
                    // Whatever hinders it, the next pull tries again.
                    let _ = self.forget_unopened().await;
                }
                self.tell_all(changes);
                self.was_told(&place, page.to).await;
                Ok(Applied::Done(page.to.0 - page.from.0))
            }
            Err(stop) => {
                tx.rollback().await?;
                match stop {
                    Stop::UnknownKey => Ok(Applied::UnknownKey),
                    Stop::Failed(error) => Err(error),
                    Stop::Refused(found) if !learned && wants_keys(&found) => Ok(Applied::UnknownKey),
                    Stop::Refused(found) => Err(self.alarms_of(&found).await),
                }
            }
        }
    }

    async fn apply_at(
        &self,
        db: &mut SqliteConnection,
        place: Place,
        page: &Page,
    ) -> Result<(Vec<Change>, Option<Alarm>), Stop> {
        let events = check::page(&place, (page.to, page.chain), &page.events)?;
        let mut judge = Judge::new(db).await?;
        let mut changes = Vec::new();
        let mut digest = place.digest;
        let mut shown = BTreeSet::new();
        for event in &events {
            let decoded = event.event().map_err(|error| Error::UpdateNeeded(error.to_string()))?;
            if let Event::Vault(VaultEvent::VersionAdded(added)) = &decoded {
                let id = added.header.version_id();
                digest.iter_mut().for_each(|digest| digest.add(&id));
                shown.insert(id);
            }
            match decoded {
                Event::Account(account) => {
                    let trusted = &mut judge.trusted;
                    changes.extend(apply_account(db, trusted, (place.lives, event), &account).await?);
                }
                Event::Vault(vault) => {
                    changes.extend(self.apply_vault(db, &mut judge, &place, event, vault).await?);
                }
                Event::System(_) => return Err(refused(AlarmKind::Page, "an event of the system stream")),
            }
            streams::note_chain(db, (place.stream, place.epoch), event.seq, &event.chain).await?;
        }
        with_what_waits(db, &mut changes).await?;
        graph::all_shown(db, &place, page.to, &shown).await??;
        judge.verdict().map_err(Stop::Refused)?;
        let recorded_at = events.last().map_or(place.recorded_at, |event| event.recorded_at);
        let place = Place { seq: page.to, chain: page.chain, digest, recorded_at, ..place };
        streams::put(db, &place).await?;
        let alarm = self.compare_digest(db, &place, page.set_digest).await?;
        Ok((changes, alarm))
    }

    async fn apply_vault(
        &self,
        db: &mut SqliteConnection,
        judge: &mut Judge,
        place: &Place,
        event: &Recorded,
        what: VaultEvent,
    ) -> Result<Vec<Change>, Stop> {
        let vault = VaultId::from(place.stream);
        match &what {
            VaultEvent::Created(created) => {
                if created.vault != vault || created.account != self.account() {
                    return Err(refused(AlarmKind::Page, format!("{vault}: created as another vault")));
                }
                Ok(Vec::new())
            }
            VaultEvent::VersionAdded(added) => self.apply_version(db, judge, place, event, added).await,
            VaultEvent::ContentPruned(pruned) => {
                let heads = fold(db, vault, pruned.entry, &what, event.seq).await?;
                not_shown(db, pruned, (event.seq, &heads)).await??;
                for version in &pruned.versions {
                    versions::gone(db, *version).await?;
                }
                Ok(Vec::new())
            }
            // What this device holds stays its own: no server takes it away.
            VaultEvent::Erased(_) => Ok(Vec::new()),
            VaultEvent::Purged(purged) => {
                let entry = purged.entry;
                let known = entries::accepted(db, vault, entry).await?.heads.purged;
                if !known && !may_erase(db, (vault, entry), (event.seq, &Heads::default())).await? {
                    let detail =
                        format!("{entry} at {}: purged without having been deleted; kept here", event.seq);
                    let alarm = alarms::raise(db, AlarmKind::Content, self.now(), &detail).await?;
                    return Ok(alarm.into_iter().map(Change::Alarm).collect());
                }
                if !known {
                    versions::erase(db, entry).await?;
                }
                fold(db, vault, entry, &what, event.seq).await?;
                Ok(vec![Change::Purged { entry }])
            }
        }
    }

    async fn apply_version(
        &self,
        db: &mut SqliteConnection,
        judge: &mut Judge,
        place: &Place,
        event: &Recorded,
        added: &VersionAdded,
    ) -> Result<Vec<Change>, Stop> {
        let vault = VaultId::from(place.stream);
        let header = &added.header;
        let wrapped = added.wrapped_key.as_deref().map(hex::decode).transpose();
        let wrapped = wrapped.map_err(|_| refused(AlarmKind::Content, format!("key at {}", event.seq)))?;
        let received = Received {
            header,
            signer: added.signer,
            signature: &added.signature,
            wrapped_key: wrapped.as_deref(),
            content: event.content.as_deref(),
            may_be_gone: false,
            attachments: &added.attachments,
            at: (event.seq, event.recorded_at),
        };
        let id = Against { account: self.account(), vault, trusted: &judge.trusted }.version(&received)?;
        let key = wrapped.as_deref().map(generation_of).transpose().ok().flatten();
        match unstated(&judge.trusted, (id, header, added.signer), wrapped.as_deref()) {
            Some(finding) => judge.weigh(db, finding).await?,
            None if key.is_some_and(|generation| self.vault_key(vault, generation).is_err()) => {
                return Err(Stop::UnknownKey);
            }
            None => {}
        }
        if event.event_id != id.event_id() || event.subject != Some(header.entry.into()) {
            return Err(refused(AlarmKind::Header, format!("{id} at {}: id or subject", event.seq)));
        }
        let fits = graph::check(db, place, (id, added), (event.seq, self.device())).await??;
        let alarm = match fits {
            Fits::Yes => None,
            Fits::UnlessReset(finding) => self.note(db, &finding).await?,
            Fits::Another(finding) => {
                judge.weigh(db, finding).await?;
                None
            }
        };
        let at = (event.seq, event.recorded_at);
        keep(db, id, added, wrapped, event.content.as_deref(), at).await?;
        let what = VaultEvent::VersionAdded(Box::new(added.clone()));
        let heads = fold(db, vault, header.entry, &what, event.seq).await?;
        if heads.heads.len() > MAX_BRANCHES {
            return Err(refused(AlarmKind::Header, format!("{id} at {}: one branch too many", event.seq)));
        }
        let version = Change::Version {
            vault,
            entry: header.entry,
            version: id,
            kind: header.kind,
            device: versions::author(header, added.signer),
            seq: event.seq,
            divergent: heads.is_divergent(),
        };
        Ok(alarm.into_iter().chain([version]).collect())
    }
}

/// Applies an event of the account, in a life of its stream.
async fn apply_account(
    db: &mut SqliteConnection,
    trusted: &mut Trusted,
    (life, event): (u32, &Recorded),
    account: &AccountEvent,
) -> Result<Option<Change>, Stop> {
    let statement = match account {
        AccountEvent::Created(created) => Some(&created.statement),
        AccountEvent::DeviceAdded(stated)
        | AccountEvent::DeviceRevoked(stated)
        | AccountEvent::RosterStated(stated) => Some(&stated.statement),
        _ => None,
    };
    match account {
        AccountEvent::ErasureRequested(asked) => keys::set_erasure(db, (event.seq, asked.due_at)).await?,
        AccountEvent::ErasureCancelled(_) => keys::remove(db, keys::name::ERASURE).await?,
        _ => {}
    }
    let first = keys::about_first_address(db, account).await?;
    let Some(statement) = statement else {
        return Ok(Some(told(event, account, first)));
    };
    apply_statement(db, trusted, statement).await?;
    Ok(match statement.claim {
        Claim::DeviceAdded { device, .. } => Some(Change::Device { device, revoked: false }),
        Claim::DeviceRevoked { device } => {
            let at = keys::note_revocation(db, device, (life, event.recorded_at)).await?;
            trusted.revoked_at.insert(device, at);
            Some(Change::Device { device, revoked: true })
        }
        _ => Some(told(event, account, first)),
    })
}

/// Folds an event into the accepted heads of its entry.
async fn fold(
    db: &mut SqliteConnection,
    vault: VaultId,
    entry: EntryId,
    event: &VaultEvent,
    seq: Seq,
) -> Result<Heads, Error> {
    let mut row = entries::accepted(db, vault, entry).await?;
    let heads = &mut row.heads.heads;
    let id = match event {
        VaultEvent::VersionAdded(added) => Some(added.header.version_id()),
        _ => None,
    };
    // A snapshot may be younger than its place: what it has counted already is not counted again. The last version
    // of an entry is always a head, and after a purge there is none.
    if !matches!(event, VaultEvent::Purged(_)) && heads.iter().any(|head| head.seq >= seq) {
        // One that stood nowhere when this device looked (see `places`) stands here.
        for head in heads.iter_mut().filter(|head| Some(head.version) == id && head.seq < seq) {
            head.seq = seq;
        }
    } else {
        heads.retain(|head| Some(head.version) != id);
        row.heads.apply(event, seq);
    }
    if !row.heads.is_divergent() {
        row.pinned = None;
    }
    entries::put(db, &row).await?;
    Ok(row.heads)
}

/// Keeps a version that stands in the log, or gives the one that is here its place and takes it out of the outbox.
async fn keep(
    db: &mut SqliteConnection,
    id: lockstep_events::VersionId,
    added: &VersionAdded,
    wrapped_key: Option<Vec<u8>>,
    content: Option<&[u8]>,
    at: (Seq, Micros),
) -> Result<(), Stop> {
    if let Some(known) = versions::get(db, id).await? {
        same_files(db, &known, &added.attachments).await??;
        if known.seq.is_some() {
            versions::not_gone(db, id, wrapped_key.as_deref()).await?;
        }
        versions::place(db, id, at, added.parents()).await?;
        versions::signed(db, id, (added.signer, &added.signature)).await?;
        outbox::stands(db, id).await?;
        outbox::release(db, id).await?;
        if let Some(content) = content {
            versions::fill(db, id, content).await?;
        }
        return Ok(());
    }
    attachments::put(db, id, &added.attachments).await?;
    // Where it is said to be gone it is asked for all the same: what a head shows is not.
    let state = match (added.header.kind.has_content(), content) {
        (false, _) => ContentState::None,
        (true, Some(_)) => ContentState::Here,
        (true, None) => ContentState::Missing,
    };
    let kept = Kept {
        n: 0,
        id,
        header: added.header.clone(),
        parents: added.parents().to_vec(),
        signer: added.signer,
        signature: added.signature,
        wrapped_key,
        ciphertext: content.map(<[u8]>::to_vec).filter(|_| state == ContentState::Here),
        content: state,
        seq: Some(at.0),
        accepted_at: Some(at.1),
    };
    Ok(versions::insert(db, &kept).await?)
}

/// A statement is the next of the roster, or one that this device knows already, byte for byte.
async fn apply_statement(
    db: &mut SqliteConnection,
    trusted: &mut Trusted,
    statement: &Statement,
) -> Result<(), Stop> {
    if statement.epoch <= trusted.roster.epoch {
        let known = keys::statements(db).await?;
        let same = usize::try_from(statement.epoch)
            .ok()
            .and_then(|at| known.get(at))
            .is_some_and(|known| known.hash() == statement.hash());
        return if same {
            Ok(())
        } else {
            Err(refused(AlarmKind::Roster, format!("statement {}", statement.epoch)))
        };
    }
    trusted
        .roster
        .apply(statement)
        .map_err(|broken| refused(AlarmKind::Roster, format!("statement {}: {broken}", statement.epoch)))?;
    keys::add_statement(db, statement).await?;
    Ok(())
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
