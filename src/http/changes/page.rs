//! One page of a stream.

use lockstep_api::{
    Code,
    sync::{Changes, Reset, ResetReason, StreamEvent},
};
use lockstep_events::{Chain, Recorded, Seq, StreamKind, log::StreamHead};

use super::Wish;
use crate::{
    http::{limiting::refused, problem::Failure},
    limits::{Action, Subject},
    state::Shared,
};

/// A page is cut when its events are about so long, in bytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Reads the page after a cursor.
///
/// # Errors
/// `cursor_reset` with its facts; `too_many_requests` if the account has told so too often; if the log does not answer.
pub async fn read(server: &Shared, wish: &Wish) -> Result<Changes, Failure> {
    let head = head_of(server, wish).await?;
    let from = start(server, wish, &head).await?;
    let events = if from == head.seq {
        Vec::new()
    } else {
        server.log.read_stream(wish.stream, from, wish.limit, wish.contents).await?
    };
    let events = within(events);
    let (to, chain) = match events.last() {
        Some(last) => (last.seq, last.chain),
        None if from == head.seq => (from, head.chain),
        None => (from, server.log.chain_at(wish.stream, from).await?.unwrap_or(Chain::ZERO)),
    };
    let head_seq = head.seq.max(to);
    let set_digest = match head.kind {
        StreamKind::Vault if to == head_seq => server.digests.at(wish.stream, (to, chain), &events).await,
        StreamKind::Vault => {
            server.digests.pass(wish.stream, &events);
            None
        }
        _ => None,
    };
    let events: Vec<StreamEvent> = events.iter().map(StreamEvent::from).collect();
    Ok(Changes {
        stream: wish.stream,
        epoch: head.epoch,
        from,
        to,
        head: head_seq,
        more: to < head_seq,
        chain,
        set_digest,
        events,
    })
}

async fn head_of(server: &Shared, wish: &Wish) -> Result<StreamHead, Failure> {
    let heads = server.log.stream_heads(&[wish.stream]).await?;
    heads.first().copied().ok_or_else(|| {
        let gone = Reset { reason: ResetReason::StreamGone, epoch: None, head: None };
        Failure::from(Code::CursorReset).facts(gone)
    })
}

/// Where the page begins, if the cursor belongs to the stream's present life.
async fn start(server: &Shared, wish: &Wish, head: &StreamHead) -> Result<Seq, Failure> {
    let Some(cursor) = wish.after else { return Ok(Seq::ZERO) };
    if cursor.epoch != head.epoch {
        return Err(reset(ResetReason::EpochChanged, head));
    }
    if cursor.seq <= head.seq {
        // What it asks from is what it has. Whether what it is answered arrives nobody here can tell.
        server.served.note(wish.device, wish.stream, cursor.epoch, cursor.seq);
        return Ok(cursor.seq);
    }
    // Nothing that was served is ever ahead of the log: it lost data, or the cursor is made up.
    let renewing = server.limits.subject(Action::Renew, Subject::Account(wish.account), server.clock.now());
    renewing.await.map_err(|stop| refused(server, Action::Renew, stop))?;
    let reason = server.feed.data_was_lost(wish.stream, cursor.seq.0, head.seq.0).await?;
    Err(reset(reason, &head_of(server, wish).await?))
}

fn reset(reason: ResetReason, head: &StreamHead) -> Failure {
    let facts = Reset { reason, epoch: Some(head.epoch), head: Some(head.seq) };
    Failure::from(Code::CursorReset).facts(facts)
}

/// As many of the first events as fit in a page; at least one.
fn within(mut events: Vec<Recorded>) -> Vec<Recorded> {
    let mut room = PAGE_BYTES;
    let fits = events.iter().position(|event| {
        let size = event.public.len() + event.content.as_ref().map_or(0, |content| content.len() * 4 / 3);
        let fits = size <= room;
        room = room.saturating_sub(size);
        !fits
    });
    if let Some(first_too_many) = fits {
        events.truncate(first_too_many.max(1));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_cut_at_four_mebibytes_and_is_never_empty_for_that() {
        let event = |bytes| Recorded { public: "x".repeat(bytes), ..crate::feed::testing::some_event(1) };
        let mebibyte = 1024 * 1024;
        assert_eq!(within((0..9).map(|_| event(mebibyte)).collect()).len(), 4);
        assert_eq!(within(vec![event(5 * mebibyte), event(1)]).len(), 1);
        assert_eq!(within((0..9).map(|_| event(10)).collect()).len(), 9);
    }
}
