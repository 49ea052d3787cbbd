//! One cluster: load what the decision needs, decide, append, and again if the log has moved on.

use std::{collections::HashMap, time::Duration};

use lockstep_events::{
    BlobHash, Content, Epoch, Event, EventId, Hash32, Hex, LogError, NewEvent, Outcome, StreamId, StreamKind,
    Unit, VersionId,
    event::{VaultEvent, VersionAdded},
    graph::Heads,
    log::{Placed, StreamClaim, StreamExpect, SubjectClaim, SubjectExpect},
};

use super::{
    Answer, Push, PushError, Pusher, Ready, Refusal, Rule,
    answer::{self, Now},
    cluster::Cluster,
    decide::{Decision, Facts, Stood, Unknown, Verdict, decide},
    pruned::pruned,
    room, signers,
};
use crate::commands::facts::existing_account;

/// How often a cluster is decided again before the sender is asked to come back.
const MAX_ROUNDS: usize = 64;
/// An append whose end is unknown is repeated by the same ids after these pauses.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

impl Pusher {
    /// Brings a cluster to its end; the answers by index of the push.
    pub(super) async fn settle(
        &self,
        push: &Push,
        ready: &[Ready],
        cluster: &Cluster,
    ) -> Result<Vec<(usize, Answer)>, PushError> {
        let items: Vec<&Ready> = cluster.items.iter().map(|index| &ready[*index]).collect();
        let mut facts = self.facts(push, &items).await;
        let mut fresh = false;
        for _ in 0..MAX_ROUNDS {
            let decision = match decide(&items, &cluster.groups, &facts) {
                Ok(decision) => decision,
                Err(unknown) => {
                    self.look_up(push, &mut facts, unknown).await?;
                    continue;
                }
            };
            if !fresh && decision.refuses_by_state(&items) {
                self.refresh(push, &mut facts).await?;
                fresh = true;
                continue;
            }
            self.name_again(push, &facts.again(&items, &decision)).await?;
            if decision.append.is_empty() {
                return Ok(answer::nothing_appended(&items, &decision, &facts.heads));
            }
            let more = room::needed(&items, &decision, &facts);
            let room = match self.quotas.reserve(push.account, push.vault, more).await? {
                Ok(room) => room,
                // Before a refusal by the state, that is looked at: what is refused may stand already.
                Err(_) if !fresh => {
                    self.refresh(push, &mut facts).await?;
                    fresh = true;
                    continue;
                }
                Err(exceeded) => return Ok(room::refused(&items, decision, exceeded, &facts.heads)),
            };
            let blobs = facts.on_shelf(&items, &decision);
            if !self.name(push, &blobs).await? {
                self.refresh(push, &mut facts).await?;
                fresh = true;
                continue;
            }
            // Of an append whose end is unknown the sweep asks the log.
            let outcome = self.append(push, &items, &decision, &facts).await?;
            let (blobs, stands) = match &outcome {
                Outcome::Appended(placed) if placed.iter().any(|placed| placed.duplicate) => {
                    (facts.on_shelf(&items, &decision.without_duplicates(placed)), true)
                }
                outcome => (blobs, matches!(outcome, Outcome::Appended(_))),
            };
            self.shelf.naming_ended(push.vault, &blobs, stands).await;
            match outcome {
                Outcome::Appended(placed) => {
                    room::used(room, &placed);
                    return self.appended(push, &items, &decision, facts, &placed).await;
                }
                Outcome::Conflict(met) if signers::concerns(push, &met) => {
                    if !self.may_sign_still(push, &mut facts).await? {
                        return Ok(signers::refused(push, &items, &decision, &facts));
                    }
                }
                Outcome::Conflict(_) | Outcome::Missing(_) => {
                    self.refresh(push, &mut facts).await?;
                    fresh = true;
                }
                Outcome::IdReused(id) => return Ok(reused(&items, &decision, id, &facts)),
            }
        }
        Err(PushError::Contended)
    }

    async fn facts(&self, push: &Push, items: &[&Ready]) -> Facts {
        let mut entries: Vec<_> = items
            .iter()
            .filter(|item| item.refusal.is_none())
            .map(|item| (item.entry, item.parents.is_empty()))
            .collect();
        entries.sort_unstable();
        entries.dedup_by_key(|(entry, _)| *entry);
        let heads = self.entries.expect(push.vault, push.epoch, &entries).await;
        Facts { heads, signers: signers::of(push, items), ..Facts::default() }
    }

    /// The heads as the log has them now. What was not there may be there now.
    async fn refresh(&self, push: &Push, facts: &mut Facts) -> Result<(), LogError> {
        for (entry, heads) in &mut facts.heads {
            *heads = self.entries.refresh(push.vault, *entry, std::mem::take(heads)).await?;
            self.entries.put(push.vault, push.epoch, *entry, heads);
        }
        facts.versions.retain(|_, stood| stood.is_some());
        // Pruning may have come between: what is named again now is not taken away.
        facts.blobs.clear();
        facts.long.clear();
        facts.short.clear();
        facts.attached.clear();
        facts.once.clear();
        Ok(())
    }

    async fn look_up(&self, push: &Push, facts: &mut Facts, unknown: Unknown) -> Result<(), PushError> {
        let stream = StreamId::from(push.vault);
        let ids: Vec<EventId> = unknown.versions.iter().map(VersionId::event_id).collect();
        let found = if ids.is_empty() { Vec::new() } else { self.log.find(&ids).await? };
        facts.versions.extend(unknown.versions.iter().map(|version| (*version, None)));
        for recorded in found.iter().filter(|recorded| recorded.stream == stream) {
            if let Ok(Event::Vault(VaultEvent::VersionAdded(added))) = recorded.event() {
                let stood = Stood {
                    entry: added.header.entry,
                    kind: added.header.kind,
                    seq: recorded.seq,
                    content: added.header.content_hash,
                };
                facts.versions.insert(added.header.version_id(), Some(stood));
            }
        }
        for entry in unknown.attached {
            let (attached, once) = room::attached(&*self.log, push.vault, entry).await?;
            facts.attached.insert(entry, attached);
            facts.once.insert(entry, once);
        }
        let hashes: Vec<BlobHash> = unknown.blobs.into_iter().collect();
        if !hashes.is_empty() {
            let mut lengths: HashMap<_, _> = hashes.iter().map(|hash| (*hash, None)).collect();
            let pruned = pruned(&*self.log, push.vault, facts, &hashes).await?;
            let hashes: Vec<BlobHash> = hashes.into_iter().filter(|hash| !pruned.contains(hash)).collect();
            let short = self.log.contents(stream, &hashes).await?;
            lengths.extend(short.iter().map(|(hash, bytes)| (*hash, Some(bytes.len() as u64))));
            facts.short.extend(short);
            let long: Vec<_> = hashes.into_iter().filter(|hash| lengths[hash].is_none()).collect();
            if !long.is_empty() {
                let there = self.shelf.lengths(push.vault, &long).await?;
                facts.long.extend(there.keys());
                lengths.extend(there.into_iter().map(|(hash, length)| (hash, Some(length))));
            }
            facts.blobs.extend(lengths);
        }
        Ok(())
    }

    /// Whether what the versions keep is still there; until their naming has ended it stays. Right before an append: what
    /// is being named may not be taken away, also by who has the right to.
    async fn name(&self, push: &Push, blobs: &[BlobHash]) -> Result<bool, PushError> {
        if blobs.is_empty() {
            return Ok(true);
        }
        let named: Vec<_> = self.shelf.name(push.vault, blobs).await?.into_keys().collect();
        if named.len() < blobs.len() {
            self.shelf.naming_ended(push.vault, &named, false).await;
        }
        Ok(named.len() == blobs.len())
    }

    /// What was brought again for versions that stand is not swept: since a restore the log may have them without their
    /// attachments. This naming does not end here. The sweep asks the log, which knows whether one of them keeps it.
    async fn name_again(&self, push: &Push, blobs: &[BlobHash]) -> Result<(), PushError> {
        if push.reoffer {
            self.shelf.ask_the_log(push.vault, blobs).await?;
        }
        Ok(())
    }

    /// Appends; an unknown end is repeated by the same ids, briefly.
    async fn append(
        &self,
        push: &Push,
        items: &[&Ready],
        decision: &Decision,
        facts: &Facts,
    ) -> Result<Outcome, LogError> {
        for pause in PAUSES {
            match self.batcher.append(unit(push, items, decision, facts)?).await {
                Err(LogError::Unavailable(_)) => tokio::time::sleep(pause).await,
                end => return end,
            }
        }
        self.batcher.append(unit(push, items, decision, facts)?).await
    }

    async fn appended(
        &self,
        push: &Push,
        items: &[&Ready],
        decision: &Decision,
        mut facts: Facts,
        placed: &[Placed],
    ) -> Result<Vec<(usize, Answer)>, PushError> {
        if placed.iter().any(|placed| placed.duplicate) {
            self.refresh(push, &mut facts).await?;
            return Ok(answer::some_stood(items, decision, &facts.heads, placed));
        }
        let Now { answers, heads } = answer::all_new(items, decision, facts.heads, placed);
        for (entry, heads) in heads {
            self.entries.put(push.vault, push.epoch, entry, &heads);
        }
        Ok(answers)
    }
}

/// The events of a cluster, their entries claimed at what the decision looked at, and their signers at what was said of
/// them when the signatures were checked: a device that is revoked meanwhile writes no more.
fn unit(push: &Push, items: &[&Ready], decision: &Decision, facts: &Facts) -> Result<Unit, LogError> {
    let stream = StreamId::from(push.vault);
    let mut entries: Vec<_> = decision.append.iter().map(|at| items[*at].entry).collect();
    entries.sort_unstable();
    entries.dedup();
    let subjects = entries.into_iter().map(|entry| SubjectClaim {
        stream,
        subject: entry.into(),
        expect: expectation(facts.heads.get(&entry)),
    });
    let claim = StreamClaim {
        stream,
        kind: StreamKind::Vault,
        expect: StreamExpect::Exists,
        epoch_if_new: Epoch::ZERO,
    };
    let signers = decision.append.iter().map(|at| push.items[items[*at].index].signer);
    let events = decision.append.iter().map(|at| event(push, items[*at], &decision.verdicts[*at], facts));
    Ok(Unit {
        streams: vec![claim, existing_account(push.account)],
        subjects: subjects.chain(signers::claims(push.account, signers, facts)).collect(),
        requires: Vec::new(),
        events: events.collect::<Result<_, _>>()?,
    })
}

fn expectation(heads: Option<&Heads>) -> SubjectExpect {
    match heads {
        Some(heads) if heads.last_seq.0 > 0 => SubjectExpect::Exact(heads.last_seq),
        _ => SubjectExpect::None,
    }
}

fn event(push: &Push, ready: &Ready, verdict: &Verdict, facts: &Facts) -> Result<NewEvent, LogError> {
    let item = &push.items[ready.index];
    // Checked with the item: it fits.
    let wrapped_key = item.wrapped_key.as_deref().map(Hex::new).transpose();
    let (attachments, attachment_sizes) = facts.sized(ready).into_iter().unzip();
    let added = VersionAdded {
        header: item.header.clone(),
        signer: item.signer,
        signature: item.signature,
        batch: push.batch,
        parent_inferred: ready.inferred,
        inferred_parents: if ready.inferred { ready.parents.clone() } else { Vec::new() },
        content_missing: *verdict == Verdict::Append { content_missing: true },
        wrapped_key: wrapped_key.map_err(|error| LogError::Other(error.into()))?,
        attachments,
        attachment_sizes,
    };
    let encoded = Event::Vault(VaultEvent::VersionAdded(Box::new(added)))
        .encode()
        .map_err(|error| LogError::Other(error.into()))?;
    // What stands there already comes again with this event: whoever erases it for another entry sees that.
    let stands = || facts.short.get(&item.header.content_hash?);
    let content = item.content.as_ref().or_else(stands).zip(item.header.content_hash);
    Ok(NewEvent {
        event_id: ready.version.event_id(),
        stream: push.vault.into(),
        subject: Some(ready.entry.into()),
        kind: encoded.kind.to_owned(),
        schema: encoded.schema,
        actor: Some(push.account),
        device: Some(push.device),
        correlation: Some(push.batch.0),
        causation: None,
        public: encoded.public,
        sealed: None,
        content: content.map(|(bytes, hash)| Content { hash, bytes: bytes.clone() }),
        body_hash: Hash32(ready.version.0),
    })
}

/// The log has another event of this identity: the first 128 bits of two version ids agree. Nobody meets this by
/// accident; the item is refused and with it, being one unit, its cluster.
fn reused(items: &[&Ready], decision: &Decision, id: EventId, facts: &Facts) -> Vec<(usize, Answer)> {
    let mut decision = decision.clone();
    for at in &decision.append {
        decision.verdicts[*at] = Verdict::Refuse(if items[*at].version.event_id() == id {
            Refusal::forbidden(Rule::Identity, "another version has this identity")
        } else {
            Refusal::NotAttempted
        });
    }
    answer::nothing_appended(items, &decision, &facts.heads)
}
