//! The message on the bus: a compact binary frame, written and read by hand.
//!
//! ```text
//! u8 format = 1 | u8 what: 1 batch, 2 renewed
//! batch:   u64 after | u64 to | u32 number of events (0: positions only) | events
//! renewed: 16 bytes stream
//! event:   u64 position | 16 stream | u16 stream kind | u64 seq | 16 event id | u8 flags | present optionals in the
//!          order of the flags (subject 16, actor 16, device 16, correlation 16, causation 16, sealed hash 32)
//!          | u8 length + kind | u16 schema | i64 recorded at | 32 body hash | 32 chain | u32 length + public
//!          | if flag 6: u32 length + content
//! ```
//! All numbers are big-endian. Random ids and ciphertext only; no sealed part ever travels here.

use lockstep_events::{Chain, EventId, Hash32, Micros, Position, Recorded, Seq, StreamId, StreamKind};
use uuid::Uuid;

use crate::bus::{CONTENT_BYTES, CommittedBatch};

/// A message is at most so long, in bytes; a larger batch sends its positions only.
pub const MAX_BYTES: usize = 512 * 1024;

const FORMAT: u8 = 1;
const BATCH: u8 = 1;
const RENEWED: u8 = 2;
const CONTENT: u8 = 1 << 6;
const FIXED: usize = 8 + 16 + 2 + 8 + 16 + 1 + 5 * 16 + 32 + 1 + 2 + 8 + 32 + 32 + 4 + 4;

/// A message that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A batch was committed.
    Batch(CommittedBatch),
    /// A stream began another life.
    Renewed(StreamId),
}

/// The bytes of "a stream began another life".
pub fn renewed(stream: StreamId) -> Vec<u8> {
    let mut out = vec![FORMAT, RENEWED];
    out.extend_from_slice(stream.as_bytes());
    out
}

/// The bytes of a batch, at most [`MAX_BYTES`].
pub fn batch(batch: &CommittedBatch) -> Vec<u8> {
    let size: usize = batch.events.iter().map(room).sum();
    let events = if size + 22 <= MAX_BYTES { batch.events.as_slice() } else { &[] };
    let mut out = Vec::with_capacity(22 + if events.is_empty() { 0 } else { size });
    out.extend_from_slice(&[FORMAT, BATCH]);
    out.extend_from_slice(&batch.after.0.to_be_bytes());
    out.extend_from_slice(&batch.to.0.to_be_bytes());
    out.extend_from_slice(&length(events.len()));
    for event in events {
        write(&mut out, event);
    }
    out
}

// At most 512 events of at most 64 KiB each fit in a unit, so no length here comes near 2^32.
fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}

fn short_content(event: &Recorded) -> Option<&[u8]> {
    event.content.as_deref().filter(|content| content.len() <= CONTENT_BYTES)
}

fn room(event: &Recorded) -> usize {
    FIXED + event.kind.len() + event.public.len() + short_content(event).map_or(0, <[u8]>::len)
}

fn write(out: &mut Vec<u8>, event: &Recorded) {
    out.extend_from_slice(&event.position.0.to_be_bytes());
    out.extend_from_slice(event.stream.as_bytes());
    out.extend_from_slice(&event.stream_kind.code().to_be_bytes());
    out.extend_from_slice(&event.seq.0.to_be_bytes());
    out.extend_from_slice(event.event_id.as_bytes());
    let correlation = event.correlation.map(Uuid::into_bytes);
    let optionals: [Option<&[u8]>; 6] = [
        event.subject.as_ref().map(|id| &id.as_bytes()[..]),
        event.actor.as_ref().map(|id| &id.as_bytes()[..]),
        event.device.as_ref().map(|id| &id.as_bytes()[..]),
        correlation.as_ref().map(|id| &id[..]),
        event.causation.as_ref().map(|id| &id.as_bytes()[..]),
        event.sealed_hash.as_ref().map(|hash| &hash.0[..]),
    ];
    let content = if short_content(event).is_some() { CONTENT } else { 0 };
    let present = optionals.iter().enumerate().filter(|(_, field)| field.is_some());
    out.push(present.fold(content, |flags, (bit, _)| flags | 1 << bit));
    optionals.into_iter().flatten().for_each(|field| out.extend_from_slice(field));
    out.push(u8::try_from(event.kind.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(event.kind.as_bytes());
    out.extend_from_slice(&event.schema.to_be_bytes());
    out.extend_from_slice(&event.recorded_at.0.to_be_bytes());
    out.extend_from_slice(&event.body_hash.0);
    out.extend_from_slice(&event.chain.0);
    out.extend_from_slice(&length(event.public.len()));
    out.extend_from_slice(event.public.as_bytes());
    if let Some(content) = short_content(event) {
        out.extend_from_slice(&length(content.len()));
        out.extend_from_slice(content);
    }
}

/// Reads a message; none if it is not one of this format, is cut short, or contradicts itself. The reader then
/// behaves as if the message was lost.
pub fn read(bytes: &[u8]) -> Option<Message> {
    let mut rest = Rest(bytes);
    if rest.u8()? != FORMAT {
        return None;
    }
    let message = match rest.u8()? {
        BATCH => Message::Batch(read_batch(&mut rest)?),
        RENEWED => Message::Renewed(rest.uuid()?.into()),
        _ => return None,
    };
    rest.0.is_empty().then_some(message)
}

fn read_batch(rest: &mut Rest<'_>) -> Option<CommittedBatch> {
    let (after, to) = (Position(rest.u64()?), Position(rest.u64()?));
    let number = rest.u32()?;
    let whole = to.0.checked_sub(after.0)? == u64::from(number) || number == 0;
    let events = (0..number).map(|_| read_event(rest)).collect::<Option<Vec<_>>>()?;
    let gapless = events.iter().zip(after.0 + 1..).all(|(event, at)| event.position.0 == at);
    (whole && gapless && to > after).then_some(CommittedBatch { after, to, events })
}

fn read_event(rest: &mut Rest<'_>) -> Option<Recorded> {
    let position = Position(rest.u64()?);
    let stream = StreamId(rest.uuid()?);
    let stream_kind = StreamKind::from_code(i16::from_be_bytes(rest.array()?))?;
    let seq = Seq(rest.u64()?);
    let event_id = EventId(rest.uuid()?);
    let flags = rest.u8()?;
    let mut next = 0;
    let mut optional = |rest: &mut Rest<'_>| {
        let present = flags & (1 << next) != 0;
        next += 1;
        if present { rest.uuid().map(Some) } else { Some(None) }
    };
    let [subject, actor, device, correlation, causation] =
        [optional(rest)?, optional(rest)?, optional(rest)?, optional(rest)?, optional(rest)?];
    let sealed_hash = if flags & (1 << 5) == 0 { None } else { Some(Hash32(rest.array()?)) };
    let kind_length = usize::from(rest.u8()?);
    Some(Recorded {
        position,
        stream,
        stream_kind,
        seq,
        event_id,
        subject: subject.map(Into::into),
        actor: actor.map(Into::into),
        device: device.map(Into::into),
        correlation,
        causation: causation.map(Into::into),
        sealed_hash,
        kind: rest.text(kind_length)?,
        schema: u16::from_be_bytes(rest.array()?),
        recorded_at: Micros(i64::from_be_bytes(rest.array()?)),
        body_hash: Hash32(rest.array()?),
        chain: Chain(rest.array()?),
        public: rest.long().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())?,
        content: if flags & CONTENT == 0 { None } else { Some(rest.long()?.to_vec()) },
    })
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn uuid(&mut self) -> Option<Uuid> {
        self.array().map(Uuid::from_bytes)
    }

    fn text(&mut self, n: usize) -> Option<String> {
        String::from_utf8(self.take(n)?.to_vec()).ok()
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let n = usize::try_from(self.u32()?).ok()?;
        self.take(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(position: u64, public: String, content: Option<Vec<u8>>, some: [bool; 6]) -> Recorded {
        let id = |bit: usize| some[bit].then(|| Uuid::from_u128(position.into()));
        Recorded {
            position: Position(position),
            stream: StreamId(Uuid::from_u128(7)),
            stream_kind: StreamKind::Vault,
            seq: Seq(position + 3),
            event_id: EventId(Uuid::from_u128(position.into())),
            subject: id(0).map(Into::into),
            kind: "entry.version_added".to_owned(),
            schema: 1,
            actor: id(1).map(Into::into),
            device: id(2).map(Into::into),
            correlation: id(3),
            causation: id(4).map(Into::into),
            recorded_at: Micros(-5),
            public,
            sealed_hash: some[5].then_some(Hash32([9; 32])),
            body_hash: Hash32([1; 32]),
            chain: Chain([2; 32]),
            content,
        }
    }

    fn some_batch() -> impl Strategy<Value = CommittedBatch> {
        let one = (
            ".{0,80}",
            proptest::option::of(proptest::collection::vec(any::<u8>(), 0..99)),
            any::<[bool; 6]>(),
        );
        (0..1000_u64, proptest::collection::vec(one, 1..5)).prop_map(|(after, events)| {
            let number = events.len() as u64;
            let events = events.into_iter().zip(after + 1..);
            let events = events.map(|((public, content, some), at)| event(at, public, content, some));
            CommittedBatch { after: Position(after), to: Position(after + number), events: events.collect() }
        })
    }

    proptest! {
        #[test]
        fn every_batch_survives_its_bytes(original in some_batch()) {
            prop_assert_eq!(read(&batch(&original)), Some(Message::Batch(original)));
        }

        #[test]
        fn a_batch_that_is_cut_short_is_no_batch(original in some_batch(), cut: prop::sample::Index) {
            let bytes = batch(&original);
            prop_assert_eq!(read(&bytes[..cut.index(bytes.len())]), None);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            bytes.splice(0..0, [FORMAT, BATCH]);
            let _ = read(&bytes);
        }
    }

    #[test]
    fn a_batch_over_half_a_mebibyte_sends_its_positions_only() {
        let large = |at| event(at, "x".repeat(200_000), None, [false; 6]);
        let original = CommittedBatch {
            after: Position(4),
            to: Position(7),
            events: vec![large(5), large(6), large(7)],
        };
        let bytes = batch(&original);
        assert_eq!(bytes.len(), 22);
        let bare = CommittedBatch { events: Vec::new(), ..original };
        assert_eq!(read(&bytes), Some(Message::Batch(bare)));
    }

    #[test]
    fn a_gap_between_the_positions_is_no_batch() {
        let bytes = batch(&CommittedBatch {
            after: Position(0),
            to: Position(2),
            events: vec![
                event(1, String::new(), None, [false; 6]),
                event(3, String::new(), None, [false; 6]),
            ],
        });
        assert_eq!(read(&bytes), None);
    }

    #[test]
    fn a_long_content_stays_behind() {
        let original = CommittedBatch {
            after: Position(0),
            to: Position(1),
            events: vec![event(1, String::new(), Some(vec![0; CONTENT_BYTES + 1]), [false; 6])],
        };
        let Some(Message::Batch(read)) = read(&batch(&original)) else { panic!("not a batch") };
        assert_eq!(read.events[0].content, None);
    }

    #[test]
    fn a_renewal_survives_its_bytes() {
        let stream = StreamId(Uuid::from_u128(3));
        assert_eq!(read(&renewed(stream)), Some(Message::Renewed(stream)));
    }
}
