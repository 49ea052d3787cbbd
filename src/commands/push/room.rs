//! How much room a cluster needs in its vault, and what it is told if there is none.

use std::collections::{BTreeSet, HashMap};

use lockstep_events::{
    BlobHash, EntryId, Event, EventLog, LogError, Seq, VaultId, VersionId, attached::Attached,
    event::VaultEvent, graph::Heads, log::Placed,
};

use super::{
    Answer, Ready, Refusal, answer,
    decide::{Decision, Facts, Verdict},
};
use crate::{
    feed::Amount,
    quotas::{Exceeded, Room},
};

const PAGE: usize = 500;

/// Entries and bytes that the vault has more of once this is appended; less than nothing where entries go.
pub(super) fn needed(items: &[&Ready], decision: &Decision, facts: &Facts) -> Amount {
    let mut after: HashMap<EntryId, Heads> = HashMap::new();
    let mut attached = facts.attached.clone();
    let mut bytes = 0;
    for &at in &decision.append {
        let item = items[at];
        let heads = after
            .entry(item.entry)
            .or_insert_with(|| facts.heads.get(&item.entry).cloned().unwrap_or_default());
        heads.accept(item.version, item.kind, &item.parents, heads.last_seq.next());
        if decision.verdicts[at] != (Verdict::Append { content_missing: true }) {
            bytes += item.content.map_or(0, |(_, length)| i64::from(length));
            let more = attached.entry(item.entry).or_default().name(facts.sized(item));
            bytes += i64::try_from(more).unwrap_or(i64::MAX / 2);
        }
    }
    let entries = after.iter().map(|(entry, heads)| live(Some(heads)) - live(facts.heads.get(entry))).sum();
    Amount { entries, bytes }
}

/// What the attachments of an entry take up, and all that its versions ever named, by the log: only who brings
/// attachments asks for this.
///
/// # Errors
/// If the log does not answer, or has an event that cannot be read.
pub(super) async fn attached(
    log: &dyn EventLog,
    vault: VaultId,
    entry: EntryId,
) -> Result<(Attached, BTreeSet<BlobHash>), LogError> {
    let (mut attached, mut named, mut once) = (Attached::default(), HashMap::new(), BTreeSet::new());
    let mut after = Seq::ZERO;
    loop {
        let page = log.read_subject(vault.into(), entry.into(), after, PAGE).await?;
        for recorded in &page {
            after = recorded.seq;
            let Event::Vault(event) = recorded.event().map_err(|error| LogError::Other(error.into()))? else {
                continue;
            };
            if let VaultEvent::VersionAdded(added) = &event {
                once.extend(added.attachments.iter().copied());
            }
            apply(&mut attached, &mut named, event);
        }
        if page.len() < PAGE {
            return Ok((attached, once));
        }
    }
}

fn apply(attached: &mut Attached, named: &mut HashMap<VersionId, Vec<BlobHash>>, event: VaultEvent) {
    match event {
        VaultEvent::VersionAdded(added) if !added.content_missing && !added.attachments.is_empty() => {
            attached.name(added.sized_attachments());
            named.insert(added.header.version_id(), added.attachments);
        }
        VaultEvent::ContentPruned(pruned) => {
            for version in pruned.versions {
                attached.let_go(named.remove(&version).unwrap_or_default());
            }
        }
        VaultEvent::Purged(_) => drop(attached.clear()),
        VaultEvent::VersionAdded(_) | VaultEvent::Created(_) | VaultEvent::Erased(_) => {}
    }
}

fn live(heads: Option<&Heads>) -> i64 {
    i64::from(heads.is_some_and(|heads| !heads.heads.is_empty() && !heads.is_deleted()))
}

/// The versions of a cluster that has no room are refused, all of them.
pub(super) fn refused(
    items: &[&Ready],
    mut decision: Decision,
    exceeded: Exceeded,
    heads: &HashMap<EntryId, Heads>,
) -> Vec<(usize, Answer)> {
    for at in decision.append.drain(..) {
        decision.verdicts[at] = Verdict::Refuse(Refusal::QuotaExceeded(exceeded));
    }
    answer::nothing_appended(items, &decision, heads)
}

/// What was reserved stands. Of a retry, some of which stood before, the read model knows the rest.
pub(super) fn used(room: Option<Room<'_>>, placed: &[Placed]) {
    let (Some(room), Some(last)) = (room, placed.iter().map(|placed| placed.seq).max()) else { return };
    if placed.iter().all(|placed| !placed.duplicate) {
        room.stands(last, placed.len());
    }
}
