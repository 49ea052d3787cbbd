//! The real client in the middle of a socket whose token runs out, with a relay between that sees every frame.

use std::time::Duration;

use lockstep_client::{
    Follow,
    model::{Change, Link},
    server::Server as Address,
};
use lockstep_events::EntryId;
use lockstepd::config::Layer;

use crate::{
    live::in_both_modes,
    people::{another, register, until},
    proxy::{Asked, Proxy},
    support::{Mode, Node},
};

/// How devices reach the server: through the relay.
pub struct Server {
    pub address: Address,
}

in_both_modes! {
    a_client_that_follows_past_the_end_of_its_token_keeps_its_socket_and_hears_what_is_new
}

async fn a_client_that_follows_past_the_end_of_its_token_keeps_its_socket_and_hears_what_is_new(mode: Mode) {
    // The shortest life that there is, and not a moment more.
    let options = Layer { access_token_s: Some(10), live_token_grace_s: Some(0), ..Layer::default() };
    let node = Node::start_with(mode, options).await;
    let relay = Proxy::start(node.running().addr).await;
    let server = Server { address: relay.address.clone() };
    let author = register(&server, "renewal@example.org").await;
    let reader = another(&server, "renewal@example.org").await;
    let mut following = reader.follow();
    tokio::time::timeout(Duration::from_secs(90), following.link.wait_for(|link| *link == Link::Live))
        .await
        .unwrap()
        .unwrap();
    // Nothing is changed: it counts.
    relay.tell(Box::new(|asked, answer, _| is_live(asked) && names(&answer.body, "token_due")));
    // It is asked for a second time only where what came after the first was accepted.
    until("the token was renewed twice", || async { relay.told() >= 2 }).await;
    let entry = author.add(b"after the token's end").await.unwrap();
    author.sync().await.unwrap();
    assert_eq!(next_entry(&mut following).await, entry);
    assert_eq!(*following.link.borrow(), Link::Live);
    let (due, sent) = relay.honest();
    assert!(due <= 4, "it is asked for again and again: {due}");
    let said = |word: &str| sent.iter().filter(|asked| is_live(asked) && names(&asked.body, word)).count();
    assert!(said("token") >= 1);
    assert_eq!(said("hello"), 0, "another socket was opened");
}

fn is_live(asked: &Asked) -> bool {
    asked.method == "LIVE"
}

/// Whether a frame has a message of this word.
fn names(frame: &[u8], word: &str) -> bool {
    String::from_utf8_lossy(frame).contains(&format!(r#""m":"{word}""#))
}

/// The entry of the next version that is told; the link stays as it is until then.
async fn next_entry(following: &mut Follow) -> EntryId {
    let next = async {
        loop {
            match following.changes.recv().await.unwrap() {
                Change::Version { entry, .. } => break entry,
                Change::Link { link } => assert_eq!(link, Link::Live),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(90), next).await.unwrap()
}
