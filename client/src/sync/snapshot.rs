//! First sync: the present state of the vault instead of its whole history; and the history of one entry, asked for
//! when a person wants to see it.
//!
//! Every version is checked like one of the feed. What a snapshot cannot prove is that it is complete: a device that
//! is new has nothing to compare with. From its place on, the chain binds the server.

use std::collections::BTreeSet;

use lockstep_api::sync::{History, Snapshot, SnapshotEntry, SnapshotVersion};
use lockstep_events::{
    EntryId, Micros, Seq, SetDigest, StreamKind, VaultId, VersionId,
    graph::{Head, Heads, MAX_BRANCHES},
};
use sqlx::SqliteConnection;

use super::{
    check::{Against, Received, Refusal, refuse},
    contents::same_files,
    erasing::may_erase,
    graph::inferred,
    judge::{Judge, unstated, wants_keys},
    lives,
    places::cannot_stand,
};
use crate::{
    engine::Engine,
    error::Error,
    model::AlarmKind,
    store::{
        alarms, attachments, entries,
        entries::EntryRow,
        outbox, streams,
        streams::Place,
        versions::{self, ContentState, Kept},
    },
};

/// Nothing of an answer is taken that the next pull would not read.
const ANOTHER_LIFE: &str = "the vault's stream has begun another life: sync";

/// Whether a change of the local database went through, or was refused for what it was made of.
type Checked<T, R = Refusal> = Result<Result<T, R>, Error>;

impl Engine {
    /// Takes the snapshot if this device has read nothing of the vault to its end yet: also where the pages of one that
    /// was cut off have left something. Gives the versions taken.
    pub(crate) async fn first_snapshot(&self) -> Result<u64, Error> {
        let vault = self.vault();
        let place = self.place(vault.into(), StreamKind::Vault).await?;
        if place.seq > Seq::ZERO || place.lives > 1 {
            return Ok(0);
        }
        let mut taken = 0;
        let mut shown = BTreeSet::new();
        let mut next: Option<String> = None;
        let mut start = None;
        let mut digest = None;
        let mut recorded_at = Micros(0);
        loop {
            let query = next.map(|page| format!("?page={page}")).unwrap_or_default();
            let page: Snapshot = self.fetch(&format!("/v1/vaults/{vault}/snapshot{query}")).await?;
            let at = (page.epoch, page.position, page.chain);
            if start.is_none() && page.epoch != place.epoch {
                // The server was restored since this device asked first: the pull meets the same, and says so.
                return Ok(0);
            }
            if page.vault != vault || page.epoch != place.epoch || *start.get_or_insert(at) != at {
                return Err(self.alarm(AlarmKind::Page, &format!("snapshot of {vault}")).await);
            }
            digest = digest.or(page.set_digest);
            // What is younger than the snapshot's place may be in it already; its time is still to come.
            let versions = page.entries.iter().flat_map(|entry| &entry.versions);
            let times = versions.filter(|version| version.seq <= at.1).map(|version| version.accepted_at);
            recorded_at = times.max().unwrap_or_default().max(recorded_at);
            let end = Place { seq: at.1, chain: at.2, digest: None, recorded_at, ..place };
            let end = page.next.is_none().then_some(end);
            shown.extend(page.entries.iter().map(|entry| entry.entry));
            if end.is_some() {
                self.erased_between(at.1, &shown).await?;
            }
            taken += self.take_page(&page.entries, end.map(|end| (end, digest))).await?;
            match page.next {
                Some(more) => next = Some(more),
                None => return Ok(taken),
            }
        }
    }

    /// What the pages of a snapshot that was cut off showed, and this one does not, was deleted and erased between: no
    /// event after this one's place says so. That it was deleted a device of the account has signed.
    async fn erased_between(&self, place: Seq, shown: &BTreeSet<EntryId>) -> Result<(), Error> {
        let vault = self.vault();
        // What began after the place is still to come.
        let left = entries::since(&mut *self.store.pool().acquire().await?, vault, place).await?;
        for entry in left.into_iter().filter(|entry| !shown.contains(entry)) {
            let (mut row, history) = self.accepted_by_server(vault, entry, Seq(u64::MAX)).await?;
            self.take_versions(vault, &history).await?;
            let mut tx = self.store.begin().await?;
            if streams::get(&mut tx, vault.into()).await?.is_some_and(|now| now.seq > Seq::ZERO) {
                // Another process of this profile was faster.
                return Ok(());
            }
            let mut alarm = None;
            if !may_erase(&mut tx, (vault, entry), (place, &row.heads)).await? {
                let detail =
                    format!("{entry}: shown before and left out without having been deleted; kept here");
                alarm = alarms::raise(&mut tx, AlarmKind::Content, self.now(), &detail).await?;
            } else {
                versions::erase(&mut tx, entry).await?;
                row.heads.heads.clear();
                row.heads.purged = true;
                entries::put(&mut tx, &row).await?;
            }
            tx.commit().await?;
            self.tell(alarm);
        }
        Ok(())
    }

    pub(super) async fn take_page(
        &self,
        entries: &[SnapshotEntry],
        end: Option<(Place, Option<SetDigest>)>,
    ) -> Result<u64, Error> {
        let mut learned = false;
        loop {
            let found = match self.take_page_once(entries, end).await? {
                Ok(taken) => return Ok(taken),
                Err(found) => found,
            };
            if learned || !wants_keys(&found) {
                return Err(self.alarms_of(&found).await);
            }
            // Another device may have turned the key since the roster was read.
            self.learn_anew().await?;
            learned = true;
        }
    }

    async fn take_page_once(
        &self,
        entries: &[SnapshotEntry],
        end: Option<(Place, Option<SetDigest>)>,
    ) -> Checked<u64, Vec<Refusal>> {
        let mut tx = self.store.begin().await?;
        if streams::get(&mut tx, self.vault().into()).await?.is_some_and(|now| now.seq > Seq::ZERO) {
            // Another process of this profile was faster, and may have read on.
            return Ok(Ok(0));
        }
        let mut judge = Judge::new(&mut tx).await?;
        let mut taken = 0;
        for entry in entries {
            match self.take_entry(&mut tx, &mut judge, entry).await? {
                Ok(versions) => taken += versions,
                Err(refusal) => {
                    tx.rollback().await?;
                    return Ok(Err(vec![refusal]));
                }
            }
        }
        if let Err(found) = judge.verdict() {
            tx.rollback().await?;
            return Ok(Err(found));
        }
        let mut alarm = None;
        // The cursor comes with the last page: a first sync that is cut off begins again.
        if let Some((end, digest)) = end {
            streams::put(&mut tx, &end).await?;
            streams::note_chain(&mut tx, (end.stream, end.epoch), end.seq, &end.chain).await?;
            if end.seq > Seq(1) {
                // Others were here before.
                lives::begin(&mut tx, end.stream).await?;
            }
            alarm = self.compare_digest(&mut tx, &end, digest).await?;
        }
        tx.commit().await?;
        self.tell(alarm);
        Ok(Ok(taken))
    }

    async fn take_entry(
        &self,
        db: &mut SqliteConnection,
        judge: &mut Judge,
        entry: &SnapshotEntry,
    ) -> Checked<u64> {
        let vault = self.vault();
        if let Err(refusal) = plausible(entry) {
            return Ok(Err(refusal));
        }
        let mut heads = Heads { next_branch: entry.next_branch, ..Heads::default() };
        for (index, version) in (0..).zip(&entry.versions) {
            // It shows what no server prunes: what is said to be gone of it is asked for all the same.
            let id = match self.take_version(db, judge, (vault, entry.entry), version, false).await? {
                Ok(id) => id,
                Err(refusal) => return Ok(Err(refusal)),
            };
            if index < entry.heads {
                heads.last_seq = heads.last_seq.max(version.seq);
                heads.heads.push(Head {
                    version: id,
                    branch: version.branch,
                    kind: version.header.kind,
                    seq: version.seq,
                });
            }
        }
        heads.heads.sort_by_key(|head| head.branch);
        entries::put(db, &EntryRow { entry: entry.entry, vault, heads, pinned: None }).await?;
        Ok(Ok(entry.versions.len() as u64))
    }

    /// Checks and keeps one version of a snapshot or a history.
    async fn take_version(
        &self,
        db: &mut SqliteConnection,
        judge: &mut Judge,
        (vault, entry): (VaultId, EntryId),
        version: &SnapshotVersion,
        gone: bool,
    ) -> Checked<VersionId> {
        let refuse = |kind, detail: &str| {
            let detail = format!("{} at {}: {detail}", version.header.version_id(), version.seq);
            Ok(Err(Refusal::new(kind, detail)))
        };
        let Ok(wrapped) = version.wrapped_key.as_deref().map(hex::decode).transpose() else {
            return refuse(AlarmKind::Content, "not a key");
        };
        let content = version.content.as_ref().map(|content| content.0.as_slice());
        let received = Received {
            header: &version.header,
            signer: version.signer,
            signature: &version.signature,
            wrapped_key: wrapped.as_deref(),
            content,
            may_be_gone: gone,
            attachments: &version.attachments,
            at: (version.seq, version.accepted_at),
        };
        let against = Against { account: self.account(), vault, trusted: &judge.trusted };
        let id = match against.version(&received) {
            Ok(id) => id,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let this = (id, &version.header, version.signer);
        if let Some(finding) = unstated(&judge.trusted, this, wrapped.as_deref()) {
            judge.weigh(db, finding).await?;
        }
        if version.header.entry != entry {
            return refuse(AlarmKind::Header, "of another entry");
        }
        if let Err(refusal) = inferred(&version.header, version.parent_inferred, &version.inferred_parents) {
            return Ok(Err(refusal));
        }
        let parents =
            if version.parent_inferred { &version.inferred_parents } else { &version.header.parents };
        let known = versions::get(db, id).await?;
        if known.as_ref().and_then(|known| known.seq).is_some_and(|stands| stands != version.seq) {
            return refuse(AlarmKind::Header, "it stands elsewhere already");
        }
        if cannot_stand(db, version, known.as_ref(), self.device()).await? {
            return refuse(AlarmKind::Header, "it was not there when this device read on");
        }
        if let Some(known) = &known
            && let Err(refusal) = same_files(db, known, &version.attachments).await?
        {
            return Ok(Err(refusal));
        }
        attachments::put(db, id, &version.attachments).await?;
        if known.as_ref().is_none_or(|known| known.seq.is_none()) {
            held_now(db, vault, id, version.seq).await?;
        }
        if known.is_some() {
            versions::place(db, id, (version.seq, version.accepted_at), parents).await?;
            versions::signed(db, id, (version.signer, &version.signature)).await?;
            outbox::stands(db, id).await?;
            outbox::release(db, id).await?;
            if let Some(content) = content {
                versions::fill(db, id, content).await?;
            }
            return Ok(Ok(id));
        }
        let kept = Kept {
            n: 0,
            id,
            header: version.header.clone(),
            parents: parents.clone(),
            signer: version.signer,
            signature: version.signature,
            wrapped_key: wrapped,
            ciphertext: content.map(<[u8]>::to_vec),
            content: state_of(version, gone),
            seq: Some(version.seq),
            accepted_at: Some(version.accepted_at),
        };
        versions::insert(db, &kept).await?;
        Ok(Ok(id))
    }

    /// Fetches what this device does not hold of an entry's history, if it misses anything. A server that cannot be
    /// reached leaves the history as it is.
    pub(crate) async fn complete_history(&self, entry: EntryId) -> Result<(), Error> {
        let mut db = self.store.pool().acquire().await?;
        let held = versions::of_entry(&mut db, entry).await?;
        drop(db);
        let ids: BTreeSet<_> = held.iter().map(|version| version.id).collect();
        let named = held.iter().flat_map(|version| version.parents.iter().chain(&version.header.content_of));
        if named.into_iter().all(|id| ids.contains(id)) {
            return Ok(());
        }
        match self.fetch_history(entry).await {
            Err(
                Error::Offline(_)
                | Error::Refused { .. }
                | Error::Revoked(_)
                | Error::Certificate
                | Error::Protocol(ANOTHER_LIFE),
            ) => Ok(()),
            other => other,
        }
    }

    /// Checks and keeps versions that were asked for, all or none.
    pub(crate) async fn take_versions(
        &self,
        vault: VaultId,
        versions: &[SnapshotVersion],
    ) -> Result<(), Error> {
        let mut learned = false;
        loop {
            let mut tx = self.store.begin().await?;
            let found = match self.take_all(&mut tx, vault, versions).await? {
                Ok(()) => return Ok(tx.commit().await?),
                Err(found) => found,
            };
            tx.rollback().await?;
            if matches!(self.goes_on(vault.into()).await, Ok(false)) {
                // What it says is of that life, and is held against no other.
                return Err(Error::Protocol(ANOTHER_LIFE));
            }
            if learned || !wants_keys(&found) {
                return Err(self.alarms_of(&found).await);
            }
            // Another device may have turned the key since the roster was read.
            self.learn_anew().await?;
            learned = true;
        }
    }

    /// As [`Self::take_versions`], in a transaction that the caller ends.
    pub(crate) async fn take_all(
        &self,
        db: &mut SqliteConnection,
        vault: VaultId,
        versions: &[SnapshotVersion],
    ) -> Checked<(), Vec<Refusal>> {
        let mut judge = Judge::new(db).await?;
        for version in versions {
            let at = (vault, version.header.entry);
            if let Err(refusal) = self.take_version(db, &mut judge, at, version, version.content_gone).await?
            {
                return Ok(Err(vec![refusal]));
            }
        }
        Ok(judge.verdict())
    }

    async fn fetch_history(&self, entry: EntryId) -> Result<(), Error> {
        let vault = self.vault();
        let mut after = 0;
        loop {
            let path =
                format!("/v1/vaults/{vault}/entries/{entry}/versions?after={after}&limit=100&content=1");
            let page: History = self.fetch(&path).await?;
            if page.versions.iter().any(|version| version.header.entry != entry) {
                return Err(self.alarm(AlarmKind::Page, &format!("history of {entry}")).await);
            }
            self.take_versions(vault, &page.versions).await?;
            match page.next {
                Some(next) if next.0 > after => after = next.0,
                _ => break,
            }
        }
        self.fetch_contents().await.map(drop)
    }
}

/// What is here of a version's content.
const fn state_of(version: &SnapshotVersion, gone: bool) -> ContentState {
    match (version.header.kind.has_content(), &version.content, gone) {
        (false, _, _) => ContentState::None,
        (true, Some(_), _) => ContentState::Here,
        (true, None, false) => ContentState::Missing,
        (true, None, true) => ContentState::Gone,
    }
}

/// Whether what is shown as an entry's heads can be: not more than there may be, each once, and nobody's parent.
fn plausible(entry: &SnapshotEntry) -> Result<(), Refusal> {
    let heads = usize::try_from(entry.heads).unwrap_or(usize::MAX);
    let ids: Vec<VersionId> = entry.versions.iter().map(|version| version.header.version_id()).collect();
    let once: BTreeSet<&VersionId> = ids.iter().collect();
    let shown = ids.get(..heads).unwrap_or_default();
    let mut named = entry.versions.iter().flat_map(|version| &version.header.parents);
    let branches: BTreeSet<u32> = entry.versions.iter().take(heads).map(|version| version.branch).collect();
    let fits = (1..=MAX_BRANCHES).contains(&shown.len())
        && once.len() == ids.len()
        && branches.len() == shown.len()
        && branches.iter().all(|branch| *branch < entry.next_branch)
        && !named.any(|parent| shown.contains(parent));
    if fits { Ok(()) } else { refuse(AlarmKind::Header, format!("{}: heads that are none", entry.entry)) }
}

/// A version that the digest counts as never held is held from now on.
async fn held_now(db: &mut SqliteConnection, vault: VaultId, id: VersionId, seq: Seq) -> Result<(), Error> {
    let Some(mut place) = streams::get(db, vault.into()).await? else { return Ok(()) };
    if place.digest.is_some() && seq <= place.seq {
        place.absent.remove(&id);
        streams::put(db, &place).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lockstep_events::Chain;

    use super::*;
    use crate::account::testing::two_devices;

    #[tokio::test]
    async fn a_snapshot_that_comes_late_takes_no_cursor_back() {
        let (a, _, _, mut vault) = two_devices().await;
        a.add(b"one").await.unwrap();
        a.add(b"two").await.unwrap();
        vault.accept_all(&a).await;
        a.apply(&vault.page(0)).await.unwrap();
        let now = streams::get(&mut a.store.begin().await.unwrap(), vault.id).await.unwrap().unwrap();
        let end = Place { seq: Seq(1), chain: Chain([1; 32]), digest: None, ..now };
        a.take_page(&[], Some((end, None))).await.unwrap();
        let then = streams::get(&mut a.store.begin().await.unwrap(), vault.id).await.unwrap();
        assert_eq!(then, Some(now));
    }
}
