//! Open sockets, event streams and long-polls when a stream begins another life, or is not there any more.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lockstep_api::{
    Code, Cursor,
    live::{ClientMessage, ServerMessage, Sub, close},
    sync::{Reset, ResetReason, Streams},
};
use lockstep_events::{Epoch, Seq, StreamId};
use reqwest::StatusCode;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

use crate::{
    live::in_both_modes,
    socket::{Heard, SOON, Socket, all},
    support::{Mode, Node, Person, body, problem},
};

in_both_modes! {
    the_only_stream_of_a_socket_begins_another_life_and_its_client_is_sent_to_pull
    one_stream_of_several_begins_another_life_and_the_socket_stays_for_the_others
    a_greeting_whose_cursors_are_all_void_is_told_each_and_closed
    a_cursor_of_a_life_whose_news_the_bus_has_lost_is_followed_and_not_called_void
    streams_that_a_backup_does_not_have_are_told_and_a_socket_that_has_no_other_is_closed_for_good
}

/// What a restore does: the stream begins another life, and all nodes hear of it.
async fn renew(node: &Node, stream: StreamId) -> Epoch {
    let epoch = Epoch(*uuid::Uuid::new_v4().as_bytes());
    let server = &node.running().server;
    server.log.renew_epoch(stream, epoch).await.unwrap();
    server.bus.publish_renewed(stream);
    epoch
}

async fn hears_reset(socket: &mut Socket, expected: (StreamId, ResetReason, Option<Epoch>, Option<Seq>)) {
    loop {
        match socket.next_but_pings().await {
            Heard::Message(ServerMessage::Reset { stream, reason, epoch, head }) => {
                assert_eq!((stream, reason, epoch, head), expected);
                return;
            }
            Heard::Message(ServerMessage::Ev { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn the_only_stream_of_a_socket_begins_another_life_and_its_client_is_sent_to_pull(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let (old, stream) = (person.epoch(&node).await, StreamId::from(person.vault));
    let head = person.write(&node, old, &[vec![1; 40]]).await.head;
    let mut socket = Socket::hello(&node, &person, &[all(stream)]).await;
    socket.events(stream, Seq::ZERO, head).await;
    let began = Instant::now();
    let new = renew(&node, stream).await;
    hears_reset(&mut socket, (stream, ResetReason::EpochChanged, Some(new), Some(head))).await;
    socket.says_bye(close::RESET).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(close::reconnects(close::RESET));
    let mut again = Socket::hello(&node, &person, &[all(stream)]).await;
    assert_eq!(again.events(stream, Seq::ZERO, head).await.len() as u64, head.0);
}

async fn one_stream_of_several_begins_another_life_and_the_socket_stays_for_the_others(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let (account, vault) = (StreamId::from(person.account), StreamId::from(person.vault));
    let head = person.changes(&node, "").await.head;
    let mut socket = Socket::hello(&node, &person, &[all(account), all(vault)]).await;
    socket.events(vault, Seq::ZERO, head).await;
    let new = renew(&node, vault).await;
    hears_reset(&mut socket, (vault, ResetReason::EpochChanged, Some(new), Some(head))).await;
    person.enrol(&node).await;
    let Heard::Message(ServerMessage::Ev { stream, .. }) = socket.next_but_pings().await else {
        panic!("the other stream is not followed any more");
    };
    assert_eq!(stream, account);
    socket.send(&ClientMessage::Sub(all(vault))).await;
    let next = person.write(&node, new, &[vec![2; 40]]).await.head;
    socket.events(vault, Seq::ZERO, next).await;
    // Both at once: each is told exactly once, then the socket ends.
    renew(&node, account).await;
    renew(&node, vault).await;
    let mut told = Vec::new();
    loop {
        match socket.next_but_pings().await {
            Heard::Message(ServerMessage::Reset { stream, .. }) => told.push(stream),
            Heard::Message(ServerMessage::Ev { .. }) => {}
            Heard::Message(ServerMessage::Bye { code, .. }) => break assert_eq!(code, close::RESET),
            other => panic!("{other:?}"),
        }
    }
    told.sort_unstable();
    let mut both = [account, vault];
    both.sort_unstable();
    assert_eq!(told, both);
    assert_eq!(socket.close_code().await, close::RESET);
}

async fn a_greeting_whose_cursors_are_all_void_is_told_each_and_closed(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let stranger = Person::register(&node).await;
    let void = Cursor { epoch: Epoch([9; 16]), seq: Seq(1) };
    let old = |stream: StreamId| Sub { stream, after: Some(void) };
    let token = Some(person.tokens.access_token.as_str());
    let cases = [
        (vec![old(person.account.into()), old(person.vault.into())], close::RESET),
        (vec![old(person.vault.into()), all(stranger.vault)], close::RESET),
        (vec![all(stranger.vault), all(stranger.account)], close::STREAM_GONE),
    ];
    for (subs, code) in cases {
        let mut socket = Socket::open(&node).await;
        socket.send(&crate::socket::hello(token, None, &subs)).await;
        assert!(matches!(socket.next().await, Heard::Message(ServerMessage::Welcome { .. })));
        for sub in &subs {
            let Heard::Message(ServerMessage::Reset { stream, .. }) = socket.next_but_pings().await else {
                panic!("not told");
            };
            assert_eq!(stream, sub.stream);
        }
        socket.says_bye(code).await;
    }
    // One that can be followed keeps the socket.
    let subs = [old(person.account.into()), all(person.vault)];
    let mut socket = Socket::open(&node).await;
    socket.send(&crate::socket::hello(token, None, &subs)).await;
    let head = person.changes(&node, "").await.head;
    loop {
        match socket.next_but_pings().await {
            Heard::Message(ServerMessage::Ev { stream, to, .. }) if to == head => {
                break assert_eq!(stream, person.vault.into());
            }
            Heard::Message(_) => {}
            Heard::Closed(code) => panic!("closed with {code}"),
        }
    }
}

async fn a_cursor_of_a_life_whose_news_the_bus_has_lost_is_followed_and_not_called_void(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let (reader, listener) = (person.enrol(&node).await, person.enrol(&node).await);
    let streams: Streams = body(person.get(&node, "/v1/streams").await, StatusCode::OK).await;
    let mut subs: Vec<Sub> = streams.streams.iter().map(|info| all(info.stream)).collect();
    // The node knows both streams in their former lives.
    let _before = Socket::hello(&node, &person, &subs).await;
    for (sub, info) in subs.iter_mut().zip(&streams.streams) {
        let epoch = Epoch(*uuid::Uuid::new_v4().as_bytes());
        node.running().server.log.renew_epoch(info.stream, epoch).await.unwrap();
        sub.after = Some(Cursor { epoch, seq: info.head });
    }
    let [account, vault] = &subs[..] else { panic!("{subs:?}") };
    // Says that it is subscribed, or this fails.
    let mut socket = Socket::hello(&node, &reader, std::slice::from_ref(vault)).await;
    let cursor = vault.after.unwrap();
    let head = person.write(&node, cursor.epoch, &[vec![1; 40]]).await.head;
    socket.events(vault.stream, cursor.seq, head).await;
    let path = format!("/v1/streams/{}/changes?after={}", account.stream, account.after.unwrap());
    let events = node.get(&path).header("accept", "text/event-stream");
    let events = events.bearer_auth(&listener.tokens.access_token).send().await.unwrap();
    person.enrol(&node).await;
    let (mut events, mut heard) = (events.bytes_stream(), String::new());
    while !heard.contains("event: ") {
        let bytes = tokio::time::timeout(SOON, events.next()).await.expect("silence").expect("an end");
        heard.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
    }
    assert!(heard.contains("event: ev\n"), "{heard}");
}

/// Puts a backup that lacks some streams in the place of the log. Its end stays: a node that follows a log that has gone
/// back behind what it knows ends, before or after it told anybody.
async fn put_back_without(node: &Node, streams: &[StreamId]) {
    let config = &node.running().server.config;
    let ids: Vec<String> = streams.iter().map(|stream| stream.0.simple().to_string()).collect();
    if config.log.expose() == "sqlite" {
        let path = config.data.join("log.sqlite");
        let mut database = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        let gone = ids.iter().map(|id| format!("x'{id}'")).collect::<Vec<_>>().join(", ");
        let script = format!(
            "DROP TRIGGER events_never_go; DROP TRIGGER streams_never_go;
             DELETE FROM events WHERE stream IN ({gone}); DELETE FROM streams WHERE stream IN ({gone})"
        );
        database.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(script))).await.unwrap();
        return;
    }
    let mut database = PgConnection::connect(config.log.expose()).await.unwrap();
    let gone = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    let script = format!(
        "ALTER TABLE events DISABLE TRIGGER USER; ALTER TABLE streams DISABLE TRIGGER USER;
         DELETE FROM events WHERE stream IN ({gone}); DELETE FROM streams WHERE stream IN ({gone});
         ALTER TABLE events ENABLE TRIGGER USER; ALTER TABLE streams ENABLE TRIGGER USER"
    );
    database.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(script))).await.unwrap();
}

async fn streams_that_a_backup_does_not_have_are_told_and_a_socket_that_has_no_other_is_closed_for_good(
    mode: Mode,
) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let (polling, listening) = (person.enrol(&node).await, person.enrol(&node).await);
    let (account, vault) = (StreamId::from(person.account), StreamId::from(person.vault));
    let page = person.changes(&node, "").await;
    let mut socket = Socket::hello(&node, &person, &[all(account), all(vault)]).await;
    socket.events(vault, Seq::ZERO, page.to).await;
    let path = format!("/v1/streams/{vault}/changes?after={}.{}", page.epoch, page.to);
    let events = node.get(&path).header("accept", "text/event-stream");
    let mut events = events.bearer_auth(&listening.tokens.access_token).send().await.unwrap().bytes_stream();
    let waiting = format!("{path}&wait=25");
    let poll = async { problem(polling.get(&node, &waiting).await).await };
    let (refused, ()) = tokio::join!(poll, async {
        // The long-poll listens before anything happens.
        while node.running().server.feed.sockets.len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Person::register(&node).await;
        put_back_without(&node, &[account, vault]).await;
        node.running().server.bus.publish_renewed(vault);
    });
    assert_eq!(refused.code, Code::CursorReset);
    let facts: Reset = serde_json::from_value(refused.facts.unwrap()).unwrap();
    assert_eq!(facts, Reset { reason: ResetReason::StreamGone, epoch: None, head: None });
    hears_reset(&mut socket, (vault, ResetReason::StreamGone, None, None)).await;
    let mut heard = String::new();
    while let Some(bytes) = tokio::time::timeout(SOON, events.next()).await.expect("silence") {
        heard.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
    }
    assert!(heard.contains("event: reset") && heard.contains("stream_gone"), "{heard}");
    node.running().server.bus.publish_renewed(account);
    hears_reset(&mut socket, (account, ResetReason::StreamGone, None, None)).await;
    socket.says_bye(close::STREAM_GONE).await;
}
