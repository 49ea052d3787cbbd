//! The invariants of sync.md §10 over the states of the model.

use std::collections::BTreeSet;

use super::{
    device::{Device, Mark},
    fault::{Held, hold},
    server::{Entry, Fact, Server},
    universe::{Made, Universe, V},
    world::Push,
};
use crate::{graph::Heads, header::VersionKind, ids::VersionId};

/// S5, S6, S7 for one accepted version.
pub(super) fn accepted(before: &Heads, entry: &Entry, made: &Made) -> Held {
    let after = &entry.heads;
    let mut expected: BTreeSet<VersionId> = before.ids().into_iter().collect();
    expected.retain(|head| !made.header.parents.contains(head));
    expected.insert(made.id);
    let heads: BTreeSet<VersionId> = after.ids().into_iter().collect();
    hold("S6", heads == expected, || {
        format!("accepting {} left {} heads, {} are right", made.id, heads.len(), expected.len())
    })?;
    hold("S5", heads == entry.graph.heads(), || format!("heads are not who has no child: {heads:?}"))?;
    branches(after)?;
    // A live winner keeps its branch while nothing but edits happen.
    let (Some(old), Some(new)) = (before.winner(), after.winner()) else { return Ok(()) };
    let edit = made.header.kind == VersionKind::Edit;
    hold("S7", !edit || !old.kind.is_live() || old.branch == new.branch, || {
        format!("an edit moved the winner from branch {} to {}", old.branch, new.branch)
    })
}

fn branches(heads: &Heads) -> Held {
    let numbers: BTreeSet<_> = heads.heads.iter().map(|head| head.branch).collect();
    hold("S7", numbers.len() == heads.heads.len(), || format!("two heads on one branch: {heads:?}"))?;
    let lowest =
        |live| heads.heads.iter().filter(|head| head.kind.is_live() == live).min_by_key(|h| h.branch);
    let winner = lowest(true).or_else(|| lowest(false));
    hold("S7", heads.winner() == winner, || format!("not the lowest live branch wins: {heads:?}"))
}

/// S9 for what a prune is about to take. Later a stale device may still fork from a pruned version and make it a
/// common ancestor: no rule of pruning can know that, only keeping everything would.
pub(super) fn prune(server: &Server, universe: &Universe, entry: usize, old: &[V]) -> Held {
    let kept = &server.entries[entry];
    let heads = kept.heads.ids();
    let mut needed = kept.graph.nearest_common_ancestors(&heads);
    needed.extend(heads);
    let lost = old.iter().find(|v| needed.contains(&universe.made[**v].id));
    hold("S9", lost.is_none(), || format!("content of version {lost:?} would go while it is needed"))
}

/// S9 at rest: what is gone was pruned or purged by an event.
fn gone(server: &Server, universe: &Universe) -> Held {
    let mut named = super::Bits::default();
    for fact in &server.log {
        match fact {
            Fact::Version(_) => {}
            Fact::Pruned(_, versions) => versions.iter().for_each(|v| {
                named.add(*v);
            }),
            Fact::Purged(entry) => {
                let of_entry = |v: &V| universe.made[*v].entry == *entry;
                server.accepted.iter().filter(of_entry).for_each(|v| {
                    named.add(v);
                });
            }
        }
    }
    let lost = server.gone.first_outside(&[&named]);
    hold("S9", lost.is_none(), || format!("content of version {lost:?} is gone and no event says why"))
}

/// S1: what an answer promised is there.
pub(super) fn promises(server: &Server) -> Held {
    let lost = server.acknowledged.first_outside(&[&server.accepted]);
    hold("S1", lost.is_none(), || {
        format!("version {lost:?} was acknowledged in epoch {} and is gone", server.epoch)
    })
}

/// S2: a page has no hole.
pub(super) fn page(from: u64, to: u64, seqs: impl Iterator<Item = u64>) -> Held {
    let seqs: Vec<_> = seqs.collect();
    let whole: Vec<_> = (from + 1..=to).collect();
    hold("S2", seqs == whole, || format!("a reader after {from} saw {seqs:?}"))
}

/// C4 on the server and on one device.
pub(super) fn deletes(
    deletes: &[(V, Vec<V>)],
    server: &Server,
    universe: &Universe,
    device: &Device,
) -> Held {
    for (tombstone, shown) in deletes {
        let entry = universe.made[*tombstone].entry;
        if server.accepted.has(*tombstone) {
            let heads = server.entries[entry].heads.ids();
            let back = shown.iter().find(|v| heads.contains(&universe.made[**v].id));
            hold("C4", back.is_none(), || format!("version {back:?} is a head again after its delete"))?;
        }
        if device.known.has(*tombstone) {
            let back = shown.iter().find(|v| device.shown[entry].contains(v));
            hold("C4", back.is_none(), || {
                format!("device {} shows version {back:?} again after its delete", device.number)
            })?;
        }
    }
    Ok(())
}

/// C1, C2, C5, L6 and L7 for the device that has just done something; `before` is what it was.
pub(super) fn device(server: &Server, universe: &Universe, before: &Mark, device: &Device) -> Held {
    let name = device.number;
    if device.cursor.0 == server.epoch {
        let applied = server.log.iter().take(super::server::index(device.cursor.1 + 1));
        let missing = applied.zip(1_u64..).find(|(fact, _)| match fact {
            Fact::Version(v) => !device.known.has(*v) || !device.seen.has(*v),
            Fact::Purged(entry) => !device.folded[*entry].purged,
            Fact::Pruned(..) => false,
        });
        hold("C1", missing.is_none() && device.cursor.1 <= server.head(), || {
            let seq = missing.map(|(_, seq)| seq);
            format!("device {name} at {} of {} has not applied {seq:?}", device.cursor.1, server.head())
        })?;
    }
    if let Some((epoch, head)) = server.sessions[name].revoked {
        let heard = device.cursor.0 > epoch || (device.cursor.0 == epoch && device.cursor.1 > head);
        hold("L6", !heard, || {
            format!("device {name} was revoked at {head} of {epoch} and stands at {:?}", device.cursor)
        })?;
    }
    let mut accounted = device.quarantine.clone();
    device.outbox.iter().for_each(|v| {
        accounted.add(*v);
    });
    let lost = device.saved.first_outside(&[&accounted, &device.confirmed]);
    hold("C2", lost.is_none(), || format!("device {name} forgot version {lost:?} that it called saved"))?;
    let forward = before.cursor.0 != device.cursor.0 || before.cursor.1 <= device.cursor.1;
    hold("C5", forward, || {
        format!("the cursor of device {name} went from {:?} to {:?}", before.cursor, device.cursor)
    })?;
    let wiped = before.known.first_outside(&[&device.known, &device.quarantine]);
    hold("C5", wiped.is_none(), || format!("device {name} no longer has version {wiped:?}"))?;
    let right = device.heads_by_definition(universe);
    hold("L7", device.shown == right, || {
        format!("device {name} shows {:?}, {right:?} are right", device.shown)
    })
}

/// A1 and A2 for a push that has just arrived where the stream stood at `from`.
pub(super) fn let_in(server: &Server, push: &Push, from: u64) -> Held {
    let (session, name) = (&server.sessions[push.device], push.device);
    let changed = server.head() > from;
    hold("A1", !changed || session.revoked.is_none(), || {
        format!("a push of device {name} was taken after its revocation")
    })?;
    hold("A2", !changed || push.token > session.ran_out, || {
        format!("a push of device {name} was taken under token {} that had run out", push.token)
    })
}

/// A4 for a device that has just read everything.
pub(super) fn joined(server: &Server, universe: &Universe, device: &Device) -> Held {
    for (entry, kept) in server.entries.iter().enumerate() {
        let shown: BTreeSet<_> = device.shown[entry].iter().map(|v| universe.made[*v].id).collect();
        let heads: BTreeSet<_> = kept.heads.ids().into_iter().collect();
        hold("A4", shown == heads && device.folded[entry] == kept.heads, || {
            format!("device {} joins and shows {shown:?} of entry {entry}, not {heads:?}", device.number)
        })?;
    }
    Ok(())
}

/// S5, S8, S10 over the whole log.
pub(super) fn log(server: &Server, universe: &Universe) -> Held {
    let mut chain = crate::Chain::ZERO;
    for (at, fact) in server.log.iter().enumerate() {
        chain = fact.chain(universe, at as u64 + 1, &chain);
        hold("S10", server.chain[at + 1] == chain, || format!("the chain breaks at {}", at + 1))?;
    }
    for v in server.accepted.iter() {
        let made = &universe.made[v];
        hold("S8", made.header.version_id() == made.id, || format!("version {v} does not recompute"))?;
    }
    gone(server, universe)?;
    let mut again = server.clone();
    again.restore(universe, server.log.len())?;
    hold("S5", again.entries == server.entries, || "folding the log again gives other rows".into())
}

/// L1 and D1 when everybody has been heard.
pub(super) fn converged(server: &Server, universe: &Universe, device: &Device) -> Held {
    let name = device.number;
    hold("L1", device.outbox.is_empty(), || {
        format!("device {name} still has {:?} in its outbox", device.outbox)
    })?;
    hold("L1", device.cursor == (server.epoch, server.head()), || {
        format!("device {name} stands at {:?}", device.cursor)
    })?;
    let (more, less) =
        (device.known.first_outside(&[&server.accepted]), server.accepted.first_outside(&[&device.known]));
    hold("L1", more.is_none() && less.is_none(), || {
        format!("device {name} has version {more:?} too many and version {less:?} not")
    })?;
    let chain = server.chain[server.log.len()];
    hold("L1", device.chain == chain, || format!("device {name} has another chain"))?;
    for (entry, kept) in server.entries.iter().enumerate() {
        hold("L1", device.folded[entry] == kept.heads, || {
            format!("device {name} has other heads or winner of entry {entry}")
        })?;
        let shown = device.shown[entry].iter().map(|v| universe.made[*v].id).collect::<BTreeSet<_>>();
        let heads = kept.heads.ids().into_iter().collect();
        hold("L1", shown == heads, || format!("device {name} shows other heads of entry {entry}"))?;
    }
    Ok(())
}
