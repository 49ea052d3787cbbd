//! The WebSocket sub-protocol `lockstep.v1`: JSON text frames at `/v1/live`.

use lockstep_events::{Chain, Epoch, Micros, Seq, SessionId, SetDigest, StreamId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    Cursor,
    sync::{ResetReason, StreamEvent},
};

/// The sub-protocol's name.
pub const PROTOCOL: &str = "lockstep.v1";

/// Streams that one socket may follow.
pub const MAX_SUBS: usize = 64;

/// A stream and the place after which its news are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sub {
    /// The stream.
    pub stream: StreamId,
    /// The cursor; none: everything from the beginning, in whatever life the stream has. Only one that was served: see
    /// [`Cursor`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
}

/// What a client sends.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "m", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// First frame, within 5 s, with a token or a ticket: exactly one of them.
    Hello {
        /// Access token; or `ticket`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// One-time ticket of `POST /v1/live/ticket`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ticket: Option<String>,
        /// Program and version, for the operator.
        client: String,
        /// What the client can do beyond the base protocol; unknown ones are ignored.
        #[serde(default)]
        caps: Vec<String>,
        /// First subscriptions: as many as a socket may have.
        #[serde(default)]
        #[schema(max_items = 64)]
        subs: Vec<Sub>,
    },
    /// Subscribes to a stream.
    Sub(Sub),
    /// Ends a subscription.
    Unsub {
        /// The stream.
        stream: StreamId,
    },
    /// Answer to `ping`: everything that was sent before it has arrived.
    Pong {
        /// The time from the ping.
        t: Micros,
    },
    /// A new access token of the same session.
    Token {
        /// The token.
        token: String,
    },
}

impl std::fmt::Debug for ClientMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hello { .. } => "hello",
            Self::Sub(_) => "sub",
            Self::Unsub { .. } => "unsub",
            Self::Pong { .. } => "pong",
            Self::Token { .. } => "token",
        })
    }
}

/// Whether a subscription has reached the present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubState {
    /// Every event comes as it is committed.
    Live,
    /// Older events come first.
    CatchingUp,
}

/// A position of a stream, in pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadAt {
    /// The stream.
    pub stream: StreamId,
    /// Its life.
    pub epoch: Epoch,
    /// Its last seq.
    pub head: Seq,
    /// The digest of all versions up to `head`, of a vault's stream; missing where this node does not know it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_digest: Option<SetDigest>,
}

/// What the server sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "m", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerMessage {
    /// Answer to `hello`.
    Welcome {
        /// The session of the token.
        session: SessionId,
        /// The server's clock.
        time: Micros,
        /// Seconds between pings.
        ping_s: u32,
        /// Without anything heard for so many seconds after a ping, the client is dead: `bye` with 4408.
        pong_s: u32,
        /// Seconds until the token expires.
        token_expires_in: u32,
        /// How many streams one socket may follow.
        max_subs: u32,
    },
    /// Answer to a subscription.
    Subbed {
        /// The stream.
        stream: StreamId,
        /// Its life.
        epoch: Epoch,
        /// Events come after this seq.
        from: Seq,
        /// The last seq.
        head: Seq,
        /// Whether older events come first.
        state: SubState,
    },
    /// News. Applied only if `from` is the client's own place.
    Ev {
        /// The stream.
        stream: StreamId,
        /// Its life.
        epoch: Epoch,
        /// The seq before the first event.
        from: Seq,
        /// The seq of the last event.
        to: Seq,
        /// The chain at `to`.
        chain: Chain,
        /// Gapless, from `from + 1` to `to`.
        events: Vec<StreamEvent>,
    },
    /// The client fell behind and is being caught up from the log. No data is lost.
    Lag {
        /// The stream.
        stream: StreamId,
        /// Its last seq.
        head: Seq,
    },
    /// The cursor is void.
    Reset {
        /// The stream.
        stream: StreamId,
        /// Why.
        reason: ResetReason,
        /// The present life.
        epoch: Option<Epoch>,
        /// Its last seq.
        head: Option<Seq>,
    },
    /// Sent every `ping_s`, whatever else is sent and heard; a client that is below a position pulls.
    Ping {
        /// The server's clock; comes back in `pong`.
        t: Micros,
        /// Heads of the subscribed streams.
        pos: Vec<HeadAt>,
    },
    /// The token expires soon: send a new one.
    TokenDue {
        /// Seconds.
        in_s: u32,
    },
    /// Something the client sent was refused.
    Error {
        /// A word for programs: `too_many_subs` (this socket follows as many streams as it may), `log_unavailable` (the
        /// event log is not reachable: subscribe again). More may come.
        code: String,
        /// A sentence for people.
        msg: String,
        /// Whether the same may work later.
        retry: bool,
    },
    /// The server closes the socket.
    Bye {
        /// The close code.
        code: u16,
        /// Whether to come back.
        reconnect: bool,
        /// Wait between so many and so many milliseconds before.
        wait_ms: (u32, u32),
        /// A sentence for people and logs; the close frame has it too. Nothing of what the client sent is in it.
        #[serde(default)]
        #[schema(max_length = 123)]
        reason: String,
    },
}

/// Close codes of the sub-protocol.
pub mod close {
    /// Bad request; do not come back with the same.
    pub const BAD_REQUEST: u16 = 4400;
    /// The token expired: renew it and come back.
    pub const TOKEN_EXPIRED: u16 = 4401;
    /// The session or device was revoked; the client locks.
    pub const REVOKED: u16 = 4403;
    /// The stream is gone.
    pub const STREAM_GONE: u16 = 4404;
    /// The client was too slow: in reading, in greeting, or with a sign of life after a ping.
    pub const TOO_SLOW: u16 = 4408;
    /// A newer socket of the same device took over.
    pub const SUPERSEDED: u16 = 4409;
    /// The cursor is void: pull.
    pub const RESET: u16 = 4410;
    /// Too many messages.
    pub const RATE: u16 = 4429;
    /// A defect of the server.
    pub const INTERNAL: u16 = 4500;
    /// The server is stopping: come back inside `wait_ms`.
    pub const DRAINING: u16 = 4503;

    /// Whether a client comes back by itself after this code.
    pub const fn reconnects(code: u16) -> bool {
        !matches!(code, BAD_REQUEST | REVOKED | STREAM_GONE | SUPERSEDED)
    }
}

/// Answer of `POST /v1/live/ticket`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// Valid for 30 s, once.
    pub ticket: Uuid,
}
