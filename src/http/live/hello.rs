//! The first frame: who is it, and what does it want to follow.

use std::{sync::Arc, time::Duration};

use lockstep_api::{
    Code,
    live::{ClientMessage, MAX_SUBS, ServerMessage, Sub, close},
};
use lockstep_events::Micros;
use rand::Rng;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::{
    refusal,
    sending::{End, Wire},
    socket::{Socket, Void},
    timing::{Beat, HELLO, Timing, renewal},
    upgrade::WebSocket,
};
use crate::{
    feed::{Close, Connected},
    http::{
        caller::{Caller, Scope},
        problem::Failure,
        ticket,
    },
    state::Shared,
};

/// Serves a socket from its first frame to its last.
pub async fn welcome(server: Shared, socket: WebSocket) {
    // Boxed: what only the greeting needs does not stay for the life of the socket.
    let blocked = Duration::from_secs(server.config.live_blocked_s);
    let mut wire = Wire::new(socket, blocked);
    let greeted = Box::pin(greet(&server, &mut wire)).await;
    let end = match greeted {
        Ok(socket) => Box::pin(Socket::serve(socket, &server, &mut wire)).await,
        Err(end) => end,
    };
    Box::pin(wire.end(end)).await;
}

async fn greet(server: &Shared, wire: &mut Wire) -> Result<Socket, End> {
    let (caller, subs) = match timeout(HELLO, first_frame(server, wire)).await {
        Ok(heard) => heard?,
        // A slow network is no mistake: the client may come back with the same.
        Err(_late) => return Err(End::Silent(refusal::LATE_HELLO)),
    };
    let connected = server.feed.sockets.live(caller.access(), caller.key, server.config.live_per_account);
    let connected = connected.ok_or(End::code(close::RATE))?;
    wire.signal = Arc::clone(&connected.signal);
    // Known first, then asked: a revocation in between closes the socket by its signal.
    if server.feed.revocations.refuses(&caller.access()) {
        return Err(End::code(close::REVOKED));
    }
    let mut socket = start(server, caller, connected);
    wire.send(&welcome_of(server, &caller, &socket.beat)).await?;
    let wished = subs.len();
    socket.subs.reserve_exact(wished);
    for sub in subs {
        socket.subscribe(server, wire, sub).await?;
    }
    // Each was told by `reset`. A wish that the log could not answer is not void.
    if wished > 0 && socket.void.gone + socket.void.reset == wished {
        return Err(socket.void.end());
    }
    Ok(socket)
}

async fn first_frame(server: &Shared, wire: &mut Wire) -> Result<(Caller, Vec<Sub>), End> {
    let text = loop {
        match wire.hear().await {
            Some(Ok(Message::Text(text))) => break text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_) | Message::Frame(_))) => return Err(End::bad(refusal::BINARY)),
            Some(Err(error)) => return Err(refusal::of_frame(&error)),
            Some(Ok(Message::Close(_))) => return Err(End::Closed),
            None => return Err(End::Gone),
        }
    };
    let first = serde_json::from_str(&text).map_err(|error| refusal::of_text(&error))?;
    let ClientMessage::Hello { token, ticket, subs, .. } = first else {
        return Err(End::bad(refusal::NO_HELLO));
    };
    if subs.len() > MAX_SUBS {
        return Err(End::bad(refusal::TOO_MANY_SUBS));
    }
    let caller = match (token, ticket) {
        (Some(token), None) => Caller::verified(server, &token),
        (None, Some(ticket)) => ticket::redeem(server, &ticket).await,
        _ => return Err(End::bad(refusal::ONE_CREDENTIAL)),
    };
    let caller = caller.map_err(|failure| refused(&failure))?;
    if caller.scope != Scope::Vault {
        return Err(End::bad(refusal::OTHER_SCOPE));
    }
    Ok((caller, subs))
}

/// The close code for a token that is not accepted.
pub fn refused(failure: &Failure) -> End {
    match failure.code() {
        Code::Revoked => End::code(close::REVOKED),
        code if code.status() >= 500 => Close::draining((1_000, 10_000)).into(),
        _ => End::code(close::TOKEN_EXPIRED),
    }
}

fn start(server: &Shared, caller: Caller, connected: Connected) -> Socket {
    let config = &server.config;
    let beat = Beat {
        ping: Duration::from_secs(config.live_ping_s),
        pong: Duration::from_secs(config.live_pong_s),
        grace: Duration::from_secs(config.live_token_grace_s),
        renewal: renewal(Duration::from_secs(config.access_token_s.into())),
    };
    let jitter = rand::thread_rng().gen_range(0.0..1.0);
    let timing = Timing::new(beat, Instant::now(), left(server, &caller), jitter);
    Socket { caller, beat, timing, subs: Vec::new(), pinged: Micros(0), void: Void::default(), connected }
}

/// How long a caller's token is still valid.
pub fn left(server: &Shared, caller: &Caller) -> Duration {
    let micros = caller.expires_at.saturating_mul(1_000_000).saturating_sub(server.clock.now().0);
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn welcome_of(server: &Shared, caller: &Caller, beat: &Beat) -> ServerMessage {
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    ServerMessage::Welcome {
        session: caller.session,
        time: server.clock.now(),
        ping_s: seconds(beat.ping),
        pong_s: seconds(beat.pong),
        token_expires_in: seconds(left(server, caller)),
        max_subs: u32::try_from(MAX_SUBS).unwrap_or(u32::MAX),
    }
}
