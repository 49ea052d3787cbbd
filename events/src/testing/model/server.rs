//! The store: accepts versions, orders them, serves them. The rules of heads are the real ones.

use super::{
    access::Session,
    bits::Bits,
    fault::{Fault, Held, hold},
    universe::{Universe, V},
};
use crate::{
    canonical::{Writer, leaf_hash, next_chain},
    graph::{Graph, Heads},
    header::VersionKind,
    ids::{Chain, Seq},
};

/// What an event of the vault's stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A version was accepted.
    Version(V),
    /// Contents of an entry's old versions were dropped.
    Pruned(usize, Vec<V>),
    /// An entry was erased.
    Purged(usize),
}

impl Fact {
    /// The running hash after this event.
    pub fn chain(&self, universe: &Universe, seq: u64, before: &Chain) -> Chain {
        let core = Writer::new("model").u64(seq);
        let core = match self {
            Self::Version(v) => core.u8(1).fixed(universe.made[*v].id.as_bytes()),
            Self::Pruned(entry, versions) => {
                let core = core.u8(2).u64(*entry as u64);
                versions.iter().fold(core, |core, v| core.fixed(universe.made[*v].id.as_bytes()))
            }
            Self::Purged(entry) => core.u8(3).u64(*entry as u64),
        };
        next_chain(before, &leaf_hash(&core.finish()))
    }
}

/// A page, or a live frame: events `from + 1 ..= to` of one epoch.
#[derive(Debug, Clone)]
pub struct Page {
    /// The life of the stream.
    pub epoch: u64,
    /// Before its first event.
    pub from: u64,
    /// Its last event.
    pub to: u64,
    /// The chain at `to`.
    pub chain: Chain,
    /// The events with their seqs.
    pub facts: Vec<(u64, Fact)>,
    /// Where the stream ends.
    pub head: u64,
}

/// What became of one item of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Stands at this seq now.
    Accepted(u64),
    /// Stood there before.
    Duplicate(u64),
    /// A parent does not stand in this entry.
    MissingParents,
    /// The entry was erased.
    EntryPurged,
    /// Too many open branches.
    TooManyBranches,
    /// Not a valid header.
    Refused,
}

/// The answer to a push.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The life of the stream in which it was given.
    pub epoch: u64,
    /// Where the stream ended then.
    pub head: u64,
    /// One verdict per item.
    pub verdicts: Vec<(V, Verdict)>,
}

/// What the server keeps of one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The real heads.
    pub heads: Heads,
    /// The whole graph, the plain definition of heads.
    pub graph: Graph,
}

/// The server with its log.
#[derive(Debug, Clone)]
pub struct Server {
    /// The life of the stream.
    pub epoch: u64,
    /// The events.
    pub log: Vec<Fact>,
    /// The chain after 0, 1, 2, … events.
    pub chain: Vec<Chain>,
    /// Versions in the log: A.
    pub accepted: Bits,
    /// Versions that an answer called accepted or duplicate in this epoch.
    pub acknowledged: Bits,
    /// Versions whose content is gone.
    pub gone: Bits,
    /// Per entry.
    pub entries: Vec<Entry>,
    /// Lengths of the log at which a backup was taken.
    pub backups: Vec<usize>,
    /// Events whose commit is not visible yet, with the fault of a seq before the commit.
    pub hidden: Vec<usize>,
    /// The sessions of the devices, by number.
    pub sessions: Vec<Session>,
    seqs: Vec<u64>,
    /// What is folded again was checked when it was folded first.
    replaying: bool,
    pub(super) fault: Option<Fault>,
}

impl Server {
    /// An empty stream in its first epoch.
    pub fn new(entries: usize, fault: Option<Fault>) -> Self {
        Self {
            epoch: 1,
            log: Vec::new(),
            chain: vec![Chain::ZERO],
            accepted: Bits::default(),
            acknowledged: Bits::default(),
            gone: Bits::default(),
            entries: vec![Entry::default(); entries],
            backups: Vec::new(),
            hidden: Vec::new(),
            sessions: Vec::new(),
            seqs: Vec::new(),
            replaying: false,
            fault,
        }
    }

    /// Where the stream ends.
    pub fn head(&self) -> u64 {
        self.log.len() as u64
    }

    /// Where a version stands.
    pub fn seq_of(&self, v: V) -> Option<u64> {
        self.seqs.get(v).copied().filter(|seq| *seq > 0)
    }

    /// A push of some versions under an epoch; none if the epoch is another one.
    ///
    /// # Errors
    /// If S3, S4, S5, S6, S7, S8 or S12 does not hold any more.
    pub fn push(
        &mut self,
        universe: &Universe,
        epoch: u64,
        items: &[V],
    ) -> Result<Option<Answer>, super::Violation> {
        let before = self.log.len();
        let taken = epoch == self.epoch || self.fault == Some(Fault::PushWithoutEpoch);
        let mut verdicts = Vec::with_capacity(items.len());
        if taken {
            let mut open: Vec<V> = items.to_vec();
            // A parent may stand anywhere in the batch: go round until nothing moves.
            loop {
                let size = open.len();
                let mut missing = Vec::new();
                for v in std::mem::take(&mut open) {
                    match self.decide(universe, v)? {
                        Verdict::MissingParents => missing.push(v),
                        verdict => verdicts.push((v, verdict)),
                    }
                }
                open = missing;
                if open.is_empty() || open.len() == size {
                    break;
                }
            }
            verdicts.extend(open.into_iter().map(|v| (v, Verdict::MissingParents)));
        }
        hold("S12", epoch == self.epoch || self.log.len() == before, || {
            format!("a push under epoch {epoch} changed the stream of epoch {}", self.epoch)
        })?;
        Ok(taken.then(|| Answer { epoch: self.epoch, head: self.head(), verdicts }))
    }

    fn decide(&mut self, universe: &Universe, v: V) -> Result<Verdict, super::Violation> {
        let made = &universe.made[v];
        if let Some(seq) = self.recognised(universe, v) {
            return Ok(Verdict::Duplicate(seq));
        }
        if made.header.validate().is_err() {
            return Ok(Verdict::Refused);
        }
        let heads = &self.entries[made.entry].heads;
        if heads.purged {
            return Ok(Verdict::EntryPurged);
        }
        if made.parents.iter().any(|p| self.seq_of(*p).is_none() || universe.made[*p].entry != made.entry) {
            return Ok(Verdict::MissingParents);
        }
        if heads.would_exceed_branches(universe.parent_ids(v)) {
            return Ok(Verdict::TooManyBranches);
        }
        self.append(universe, Fact::Version(v))?;
        Ok(Verdict::Accepted(self.head()))
    }

    fn recognised(&self, universe: &Universe, v: V) -> Option<u64> {
        let seq = self.seq_of(v)?;
        let made = &universe.made[v];
        let is_head = || self.entries[made.entry].heads.heads.iter().any(|head| head.version == made.id);
        match self.fault {
            Some(Fault::NoDedupe) => None,
            Some(Fault::IdempotencyAgainstHead) => is_head().then_some(seq),
            _ => Some(seq),
        }
    }

    /// Puts an event at the end and folds it.
    ///
    /// # Errors
    /// If S3, S4, S5, S6 or S7 does not hold any more.
    pub fn append(&mut self, universe: &Universe, fact: Fact) -> Held {
        let seq = self.head() + 1;
        let before = self.chain[self.log.len()];
        self.chain.push(fact.chain(universe, seq, &before));
        let folded = self.fold(universe, seq, &fact);
        self.log.push(fact);
        folded
    }

    fn fold(&mut self, universe: &Universe, seq: u64, fact: &Fact) -> Held {
        match fact {
            Fact::Version(v) => self.accept(universe, seq, *v),
            Fact::Pruned(entry, versions) => {
                for v in versions {
                    self.gone.add(*v);
                }
                self.entries[*entry].heads.last_seq = Seq(seq);
                Ok(())
            }
            Fact::Purged(entry) => {
                let of_entry = |v: &usize| universe.made[*v].entry == *entry;
                let versions: Vec<_> = self.accepted.iter().filter(of_entry).collect();
                for v in versions {
                    self.gone.add(v);
                }
                purge(&mut self.entries[*entry].heads, seq);
                self.entries[*entry].graph = Graph::default();
                Ok(())
            }
        }
    }

    fn accept(&mut self, universe: &Universe, seq: u64, v: V) -> Held {
        let made = &universe.made[v];
        hold("S3", self.accepted.add(v), || format!("version {v} was accepted again at {seq}"))?;
        for parent in &made.parents {
            let fits =
                self.seq_of(*parent).is_some_and(|at| at < seq) && universe.made[*parent].entry == made.entry;
            hold("S4", fits, || format!("version {v} at {seq} stands before its parent {parent}"))?;
        }
        if self.seqs.len() <= v {
            self.seqs.resize(v + 1, 0);
        }
        self.seqs[v] = seq;
        let entry = &mut self.entries[made.entry];
        let before = entry.heads.clone();
        entry.heads.accept(made.id, made.header.kind, &made.header.parents, Seq(seq));
        if self.fault == Some(Fault::MergeSwallowsUnnamedHeads) && made.header.kind == VersionKind::Merge {
            entry.heads.heads.retain(|head| head.version == made.id);
        }
        entry.graph.insert(made.id, &made.header.parents);
        if self.replaying {
            return Ok(());
        }
        super::check::accepted(&before, entry, made)
    }

    /// Events after a seq, as a reader is served them.
    pub fn page(&self, after: u64, limit: u64) -> Page {
        let to = self.head().min(after + limit);
        let seqs = (after + 1)..=to;
        let facts: Vec<_> = seqs
            .filter(|seq| !self.hidden.contains(&index(*seq)))
            .map(|seq| (seq, self.log[index(seq)].clone()))
            .collect();
        let to = facts.last().map_or(after, |(seq, _)| *seq);
        let chain = self.chain.get(index(to + 1)).copied().unwrap_or(Chain::ZERO);
        Page { epoch: self.epoch, from: after, to, chain, facts, head: self.head() }
    }

    /// Erases an entry if its heads are exactly those that the person was shown.
    ///
    /// # Errors
    /// If S11 does not hold.
    pub fn purge(&mut self, universe: &Universe, entry: usize, shown: &Heads) -> Held {
        let heads = &self.entries[entry].heads;
        let fits = heads.ids() == shown.ids() && !heads.purged && !heads.heads.is_empty();
        if fits {
            let before = heads.ids();
            self.append(universe, Fact::Purged(entry))?;
            return hold("S11", before == shown.ids(), || {
                format!("entry {entry} was purged over other heads")
            });
        }
        Ok(())
    }

    /// Drops the contents of all versions of an entry that nobody can need: not heads, not the nearest common
    /// ancestors of heads, not what a kept adopt points to.
    ///
    /// # Errors
    /// If S9 does not hold.
    pub fn prune(&mut self, universe: &Universe, entry: usize) -> Held {
        let kept = &self.entries[entry];
        let heads = kept.heads.ids();
        let needed = kept.graph.nearest_common_ancestors(&heads);
        let adopted = |v: &V| {
            let points = |w: V| universe.made[w].header.content_of == Some(universe.made[*v].id);
            self.accepted.iter().any(points)
        };
        let old: Vec<V> = self
            .accepted
            .iter()
            .filter(|v| universe.made[*v].entry == entry && !self.gone.has(*v))
            .filter(|v| !heads.contains(&universe.made[*v].id) && !needed.contains(&universe.made[*v].id))
            .filter(|v| !adopted(v))
            .collect();
        if old.is_empty() || kept.heads.purged {
            return Ok(());
        }
        super::check::prune(self, universe, entry, &old)?;
        self.append(universe, Fact::Pruned(entry, old))
    }

    /// Goes back to an older log. A new epoch tells every device.
    ///
    /// # Errors
    /// If folding the older log breaks an invariant.
    pub fn restore(&mut self, universe: &Universe, length: usize) -> Held {
        let log = self.log[..length.min(self.log.len())].to_vec();
        let (epoch, fault) = (self.epoch, self.fault);
        let keeps = fault == Some(Fault::RestoreWithoutNewEpoch);
        let acknowledged = std::mem::take(&mut self.acknowledged);
        let sessions = std::mem::take(&mut self.sessions);
        let mut backups = std::mem::take(&mut self.backups);
        backups.retain(|backup| *backup <= log.len());
        *self = Self { backups, sessions, ..Self::new(self.entries.len(), fault) };
        self.epoch = if keeps { epoch } else { epoch + 1 };
        if keeps {
            self.acknowledged = acknowledged;
        }
        self.replaying = true;
        log.into_iter().try_for_each(|fact| self.append(universe, fact))?;
        self.replaying = false;
        Ok(())
    }
}

/// What a purge does to the heads of an entry.
pub fn purge(heads: &mut Heads, seq: u64) {
    heads.heads.clear();
    heads.purged = true;
    heads.last_seq = Seq(seq);
}

/// The place of a seq in the log; the chain at a seq is one further.
pub fn index(seq: u64) -> usize {
    usize::try_from(seq).unwrap_or(usize::MAX).saturating_sub(1)
}
