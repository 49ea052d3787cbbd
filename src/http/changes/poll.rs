//! Long-poll: a page that waits until there is something on it.

use std::{pin::pin, time::Duration};

use lockstep_api::{Code, live::close, sync::Changes};
use tokio::time::sleep;

use super::{Wish, page};
use crate::{
    feed::Close,
    http::{caller::Caller, problem::Failure},
    state::Shared,
};

/// The page after a cursor; if it is empty, the one that comes within the wished time, or the empty one.
///
/// # Errors
/// As for a page; `revoked` or `draining` if that happens meanwhile.
pub async fn page_or_wait(server: &Shared, caller: &Caller, wish: Wish) -> Result<Changes, Failure> {
    if wish.wait_s == 0 {
        return page::read(server, &wish).await;
    }
    let connected = server.feed.sockets.watch(caller.access(), caller.key).ok_or(Code::TooManyRequests)?;
    // Known first, then asked: a revocation from now on ends the wait by its signal.
    caller.still(server)?;
    let signal = &connected.signal;
    // Listening first, then reading: what is committed in between is not missed.
    let listening = server.feed.listen(wish.stream, caller.account, signal).await?.ok_or(Code::NotFound)?;
    let mut page = page::read(server, &wish).await?;
    let mut over = pin!(sleep(Duration::from_secs(wish.wait_s)));
    while page.events.is_empty() {
        tokio::select! {
            () = signal.woken() => {}
            () = &mut over => return Ok(page),
        }
        if let Some(why) = signal.closed() {
            return Err(closed(why));
        }
        let (epoch, head) = listening.hub.head();
        if (epoch, head) != (page.epoch, page.to) {
            page = page::read(server, &wish).await?;
        }
    }
    Ok(page)
}

fn closed(why: Close) -> Failure {
    match why.code {
        close::REVOKED => Code::Revoked.into(),
        close::TOKEN_EXPIRED => Code::Unauthenticated.into(),
        _ => Code::Draining.into(),
    }
}
