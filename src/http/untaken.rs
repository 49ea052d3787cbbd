//! Answers that wait to be taken. A client that reads slowly keeps what it was answered in memory, as often as it has
//! connections: so only so much may wait for one address, and for everybody.

use std::{
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use lockstep_api::Code;

use super::problem::Failure;
use crate::limits::{Proxies, Seat, Seats, place};

/// What is shorter is not counted: the buffers of a connection take it.
const LONG: usize = 64 << 10;
/// So many bytes may wait for one address: a dozen pages of changes.
const EACH: usize = 64 << 20;
/// So many for everybody.
const ALL: usize = 512 << 20;
/// Whose they are then.
const EVERYBODY: u128 = 0;
/// A long answer goes to the connection in pieces of so many bytes: what has gone is free.
const PIECE: usize = 64 << 10;
/// Whoever is refused comes back after so many seconds.
const AGAIN_S: u32 = 2;

/// The long answers that wait.
#[derive(Debug, Clone)]
pub struct Untaken {
    /// Behind these are many.
    proxies: Proxies,
    each: Seats,
    all: Seats,
}

/// An answer that counts, until this is dropped: for its address, unless there are many behind it, and for everybody.
#[derive(Debug)]
struct Held(#[expect(dead_code, reason = "they count as long as they are there")] (Option<Seat>, Seat));

impl Untaken {
    /// Nothing waits yet. Answers to proxies, and to this machine, count for everybody alone.
    pub fn new(proxies: Proxies) -> Self {
        Self { proxies, each: Seats::new(EACH), all: Seats::new(ALL) }
    }

    /// Counts an answer from now on until it is taken or given up.
    ///
    /// # Errors
    /// `too_many_requests` if too much waits already.
    pub fn count(&self, client: IpAddr, response: Response) -> Result<Response, Failure> {
        let bytes = response.body().size_hint().exact().unwrap_or_default();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if bytes <= LONG {
            return Ok(response);
        }
        let many = client.to_canonical().is_loopback() || self.proxies.has(client);
        let whose = (!many).then(|| place(client));
        let held = self.hold(whose, bytes).ok_or_else(|| {
            Failure::from(Code::TooManyRequests).after(AGAIN_S).detail("too many answers wait to be read")
        })?;
        Ok(response.map(|body| Body::new(InPieces { body, piece: Bytes::new(), _held: held })))
    }

    fn hold(&self, whose: Option<u128>, bytes: usize) -> Option<Held> {
        let own = match whose {
            Some(whose) => Some(self.each.take_some(whose, bytes)?),
            None => None,
        };
        Some(Held((own, self.all.take_some(EVERYBODY, bytes)?)))
    }
}

/// A long body in pieces: it is here, and counts, until the connection has taken the last one.
struct InPieces {
    body: Body,
    piece: Bytes,
    _held: Held,
}

impl HttpBody for InPieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.piece.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.piece = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let next = self.piece.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.piece.split_to(next)))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match (self.piece.len() as u64, self.body.size_hint().exact()) {
            (piece, Some(rest)) => SizeHint::with_exact(piece + rest),
            (_, None) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 8));

    fn untaken() -> Untaken {
        Untaken::new(Proxies::parse("10.0.0.0/8").unwrap())
    }

    fn answer(bytes: usize) -> Response {
        Response::new(Body::from(vec![7; bytes]))
    }

    #[tokio::test]
    async fn a_long_answer_counts_until_its_last_piece_is_taken() {
        let untaken = untaken();
        let long = untaken.count(ONE, answer(150_000)).unwrap();
        assert_eq!(long.body().size_hint().exact(), Some(150_000), "its length is told beforehand");
        let mut body = long.into_body();
        let mut taken = 0;
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE && untaken.all.taken_by(EVERYBODY) == 150_000);
            taken += piece.len();
        }
        drop(body);
        assert_eq!((taken, untaken.all.taken_by(EVERYBODY)), (150_000, 0));
        assert!(untaken.each.all_free());
    }

    #[test]
    fn an_address_that_takes_nothing_is_refused_more_and_others_are_not() {
        let untaken = untaken();
        let page = || answer(6 << 20);
        let held: Vec<_> = (0..10).map(|_| untaken.count(ONE, page()).unwrap()).collect();
        assert!(untaken.count(ONE, page()).is_err());
        assert!(untaken.count(ONE, answer(4096)).is_ok(), "a short one is no matter");
        assert!(untaken.count(OTHER, page()).is_ok());
        drop(held);
        assert!(untaken.count(ONE, page()).is_ok());
    }

    #[test]
    fn all_together_are_bounded_whoever_asks() {
        let untaken = untaken();
        let mut held = Vec::new();
        while let Some(one) = untaken.hold(None, 8 << 20) {
            held.push(one);
        }
        assert_eq!(held.len(), 64);
        assert!(untaken.hold(Some(1), 1 << 20).is_none());
    }
}
