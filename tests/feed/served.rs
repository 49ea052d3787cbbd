//! What devices were served and have outlives the node that served them: the port's contract over both databases, and
//! saves without parents after a restart, on another node, and where it is not sure that an answer arrived.

use std::time::{Duration, Instant};

use lockstep_api::{
    live::ServerMessage,
    sync::{Changes, PushItem, PushOutcome, PushResult},
};
use lockstep_events::{BatchId, DeviceId, EntryId, Epoch, Micros, Seq, StreamId, header::sign_version};
use lockstepd::{
    adapters::{
        postgres::{Database, operations::PostgresOperations},
        sqlite::operations::SqliteOperations,
    },
    config::Layer,
    served::{Place, ServedPlaces},
};
use uuid::Uuid;

use crate::{
    live::in_both_modes,
    socket::{Heard, Socket, all},
    support::{Mode, Node, Person, body},
};

in_both_modes! {
    the_further_place_of_a_life_stays_and_another_life_replaces_it
    many_places_are_kept_at_once_and_old_ones_are_forgotten
    a_save_without_parents_after_a_restart_builds_on_what_its_device_was_served
    a_device_of_which_nothing_is_known_gets_a_branch_and_overwrites_nothing
    a_page_that_may_be_lost_with_its_connection_is_not_taken_for_one_that_its_device_has
}

/// The store of a node, opened a second time.
async fn places(node: &Node) -> Box<dyn ServedPlaces> {
    let config = &node.running().server.config;
    match config.credentials.expose() {
        "sqlite" => Box::new(SqliteOperations::open(&config.data.join("operations.sqlite")).await.unwrap()),
        url => Box::new(PostgresOperations::new(&Database::connect(url, 2).await.unwrap())),
    }
}

fn place(device: u128, epoch: u8, seq: u64) -> Place {
    Place {
        device: DeviceId(Uuid::from_u128(device)),
        stream: StreamId(Uuid::from_u128(7)),
        epoch: Epoch([epoch; 16]),
        seq: Seq(seq),
    }
}

async fn the_further_place_of_a_life_stays_and_another_life_replaces_it(mode: Mode) {
    let node = Node::start(mode).await;
    let places = places(&node).await;
    let of = |device| (place(device, 1, 1).device, place(device, 1, 1).stream);
    let now = async |device| places.place(of(device).0, of(device).1).await.unwrap();
    assert_eq!(now(1).await, None);
    for (kept, expected) in [
        (place(1, 1, 5), place(1, 1, 5)),
        (place(1, 1, 3), place(1, 1, 5)),
        (place(1, 1, 8), place(1, 1, 8)),
        (place(1, 2, 2), place(1, 2, 2)),
        (place(1, 2, u64::from(u32::MAX) + 1), place(1, 2, u64::from(u32::MAX) + 1)),
    ] {
        places.keep(&[kept], Micros(1)).await.unwrap();
        assert_eq!(now(1).await, Some(expected));
    }
    assert_eq!(now(2).await, None);
    places.keep(&[], Micros(1)).await.unwrap();
}

async fn many_places_are_kept_at_once_and_old_ones_are_forgotten(mode: Mode) {
    let node = Node::start(mode).await;
    let places = places(&node).await;
    let many = |epoch, seq| (0..500).map(|n| place(n, epoch, seq)).collect::<Vec<_>>();
    places.keep(&many(1, 1), Micros(10)).await.unwrap();
    places.keep(&many(1, 2)[..200], Micros(20)).await.unwrap();
    // Two nodes write the same places at the same time, in whatever order they met them.
    let (one, mut other) = (many(1, 3)[..100].to_vec(), many(1, 4)[..100].to_vec());
    other.reverse();
    let (first, second) = tokio::join!(places.keep(&one, Micros(30)), places.keep(&other, Micros(30)));
    first.and(second).unwrap();
    assert_eq!(places.forget_before(Micros(20)).await.unwrap(), 300);
    for (n, expected) in [(50, Some(4)), (150, Some(2)), (250, None)] {
        let kept = places.place(place(n, 1, 1).device, place(n, 1, 1).stream).await.unwrap();
        assert_eq!(kept.map(|place| place.seq.0), expected, "{n}");
    }
}

impl Person {
    /// Saves over an entry as a partial client does: without a word of what was there.
    async fn save(&self, node: &Node, entry: EntryId, bytes: &[u8]) -> PushResult {
        let mut item: PushItem = self.entry(bytes);
        item.header.entry = entry;
        item.signature = sign_version(&self.device_key, &item.header.version_id());
        item.infer_parents = true;
        let epoch = self.epoch_of_vault(node).await;
        let push = lockstep_api::sync::Push {
            epoch,
            batch_id: BatchId(Uuid::new_v4()),
            items: vec![item],
            groups: Vec::new(),
            reoffer: false,
        };
        let answer = self.post(node, &format!("/v1/vaults/{}/versions", self.vault), &push).await;
        body::<lockstep_api::sync::Pushed>(answer, reqwest::StatusCode::OK).await.results.remove(0)
    }

    /// Reads the vault's stream to its head and asks once more from there, which is how the server knows.
    async fn read(&self, node: &Node) -> Changes {
        let page = self.changes(node, "").await;
        let on = self.changes(node, &format!("?after={}.{}", page.epoch, page.to)).await;
        assert!(on.events.is_empty() && !page.more);
        page
    }

    /// The life of the vault's stream, without being served any of it.
    async fn epoch_of_vault(&self, node: &Node) -> Epoch {
        let streams: lockstep_api::sync::Streams =
            body(self.get(node, "/v1/streams").await, reqwest::StatusCode::OK).await;
        streams.streams.iter().find(|info| info.stream == self.vault.into()).unwrap().epoch
    }

    async fn new_entry(&self, node: &Node, bytes: &[u8]) -> (EntryId, Seq) {
        let epoch = self.epoch_of_vault(node).await;
        let item = self.entry(bytes);
        let entry = item.header.entry;
        let push = lockstep_api::sync::Push {
            epoch,
            batch_id: BatchId(Uuid::new_v4()),
            items: vec![item],
            groups: Vec::new(),
            reoffer: false,
        };
        let answer = self.post(node, &format!("/v1/vaults/{}/versions", self.vault), &push).await;
        let pushed: lockstep_api::sync::Pushed = body(answer, reqwest::StatusCode::OK).await;
        (entry, pushed.head)
    }
}

async fn a_save_without_parents_after_a_restart_builds_on_what_its_device_was_served(mode: Mode) {
    let mut node = Node::start(mode).await;
    let author = Person::register(&node).await;
    let partial = author.enrol(&node).await;
    let (entry, head) = author.new_entry(&node, b"root").await;
    assert_eq!(partial.read(&node).await.to, head);
    node.restart().await;
    let saved = partial.save(&node, entry, b"over the root").await;
    assert_eq!((saved.outcome, saved.branch), (PushOutcome::Accepted, Some(0)));
    // What it was not served meanwhile stays beside its next save.
    let (other, _) = author.new_entry(&node, b"unseen").await;
    let stale = partial.save(&node, other, b"stale").await;
    assert_eq!(stale.outcome, PushOutcome::AcceptedForked);
    assert_eq!(stale.heads.unwrap().len(), 2);
}

async fn a_device_of_which_nothing_is_known_gets_a_branch_and_overwrites_nothing(mode: Mode) {
    let node = Node::start(mode).await;
    let author = Person::register(&node).await;
    let partial = author.enrol(&node).await;
    let (entry, head) = author.new_entry(&node, b"root").await;
    let root = author.changes(&node, "?inline=100").await.events.pop().unwrap();
    let saved = partial.save(&node, entry, b"blind").await;
    assert_eq!((saved.outcome, saved.branch), (PushOutcome::AcceptedForked, Some(1)));
    let heads = saved.heads.unwrap();
    assert_eq!(heads.len(), 2);
    assert_eq!((heads[0].seq, root.content.unwrap().0), (head, b"root".to_vec()));
    // A place of the stream's former life is worth nothing in the new one.
    assert!(partial.read(&node).await.to > head);
    let renewed = Epoch([8; 16]);
    let server = &node.running().server;
    server.log.renew_epoch(author.vault.into(), renewed).await.unwrap();
    server.bus.publish_renewed(author.vault.into());
    let until = Instant::now() + Duration::from_secs(30);
    let blind = loop {
        let epoch = server.members.head(author.vault).await.unwrap().unwrap().epoch;
        assert!(Instant::now() < until, "the new life is not known");
        if epoch == renewed {
            break partial.save(&node, entry, b"blind again").await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // It builds on what its device wrote itself, and the edit that the device never saw in this life stands.
    assert_eq!(blind.branch, Some(1), "{blind:?}");
    let heads = blind.heads.unwrap();
    assert_eq!((heads.len(), heads[0].seq, heads[0].branch), (2, head, 0));
}

async fn a_page_that_may_be_lost_with_its_connection_is_not_taken_for_one_that_its_device_has(mode: Mode) {
    let node = Node::start(mode).await;
    let author = Person::register(&node).await;
    let partial = author.enrol(&node).await;
    let (entry, head) = author.new_entry(&node, b"root").await;
    // The server has sent it all. Nothing that came after says that it arrived.
    assert_eq!(partial.changes(&node, "").await.to, head);
    let stale = partial.save(&node, entry, b"over what was here before").await;
    assert_eq!((stale.outcome, stale.heads.unwrap().len()), (PushOutcome::AcceptedForked, 2));
    let (entry, _) = author.new_entry(&node, b"another").await;
    partial.read(&node).await;
    let saved = partial.save(&node, entry, b"over it").await;
    assert_eq!((saved.outcome, saved.branch), (PushOutcome::Accepted, Some(0)));
}

/// Hears a socket until it was sent this event, or this and a ping behind it, which is answered.
async fn heard(socket: &mut Socket, head: Seq, and_ping: bool) {
    let mut sent = false;
    loop {
        match socket.next().await {
            Heard::Message(ServerMessage::Ev { to, .. }) => sent |= to >= head,
            Heard::Message(ServerMessage::Ping { .. }) if sent => return,
            Heard::Message(_) => {}
            Heard::Closed(code) => panic!("closed with {code}"),
        }
        if sent && !and_ping {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_socket_was_sent_its_device_has_once_it_answers_the_ping_behind_it() {
    let layer = Layer { live_ping_s: Some(2), live_pong_s: Some(20), ..Layer::default() };
    let node = Node::start_with(Mode::Embedded, layer).await;
    let author = Person::register(&node).await;
    let partial = author.enrol(&node).await;
    let mut socket = Socket::hello(&node, &partial, &[all(partial.vault)]).await;
    let (entry, head) = author.new_entry(&node, b"root").await;
    heard(&mut socket, head, false).await;
    let stale = partial.save(&node, entry, b"over what was here before").await;
    assert_eq!(stale.outcome, PushOutcome::AcceptedForked);
    let (entry, head) = author.new_entry(&node, b"another").await;
    heard(&mut socket, head, true).await;
    let (served, epoch) = (&node.running().server.served, partial.epoch_of_vault(&node).await);
    let until = Instant::now() + Duration::from_secs(30);
    while served.to(partial.device, partial.vault.into(), epoch).await < head {
        assert!(Instant::now() < until, "the answer to the ping says nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let saved = partial.save(&node, entry, b"over it").await;
    assert_eq!((saved.outcome, saved.branch), (PushOutcome::Accepted, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_served_the_other_knows_within_seconds() {
    let node = Node::start(Mode::Distributed).await;
    let second = node.second().await;
    let author = Person::register(&node).await;
    let partial = author.enrol(&node).await;
    let (entry, head) = author.new_entry(&node, b"root").await;
    let page = partial.read(&node).await;
    assert_eq!(page.to, head);
    let there = &second.running().server.served;
    let until = Instant::now() + Duration::from_secs(30);
    while there.to(partial.device, partial.vault.into(), page.epoch).await < head {
        assert!(Instant::now() < until, "the other node never learns it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let saved = partial.save(&second, entry, b"on another node").await;
    assert_eq!((saved.outcome, saved.branch), (PushOutcome::Accepted, Some(0)));
}
