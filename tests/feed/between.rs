//! What ends between the moment in which a token is looked at and that in which the node knows the connection.

use lockstep_api::{
    Code,
    live::{ServerMessage, close},
    sync::Streams,
};
use lockstep_events::{Seq, StreamId, log::Contents};
use reqwest::StatusCode;
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    live::in_both_modes,
    people::until,
    socket::{Heard, Socket, all, hello},
    support::{Mode, Node, Person, assert_problem, body},
};
in_both_modes! {
    a_socket_that_must_end_before_it_is_welcomed_hears_why_and_nothing_else
}

async fn a_socket_that_must_end_before_it_is_welcomed_hears_why_and_nothing_else(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    node.running().server.feed.sockets.drain();
    let mut socket = Socket::open(&node).await;
    socket.send(&hello(Some(&person.tokens.access_token), None, &[all(person.vault)])).await;
    let Heard::Message(ServerMessage::Bye { code, .. }) = socket.next().await else {
        panic!("it is told something that it cannot go on with");
    };
    assert_eq!((code, socket.close_code().await), (close::DRAINING, close::DRAINING));
}

/// The read of whose the stream is waits; meanwhile the node hears that the device was revoked.
async fn revoked_while_the_owner_is_read(node: &Node, accept: &str, wait: &str) {
    let person = Person::register(node).await;
    let lost = person.enrol(node).await;
    let server = &node.running().server;
    let streams: Streams = body(person.get(node, "/v1/streams").await, StatusCode::OK).await;
    let (stream, account) = (StreamId::from(lost.vault), StreamId::from(lost.account));
    let at = streams.streams.iter().find(|info| info.stream == stream).unwrap();
    // The log is locked, so the node is told by hand what the follower would tell it.
    let mut event = server.log.read_stream(account, Seq::ZERO, 1, Contents::No).await.unwrap().remove(0);
    (event.kind, event.subject) = ("device.revoked".to_owned(), Some(lost.device.into()));
    let mut locking = PgConnection::connect(&node.database()).await.unwrap();
    let mut watching = PgConnection::connect(&node.database()).await.unwrap();
    let mut lock = locking.begin().await.unwrap();
    lock.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let path = format!("/v1/streams/{stream}/changes?after={}.{}{wait}", at.epoch, at.head);
    let request = node.get(&path).header("accept", accept).bearer_auth(&lost.tokens.access_token).send();
    let meanwhile = async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND wait_event_type = 'Lock' AND query LIKE '%e.stream = $3 AND e.seq > $4%'";
        let watching = tokio::sync::Mutex::new(&mut watching);
        until("the owner is being read", || async {
            let count: i64 = sqlx::query_scalar(waits).fetch_one(&mut **watching.lock().await).await.unwrap();
            count > 0
        })
        .await;
        let revoked = server.feed.revocations.apply(&[event]);
        server.feed.sockets.revoke(&revoked);
        lock.rollback().await.unwrap();
    };
    let (answer, ()) = tokio::join!(request, meanwhile);
    assert_problem(answer.unwrap(), Code::Revoked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_revoked_while_its_request_is_read_gets_no_event_stream_and_waits_for_no_page() {
    let node = Node::start(Mode::Distributed).await;
    revoked_while_the_owner_is_read(&node, "text/event-stream", "").await;
    revoked_while_the_owner_is_read(&node, "application/json", "&wait=25").await;
}
