//! What is not there any more: short ciphertexts and sealed parts. Each goes by an event of the log or by its age; what goes
//! without either was taken away.
//!
//! The event stands before anything goes, but for an erasure that a restore made necessary again: that one has its events
//! when the server serves.

use std::collections::{HashMap, HashSet};

use lockstep_events::{
    AccountId, BlobHash, EntryId, Event, EventId, EventLog, LogError, Micros, Position, Recorded, Seq,
    StreamId,
    codec::KINDS,
    event::{VaultEvent, VersionAdded},
    log::{Contents, Filter, MAX_INLINE_CONTENT},
};

use crate::subjects::Purpose;

/// Where an event stands.
pub(super) type At = (Position, StreamId, Seq);

/// Events that are asked for, or read, at once.
const PAGE: usize = 500;
/// Sealed with what ends with the person alone. What is sealed with others is the reason of an act, which ends by its age.
const OF_A_PERSON: [&str; 2] = ["account.email_set", "account.identity_linked"];
/// What lets something go.
const REASONS: [&str; 6] = [
    "entry.content_pruned",
    "entry.purged",
    "vault.erased",
    "account.erasure_requested",
    "account.erasure_begun",
    "account.subject_erased",
];

/// Of one vault: which of which entry, and the last event that named it.
type Ciphertexts = HashMap<(EntryId, BlobHash), (At, EventId)>;

/// What was not there when its event was read, and for which no event was met so far.
#[derive(Default)]
pub(super) struct Gone {
    contents: HashMap<StreamId, Ciphertexts>,
    parts: Vec<(At, Part)>,
    /// Whose the vaults are.
    owners: HashMap<StreamId, AccountId>,
    vaults_erased: HashSet<StreamId>,
    /// Who is erased, or is about to be and may still call it off.
    people: HashMap<AccountId, Leaving>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Asked,
    Begun,
}

#[derive(Clone, Copy)]
enum Part {
    Of(AccountId),
    From(Micros),
}

impl Gone {
    /// Every event, in the order of the log.
    pub(super) fn event(&mut self, recorded: &Recorded, version: Option<&VersionAdded>) {
        let (stream, account) = (recorded.stream, AccountId::from(recorded.stream));
        if let Some(added) = version {
            return self.version(recorded, added);
        }
        match recorded.kind.as_str() {
            "account.erasure_requested" => {
                self.people.entry(account).or_insert(Leaving::Asked);
            }
            "account.erasure_cancelled" if self.people.get(&account) == Some(&Leaving::Asked) => {
                self.people.remove(&account);
            }
            "account.erasure_begun" | "account.subject_erased" => {
                self.people.insert(account, Leaving::Begun);
            }
            "vault.created" | "entry.content_pruned" | "entry.purged" | "vault.erased" => {
                if let Ok(Event::Vault(event)) = recorded.event() {
                    self.vault(stream, &event);
                }
            }
            _ => {}
        }
    }

    fn version(&mut self, recorded: &Recorded, added: &VersionAdded) {
        let header = &added.header;
        let (None, Some(hash), false) = (&recorded.content, header.content_hash, added.content_missing)
        else {
            return;
        };
        // A longer one is a blob, and lies elsewhere.
        let is_short = usize::try_from(header.content_len).is_ok_and(|len| len <= MAX_INLINE_CONTENT);
        if is_short && !self.vaults_erased.contains(&recorded.stream) {
            let at = (recorded.position, recorded.stream, recorded.seq);
            let gone = self.contents.entry(recorded.stream).or_default();
            gone.insert((header.entry, hash), (at, recorded.event_id));
        }
    }

    fn vault(&mut self, stream: StreamId, event: &VaultEvent) {
        match event {
            VaultEvent::Created(created) => {
                self.owners.insert(stream, created.account);
            }
            VaultEvent::ContentPruned(pruned) => {
                if let Some(gone) = self.contents.get_mut(&stream) {
                    for hash in &pruned.contents {
                        gone.remove(&(pruned.entry, *hash));
                    }
                }
            }
            VaultEvent::Purged(purged) => {
                if let Some(gone) = self.contents.get_mut(&stream) {
                    gone.retain(|(entry, _), _| *entry != purged.entry);
                }
            }
            VaultEvent::Erased(_) => {
                self.contents.remove(&stream);
                self.vaults_erased.insert(stream);
            }
            VaultEvent::VersionAdded(_) => {}
        }
    }

    /// The sealed part of an event is not there.
    pub(super) fn part(&mut self, recorded: &Recorded) {
        let kind = recorded.kind.as_str();
        let part = if OF_A_PERSON.contains(&kind) {
            Part::Of(recorded.stream.into())
        } else if KINDS.iter().any(|(known, _)| *known == kind) {
            Part::From(recorded.recorded_at)
        } else {
            return;
        };
        self.parts.push(((recorded.position, recorded.stream, recorded.seq), part));
    }

    /// What nothing explains, in the order of the log.
    pub(super) async fn unexplained(
        mut self,
        log: &dyn EventLog,
        read_to: Position,
        now: Micros,
    ) -> Result<Vec<(At, &'static str)>, LogError> {
        self.read_on(log, read_to).await?;
        let mut found = Vec::new();
        for (at, part) in std::mem::take(&mut self.parts) {
            let is_explained = match part {
                Part::Of(account) => self.people.contains_key(&account),
                Part::From(recorded_at) => Purpose::Audit.may_be_over(recorded_at, now),
            };
            if !is_explained {
                found.push((at, "its sealed part is gone, and neither an erasure nor its age says why"));
            }
        }
        let mut left = self.contents_left();
        // Most were uploaded as blobs, though they are short. Only the log knows which came with their events.
        for some in std::mem::take(&mut left).chunks(PAGE) {
            let ids: Vec<EventId> = some.iter().map(|(_, event)| *event).collect();
            let came: HashSet<EventId> = log.came_with_content(&ids).await?.into_iter().collect();
            left.extend(some.iter().filter(|(_, event)| came.contains(event)));
        }
        let what = "its ciphertext is gone, and no pruning, purge or erasure says why";
        found.extend(left.into_iter().map(|(at, _)| (at, what)));
        found.sort_unstable_by_key(|((position, ..), _)| *position);
        Ok(found)
    }

    fn contents_left(&mut self) -> Vec<(At, EventId)> {
        let (owners, people) = (&self.owners, &self.people);
        let is_left =
            |stream: &StreamId| owners.get(stream).is_none_or(|account| !people.contains_key(account));
        let gone = std::mem::take(&mut self.contents);
        gone.into_iter()
            .filter(|(stream, _)| is_left(stream))
            .flat_map(|(_, gone)| gone.into_values())
            .collect()
    }

    /// Beside a server something may have gone since the log was read up to there.
    async fn read_on(&mut self, log: &dyn EventLog, read_to: Position) -> Result<(), LogError> {
        let mut after = read_to;
        while !self.parts.is_empty() || !self.contents.is_empty() {
            let filter = Filter { stream_kind: None, kinds: REASONS.map(str::to_owned).to_vec() };
            let page = log.read_all(after, PAGE, &filter, Contents::No).await?;
            let Some(last) = page.last() else { break };
            after = last.position;
            page.iter().for_each(|recorded| self.event(recorded, None));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lockstep_events::{
        Content, NewEvent, Sealed,
        canonical::sha256,
        testing::{
            MemoryLog,
            build::{event_with, unit},
        },
    };
    use serde_json::Value;
    use uuid::Uuid;

    use super::{super::version_of, *};

    const NOW: Micros = Micros(1_800_000_000_000_000);

    fn ciphertext() -> BlobHash {
        BlobHash(sha256(&[1]))
    }

    /// The samples are all of one account, one vault, one entry and one ciphertext.
    fn sample(n: u128, kind: &str) -> NewEvent {
        let file = format!("{}/events/golden/{kind}.1.json", env!("CARGO_MANIFEST_DIR"));
        let sample: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let of = if kind.starts_with("account.") { 1 } else { 3 };
        let stream = StreamId(Uuid::from_u128(0x4000_8000_0000_0000_0000 + of));
        let public = sample["public"].as_str().unwrap();
        let public = public.replace(&"31".repeat(32), &ciphertext().to_string());
        NewEvent { kind: kind.to_owned(), ..event_with(n, stream, &public) }
    }

    fn with_content(event: NewEvent) -> NewEvent {
        NewEvent { content: Some(Content { hash: ciphertext(), bytes: vec![1] }), ..event }
    }

    fn with_part(event: NewEvent) -> NewEvent {
        let (subject, bytes) = (AccountId::from(event.stream), vec![2]);
        event.with_sealed(Sealed { subject, purpose: "any".to_owned(), period: String::new(), bytes })
    }

    /// What is not explained in a log of these events, from which all that can go is gone, read up to a position.
    async fn left(events: Vec<NewEvent>, read_to: usize, now: Micros) -> Vec<u64> {
        let log = MemoryLog::new(Uuid::nil());
        log.append(&[unit(events)], NOW).await.unwrap();
        let vault = sample(0, "vault.created").stream;
        log.erase_contents(vault, &[ciphertext()], Seq(u64::MAX)).await.unwrap();
        let mut gone = Gone::default();
        let all = Contents::UpTo(usize::MAX);
        for recorded in log.read_all(Position::ZERO, read_to, &Filter::default(), all).await.unwrap() {
            gone.event(&recorded, version_of(&recorded).as_deref());
            if recorded.sealed_hash.is_some() {
                gone.part(&recorded);
            }
        }
        let left = gone.unexplained(&log, Position(read_to as u64), now).await.unwrap();
        left.into_iter().map(|((position, ..), _)| position.0).collect()
    }

    #[tokio::test]
    async fn a_ciphertext_goes_by_an_event_about_it_also_by_one_that_comes_while_the_log_is_read() {
        let begin = || vec![sample(1, "vault.created"), with_content(sample(2, "entry.version_added"))];
        assert_eq!(left(begin(), 2, NOW).await, [2]);
        for reason in REASONS {
            let events = [begin(), vec![sample(3, reason)]].concat();
            for read_to in [3, 2] {
                assert_eq!(left(events.clone(), read_to, NOW).await, [0; 0], "{reason}, read to {read_to}");
            }
        }
        let called_off = vec![sample(3, "account.erasure_requested"), sample(4, "account.erasure_cancelled")];
        assert_eq!(left([begin(), called_off].concat(), 4, NOW).await, [2]);
        let begun = ["requested", "begun", "cancelled"].map(|what| format!("account.erasure_{what}"));
        let begun = (3..).zip(begun).map(|(n, kind)| sample(n, &kind)).collect();
        assert_eq!(left([begin(), begun].concat(), 5, NOW).await, [0; 0]);
        for other in ["entry.content_pruned", "entry.purged"] {
            let mut event = sample(3, other);
            event.public = event.public.replace("-000000000004", "-000000000005");
            assert_eq!(left([begin(), vec![event]].concat(), 3, NOW).await, [2], "{other} of another entry");
        }
        let again = with_content(sample(4, "entry.version_added"));
        let events = [begin(), vec![sample(3, "entry.content_pruned"), again]].concat();
        assert_eq!(left(events, 4, NOW).await, [4], "it came again after it was pruned");
        let blob = vec![sample(1, "vault.created"), sample(2, "entry.version_added")];
        assert_eq!(left(blob, 2, NOW).await, [0; 0], "it came without its event");
    }

    #[tokio::test]
    async fn a_sealed_part_goes_with_its_person_or_by_its_age() {
        let years = |n: i64| NOW.plus_seconds(n * 365 * 24 * 3600);
        for kind in OF_A_PERSON {
            let begin = || vec![with_part(sample(1, kind))];
            assert_eq!(left(begin(), 1, years(9)).await, [1], "{kind} ends by no age");
            for reason in ["erasure_requested", "erasure_begun", "subject_erased"] {
                let events = [begin(), vec![sample(2, &format!("account.{reason}"))]].concat();
                assert_eq!(left(events, 2, NOW).await, [0; 0], "{kind}, {reason}");
            }
        }
        for kind in ["account.viewed", "admin.proposed"] {
            let events = vec![with_part(sample(1, kind)), sample(2, "account.subject_erased")];
            assert_eq!(left(events.clone(), 2, years(1)).await, [1], "{kind}");
            assert_eq!(left(events, 2, years(4)).await, [0; 0], "{kind}");
        }
    }
}
