//! One life of the WebSocket: hello, news, pings, until it ends.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{FutureExt, SinkExt, StreamExt};
use lockstep_api::{
    Cursor,
    live::{ClientMessage, ServerMessage, Sub, close},
};
use lockstep_events::{EntryId, Seq, StreamId, VaultId};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use super::{
    apply::{Applied, Page},
    beyond::one_socket,
};
use crate::{
    engine::Engine,
    error::Error,
    model::Link,
    store::{adopted, streams, versions},
    transport::Socket,
};

/// The first answer comes within.
const WELCOME: Duration = Duration::from_secs(10);

/// Why a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection broke, or the server was silent for too long.
    Lost,
    /// The server said when to come back.
    ComeBack {
        /// Between so many milliseconds.
        wait_ms: (u32, u32),
    },
    /// The token was not good any more: renew it first.
    Renew,
    /// The session has ended. Final.
    Revoked,
    /// Another socket of this device took over.
    TakenOver,
    /// The server will not have this client.
    Refused,
}

/// What is followed.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// How many streams.
    subs: usize,
    /// How fresh this device is once all of them are.
    open: Link,
}

/// What a message asks for beyond being read.
enum Next {
    Go,
    End(End),
}

impl Engine {
    /// Connects and follows until the socket ends: all that is believed. Beside why it ended: whether anything went
    /// through it. `Err` if it could not be opened at all.
    pub(crate) async fn live(&self) -> Result<(End, bool), Error> {
        let token = self.access_token().await?;
        let mut socket = self.transport.socket().await?;
        let _mine = self.has_socket();
        // Whatever was believed again until now is among them.
        let _ = self.believed.notified().now_or_never();
        let (places, all) = self.believed_places().await?;
        let (places, beyond) = one_socket(places, self.vault().into());
        let subs: Vec<Sub> = places
            .iter()
            .map(|place| Sub {
                stream: place.stream,
                after: Some(Cursor { epoch: place.epoch, seq: place.seq }),
            })
            .collect();
        // While one is left out, what is shown of it may be old.
        let wanted = Wanted { subs: subs.len(), open: if all { Link::Live } else { Link::Stale } };
        let hello = ClientMessage::Hello {
            token: Some(token),
            ticket: None,
            client: concat!("lockstep/", env!("CARGO_PKG_VERSION")).to_owned(),
            caps: Vec::new(),
            subs,
        };
        send(&mut socket, &hello).await?;
        let end = tokio::select! {
            end = self.listen(&mut socket, wanted) => end,
            never = self.look_beyond(&beyond) => match never {},
        };
        let _ = socket.close(None).await;
        end
    }

    async fn listen(&self, socket: &mut Socket, wanted: Wanted) -> Result<(End, bool), Error> {
        let mut silence = WELCOME;
        let mut subbed = 0;
        loop {
            let open = subbed == wanted.subs;
            let heard = tokio::select! {
                heard = timeout_at(Instant::now() + silence, socket.next()) => heard,
                // Of what is believed again more is wanted.
                () = self.believed.notified() => return Ok((End::ComeBack { wait_ms: (0, 0) }, open)),
            };
            let message = match heard {
                Err(_) | Ok(None | Some(Err(_))) => return Ok((End::Lost, open)),
                Ok(Some(Ok(message))) => message,
            };
            let text = match message {
                Message::Text(text) => text,
                Message::Close(frame) => {
                    return Ok((closed(frame.map_or(1006, |frame| frame.code.into())), open));
                }
                _ => continue,
            };
            for message in messages(&text)? {
                // Another process of this profile may have read what is left out.
                let missed = wanted.open == Link::Stale && matches!(message, ServerMessage::Ping { .. });
                if missed && self.all_believed().await? {
                    self.believed.notify_one();
                }
                if let ServerMessage::Welcome { ping_s, pong_s, .. } = &message {
                    // A ping comes every ping_s ± 10 %; past that and pong_s the other side is gone.
                    silence = Duration::from_secs(u64::from(*ping_s) * 6 / 5 + u64::from(*pong_s));
                }
                if matches!(message, ServerMessage::Subbed { .. }) {
                    subbed += 1;
                    if subbed == wanted.subs {
                        self.link(wanted.open);
                    }
                }
                if let Next::End(end) = self.hear(socket, message).await? {
                    return Ok((end, subbed == wanted.subs));
                }
            }
        }
    }

    async fn hear(&self, socket: &mut Socket, message: ServerMessage) -> Result<Next, Error> {
        match message {
            ServerMessage::Ev { stream, epoch, from, to, chain, events } => {
                if self.news(&Page { stream, epoch, from, to, chain, set_digest: None, events }).await? {
                    // A vault that is new is read by the pull, and followed by the next socket.
                    return Ok(Next::End(End::ComeBack { wait_ms: (0, 0) }));
                }
            }
            ServerMessage::Ping { t, pos } => {
                send(socket, &ClientMessage::Pong { t }).await?;
                for head in pos {
                    if self.is_behind(head.stream, head.head).await? {
                        self.behind.notify_one();
                    }
                    self.heard_digest(head.stream, (head.epoch, head.head), head.set_digest).await?;
                }
            }
            ServerMessage::Subbed { stream, head, .. } => {
                if self.is_behind(stream, head).await? {
                    self.behind.notify_one();
                }
                // Another process may have pulled between the last page and this subscription.
                self.tell_missed_of(stream).await?;
            }
            ServerMessage::Lag { .. } => self.behind.notify_one(),
            ServerMessage::Reset { .. } => {
                // The pull meets the same reset, and handles it; the subscription is made anew afterwards.
                return Ok(Next::End(End::ComeBack { wait_ms: (0, 0) }));
            }
            ServerMessage::TokenDue { .. } => {
                let token = self.access_token().await?;
                let token = self.renew(&token).await?;
                send(socket, &ClientMessage::Token { token }).await?;
            }
            ServerMessage::Bye { code, reconnect, wait_ms, .. } => {
                let end = closed(code);
                let comes_back =
                    reconnect && !matches!(end, End::Revoked | End::TakenOver | End::Refused | End::Renew);
                return Ok(Next::End(if comes_back { End::ComeBack { wait_ms } } else { end }));
            }
            // A stream is not followed that should be, and nothing more is said of it here: the next socket asks again.
            ServerMessage::Error { retry: true, .. } => return Ok(Next::End(End::Lost)),
            ServerMessage::Error { .. } | ServerMessage::Welcome { .. } => {}
        }
        Ok(Next::Go)
    }

    /// News: applied where they fit; anything else makes the pull loop go. Whether there is a vault that is not followed
    /// yet.
    async fn news(&self, page: &Page) -> Result<bool, Error> {
        let _one = self.pulling.lock().await;
        match self.apply_news(page).await? {
            Applied::Done(_) if page.stream == self.account().into() => {
                // Before anything comes that is sealed under a new key.
                let roster = self.roster().await?;
                self.learn_vault_keys(&roster).await?;
                let mut db = self.store.pool().acquire().await?;
                for vault in roster.vault_generations.keys() {
                    if streams::get(&mut db, (*vault).into()).await?.is_none() {
                        return Ok(true);
                    }
                }
            }
            Applied::Done(_) => self.after_frame(page).await?,
            Applied::Old => {}
            Applied::Gap | Applied::OtherLife | Applied::UnknownKey => self.behind.notify_one(),
        }
        Ok(false)
    }

    /// What a frame leaves to be done about its entries; no others are looked at.
    async fn after_frame(&self, page: &Page) -> Result<(), Error> {
        let vault = VaultId::from(page.stream);
        let changed: BTreeSet<EntryId> =
            page.events.iter().filter_map(|event| event.subject).map(EntryId::from).collect();
        // Contents that were too long for the frame, and what a head goes back to and is not here, are fetched by the
        // pull loop.
        let mut db = self.store.pool().acquire().await?;
        let left = !versions::wanted(&mut db, vault, 1).await?.is_empty()
            || adopted::misses(&mut db, vault, &changed).await?;
        drop(db);
        if left {
            self.behind.notify_one();
        }
        self.at(vault).adopt_identical_in(&changed).await.map(drop)
    }

    async fn is_behind(&self, stream: StreamId, head: Seq) -> Result<bool, Error> {
        let place = streams::get(&mut *self.store.pool().acquire().await?, stream).await?;
        Ok(place.is_none_or(|place| place.seq < head))
    }

    /// Notes how fresh this device is, and tells whoever watches.
    pub(crate) fn link(&self, link: Link) {
        let changed = self.link.send_if_modified(|now| std::mem::replace(now, link) != link);
        if changed {
            let _ = self.changes.send(crate::model::Change::Link { link });
        }
    }
}

/// Several messages may stand in one frame, one after the other or in a list.
fn messages(text: &str) -> Result<Vec<ServerMessage>, Error> {
    let bad = |_| Error::Protocol("a frame that is not of the protocol");
    let mut all = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>() {
        match value.map_err(bad)? {
            serde_json::Value::Array(list) => {
                for one in list {
                    all.push(serde_json::from_value(one).map_err(bad)?);
                }
            }
            one => all.push(serde_json::from_value(one).map_err(bad)?),
        }
    }
    Ok(all)
}

async fn send(socket: &mut Socket, message: &ClientMessage) -> Result<(), Error> {
    let text = serde_json::to_string(message).map_err(|_| Error::Invalid("not to be written as JSON"))?;
    socket.send(Message::text(text)).await.map_err(|error| Error::Offline(Box::new(error)))
}

fn closed(code: u16) -> End {
    match code {
        close::TOKEN_EXPIRED => End::Renew,
        close::REVOKED => End::Revoked,
        close::SUPERSEDED => End::TakenOver,
        code if (4000..5000).contains(&code) && !close::reconnects(code) => End::Refused,
        close::RESET => End::ComeBack { wait_ms: (0, 0) },
        close::RATE | close::TOO_SLOW => End::ComeBack { wait_ms: (1_000, 10_000) },
        _ => End::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{account::testing::two_devices, store::entries};

    /// Whatever reads the heads of an entry that the frame does not have fails: they are damaged.
    #[tokio::test]
    async fn a_frame_is_settled_without_a_look_at_other_entries() {
        let (a, b, _, mut vault) = two_devices().await;
        let (other, entry) = (a.add(b"other").await.unwrap(), a.add(b"first").await.unwrap());
        vault.accept_all(&a).await;
        for device in [&a, &b] {
            device.news(&vault.page(0)).await.unwrap();
        }
        let mut tx = b.store.begin().await.unwrap();
        sqlx::query("UPDATE entries SET heads = '\"adopt\" damaged' WHERE entry = ?")
            .bind(other.as_bytes().as_slice())
            .execute(&mut *tx)
            .await
            .unwrap();
        assert!(entries::branched(&mut tx, b.vault()).await.is_err());
        assert!(adopted::not_here(&mut tx, b.vault(), 1).await.is_err());
        tx.commit().await.unwrap();
        // Both write the same: the frame brings the second branch, and the device settles it.
        let base = a.entry(entry).await.unwrap().head_ids();
        a.edit(entry, &base, b"same").await.unwrap();
        b.edit(entry, &base, b"same").await.unwrap();
        for (device, seq) in [(&a, 2), (&b, 3)] {
            vault.accept_all(device).await;
            b.news(&vault.page(seq)).await.unwrap();
        }
        let shown = b.entry(entry).await.unwrap();
        assert_eq!((shown.heads.len(), shown.pending), (1, true), "adopted");
        // And an adoption of what is here leaves nothing to fetch.
        vault.accept_all(&b).await;
        b.news(&vault.page(4)).await.unwrap();
        assert!(!b.entry(entry).await.unwrap().pending);
    }
}
