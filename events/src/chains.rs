//! Whether a log has what was written: each event follows the one before it in its stream.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Chain, Hash32, Position, Recorded, Seq, StreamId, StreamKind, canonical::Writer};

/// Where a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The stream.
    pub stream: StreamId,
    /// Its last seq.
    pub seq: Seq,
    /// The chain there.
    pub chain: Chain,
}

/// One hash over where a log ends and where each of its streams does then, in ascending order of the streams. Two
/// readings of a log up to the same position have the same one, or it was rewritten between.
pub fn digest(log_id: Uuid, position: Position, ends: &[End]) -> Hash32 {
    let writer = Writer::new("lockstep/v1/log-ends").fixed(log_id.as_bytes()).u64(position.0);
    let each =
        |writer: Writer, end: &End| writer.fixed(end.stream.as_bytes()).u64(end.seq.0).fixed(&end.chain.0);
    Hash32(ends.iter().fold(writer.u64(ends.len() as u64), each).sha256())
}

/// The ends of the streams that were read so far, from their first events on.
#[derive(Debug, Clone, Default)]
pub struct Chains(HashMap<StreamId, Read>);

/// A stream as far as it was read.
#[derive(Debug, Clone, Copy)]
struct Read {
    /// What its first event said that it is about. No chain has it in it.
    kind: StreamKind,
    seq: Seq,
    chain: Chain,
}

impl Chains {
    /// Takes the next event of its stream; what is wrong with it, if anything is. The one after it is compared with this
    /// one in any case, so that each fault is told once.
    pub fn take(&mut self, recorded: &Recorded) -> Option<&'static str> {
        let first = Read { kind: recorded.stream_kind, seq: Seq::ZERO, chain: Chain::ZERO };
        let read = self.0.entry(recorded.stream).or_insert(first);
        let before = std::mem::replace(read, Read { seq: recorded.seq, chain: recorded.chain, ..*read });
        if recorded.seq != before.seq.next() {
            Some("what stands before it in its stream is missing, or stands elsewhere")
        } else if !recorded.follows(&before.chain) {
            Some("it is not what its chain was made of")
        } else if recorded.stream_kind != before.kind {
            Some("it says that its stream is of another kind")
        } else {
            None
        }
    }

    /// Where a stream ends, as far as it was read.
    pub fn end(&self, stream: StreamId) -> Option<(Seq, Chain)> {
        self.0.get(&stream).map(|read| (read.seq, read.chain))
    }

    /// What a stream is about, by its first event.
    pub fn kind(&self, stream: StreamId) -> Option<StreamKind> {
        self.0.get(&stream).map(|read| read.kind)
    }

    /// Where all streams end, in ascending order.
    pub fn ends(&self) -> Vec<End> {
        let end =
            |(stream, read): (&StreamId, &Read)| End { stream: *stream, seq: read.seq, chain: read.chain };
        let mut ends: Vec<End> = self.0.iter().map(end).collect();
        ends.sort_unstable_by_key(|end| end.stream);
        ends
    }

    /// The streams that were read.
    pub fn streams(&self) -> impl ExactSizeIterator<Item = StreamId> {
        self.0.keys().copied()
    }
}
