//! The last events of one stream, ready to be sent. Pure.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use lockstep_events::{DeviceId, Epoch, Recorded, Seq, StreamId, log::StreamHead};

use super::wire::{self, Piece};

/// The ring holds at most so many events …
const EVENTS: usize = 256;
/// … of at most so many bytes together; always at least the newest.
const BYTES: usize = 256 * 1024;

/// What there is for a socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// It has everything.
    Nothing,
    /// The next frame, and the seq it ends at.
    Frame(Bytes, Seq),
    /// It is behind the ring: read the log.
    Behind,
    /// The stream has begun another life than the socket's.
    OtherEpoch,
}

/// Events `first ..= last` without a gap, and the head, which may be further.
#[derive(Debug)]
pub struct Ring {
    stream: StreamId,
    epoch: Epoch,
    head: Seq,
    pieces: VecDeque<(Piece, Instant)>,
    bytes: usize,
    shared: Option<(Seq, Seq, Bytes)>,
}

impl Ring {
    /// An empty ring.
    pub const fn new(stream: StreamId) -> Self {
        let pieces = VecDeque::new();
        Self { stream, epoch: Epoch::ZERO, head: Seq::ZERO, pieces, bytes: 0, shared: None }
    }

    /// The stream's life and last seq.
    pub const fn head(&self) -> (Epoch, Seq) {
        (self.epoch, self.head)
    }

    /// The log says where the stream is. A head that lags behind what the follower brought is no news, unless it
    /// is of another life; whether anything changed.
    pub fn set_head(&mut self, head: &StreamHead) -> bool {
        if self.epoch == Epoch::ZERO {
            // The first time. What the follower brought since the log was asked is of this life, too.
            (self.epoch, self.head) = (head.epoch, self.head.max(head.seq));
            return true;
        }
        let renewed = head.epoch != self.epoch;
        if renewed {
            self.pieces.clear();
            (self.bytes, self.shared) = (0, None);
        }
        let further = renewed || head.seq > self.head;
        if further {
            (self.epoch, self.head) = (head.epoch, head.seq);
        }
        further
    }

    /// The follower brings the next event of this stream.
    pub fn push(&mut self, event: &Recorded, now: Instant) {
        let expected = self.pieces.back().map(|(last, _)| last.seq.next());
        if expected.is_some_and(|expected| expected > event.seq) {
            return;
        }
        let joins = expected.is_none_or(|expected| expected == event.seq);
        let Some(piece) = Piece::new(event).filter(|_| joins) else {
            // Sockets that are behind find it in the log.
            self.clear();
            self.head = self.head.max(event.seq);
            return;
        };
        self.head = self.head.max(event.seq);
        self.bytes += piece.size();
        self.pieces.push_back((piece, now));
        while self.pieces.len() > EVENTS || (self.bytes > BYTES && self.pieces.len() > 1) {
            self.drop_oldest();
        }
    }

    /// Forgets events older than an instant: an idle stream costs nothing.
    pub fn forget_before(&mut self, oldest: Instant) {
        while self.pieces.front().is_some_and(|(_, at)| *at < oldest) {
            self.drop_oldest();
        }
        if self.pieces.is_empty() {
            self.clear();
        }
    }

    /// What there is for a socket that has everything up to `after` of a life.
    pub fn next(&mut self, epoch: Epoch, after: Seq, device: DeviceId) -> Next {
        if epoch != self.epoch {
            return Next::OtherEpoch;
        }
        if after >= self.head {
            return Next::Nothing;
        }
        let Some(skip) = self.index_after(after) else { return Next::Behind };
        let wanted = || self.pieces.iter().skip(skip).map(|(piece, _)| piece);
        let pieces: Vec<&Piece> = wanted().take(wire::fitting(wanted())).collect();
        let Some(to) = pieces.last().map(|last| last.seq) else { return Next::Behind };
        if let Some((_, _, bytes)) = self.shared.as_ref().filter(|(a, t, _)| (*a, *t) == (after, to))
            && !pieces.iter().any(|piece| piece.is_echo(device))
        {
            return Next::Frame(bytes.clone(), to);
        }
        let bytes = wire::frame(self.stream, self.epoch, &pieces, device);
        if !pieces.iter().any(|piece| piece.is_echo(device)) {
            self.shared = Some((after, to, bytes.clone()));
        }
        Next::Frame(bytes, to)
    }

    fn index_after(&self, after: Seq) -> Option<usize> {
        let first = self.pieces.front()?.0.seq;
        let skip = after.next().0.checked_sub(first.0)?;
        usize::try_from(skip).ok().filter(|skip| *skip < self.pieces.len())
    }

    fn drop_oldest(&mut self) {
        if let Some((piece, _)) = self.pieces.pop_front() {
            self.bytes -= piece.size();
        }
    }

    fn clear(&mut self) {
        self.pieces = VecDeque::new();
        (self.bytes, self.shared) = (0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::testing::some_event;
    use lockstep_api::live::ServerMessage;
    use lockstep_events::{Chain, StreamKind};

    const EPOCH: Epoch = Epoch([1; 16]);

    fn ring_at(head: u64) -> Ring {
        let mut ring = Ring::new(StreamId::NIL);
        ring.set_head(&stream_head(EPOCH, head));
        ring
    }

    fn stream_head(epoch: Epoch, seq: u64) -> StreamHead {
        let (stream, kind, chain) = (StreamId::NIL, StreamKind::Vault, Chain::ZERO);
        StreamHead { stream, kind, epoch, seq: Seq(seq), chain }
    }

    fn push(ring: &mut Ring, events: impl IntoIterator<Item = u64>) {
        let now = Instant::now();
        events.into_iter().for_each(|at| ring.push(&some_event(at), now));
    }

    fn seqs(next: &Next) -> Vec<u64> {
        let Next::Frame(bytes, _) = next else { panic!("{next:?}") };
        match serde_json::from_slice(bytes).unwrap() {
            ServerMessage::Ev { events, .. } => events.iter().map(|event| event.seq.0).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_socket_gets_what_it_does_not_have_and_then_nothing() {
        let mut ring = ring_at(4);
        push(&mut ring, 5..=7);
        let next = ring.next(EPOCH, Seq(5), DeviceId::NIL);
        assert_eq!(seqs(&next), [6, 7]);
        assert_eq!(ring.next(EPOCH, Seq(7), DeviceId::NIL), Next::Nothing);
    }

    #[test]
    fn a_socket_behind_the_ring_reads_the_log() {
        let mut ring = ring_at(4);
        assert_eq!(ring.next(EPOCH, Seq(3), DeviceId::NIL), Next::Behind);
        push(&mut ring, 5..=300);
        assert_eq!(ring.next(EPOCH, Seq(43), DeviceId::NIL), Next::Behind);
        assert_eq!(seqs(&ring.next(EPOCH, Seq(44), DeviceId::NIL))[0], 45);
    }

    #[test]
    fn a_head_beyond_the_ring_is_read_from_the_log_until_the_follower_is_there() {
        let mut ring = ring_at(0);
        push(&mut ring, 1..=2);
        ring.set_head(&stream_head(EPOCH, 5));
        assert_eq!(seqs(&ring.next(EPOCH, Seq(0), DeviceId::NIL)), [1, 2]);
        assert_eq!(ring.next(EPOCH, Seq(2), DeviceId::NIL), Next::Behind);
        push(&mut ring, 3..=6);
        assert_eq!(seqs(&ring.next(EPOCH, Seq(5), DeviceId::NIL)), [6]);
    }

    #[test]
    fn events_that_were_read_before_the_follower_came_are_not_sent_again() {
        let mut ring = ring_at(5);
        push(&mut ring, 4..=5);
        assert_eq!(ring.next(EPOCH, Seq(5), DeviceId::NIL), Next::Nothing);
        assert_eq!(ring.head(), (EPOCH, Seq(5)));
    }

    #[test]
    fn what_the_follower_brought_while_the_log_was_asked_is_not_forgotten() {
        let mut ring = Ring::new(StreamId::NIL);
        push(&mut ring, [5]);
        assert!(ring.set_head(&stream_head(EPOCH, 4)));
        assert_eq!(ring.head(), (EPOCH, Seq(5)));
        assert_eq!(seqs(&ring.next(EPOCH, Seq(4), DeviceId::NIL)), [5]);
    }

    #[test]
    fn a_gap_empties_the_ring_instead_of_being_sent_over() {
        let mut ring = ring_at(0);
        push(&mut ring, [1, 2, 5]);
        assert_eq!(ring.next(EPOCH, Seq(2), DeviceId::NIL), Next::Behind);
        assert_eq!(ring.head().1, Seq(5));
    }

    #[test]
    fn another_life_of_the_stream_is_told_even_if_it_is_shorter() {
        let mut ring = ring_at(9);
        assert!(ring.set_head(&stream_head(Epoch([2; 16]), 3)));
        assert_eq!(ring.next(EPOCH, Seq(9), DeviceId::NIL), Next::OtherEpoch);
        assert_eq!(ring.head(), (Epoch([2; 16]), Seq(3)));
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_and_forgets_what_is_old() {
        let mut ring = ring_at(0);
        for at in 1..=100 {
            let event = Recorded { content: Some(vec![0; 4096]), ..some_event(at) };
            ring.push(&event, Instant::now());
        }
        assert!(ring.bytes <= BYTES && ring.pieces.len() > 30);
        ring.forget_before(Instant::now());
        assert_eq!((ring.bytes, ring.pieces.capacity()), (0, 0));
        push(&mut ring, [101]);
        assert_eq!(seqs(&ring.next(EPOCH, Seq(100), DeviceId::NIL)), [101]);
    }

    #[test]
    fn a_frame_is_encoded_once_for_all_sockets() {
        let mut ring = ring_at(0);
        push(&mut ring, 1..=3);
        let Next::Frame(one, _) = ring.next(EPOCH, Seq(0), DeviceId::NIL) else { panic!("no frame") };
        let Next::Frame(two, _) = ring.next(EPOCH, Seq(0), DeviceId::NIL) else { panic!("no frame") };
        assert_eq!(one.as_ptr(), two.as_ptr());
    }
}
