//! Events of the log as they cross the wire, and the `ev` frame, written once and shared by all sockets.

use std::fmt::Write as _;

use bytes::Bytes;
use lockstep_api::{Bytes64, MAX_LIVE_INLINE, sync::StreamEvent};
use lockstep_events::{Chain, DeviceId, Epoch, Recorded, Seq, StreamId};

/// One event as JSON, its content at the end so that it can be left out without encoding twice.
#[derive(Debug)]
pub struct Piece {
    /// Its place.
    pub seq: Seq,
    /// The chain at its place.
    pub chain: Chain,
    origin: Option<DeviceId>,
    json: Box<str>,
    bare_len: usize,
}

impl Piece {
    /// Encodes an event; content over 4 KiB is left out. None only if serde cannot write one of our own types.
    pub fn new(event: &Recorded) -> Option<Self> {
        Self::with(event, event.content.as_ref().filter(|content| content.len() <= MAX_LIVE_INLINE))
    }

    /// Encodes an event with its content, however long that is. None as for [`Self::new`].
    pub fn whole(event: &Recorded) -> Option<Self> {
        Self::with(event, event.content.as_ref())
    }

    fn with(event: &Recorded, content: Option<&Vec<u8>>) -> Option<Self> {
        let bare = StreamEvent { content: None, ..StreamEvent::from(event) };
        let mut json = serde_json::to_string(&bare).ok()?;
        let bare_len = json.len();
        if let Some(content) = content {
            json.pop();
            let content = serde_json::to_string(&Bytes64(content.clone())).ok()?;
            // Writing to a String cannot fail.
            let _ = write!(json, ",\"content\":{content}}}");
        }
        let (seq, chain, origin) = (event.seq, event.chain, event.device);
        Some(Self { seq, chain, origin, json: json.into_boxed_str(), bare_len })
    }

    /// Its length in bytes.
    pub fn size(&self) -> usize {
        self.json.len()
    }

    /// Whether this device made it, and therefore gets it without content.
    pub fn is_echo(&self, device: DeviceId) -> bool {
        self.origin == Some(device) && self.json.len() > self.bare_len
    }

    fn write(&self, out: &mut String, device: DeviceId) {
        if self.is_echo(device) {
            // Without the closing brace of `bare`, which content has overwritten.
            out.push_str(&self.json[..self.bare_len - 1]);
            out.push('}');
        } else {
            out.push_str(&self.json);
        }
    }
}

/// The `ev` frame of consecutive events, for one device. `pieces` is not empty.
pub fn frame(stream: StreamId, epoch: Epoch, pieces: &[&Piece], device: DeviceId) -> Bytes {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return Bytes::new() };
    let length: usize = pieces.iter().map(|piece| piece.size() + 1).sum();
    let mut out = String::with_capacity(length + 256);
    let (from, to, chain) = (first.seq.0 - 1, last.seq, last.chain);
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        r#"{{"m":"ev","stream":"{stream}","epoch":"{epoch}","from":{from},"to":{to},"chain":"{chain}","events":["#
    );
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        piece.write(&mut out, device);
    }
    out.push_str("]}");
    Bytes::from(out)
}

/// How many of the first pieces go into one frame: at least one, at most about 16 KiB, so that a socket's write
/// buffer stays small.
pub fn fitting<'a>(pieces: impl Iterator<Item = &'a Piece>) -> usize {
    let mut room = 16 * 1024_usize;
    let fits = pieces.enumerate().take_while(|(index, piece)| {
        let fits = *index == 0 || piece.size() <= room;
        room = room.saturating_sub(piece.size());
        fits
    });
    fits.count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::testing::some_event;
    use lockstep_api::live::ServerMessage;
    use uuid::Uuid;

    fn parsed(bytes: &Bytes) -> ServerMessage {
        serde_json::from_slice(bytes).unwrap()
    }

    fn versions() -> Vec<Recorded> {
        let one = Recorded {
            content: Some(vec![7; 300]),
            device: Some(DeviceId(Uuid::from_u128(5))),
            ..some_event(3)
        };
        let two = Recorded { content: Some(vec![8; 4_097]), chain: Chain([4; 32]), ..some_event(4) };
        vec![one, two]
    }

    #[test]
    fn a_frame_is_exactly_the_message_that_serde_would_write() {
        let events = versions();
        let pieces: Vec<_> = events.iter().filter_map(Piece::new).collect();
        let (stream, epoch) = (events[0].stream, Epoch([6; 16]));
        let frame = frame(stream, epoch, &pieces.iter().collect::<Vec<_>>(), DeviceId::NIL);
        let mut shown: Vec<_> = events.iter().map(StreamEvent::from).collect();
        shown[1].content = None;
        let chain = Chain([4; 32]);
        let expected = ServerMessage::Ev { stream, epoch, from: Seq(2), to: Seq(4), chain, events: shown };
        assert_eq!(parsed(&frame), expected);
        assert_eq!(frame, serde_json::to_vec(&expected).unwrap());
    }

    #[test]
    fn the_device_that_made_an_event_gets_it_back_without_its_content() {
        let pieces: Vec<_> = versions().iter().filter_map(Piece::new).collect();
        let origin = DeviceId(Uuid::from_u128(5));
        let frame = frame(StreamId::NIL, Epoch::ZERO, &[&pieces[0]], origin);
        let ServerMessage::Ev { events, .. } = parsed(&frame) else { panic!("not an ev") };
        assert_eq!(events[0].content, None);
        assert_eq!(events[0].seq, Seq(3));
    }

    #[test]
    fn a_frame_takes_at_least_one_piece_and_stops_at_sixteen_kibibytes() {
        let large = |at| Recorded { public: "x".repeat(10_000), ..some_event(at) };
        let pieces: Vec<_> = [large(1), large(2), large(3)].iter().filter_map(Piece::new).collect();
        assert_eq!(fitting(pieces.iter()), 1);
        let small: Vec<_> = (1..=9).map(some_event).collect();
        let pieces: Vec<_> = small.iter().filter_map(Piece::new).collect();
        assert_eq!(fitting(pieces.iter()), 9);
        let huge = Recorded { public: "x".repeat(50_000), ..some_event(1) };
        assert_eq!(fitting([Piece::new(&huge).unwrap()].iter()), 1);
    }
}
