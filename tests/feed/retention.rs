//! Old versions lose their ciphertext by the retention rule; what is shown, and what it is compared with, does not.

use std::time::{Duration, Instant};

use lockstep_api::{
    Code,
    account::Tokens,
    sync::{Purge, Purged, Push, PushItem, PushOutcome, PushResult, Pushed},
};
use lockstep_events::{
    BatchId, BlobHash, Epoch, Event, EventId, NewEvent, Outcome, StreamId, StreamKind, Unit, VersionId,
    canonical::sha256,
    event::{EntryPurged, VaultEvent},
    header::sign_version,
    log::StreamExpect,
};
use lockstepd::{
    blobs::sweep,
    commands::facts::{claim, new_event},
    config::Layer,
    retention::{PruneReport, prune},
    state::Server,
};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::support::{Mode, Node, Person, assert_problem, body};

const DAY: i64 = 24 * 3600;

fn hash(bytes: &[u8]) -> BlobHash {
    BlobHash(sha256(bytes))
}

fn id(item: &PushItem) -> VersionId {
    item.header.version_id()
}

impl Person {
    async fn upload(&self, node: &Node, blobs: &[&[u8]]) {
        let frame = |bytes: &&[u8]| {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [hash(bytes).as_bytes(), &length[..], bytes].concat()
        };
        let frames: Vec<u8> = blobs.iter().flat_map(frame).collect();
        let post = node.request("POST", &format!("/v1/vaults/{}/blobs", self.vault)).body(frames);
        let post = post.header("content-type", "application/octet-stream");
        let answer = post.bearer_auth(&self.tokens.access_token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    /// A version that builds on others.
    fn over(&self, parents: &[&PushItem], ciphertext: &[u8]) -> PushItem {
        let mut item = self.entry(ciphertext);
        item.header.entry = parents[0].header.entry;
        item.header.parents = parents.iter().map(|parent| id(parent)).collect();
        self.signed(item)
    }

    fn signed(&self, mut item: PushItem) -> PushItem {
        if item.inline.as_ref().is_some_and(|inline| inline.0.len() > 16 * 1024) {
            item.inline = None;
        }
        item.signature = sign_version(&self.device_key, &item.header.version_id());
        item
    }

    async fn push(&self, node: &Node, items: &[&PushItem]) {
        let results = self.pushed(node, items).await;
        assert!(results.iter().all(|result| result.outcome.stands()), "{results:?}");
    }

    async fn pushed(&self, node: &Node, items: &[&PushItem]) -> Vec<PushResult> {
        let items = items.iter().map(|item| (*item).clone()).collect();
        let (epoch, batch_id) = (self.epoch(node).await, BatchId(Uuid::new_v4()));
        let push = Push { epoch, batch_id, items, groups: Vec::new(), reoffer: false };
        let path = format!("/v1/vaults/{}/versions", self.vault);
        let pushed: Pushed = body(self.post(node, &path, &push).await, StatusCode::OK).await;
        pushed.results
    }

    /// Purges an entry whose head is this tombstone.
    async fn purge(&self, node: &Node, head: &PushItem) {
        let path = format!("/v1/vaults/{}/entries/{}/purge", self.vault, head.header.entry);
        let request = node.post(&path, &Purge { expect_heads: vec![id(head)] });
        let request = request.bearer_auth(&self.tokens.access_token);
        let purged = request.header("idempotency-key", Uuid::new_v4().to_string()).send().await.unwrap();
        let _: Purged = body(purged, StatusCode::OK).await;
    }

    async fn has(&self, node: &Node, bytes: &[u8]) {
        let answer = self.get(node, &format!("/v1/vaults/{}/blobs/{}", self.vault, hash(bytes))).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.bytes().await.unwrap() == bytes);
    }

    async fn has_not(&self, node: &Node, bytes: &[u8]) {
        let path = format!("/v1/vaults/{}/blobs/{}", self.vault, hash(bytes));
        assert_problem(self.get(node, &path).await, Code::NotFound).await;
    }
}

/// A round that saw both entries: the read models follow the log.
async fn looked_at_both(server: &Server) -> PruneReport {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let report = prune(server).await.unwrap();
        if report.entries == 2 {
            return report;
        }
        assert!(Instant::now() < until, "{report:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn what_was_replaced_long_ago_goes_and_nothing_else(mode: Mode) {
    let days = Layer { retention_days: Some(10), ..Layer::default() };
    let node = Node::start_with(mode, days).await;
    let mut person = Person::register(&node).await;
    let [long_one, long_two, long_three, file, lasting] = [1, 2, 3, 4, 5].map(|n| vec![n; 20_000]);
    person.upload(&node, &[&long_one, &long_two, &long_three, &file, &lasting]).await;

    let mut first = person.signed(person.entry(&long_one));
    first.attachments = vec![hash(&file), hash(&lasting)];
    let mut second = person.over(&[&first], b"the second");
    second.attachments = vec![hash(&lasting)];
    let third = person.over(&[&second], &long_two);
    person.push(&node, &[&first, &second, &third]).await;
    let old = person.signed(person.entry(b"before the base"));
    let base = person.over(&[&old], b"the base");
    let left = person.over(&[&base], b"the left");
    let right = person.over(&[&base], &long_three);
    person.push(&node, &[&old, &base]).await;
    person.push(&node, &[&left, &right]).await;
    let server = &node.running().server;
    let report = looked_at_both(server).await;
    assert_eq!(report, PruneReport { entries: 2, versions: 0 }, "nothing is old");

    node.clock.pass(8 * DAY);
    let token = person.tokens.refresh_token.clone();
    person.tokens = body::<Tokens>(person.refresh(&node, &token).await, StatusCode::OK).await;
    let fourth = person.over(&[&third], b"the fourth");
    person.push(&node, &[&fourth]).await;
    node.clock.pass(8 * DAY);
    let token = person.tokens.refresh_token.clone();
    person.tokens = body::<Tokens>(person.refresh(&node, &token).await, StatusCode::OK).await;
    assert_eq!(prune(server).await.unwrap(), PruneReport { entries: 2, versions: 3 });
    for gone in [&long_one[..], &file, &lasting, b"the second", b"before the base"] {
        person.has_not(&node, gone).await;
    }
    for kept in [&long_two[..], b"the fourth", b"the base", b"the left", &long_three] {
        person.has(&node, kept).await;
    }
    assert_eq!(prune(server).await.unwrap(), PruneReport { entries: 2, versions: 0 }, "it is done once");
    let events = person.changes(&node, "").await.events;
    assert_eq!(events.iter().filter(|event| event.kind == "entry.content_pruned").count(), 2);
    node.assert_whole().await;

    // The object that is left with two of five blobs is rewritten, and they are still there.
    assert_eq!(sweep(&server.shelf, &*server.log).await.unwrap().repacked, 1);
    person.has(&node, &long_two).await;
    person.has(&node, &long_three).await;
}

async fn without_a_rule_everything_is_kept(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let first = person.signed(person.entry(b"the first"));
    let second = person.over(&[&first], b"the second");
    person.push(&node, &[&first, &second]).await;
    node.clock.pass(1000 * DAY);
    assert_eq!(prune(&node.running().server).await.unwrap(), PruneReport::default());
}

/// Our clients make no two ciphertexts alike; another app may.
async fn what_another_entry_keeps_by_the_same_hash_outlives_a_purge_and_a_prune(mode: Mode) {
    let days = Layer { retention_days: Some(10), ..Layer::default() };
    let node = Node::start_with(mode, days).await;
    let mut person = Person::register(&node).await;
    let [long, file, apart] = [1, 2, 3].map(|n| vec![n; 20_000]);
    person.upload(&node, &[&long, &file, &apart]).await;
    let with = |bytes: &[u8], files: &[&[u8]]| {
        let mut item = person.signed(person.entry(bytes));
        item.attachments = files.iter().map(|file| hash(file)).collect();
        item
    };
    // Pairs of entries: of each the first goes.
    let purged = [with(b"short", &[&file, &apart]), with(&long, &[])];
    let pruned = [with(b"short", &[]), with(b"replaced", &[&file])];
    let stays = [with(b"short", &[&file]), with(&long, &[])];
    let next: Vec<_> = pruned.iter().map(|item| person.over(&[item], b"the next")).collect();
    let gone: Vec<_> = purged.iter().map(|item| person.deletion(item.header.entry, vec![id(item)])).collect();
    person.push(&node, &purged.iter().chain(&pruned).chain(&stays).collect::<Vec<_>>()).await;
    person.push(&node, &next.iter().chain(&gone).collect::<Vec<_>>()).await;
    for item in &gone {
        person.purge(&node, item).await;
    }
    person.has_not(&node, &apart).await;
    for kept in [&b"short"[..], &long, &file] {
        person.has(&node, kept).await;
    }
    let server = &node.running().server;
    looked_at_both(server).await;
    node.clock.pass(20 * DAY);
    let token = person.tokens.refresh_token.clone();
    person.tokens = body::<Tokens>(person.refresh(&node, &token).await, StatusCode::OK).await;
    for versions in [1, 0] {
        // Of the version whose own ciphertext another entry keeps nothing goes; it is not named again and again.
        assert_eq!(prune(server).await.unwrap(), PruneReport { entries: 2, versions });
        for kept in [&b"short"[..], &long, &file] {
            person.has(&node, kept).await;
        }
        person.has_not(&node, b"replaced").await;
    }
    // Once nobody else keeps it, it goes.
    let last: Vec<_> = stays.iter().map(|item| person.deletion(item.header.entry, vec![id(item)])).collect();
    person.push(&node, &last.iter().collect::<Vec<_>>()).await;
    for item in &last {
        person.purge(&node, item).await;
    }
    person.has(&node, b"short").await;
    person.has_not(&node, &long).await;
    person.has_not(&node, &file).await;
    lockstepd::commands::account::caught_up(server).await.unwrap();
    assert_eq!(prune(server).await.unwrap(), PruneReport { entries: 2, versions: 1 });
    person.has_not(&node, b"short").await;
    node.assert_whole().await;
}

/// A device that slept and never fetched the file still builds on the version that named it.
async fn an_edit_made_on_a_version_whose_file_was_pruned_is_a_branch_that_does_not_name_the_file(mode: Mode) {
    let days = Layer { retention_days: Some(10), ..Layer::default() };
    let node = Node::start_with(mode, days).await;
    let mut person = Person::register(&node).await;
    let [file, other] = [1, 2].map(|n| vec![n; 20_000]);
    person.upload(&node, &[&file, &other]).await;
    let with = |mut item: PushItem, files: &[&[u8]]| {
        item.attachments = files.iter().map(|file| hash(file)).collect();
        item
    };
    let first = with(person.entry(b"with a file"), &[&file]);
    let elsewhere = with(person.entry(b"with another"), &[&other]);
    let slept = with(person.over(&[&first], b"of who slept"), &[&file]);
    let after = with(person.over(&[&slept], b"and once more"), &[&file]);
    person.push(&node, &[&first, &elsewhere]).await;
    let without = [person.over(&[&first], b"without"), person.over(&[&elsewhere], b"without it")];
    person.push(&node, &[&without[0], &without[1]]).await;
    let server = &node.running().server;
    looked_at_both(server).await;
    for _ in 0..2 {
        node.clock.pass(16 * DAY);
        let token = person.tokens.refresh_token.clone();
        person.tokens = body::<Tokens>(person.refresh(&node, &token).await, StatusCode::OK).await;
    }
    prune(server).await.unwrap();
    person.has_not(&node, &file).await;

    let used = async || {
        lockstepd::commands::account::caught_up(server).await.unwrap();
        server.reads.vault(person.vault).await.unwrap().unwrap().content_bytes
    };
    let before = used().await;
    let results = person.pushed(&node, &[&slept, &after]).await;
    let outcomes: Vec<_> = results.iter().map(|result| result.outcome).collect();
    assert_eq!(outcomes, [PushOutcome::AcceptedForked, PushOutcome::Accepted]);
    let ciphertexts = slept.header.content_len + after.header.content_len;
    assert_eq!(used().await, before + u64::from(ciphertexts), "a file that is gone does not count");
    // Not what only another entry named, nor what is new.
    for foreign in [&other[..], b"never there"] {
        let item = with(person.over(&[&after], b"no file of this entry"), &[&file, foreign]);
        assert_eq!(person.pushed(&node, &[&item]).await[0].outcome, PushOutcome::BlobMissing);
    }
    // Somebody brings it nevertheless: versions that do not count it do not keep it.
    person.upload(&node, &[&file]).await;
    for hours in [25, 12] {
        node.clock.pass(hours * 3600);
        sweep(&server.shelf, &*server.log).await.unwrap();
    }
    let token = person.tokens.refresh_token.clone();
    person.tokens = body::<Tokens>(person.refresh(&node, &token).await, StatusCode::OK).await;
    person.has_not(&node, &file).await;
    node.assert_whole().await;
}

/// An event that a later program wrote about an entry: its history is left alone, and everybody else's is not.
async fn an_entry_that_cannot_be_pruned_holds_up_nobody_else(mode: Mode) {
    let days = Layer { retention_days: Some(10), ..Layer::default() };
    let node = Node::start_with(mode, days).await;
    let people = [Person::register(&node).await, Person::register(&node).await];
    let mut entries = Vec::new();
    for person in &people {
        let first = person.signed(person.entry(b"the first"));
        let second = person.over(&[&first], b"the second");
        person.push(&node, &[&first, &second]).await;
        entries.push(first.header.entry);
    }
    let server = &node.running().server;
    looked_at_both(server).await;
    node.clock.pass(20 * DAY);
    let stream = StreamId::from(people[0].vault);
    let body = Event::Vault(VaultEvent::Purged(EntryPurged { entry: entries[0], heads: Vec::new() }));
    let event = new_event(None, stream, EventId(Uuid::new_v4()), Some(entries[0].into()), &body).unwrap();
    let event = NewEvent { kind: "entry.of_a_later_program".to_owned(), ..event };
    let streams = vec![claim(stream, StreamKind::Vault, StreamExpect::Exists, Epoch::ZERO)];
    let unit = Unit { streams, events: vec![event], ..Unit::default() };
    assert!(matches!(server.batcher.append(unit).await.unwrap(), Outcome::Appended(_)));
    prune(server).await.unwrap_err();
    let content = BlobHash(sha256(b"the first"));
    let left =
        async |person: &Person| server.log.contents(person.vault.into(), &[content]).await.unwrap().len();
    assert_eq!((left(&people[0]).await, left(&people[1]).await), (1, 0));
}

mod embedded {
    use crate::support::Mode;

    #[tokio::test(flavor = "multi_thread")]
    async fn an_edit_made_on_a_version_whose_file_was_pruned_is_a_branch_that_does_not_name_the_file() {
        super::an_edit_made_on_a_version_whose_file_was_pruned_is_a_branch_that_does_not_name_the_file(
            Mode::Embedded,
        )
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_replaced_long_ago_goes_and_nothing_else() {
        super::what_was_replaced_long_ago_goes_and_nothing_else(Mode::Embedded).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_a_rule_everything_is_kept() {
        super::without_a_rule_everything_is_kept(Mode::Embedded).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_another_entry_keeps_by_the_same_hash_outlives_a_purge_and_a_prune() {
        super::what_another_entry_keeps_by_the_same_hash_outlives_a_purge_and_a_prune(Mode::Embedded).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_entry_that_cannot_be_pruned_holds_up_nobody_else() {
        super::an_entry_that_cannot_be_pruned_holds_up_nobody_else(Mode::Embedded).await;
    }
}

mod distributed {
    use crate::support::Mode;

    #[tokio::test(flavor = "multi_thread")]
    async fn an_edit_made_on_a_version_whose_file_was_pruned_is_a_branch_that_does_not_name_the_file() {
        super::an_edit_made_on_a_version_whose_file_was_pruned_is_a_branch_that_does_not_name_the_file(
            Mode::Distributed,
        )
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_replaced_long_ago_goes_and_nothing_else() {
        super::what_was_replaced_long_ago_goes_and_nothing_else(Mode::Distributed).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_a_rule_everything_is_kept() {
        super::without_a_rule_everything_is_kept(Mode::Distributed).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_another_entry_keeps_by_the_same_hash_outlives_a_purge_and_a_prune() {
        super::what_another_entry_keeps_by_the_same_hash_outlives_a_purge_and_a_prune(Mode::Distributed)
            .await;
    }
}
