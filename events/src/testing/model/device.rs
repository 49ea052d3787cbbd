//! The client's state machine: local store, outbox and cursor, which move in one local transaction.

use std::collections::BTreeSet;

use super::{
    bits::Bits,
    fault::{Fault, Held, hold},
    server::{Answer, Fact, Page, Verdict, purge},
    universe::{Author, Choice, Universe, V},
};
use crate::{
    canonical::sha256,
    graph::Heads,
    header::VersionKind,
    ids::{Chain, DeviceId, Seq},
};

/// What became of a page or frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// All of it is in the store now, and the cursor behind it.
    Yes,
    /// It does not join on to the cursor: pull.
    NotJoining,
    /// It does not verify: kept out, and shown to the user.
    Alarm,
    /// It belongs to another life of the stream: reset.
    OtherEpoch,
}

/// A device with everything that it keeps.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its number.
    pub number: usize,
    /// Versions in its store: `K_d`.
    pub known: Bits,
    /// Versions that the server does not confirm yet, oldest first: `O_d`.
    pub outbox: Vec<V>,
    /// Versions that were refused for good; kept and shown.
    pub quarantine: Bits,
    /// Versions that stand in the log of this epoch up to the cursor.
    pub seen: Bits,
    /// Versions that were ever confirmed, by an answer or by the feed.
    pub confirmed: Bits,
    /// Versions that this device's user was told are saved.
    pub saved: Bits,
    /// The cursor: epoch and seq.
    pub cursor: (u64, u64),
    /// The chain at the cursor.
    pub chain: Chain,
    /// Sum of SHA-256(version id) over `seen`.
    pub digest: [u64; 4],
    /// Heads as the log up to the cursor makes them, per entry.
    pub folded: Vec<Heads>,
    /// Heads as the user is shown them: of `K_d` and `O_d`, per entry.
    pub shown: Vec<BTreeSet<V>>,
    /// Entries whose purge it has seen: they stay erased, whatever a restore brings back.
    pub erased: Vec<bool>,
    /// Whether it hears the server.
    pub online: bool,
    /// Live frames that arrived and wait.
    pub inbox: Vec<Page>,
    /// Answers that are still on their way.
    pub answers: Vec<Answer>,
    /// The number of the token that it holds.
    pub token: u64,
    /// It was told that it is no device of the account any more.
    pub revoked: bool,
    /// Whose versions it leaves out, with the fault of a joiner that distrusts.
    pub distrusts: Vec<DeviceId>,
    reoffer: bool,
    arrived: Vec<u32>,
    arrivals: u32,
    used: Bits,
    fault: Option<Fault>,
}

/// A device's state before a step, as far as checks need it.
#[derive(Debug, Clone)]
pub struct Mark {
    /// The cursor.
    pub cursor: (u64, u64),
    /// `K_d`.
    pub known: Bits,
}

impl Device {
    /// An empty device that has never spoken with the server.
    pub fn new(number: usize, entries: usize, fault: Option<Fault>) -> Self {
        Self {
            number,
            known: Bits::default(),
            outbox: Vec::new(),
            quarantine: Bits::default(),
            seen: Bits::default(),
            confirmed: Bits::default(),
            saved: Bits::default(),
            cursor: (0, 0),
            chain: Chain::ZERO,
            digest: [0; 4],
            folded: vec![Heads::default(); entries],
            shown: vec![BTreeSet::new(); entries],
            erased: vec![false; entries],
            online: true,
            inbox: Vec::new(),
            answers: Vec::new(),
            token: 1,
            revoked: false,
            distrusts: Vec::new(),
            reoffer: false,
            arrived: Vec::new(),
            arrivals: 0,
            used: Bits::default(),
            fault,
        }
    }

    /// It is a device of the account no more. What it has and what it did not send stays, and is shown to its user.
    pub fn is_told_that_it_is_revoked(&mut self) {
        self.revoked = true;
        self.inbox.clear();
        if self.fault == Some(Fault::RevocationEmptiesOutbox) {
            self.outbox.clear();
        }
    }

    /// Whether a purge of this entry was seen.
    pub fn purged(&self, entry: usize) -> bool {
        self.erased[entry]
    }

    fn learn(&mut self, universe: &Universe, v: V) {
        let made = &universe.made[v];
        if self.quarantine.has(v) {
            self.quarantine.remove(v);
        }
        if !self.known.add(v) {
            return;
        }
        if self.arrived.len() <= v {
            self.arrived.resize(v + 1, 0);
        }
        self.arrivals += 1;
        self.arrived[v] = self.arrivals;
        for parent in &made.parents {
            self.used.add(*parent);
            self.shown[made.entry].remove(parent);
        }
        if !self.used.has(v) && !self.purged(made.entry) {
            self.shown[made.entry].insert(v);
        }
    }

    /// The user decides something and is told that it is saved. The same silent choice again changes nothing.
    ///
    /// # Errors
    /// If C3 does not hold.
    pub fn make(
        &mut self,
        universe: &mut Universe,
        choice: Choice,
        clock: i64,
    ) -> Result<V, super::Violation> {
        self.make_having_seen(universe, choice, clock, self.arrivals)
    }

    fn make_having_seen(
        &mut self,
        universe: &mut Universe,
        choice: Choice,
        clock: i64,
        saw: u32,
    ) -> Result<V, super::Violation> {
        for parent in &choice.parents {
            let arrived = self.arrived.get(*parent).copied().unwrap_or(0);
            hold("C3", (1..=saw).contains(&arrived), || {
                format!("device {} supersedes version {parent} that its user never saw", self.number)
            })?;
        }
        let author = Author { device: self.number, seq: self.cursor.1, chain: self.chain, clock };
        let v = universe.make(choice, author);
        if !self.known.has(v) && !self.quarantine.has(v) {
            self.learn(universe, v);
            self.outbox.push(v);
            self.saved.add(v);
        }
        Ok(v)
    }

    /// The heads that a delete names.
    pub fn named_by_a_delete(&self, universe: &Universe, entry: usize) -> Vec<V> {
        let all: Vec<V> = self.shown[entry].iter().copied().collect();
        if self.fault != Some(Fault::DeleteNamesOnlyWinner) {
            return all;
        }
        let live = |v: &V| universe.made[*v].header.kind.is_live();
        all.iter().copied().filter(live).take(1).collect()
    }

    /// Takes in a page that was pulled, or a live frame.
    ///
    /// # Errors
    /// If a re-parented edit breaks C3.
    pub fn apply(
        &mut self,
        universe: &mut Universe,
        page: &Page,
        live: bool,
    ) -> Result<Applied, super::Violation> {
        if page.epoch != self.cursor.0 {
            return Ok(Applied::OtherEpoch);
        }
        let blind = live && self.fault == Some(Fault::FrameOverGap);
        if page.from != self.cursor.1 && !(blind && page.to > self.cursor.1) {
            return Ok(Applied::NotJoining);
        }
        if !blind && !self.verifies(universe, page) {
            return Ok(Applied::Alarm);
        }
        let before = self.arrivals;
        for (seq, fact) in &page.facts {
            self.fold(universe, *seq, fact);
        }
        self.cursor.1 = page.to;
        self.chain = page.chain;
        if self.fault == Some(Fault::ReparentUnsent) {
            self.reparent(universe, before)?;
        }
        Ok(Applied::Yes)
    }

    /// Ids recompute, and the chain is the running hash from here to the end of the page.
    fn verifies(&self, universe: &Universe, page: &Page) -> bool {
        let mut chain = self.chain;
        let mut at = self.cursor.1;
        for (seq, fact) in &page.facts {
            at += 1;
            if *seq != at {
                return false;
            }
            chain = fact.chain(universe, *seq, &chain);
        }
        at == page.to && chain == page.chain
    }

    fn fold(&mut self, universe: &Universe, seq: u64, fact: &Fact) {
        match fact {
            Fact::Version(v) if self.distrusts.contains(&universe.made[*v].header.author_device) => {}
            Fact::Version(v) => {
                let made = &universe.made[*v];
                self.learn(universe, *v);
                self.outbox.retain(|open| open != v);
                self.confirmed.add(*v);
                if self.seen.add(*v) {
                    add(&mut self.digest, &sha256(made.id.as_bytes()));
                }
                self.folded[made.entry].accept(made.id, made.header.kind, &made.header.parents, Seq(seq));
            }
            Fact::Pruned(entry, _) => self.folded[*entry].last_seq = Seq(seq),
            Fact::Purged(entry) => {
                purge(&mut self.folded[*entry], seq);
                self.erased[*entry] = true;
                self.shown[*entry].clear();
            }
        }
    }

    /// The fault: an unsent edit is moved onto what has just arrived.
    fn reparent(&mut self, universe: &mut Universe, before: u32) -> Held {
        for v in self.outbox.clone() {
            let made = universe.made[v].clone();
            let fresh = |head: &V| *head != v && self.arrived[*head] > before;
            let news: Vec<V> = self.shown[made.entry].iter().copied().filter(fresh).collect();
            if made.header.kind == VersionKind::Edit && !news.is_empty() {
                let saw = self.arrived[v];
                let choice = Choice {
                    entry: made.entry,
                    kind: VersionKind::Edit,
                    parents: vec![news[0]],
                    content_of: None,
                    content_len: made.header.content_len,
                };
                self.make_having_seen(universe, choice, made.header.client_time, saw)?;
            }
        }
        Ok(())
    }

    /// The stream has another life: start again from its beginning, keep everything.
    pub fn reset(&mut self, epoch: u64) {
        if self.fault == Some(Fault::WipeOnReset) {
            let (known, number) = (self.folded.len(), self.number);
            let (saved, confirmed, online) = (self.saved.clone(), self.confirmed.clone(), self.online);
            *self = Self { confirmed, saved, online, ..Self::new(number, known, self.fault) };
        }
        self.cursor = (epoch, 0);
        self.chain = Chain::ZERO;
        self.digest = [0; 4];
        self.seen = Bits::default();
        self.folded.iter_mut().for_each(|heads| *heads = Heads::default());
        self.inbox.clear();
        self.reoffer = true;
    }

    /// At the end of the stream after a reset: what the server does not have is offered again, whoever wrote it.
    pub fn offer_again(&mut self, universe: &Universe, head: u64) {
        if !self.reoffer || self.cursor.1 < head {
            return;
        }
        self.reoffer = false;
        let lost = |v: &V| !self.seen.has(*v) && !self.outbox.contains(v);
        let mut again: Vec<V> = self.known.iter().filter(lost).collect();
        again.sort_by_key(|v| self.arrived[*v]);
        self.outbox.extend(again);
        self.show_again(universe);
    }

    /// Takes in the answer to a push.
    pub fn answered(&mut self, universe: &Universe, answer: &Answer) {
        if answer.epoch != self.cursor.0 {
            return;
        }
        for (v, verdict) in &answer.verdicts {
            match verdict {
                Verdict::Accepted(_) | Verdict::Duplicate(_) => {
                    self.outbox.retain(|open| open != v);
                    self.confirmed.add(*v);
                }
                Verdict::MissingParents => self.offer_ancestors(universe, *v),
                Verdict::EntryPurged | Verdict::TooManyBranches | Verdict::Refused => {
                    self.set_aside(universe, *v);
                }
            }
        }
        self.move_cursor(universe, answer);
    }

    /// An answer moves the cursor only if the accepted seqs are exactly the next ones.
    fn move_cursor(&mut self, universe: &Universe, answer: &Answer) {
        if self.fault == Some(Fault::CursorMovedByPushAnswer) {
            self.cursor.1 = self.cursor.1.max(answer.head);
            return;
        }
        let mut accepted: Vec<(u64, V)> = answer
            .verdicts
            .iter()
            .filter_map(|(v, verdict)| match verdict {
                Verdict::Accepted(seq) => Some((*seq, *v)),
                _ => None,
            })
            .collect();
        accepted.sort_unstable();
        let next = |n: usize| self.cursor.1 + 1 + n as u64;
        if accepted.iter().enumerate().all(|(n, (seq, _))| *seq == next(n)) {
            for (seq, v) in accepted {
                let fact = Fact::Version(v);
                self.chain = fact.chain(universe, seq, &self.chain);
                self.fold(universe, seq, &fact);
                self.cursor.1 = seq;
            }
        }
    }

    /// The server lost what a version builds on: offer that, too.
    fn offer_ancestors(&mut self, universe: &Universe, v: V) {
        let mut open = universe.made[v].parents.clone();
        while let Some(next) = open.pop() {
            if self.known.has(next) && !self.seen.has(next) && !self.outbox.contains(&next) {
                self.outbox.push(next);
                open.extend(&universe.made[next].parents);
            }
        }
    }

    /// Into quarantine, with everything unsent that builds on it.
    fn set_aside(&mut self, universe: &Universe, v: V) {
        if self.seen.has(v) {
            return;
        }
        let mut aside = vec![v];
        while let Some(next) = aside.pop() {
            self.quarantine.add(next);
            self.known.remove(next);
            self.outbox.retain(|open| *open != next);
            let builds = |w: &&V| universe.made[**w].parents.contains(&next);
            aside.extend(self.outbox.iter().filter(builds).copied());
        }
        self.show_again(universe);
    }

    /// The heads of every entry by their definition: versions of `K_d` and `O_d` that are nobody's parent.
    pub fn heads_by_definition(&self, universe: &Universe) -> Vec<BTreeSet<V>> {
        let mut all = self.known.clone();
        self.outbox.iter().for_each(|v| {
            all.add(*v);
        });
        let mut used = Bits::default();
        for parent in all.iter().flat_map(|v| &universe.made[v].parents) {
            used.add(*parent);
        }
        let mut heads = vec![BTreeSet::new(); self.shown.len()];
        for v in all.iter().filter(|v| !used.has(*v) && !self.purged(universe.made[*v].entry)) {
            heads[universe.made[v].entry].insert(v);
        }
        heads
    }

    /// What checks compare the device with after a step.
    pub fn mark(&self) -> Mark {
        Mark { cursor: self.cursor, known: self.known.clone() }
    }

    fn show_again(&mut self, universe: &Universe) {
        self.used = Bits::default();
        for v in self.known.iter() {
            for parent in &universe.made[v].parents {
                self.used.add(*parent);
            }
        }
        self.shown = self.heads_by_definition(universe);
    }
}

/// Adds a 256-bit number, modulo 2^256.
fn add(sum: &mut [u64; 4], hash: &[u8; 32]) {
    let mut carry = false;
    for (at, part) in hash.chunks(8).enumerate() {
        let mut word = [0; 8];
        word.copy_from_slice(part);
        let (one, over) = sum[at].overflowing_add(u64::from_be_bytes(word));
        let (two, again) = one.overflowing_add(u64::from(carry));
        sum[at] = two;
        carry = over || again;
    }
}
