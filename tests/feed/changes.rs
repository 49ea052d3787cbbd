//! `GET /v1/streams/{stream}/changes`: pages, long-poll, server-sent events.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{body::Body, http::Request};
use futures_util::StreamExt;
use lockstep_api::{
    Code, Cursor,
    live::{ServerMessage, Sub, close},
    sync::{Changes, Reset, ResetReason},
};
use lockstep_events::{Chain, Epoch, Seq, StreamId};
use lockstepd::config::Layer;
use reqwest::{Response, StatusCode};
use tower::ServiceExt;

use crate::{
    live::in_both_modes,
    socket::{Heard, SOON, Socket, all, hello},
    support::{Mode, Node, Person, assert_problem, body, problem},
};

in_both_modes! {
    pages_join_on_to_each_other_and_end_at_the_head
    a_long_poll_ends_with_the_first_news_or_with_its_time
    server_sent_events_bring_what_the_socket_brings_and_go_on_after_the_last_id
    server_sent_events_bring_ciphertexts_as_long_as_was_asked_for
    a_cursor_that_cannot_be_is_told_why
    an_account_begins_another_life_ten_times_an_hour_and_not_more_often
}

fn path(person: &Person, query: &str) -> String {
    format!("/v1/streams/{}/changes{query}", StreamId::from(person.vault))
}

async fn pages_join_on_to_each_other_and_end_at_the_head(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let epoch = person.epoch(&node).await;
    let head = person.write(&node, epoch, &vec![vec![5; 60]; 10]).await.head;
    let (mut at, mut chain, mut query) = (Seq::ZERO, Chain::ZERO, "?limit=5".to_owned());
    let mut events = 0;
    loop {
        let answer = person.get(&node, &path(&person, &query)).await;
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let page: Changes = body(answer, StatusCode::OK).await;
        assert_eq!((page.from, page.epoch, page.head), (at, epoch, head));
        assert_eq!(page.to.0, at.0 + page.events.len() as u64);
        assert_eq!(page.more, page.to < head);
        assert_ne!(page.chain, chain);
        events += page.events.len();
        (at, chain, query) = (page.to, page.chain, format!("?limit=5&after={epoch}.{}", page.to));
        if !page.more {
            break;
        }
    }
    assert_eq!(events as u64, head.0);
    let empty = person.changes(&node, &query).await;
    assert_eq!((empty.events.len(), empty.to, empty.chain, empty.more), (0, head, chain, false));
    let bare = person.changes(&node, "?inline=0").await;
    let rich = person.changes(&node, "?inline=60").await;
    assert!(bare.events.iter().all(|event| event.content.is_none()));
    assert_eq!(rich.events.iter().filter(|event| event.content.is_some()).count(), 10);
    let stranger = Person::register(&node).await;
    assert_problem(stranger.get(&node, &path(&person, "")).await, Code::NotFound).await;
    for wrong in ["?limit=0", "?limit=1001", "?wait=26", "?inline=16385", "?after=1", "?unknown=1"] {
        assert_problem(person.get(&node, &path(&person, wrong)).await, Code::InvalidParameter).await;
    }
}

async fn a_long_poll_ends_with_the_first_news_or_with_its_time(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let reader = person.enrol(&node).await;
    let page = person.changes(&node, "").await;
    let wait = format!("?after={}.{}&wait=20", page.epoch, page.to);
    let began = Instant::now();
    let write = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        person.write(&node, page.epoch, &[vec![2; 50]]).await
    };
    let (news, pushed) = tokio::join!(reader.changes(&node, &wait), write);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!((news.from, news.to, news.events.len()), (page.to, pushed.head, 1));
    let began = Instant::now();
    let quiet = reader.changes(&node, &format!("?after={}.{}&wait=1", page.epoch, news.to)).await;
    assert!(quiet.events.is_empty() && began.elapsed() >= Duration::from_secs(1));
}

/// The next event of a stream of server-sent events: its id, name and data.
pub async fn event(
    body: &mut (impl futures_util::Stream<Item = Result<bytes::Bytes, impl std::fmt::Debug>> + Unpin),
    rest: &mut String,
) -> (String, String, String) {
    loop {
        while let Some(end) = rest.find("\n\n") {
            let block: String = rest.drain(..end + 2).collect();
            let field = |name: &str| {
                let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                lines.map(str::to_owned).next().unwrap_or_default()
            };
            if !field("event").is_empty() {
                return (field("id"), field("event"), field("data"));
            }
        }
        let bytes =
            tokio::time::timeout(SOON, body.next()).await.expect("silence").expect("the end").unwrap();
        rest.push_str(std::str::from_utf8(&bytes).unwrap());
    }
}

pub async fn open(node: &Node, person: &Person, last: Option<&str>) -> Response {
    let mut request = node.get(&path(person, "")).header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    request.bearer_auth(&person.tokens.access_token).send().await.unwrap()
}

async fn server_sent_events_bring_what_the_socket_brings_and_go_on_after_the_last_id(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let reader = person.enrol(&node).await;
    let epoch = person.epoch(&node).await;
    let first = person.write(&node, epoch, &[vec![2; 50]]).await.head;
    let mut socket = Socket::hello(&node, &reader, &[all(person.vault)]).await;
    let answer = open(&node, &reader, None).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let (mut stream, mut rest) = (answer.bytes_stream(), String::new());
    let mut by_sse = Vec::new();
    let mut last = String::new();
    let mut head = first;
    while by_sse.len() < 12 {
        if by_sse.len() as u64 == first.0 {
            head = person.write(&node, epoch, &vec![vec![4; 50]; 12 - by_sse.len()]).await.head;
        }
        let (id, name, data) = event(&mut stream, &mut rest).await;
        assert_eq!(name, "ev");
        let ServerMessage::Ev { events, to, .. } = serde_json::from_str(&data).unwrap() else {
            panic!("{data}");
        };
        assert_eq!(id, format!("{epoch}.{to}"));
        by_sse.extend(events);
        last = id;
    }
    assert_eq!(socket.events(person.vault.into(), Seq::ZERO, head).await, by_sse);
    let again = open(&node, &reader, Some(&last)).await;
    let (mut stream, mut rest) = (again.bytes_stream(), String::new());
    let next = person.write(&node, epoch, &[vec![6; 50]]).await.head;
    let (id, _, _) = event(&mut stream, &mut rest).await;
    assert_eq!(id, format!("{epoch}.{next}"));
    assert_problem(open(&node, &reader, Some("nonsense")).await, Code::InvalidHeader).await;
    assert!(person.revoke(&node, reader.device).await.status().is_success());
    let (_, name, data) = event(&mut stream, &mut rest).await;
    assert_eq!(name, "bye", "{data}");
}

/// Asked without a network between: what lay in it would hide where the server stops.
#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_end_with_the_token_also_while_there_is_more_to_send() {
    let options = Layer { access_token_s: Some(60), live_token_grace_s: Some(0), ..Layer::default() };
    let node = Node::start_with(Mode::Embedded, options).await;
    let mut person = Person::register(&node).await;
    let epoch = person.epoch(&node).await;
    for _ in 0..4 {
        person.write(&node, epoch, &vec![vec![4; 50]; 100]).await;
    }
    let renewed = person.refresh(&node, &person.tokens.refresh_token).await;
    person.tokens = body(renewed, StatusCode::OK).await;
    node.clock.pass(55);
    let request = Request::get(path(&person, "")).header("accept", "text/event-stream");
    let request = request.header("authorization", format!("Bearer {}", person.tokens.access_token));
    let router = lockstepd::http::router(Arc::clone(&node.running().server));
    let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (mut stream, mut rest) = (answer.into_body().into_data_stream(), String::new());
    assert_eq!(event(&mut stream, &mut rest).await.1, "ev");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (_, name, data) = event(&mut stream, &mut rest).await;
    assert_eq!(name, "bye", "{data}");
    let ServerMessage::Bye { code, .. } = serde_json::from_str(&data).unwrap() else { panic!("{data}") };
    assert_eq!(code, close::TOKEN_EXPIRED);
}

async fn server_sent_events_bring_ciphertexts_as_long_as_was_asked_for(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let reader = person.enrol(&node).await;
    let epoch = person.epoch(&node).await;
    let sizes = [50, 4_000, 5_000];
    let contents: Vec<Vec<u8>> = sizes.map(|size| vec![3; size]).into();
    let before = person.write(&node, epoch, &contents).await.head;
    for (query, most) in [("?inline=0", 0), ("?inline=100", 100), ("?inline=16384", 16_384), ("", 4_096)] {
        let answer = node.get(&path(&person, query)).header("accept", "text/event-stream");
        let answer = answer.bearer_auth(&reader.tokens.access_token).send().await.unwrap();
        let (mut stream, mut rest) = (answer.bytes_stream(), String::new());
        let mut heard = Vec::new();
        // What was there before, and what comes while the stream is open.
        let mut head = person.changes(&node, "").await.head;
        let mut written = false;
        while heard.len() as u64 != head.0 {
            let (_, _, data) = event(&mut stream, &mut rest).await;
            let ServerMessage::Ev { events, to, .. } = serde_json::from_str(&data).unwrap() else {
                panic!("{data}");
            };
            heard.extend(events);
            if to == head && !written {
                head = person.write(&node, epoch, &contents).await.head;
                written = true;
            }
        }
        let news = &heard[usize::try_from(before.0).unwrap() - sizes.len()..];
        for push in news.chunks(sizes.len()) {
            // In whatever order they were accepted.
            let lengths =
                push.iter().map(|event| event.content.as_ref().map_or(0, |content| content.0.len()));
            let expected = sizes.map(|size| if size <= most { size } else { 0 });
            assert_eq!(lengths.collect::<BTreeSet<_>>(), expected.into(), "{query}");
        }
    }
}

async fn a_cursor_that_cannot_be_is_told_why(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let page = person.changes(&node, "").await;
    let cursor = Cursor { epoch: page.epoch, seq: page.to };
    let mut socket =
        Socket::hello(&node, &person, &[Sub { stream: person.vault.into(), after: Some(cursor) }]).await;
    let other = Cursor { epoch: Epoch([9; 16]), ..cursor };
    let refused = problem(person.get(&node, &path(&person, &format!("?after={other}"))).await).await;
    assert_eq!(refused.code, Code::CursorReset);
    let facts: Reset = serde_json::from_value(refused.facts.unwrap()).unwrap();
    let expected = Reset { reason: ResetReason::EpochChanged, epoch: Some(page.epoch), head: Some(page.to) };
    assert_eq!(facts, expected);
    let ahead = Cursor { seq: Seq(page.to.0 + 1), ..cursor };
    let refused = problem(person.get(&node, &path(&person, &format!("?after={ahead}"))).await).await;
    let facts: Reset = serde_json::from_value(refused.facts.unwrap()).unwrap();
    assert_eq!((facts.reason, facts.head), (ResetReason::CursorAhead, Some(page.to)));
    assert_ne!(facts.epoch, Some(page.epoch), "the stream has not begun another life");
    let Heard::Message(ServerMessage::Reset { reason, epoch, .. }) = socket.next_but_pings().await else {
        panic!("the socket is not told");
    };
    assert_eq!((reason, epoch), (ResetReason::EpochChanged, facts.epoch));
    assert_eq!(person.changes(&node, "").await.epoch, facts.epoch.unwrap());
}

async fn an_account_begins_another_life_ten_times_an_hour_and_not_more_often(mode: Mode) {
    let node = Node::start_with(mode, Layer { rate_limit_factor: Some(1), ..Layer::default() }).await;
    let (mut person, other) = (Person::register(&node).await, Person::register(&node).await);
    let ahead = async |person: &Person| {
        let page = person.changes(&node, "").await;
        Cursor { epoch: page.epoch, seq: Seq(page.head.0 + 1) }
    };
    for _ in 0..10 {
        let after = format!("?after={}", ahead(&person).await);
        assert_problem(person.get(&node, &path(&person, &after)).await, Code::CursorReset).await;
    }
    let cursor = ahead(&person).await;
    let refused = person.get(&node, &path(&person, &format!("?after={cursor}"))).await;
    let wait: i64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert_problem(refused, Code::TooManyRequests).await;
    let mut socket = Socket::open(&node).await;
    let sub = Sub { stream: person.vault.into(), after: Some(cursor) };
    socket.send(&hello(Some(&person.tokens.access_token), None, &[sub])).await;
    socket.says_bye(close::RATE).await;
    assert_eq!(person.changes(&node, "").await.epoch, cursor.epoch, "it has begun another life");
    // Who did not say so is not kept from it, and whoever waits is let through.
    let after = format!("?after={}", ahead(&other).await);
    assert_problem(other.get(&node, &path(&other, &after)).await, Code::CursorReset).await;
    node.clock.pass(wait);
    let renewed = person.refresh(&node, &person.tokens.refresh_token).await;
    person.tokens = body(renewed, StatusCode::OK).await;
    let after = format!("?after={cursor}");
    assert_problem(person.get(&node, &path(&person, &after)).await, Code::CursorReset).await;
}
