//! Random scripts of operations, the same for the same seed: units of all shapes, refusals, retries, erasures.

use crate::{
    Epoch, EventLog, Hash32, LogError, Micros, NewEvent, Sealed, Seq, StreamKind, Unit,
    canonical::sha256,
    ids::BlobHash,
    log::{StreamExpect, SubjectExpect},
    testing::build::{event_with, id, stream, subject, unit},
};
use uuid::Uuid;

/// Small numbers on purpose: streams, subjects and ids must meet each other often.
const STREAMS: u64 = 6;
const SUBJECTS: u64 = 5;

/// A source of numbers (SplitMix64): the same seed, the same script, on every machine.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that begin with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(usize::try_from(self.below(of.len() as u64)).ok()?) }
    }
}

/// One step of a script.
#[derive(Debug, Clone)]
pub enum Step {
    /// Append a batch at a time.
    Append(Vec<Unit>, Micros),
    /// Erase some contents of a stream.
    Erase(crate::StreamId, Vec<BlobHash>),
    /// Give a stream a new epoch.
    Renew(crate::StreamId, Epoch),
}

impl Step {
    /// Runs the step; the answer as text.
    ///
    /// # Errors
    /// When the log is not reachable or full: what no script provokes.
    pub async fn run(&self, log: &dyn EventLog) -> Result<String, LogError> {
        let answer = match self {
            Self::Append(units, now) => log.append(units, *now).await.map(|outcomes| format!("{outcomes:?}")),
            Self::Erase(stream, hashes) => {
                // Once all of them, once only those that did not come again.
                let seen = if hashes.len() % 2 == 0 { Seq(u64::MAX) } else { Seq(3) };
                log.erase_contents(*stream, hashes, seen).await.map(|erased| format!("{erased}"))
            }
            Self::Renew(stream, epoch) => log.renew_epoch(*stream, *epoch).await.map(|()| "renewed".into()),
        };
        match answer {
            Err(LogError::Malformed(what)) => Ok(what.into()),
            other => other,
        }
    }
}

/// A script that never ends.
#[derive(Debug)]
pub struct Script {
    dice: Dice,
    next_id: u128,
    sent: Vec<Unit>,
    now: i64,
}

impl Script {
    /// The script of a seed.
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), next_id: 0, sent: Vec::new(), now: 1_000 }
    }

    fn stream(&mut self) -> crate::StreamId {
        stream(self.dice.below(STREAMS).into())
    }

    fn unit(&mut self) -> Unit {
        if self.dice.chance(12)
            && let Some(known) = self.dice.pick(&self.sent)
        {
            return known.clone();
        }
        let events = (0..=self.dice.below(4)).map(|_| self.event()).collect();
        let mut made = unit(events);
        let mut seen = std::collections::HashSet::new();
        made.events.retain(|event| seen.insert(event.event_id));
        self.preconditions(&mut made);
        self.sent.push(made.clone());
        made
    }

    fn event(&mut self) -> NewEvent {
        let dice = &mut self.dice;
        let at = stream(dice.below(STREAMS).into());
        let n = if dice.chance(8) { u128::from(dice.below(200)) } else { self.next_id };
        self.next_id += u128::from(n == self.next_id);
        let mut event = event_with(n, at, &format!("{{\"n\":{n},\"é\":\"{}\"}}", dice.below(1000)));
        event.subject = dice.chance(70).then(|| subject(dice.below(SUBJECTS).into()));
        event.schema = u16::try_from(dice.below(5)).unwrap_or(1);
        event.actor = dice.chance(50).then(|| Uuid::from_u128(dice.below(9).into()).into());
        event.device = dice.chance(50).then(|| Uuid::from_u128(dice.below(9).into()).into());
        event.correlation = dice.chance(30).then(|| Uuid::from_u128(dice.below(9).into()));
        event.causation = dice.chance(30).then(|| id(dice.below(50).into()));
        event.sealed = dice.chance(20).then(|| Sealed {
            subject: Uuid::from_u128(dice.below(3).into()).into(),
            purpose: "identity".into(),
            period: "2026-11".into(),
            bytes: dice.below(1 << 40).to_be_bytes().to_vec(),
        });
        event.body_hash = if dice.chance(10) { Hash32([7; 32]) } else { event.body_hash };
        if dice.chance(40) {
            let len = usize::try_from(dice.below(300)).unwrap_or(0);
            let fill = u8::try_from(dice.below(12)).unwrap_or(0);
            event = event.with_content(&vec![fill; len]);
        }
        event
    }

    fn preconditions(&mut self, unit: &mut Unit) {
        for claim in &mut unit.streams {
            claim.expect = match self.dice.below(20) {
                0 => StreamExpect::None,
                1 => StreamExpect::Exists,
                2 => StreamExpect::Exact(Seq(self.dice.below(40))),
                _ => StreamExpect::Any,
            };
            claim.epoch_if_new = Epoch([u8::try_from(self.dice.below(255)).unwrap_or(0); 16]);
            if self.dice.chance(2) {
                claim.kind = StreamKind::Account;
            }
        }
        let first = unit.events[0].stream;
        if self.dice.chance(25) {
            let expect = match self.dice.below(3) {
                0 => SubjectExpect::Any,
                1 => SubjectExpect::None,
                _ => SubjectExpect::Exact(Seq(self.dice.below(30))),
            };
            let about = subject(self.dice.below(SUBJECTS).into());
            *unit = std::mem::take(unit).expecting_subject(first, about, expect);
        }
        if self.dice.chance(25) {
            let required = id(self.dice.below(u64::try_from(self.next_id).unwrap_or(0) + 2).into());
            let at = if self.dice.chance(80) { first } else { self.stream() };
            *unit = std::mem::take(unit).requiring(at, required);
        }
    }
}

impl Iterator for Script {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        self.now += i64::try_from(self.dice.below(50)).unwrap_or(0) - 5;
        Some(match self.dice.below(20) {
            0 => {
                let fills: Vec<u8> = (0..12).collect();
                let hashes =
                    fills.iter().map(|fill| BlobHash(sha256(&vec![*fill; usize::from(*fill)]))).collect();
                let sent = self.sent.iter().flat_map(|unit| &unit.events);
                let of_events = sent.filter_map(|event| event.content.as_ref().map(|content| content.hash));
                let mut hashes: Vec<_> = of_events.take(3).chain::<Vec<_>>(hashes).collect();
                hashes.dedup();
                Step::Erase(self.stream(), hashes)
            }
            1 => Step::Renew(self.stream(), Epoch([u8::try_from(self.dice.below(255)).unwrap_or(0); 16])),
            _ => Step::Append((0..self.dice.below(12)).map(|_| self.unit()).collect(), Micros(self.now)),
        })
    }
}
