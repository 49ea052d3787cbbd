//! The decision about the items of one cluster, pure: which are appended, which stand, which are refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lockstep_events::{
    BlobHash, DeviceId, EntryId, Seq, VersionId, attached::Attached, graph::Heads, header::VersionKind,
    log::Placed,
};

use super::{Ready, Refusal, Rule};

/// What the decision looks at.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Heads of every entry of the cluster.
    pub heads: HashMap<EntryId, Heads>,
    /// Versions that were looked up in the log; none: it does not stand.
    pub versions: HashMap<VersionId, Option<Stood>>,
    /// Blobs that were looked up, with their length; none: the vault does not have it.
    pub blobs: HashMap<BlobHash, Option<u64>>,
    /// Those of them that lie on the shelf and not in the log.
    pub long: BTreeSet<BlobHash>,
    /// The ciphertexts of the others.
    pub short: HashMap<BlobHash, Vec<u8>>,
    /// What the attachments of entries take up that get more of them.
    pub attached: HashMap<EntryId, Attached>,
    /// What versions of those entries ever named that stand, whether or not they keep their content.
    pub once: HashMap<EntryId, BTreeSet<BlobHash>>,
    /// Who signed, and where the account's stream last speaks of that device.
    pub signers: BTreeMap<DeviceId, Seq>,
}

/// A version in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stood {
    /// Its entry.
    pub entry: EntryId,
    /// Its kind.
    pub kind: VersionKind,
    /// Where it stands.
    pub seq: Seq,
    /// Its ciphertext, if its kind has one.
    pub content: Option<BlobHash>,
}

/// What must be looked up before the decision can be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Versions.
    pub versions: BTreeSet<VersionId>,
    /// Blobs.
    pub blobs: BTreeSet<BlobHash>,
    /// Entries whose attachments have to be known.
    pub attached: BTreeSet<EntryId>,
}

/// About one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is appended.
    Append {
        /// Its ciphertext is gone for ever.
        content_missing: bool,
    },
    /// It stands already.
    Stands(Seq),
    /// It is refused.
    Refuse(Refusal),
}

/// About a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// One per item.
    pub verdicts: Vec<Verdict>,
    /// The items to append, parents before children.
    pub append: Vec<usize>,
}

impl Decision {
    /// Whether a refusal depends on what stands in the log, so that it must not be made on old knowledge.
    pub fn refuses_by_state(&self, items: &[&Ready]) -> bool {
        let by_state = |(verdict, item): (&Verdict, &&Ready)| match verdict {
            Verdict::Refuse(Refusal::NotAttempted) => false,
            Verdict::Refuse(_) => item.refusal.is_none(),
            Verdict::Append { .. } | Verdict::Stands(_) => false,
        };
        self.verdicts.iter().zip(items).any(by_state)
    }

    /// The same without what stood in the log before it was appended. Attachments are no part of a version's id: what
    /// comes with one that stands may be another than it names, and only the log knows.
    pub fn without_duplicates(&self, placed: &[Placed]) -> Self {
        let new = self.append.iter().zip(placed).filter(|(_, placed)| !placed.duplicate);
        Self { verdicts: self.verdicts.clone(), append: new.map(|(at, _)| *at).collect() }
    }
}

/// Decides a cluster.
///
/// # Errors
/// What must be looked up first. A version that builds on a present head, or comes to an empty entry, cannot stand
/// in the log already: the usual push looks up nothing.
pub fn decide(items: &[&Ready], groups: &[Vec<usize>], facts: &Facts) -> Result<Decision, Unknown> {
    let batch = Batch::new(items);
    let unknown = batch.unknown(facts);
    if unknown != Unknown::default() {
        return Err(unknown);
    }
    let mut refused: Vec<Option<Refusal>> = items.iter().map(|item| item.refusal.clone()).collect();
    loop {
        let attempt = batch.attempt(facts, &refused);
        let before = refused.iter().flatten().count();
        attempt.add_refusals(items, groups, &mut refused);
        if refused.iter().flatten().count() == before {
            return Ok(attempt.decision(refused));
        }
    }
}

struct Batch<'a> {
    items: &'a [&'a Ready],
    place: HashMap<VersionId, usize>,
    /// Parents before children.
    order: Vec<usize>,
}

impl<'a> Batch<'a> {
    fn new(items: &'a [&'a Ready]) -> Self {
        let place: HashMap<_, _> = items.iter().enumerate().map(|(at, item)| (item.version, at)).collect();
        let order = topological(items, &place);
        Self { items, place, order }
    }

    fn unknown(&self, facts: &Facts) -> Unknown {
        let mut unknown = Unknown::default();
        let mut fresh = vec![false; self.items.len()];
        for &at in &self.order {
            let item = self.items[at];
            if item.refusal.is_some() {
                continue;
            }
            let heads = facts.heads(item.entry);
            let is_new = |p: &VersionId| heads.has(p) || self.place.get(p).is_some_and(|at| fresh[*at]);
            fresh[at] = !item.inferred && (heads.next_branch == 0 || item.parents.iter().any(is_new));
            let mut named: Vec<_> = item.parents.iter().chain(&item.content_of).collect();
            named.retain(|version| !heads.has(version) && !self.place.contains_key(version));
            if !fresh[at] {
                named.push(&item.version);
            }
            unknown.versions.extend(named.into_iter().filter(|v| !facts.versions.contains_key(v)));
            let kept = item.content_of.and_then(|of| facts.stood(&of)).and_then(|stood| stood.content);
            let wanted = item.content.filter(|_| !item.inline).map(|(hash, _)| hash).or(kept);
            let wanted = wanted.iter().chain(&item.attachments);
            unknown.blobs.extend(wanted.filter(|hash| !facts.blobs.contains_key(*hash)));
            let has_more = !item.attachments.is_empty() && heads.last_seq > Seq::ZERO;
            if has_more && !facts.attached.contains_key(&item.entry) {
                unknown.attached.insert(item.entry);
            }
        }
        unknown
    }

    fn attempt(&self, facts: &'a Facts, refused: &[Option<Refusal>]) -> Attempt<'a> {
        let mut attempt = Attempt {
            facts,
            heads: HashMap::new(),
            accepted: HashMap::new(),
            verdicts: vec![Verdict::Refuse(Refusal::NotAttempted); self.items.len()],
            append: Vec::new(),
        };
        for &at in &self.order {
            attempt.verdicts[at] = match &refused[at] {
                Some(refusal) => Verdict::Refuse(refusal.clone()),
                None => attempt.item(at, self.items[at]),
            };
        }
        attempt
    }
}

/// One pass over the items, with the heads as they will be.
struct Attempt<'a> {
    facts: &'a Facts,
    heads: HashMap<EntryId, Heads>,
    accepted: HashMap<VersionId, (EntryId, VersionKind)>,
    verdicts: Vec<Verdict>,
    append: Vec<usize>,
}

impl Attempt<'_> {
    fn item(&mut self, at: usize, item: &Ready) -> Verdict {
        if let Some(stood) = self.facts.stood(&item.version) {
            return Verdict::Stands(stood.seq);
        }
        if let Some(refusal) = self.refusal(item) {
            return Verdict::Refuse(refusal);
        }
        let content_missing = match self.content(item) {
            Ok(missing) => missing,
            Err(refusal) => return Verdict::Refuse(refusal),
        };
        let heads = self.heads.entry(item.entry).or_insert_with(|| self.facts.heads(item.entry).clone());
        heads.accept(item.version, item.kind, &item.parents, heads.last_seq.next());
        self.accepted.insert(item.version, (item.entry, item.kind));
        self.append.push(at);
        Verdict::Append { content_missing }
    }

    fn now(&self, entry: EntryId) -> &Heads {
        self.heads.get(&entry).unwrap_or_else(|| self.facts.heads(entry))
    }

    /// Entry and kind of a version that stands, or is about to.
    fn known(&self, entry: EntryId, version: &VersionId) -> Option<(EntryId, VersionKind)> {
        let head = self.facts.heads(entry).heads.iter().find(|head| head.version == *version);
        head.map(|head| (entry, head.kind))
            .or_else(|| self.accepted.get(version).copied())
            .or_else(|| self.facts.stood(version).map(|stood| (stood.entry, stood.kind)))
    }

    fn refusal(&self, item: &Ready) -> Option<Refusal> {
        let heads = self.now(item.entry);
        if heads.purged {
            return Some(Refusal::EntryPurged);
        }
        let known: Vec<_> = item.parents.iter().map(|parent| self.known(item.entry, parent)).collect();
        if known.iter().flatten().any(|(entry, _)| *entry != item.entry) {
            return Some(Refusal::forbidden(Rule::ForeignParent, "a parent belongs to another entry"));
        }
        let missing: Vec<_> = item.parents.iter().zip(&known).filter(|(_, known)| known.is_none()).collect();
        if !missing.is_empty() {
            return Some(Refusal::MissingParents(missing.into_iter().map(|(parent, _)| *parent).collect()));
        }
        if let Some(refusal) = item.content_of.and_then(|of| self.adopts(item, &of)) {
            return Some(refusal);
        }
        if item.expect_heads.as_ref().is_some_and(|expected| *expected != heads.ids()) {
            return Some(Refusal::PreconditionFailed);
        }
        heads.would_exceed_branches(&item.parents).then_some(Refusal::TooManyBranches)
    }

    /// Why a version cannot keep the content of another one.
    fn adopts(&self, item: &Ready, of: &VersionId) -> Option<Refusal> {
        match self.known(item.entry, of) {
            None => Some(Refusal::MissingParents(vec![*of])),
            Some((entry, kind)) if entry != item.entry || !kind.has_content() => {
                let why = "content_of is not a version of this entry with content";
                Some(Refusal::forbidden(Rule::ContentOf, why))
            }
            Some(_) => {
                let hash = self.facts.stood(of).and_then(|stood| stood.content)?;
                let gone = !matches!(self.facts.blobs.get(&hash), Some(Some(_)));
                gone.then_some(Refusal::BlobMissing)
            }
        }
    }

    /// Whether the ciphertext is gone for ever, or why the version cannot come without it.
    fn content(&self, item: &Ready) -> Result<bool, Refusal> {
        // Who slept while an older version of the entry lost its file may never have had it.
        let once = self.facts.once.get(&item.entry);
        let was_there = |hash| once.is_some_and(|once| once.contains(hash));
        let there = |hash| self.facts.is_there(hash) || was_there(hash);
        if !item.reoffer && !item.attachments.iter().all(there) {
            return Err(Refusal::BlobMissing);
        }
        let Some((hash, length)) = item.content.filter(|_| !item.inline) else { return Ok(false) };
        match self.facts.blobs.get(&hash).copied().flatten() {
            Some(stored) if stored == u64::from(length) => Ok(false),
            Some(_) => Err(Refusal::HashMismatch),
            None if item.reoffer => Ok(true),
            None => Err(Refusal::BlobMissing),
        }
    }

    /// Adds the refusals of this pass: their groups, and heads that came without their ciphertext.
    fn add_refusals(&self, items: &[&Ready], groups: &[Vec<usize>], refused: &mut [Option<Refusal>]) {
        for (at, verdict) in self.verdicts.iter().enumerate() {
            if let Verdict::Refuse(refusal) = verdict {
                refused[at].get_or_insert_with(|| refusal.clone());
            }
            let is_head = || self.now(items[at].entry).has(&items[at].version);
            if *verdict == (Verdict::Append { content_missing: true }) && is_head() {
                refused[at] = Some(Refusal::BlobMissing);
            }
        }
        for group in groups {
            if group.iter().any(|at| refused[*at].is_some()) {
                for at in group.iter().filter(|at| !matches!(self.verdicts[**at], Verdict::Stands(_))) {
                    refused[*at].get_or_insert(Refusal::NotAttempted);
                }
            }
        }
    }

    fn decision(self, refused: Vec<Option<Refusal>>) -> Decision {
        let verdicts = self.verdicts.into_iter().zip(refused).map(|(verdict, refusal)| match refusal {
            Some(refusal) => Verdict::Refuse(refusal),
            None => verdict,
        });
        Decision { verdicts: verdicts.collect(), append: self.append }
    }
}

static EMPTY: Heads = Heads { heads: Vec::new(), next_branch: 0, last_seq: Seq::ZERO, purged: false };

impl Facts {
    /// The attachments that a version keeps, with their lengths, 0 for one that is lost. One that was pruned is not named
    /// again: whoever brought it afterwards would have it kept, and it would count nowhere.
    pub fn sized(&self, item: &Ready) -> Vec<(BlobHash, u64)> {
        let attached = self.attached.get(&item.entry);
        let counts = |hash: &BlobHash| attached.is_some_and(|attached| attached.has(hash));
        let named = |hash: &&BlobHash| item.reoffer || self.is_there(hash) || counts(hash);
        let length = |hash| self.blobs.get(hash).copied().flatten().unwrap_or_default();
        item.attachments.iter().filter(named).map(|hash| (*hash, length(hash))).collect()
    }

    fn is_there(&self, hash: &BlobHash) -> bool {
        matches!(self.blobs.get(hash), Some(Some(_)))
    }

    /// The blobs on the shelf that versions keep which are about to be appended. One without its content keeps nothing.
    pub fn on_shelf(&self, items: &[&Ready], decision: &Decision) -> Vec<BlobHash> {
        let kept =
            |item: &Ready| item.content_of.and_then(|of| self.stood(&of)).and_then(|stood| stood.content);
        let mut named = BTreeSet::new();
        let with_content = |at: &&usize| decision.verdicts[**at] != Verdict::Append { content_missing: true };
        for item in decision.append.iter().filter(with_content).map(|at| items[*at]) {
            let content = item.content.map(|(hash, _)| hash).or_else(|| kept(item));
            named.extend(content.iter().chain(&item.attachments).filter(|hash| self.long.contains(*hash)));
        }
        named.into_iter().collect()
    }

    /// The attachments on the shelf of versions that stand already.
    pub fn again(&self, items: &[&Ready], decision: &Decision) -> Vec<BlobHash> {
        let stand = |(verdict, _): &(&Verdict, _)| matches!(verdict, Verdict::Stands(_));
        let named = decision.verdicts.iter().zip(items).filter(stand).flat_map(|(_, item)| &item.attachments);
        let named: BTreeSet<_> = named.filter(|hash| self.long.contains(*hash)).copied().collect();
        named.into_iter().collect()
    }

    fn heads(&self, entry: EntryId) -> &Heads {
        self.heads.get(&entry).unwrap_or(&EMPTY)
    }

    fn stood(&self, version: &VersionId) -> Option<&Stood> {
        self.versions.get(version)?.as_ref()
    }
}

/// Parents, and versions whose content is kept, before those that name them. Ids are hashes: there is no circle.
fn topological(items: &[&Ready], place: &HashMap<VersionId, usize>) -> Vec<usize> {
    let mut order = Vec::with_capacity(items.len());
    let mut state = vec![0_u8; items.len()];
    for start in 0..items.len() {
        let mut open = vec![start];
        while let Some(&at) = open.last() {
            let named = items[at].parents.iter().chain(&items[at].content_of);
            let before: Vec<_> = named
                .filter_map(|version| place.get(version))
                .copied()
                .filter(|at| state[*at] == 0)
                .collect();
            if state[at] == 0 && !before.is_empty() {
                open.extend(before);
                state[at] = 1;
                continue;
            }
            open.pop();
            if state[at] < 2 {
                state[at] = 2;
                order.push(at);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests;
