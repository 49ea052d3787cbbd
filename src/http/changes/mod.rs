//! `GET /v1/streams/{stream}/changes`: news by page, by long-poll and as server-sent events.

mod page;
mod poll;
mod sse;

use std::time::Duration;

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use lockstep_api::{Code, Cursor, MAX_INLINE, MAX_LIVE_INLINE, MAX_PAGE, MAX_WAIT_S, sync::Changes};
use lockstep_events::{AccountId, DeviceId, StreamId, log::Contents};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Answer, Json, Path, Query, Routes, caller::Caller, patience::Patience, problem::Failure, routes::routes,
};
use crate::state::Shared;

/// Events of a page that did not ask for a number.
const DEFAULT_PAGE: usize = 500;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(changes))
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Everything after this cursor, which is one that was served; absent: from the beginning, in whatever life the
    /// stream has.
    #[param(value_type = Option<String>, pattern = "^[0-9a-f]{32}\\.(0|[1-9][0-9]{0,18})$")]
    after: Option<Cursor>,
    /// Events of the page at most.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// If there is nothing: wait so many seconds for something.
    #[param(minimum = 0, maximum = 25)]
    wait: Option<u64>,
    /// Bring along ciphertexts of at most so many bytes.
    #[param(minimum = 0, maximum = 16384)]
    inline: Option<usize>,
    /// Whether ciphertexts that this device pushed are brought along, too; absent: they are. As server-sent events and
    /// on `/v1/live` they never are.
    own: Option<bool>,
}

/// What a page shall be, all limits checked.
#[derive(Debug, Clone, Copy)]
struct Wish {
    stream: StreamId,
    account: AccountId,
    device: DeviceId,
    after: Option<Cursor>,
    limit: usize,
    wait_s: u64,
    contents: Contents,
}

impl Asked {
    fn checked(self, stream: StreamId, caller: &Caller) -> Result<Wish, Failure> {
        let bad = |what: &str| Failure::from(Code::InvalidParameter).detail(what);
        let limit = self.limit.unwrap_or(DEFAULT_PAGE);
        if limit == 0 || limit > MAX_PAGE {
            return Err(bad("limit is from 1 to 1000"));
        }
        let wait_s = self.wait.unwrap_or(0);
        if wait_s > MAX_WAIT_S {
            return Err(bad("wait is at most 25 seconds"));
        }
        let inline = self.inline.unwrap_or(MAX_LIVE_INLINE);
        if inline > MAX_INLINE {
            return Err(bad("inline is at most 16384 bytes"));
        }
        let contents = match (inline, self.own) {
            (0, _) => Contents::No,
            (most, Some(false)) => Contents::ForDevice(caller.device, most),
            (most, _) => Contents::UpTo(most),
        };
        let (account, device) = (caller.account, caller.device);
        Ok(Wish { stream, account, device, after: self.after, limit, wait_s, contents })
    }
}

/// Changes of a stream after a cursor.
///
/// A cursor is a claim: that the device was served everything up to there. It is made of a page, a snapshot or a frame,
/// and of nothing else; the `head` of a push is none. It is also how the server knows what the device has: a save with
/// `infer_parents` builds on no event after the last cursor that came. One that is ahead of the stream says that the server lost data:
/// all streams of the account begin another life then, and all of its devices are told so.
///
/// With `Accept: text/event-stream` changes keep coming as server-sent events, `limit`, `wait` and `own` aside. One of
/// `event: ev` has a frame of the live feed as its `data` (`ev` of `asyncapi.json`, with its `m`) and the cursor after
/// it as its `id`; `event: reset` and `event: bye` (those frames, without an id) are the last of a stream. Lines that
/// begin with a colon are comments: the first comes at once, then one every 20 s without anything else. Ciphertexts that
/// this device pushed are not brought along. `Last-Event-ID` stands over `after`.
#[utoipa::path(get, path = "/v1/streams/{stream}/changes", operation_id = "get_changes", tag = "sync", security(("token" = [])),
    params(("stream" = StreamId, Path, description = "The stream"), Asked,
        ("Last-Event-ID" = Option<String>, Header, description = "The cursor of the last event that was received")),
    responses(
        (status = 200, description = "A page; or events, if that is what `Accept` asks for",
            content((Changes = "application/json"), (String = "text/event-stream"))),
        (status = 410, description = "`cursor_reset`: the stream began another life, or is gone. Find the last place that both lives have, offer the roster, read on from there, reconcile; facts are a `Reset`")))]
async fn changes(
    State(server): State<Shared>,
    caller: Caller,
    Path(stream): Path<StreamId>,
    Query(asked): Query<Asked>,
    patience: Option<Extension<Patience>>,
    headers: HeaderMap,
) -> Answer<Response> {
    let mut wish = asked.checked(stream, &caller)?;
    if server.feed.owner(stream).await? != Some(caller.account) {
        return Err(Code::NotFound.into());
    }
    if wants_events(&headers) {
        if let Some(last) = last_event_id(&headers)? {
            wish.after = Some(last);
        }
        if let Some(Extension(patience)) = patience {
            patience.set(Duration::from_secs(server.config.live_blocked_s));
        }
        return sse::events(server, caller, wish).await;
    }
    let page = poll::page_or_wait(&server, &caller, wish).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json::<_>(page)).into_response())
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|one| one.split(';').next().is_some_and(|kind| kind.trim() == "text/event-stream"))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Cursor>, Failure> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let cursor = value.to_str().ok().and_then(|text| text.parse().ok());
    cursor.map(Some).ok_or_else(|| Failure::from(Code::InvalidHeader).detail("Last-Event-ID is not a cursor"))
}
