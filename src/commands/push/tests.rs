use std::sync::atomic::{AtomicUsize, Ordering};

use ed25519_dalek::SigningKey;
use lockstep_events::{
    BlobHash, Chain, Clock, EntryId, Event, Hash32, Micros, NewEvent, StreamId, StreamKind, Unit,
    canonical::sha256,
    event::{AccountEvent, RosterStated, VaultCreated, VaultEvent},
    header::{FORMAT, VersionKind, public_key, sign_version},
    log::{Contents, StreamClaim, StreamExpect},
    roster::{Claim, Statement},
    testing::{HookedLog, MemoryLog},
};
use lockstep_projections::testing::MemoryReads;
use uuid::Uuid;

use super::*;
use crate::{
    blobs::testing::no_blobs,
    feed::{Attached, Standings},
    plans::PlanBook,
    served::testing::MemoryPlaces,
};

struct At;
impl Clock for At {
    fn now(&self) -> Micros {
        Micros(1)
    }
}

pub(super) const ACCOUNT: AccountId = AccountId(Uuid::from_u128(1));
pub(super) const VAULT: VaultId = VaultId(Uuid::from_u128(2));
pub(super) const EPOCH: Epoch = Epoch([7; 16]);

fn device(n: u8) -> DeviceId {
    DeviceId(Uuid::from_u128(100 + u128::from(n)))
}

pub(super) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub(super) fn entry(n: u128) -> EntryId {
    EntryId(Uuid::from_u128(1000 + n))
}

/// A log with an account of two devices and a vault, and a node that takes pushes.
struct World {
    log: Arc<dyn EventLog>,
    pusher: Pusher,
}

impl World {
    async fn new() -> Self {
        Self::over(Arc::new(MemoryLog::new(Uuid::nil()))).await
    }

    async fn over(log: Arc<dyn EventLog>) -> Self {
        log.append(&[founding()], Micros(1)).await.unwrap();
        let pusher = node(&log);
        Self { log, pusher }
    }

    async fn push(&self, items: Vec<Item>) -> Vec<Answer> {
        answers(self.pusher.push(push(1, items)).await.unwrap())
    }

    async fn tail(&self) -> u64 {
        self.log.tail().await.unwrap().position.0
    }
}

pub(super) fn node(log: &Arc<dyn EventLog>) -> Pusher {
    let reads = Arc::new(MemoryReads::default());
    let shelf = Arc::new(no_blobs());
    let quotas = Quotas {
        reads: reads.clone(),
        index: Arc::clone(&shelf.index),
        standings: Arc::new(Standings::new(Arc::clone(log))),
        usage: Arc::default(),
        attached: Arc::new(Attached::new(Arc::clone(log))),
        plans: Arc::new(PlanBook::default()),
        clock: Arc::new(At),
    };
    Pusher {
        quotas: Arc::new(quotas),
        log: Arc::clone(log),
        batcher: Batcher::start(Arc::clone(log), Arc::new(At), |_| ()),
        shelf,
        entries: Arc::new(EntryStates::new(Arc::clone(log), reads)),
        members: Arc::new(Members::new(Arc::clone(log))),
        batches: Batches::default(),
        served: Arc::new(Served::new(Arc::new(MemoryPlaces::default()))),
    }
}

pub(super) fn new_event(stream: StreamId, subject: Option<DeviceId>, n: u128, event: &Event) -> NewEvent {
    let encoded = event.encode().unwrap();
    let subject = subject.map(Into::into);
    let body_hash = NewEvent::hash_body(stream, subject, encoded.kind, encoded.schema, &encoded.public, None);
    NewEvent {
        event_id: lockstep_events::EventId(Uuid::from_u128(n)),
        stream,
        subject,
        kind: encoded.kind.into(),
        schema: encoded.schema,
        actor: None,
        device: None,
        correlation: None,
        causation: None,
        public: encoded.public,
        sealed: None,
        content: None,
        body_hash,
    }
}

pub(super) fn founding() -> Unit {
    let claim = |stream, kind| StreamClaim { stream, kind, expect: StreamExpect::None, epoch_if_new: EPOCH };
    let added = |n: u8| {
        let says = Claim::DeviceAdded { device: device(n), public_key: public_key(&key(n)) };
        let statement = Statement::sign(&key(99), ACCOUNT, u32::from(n), Hash32::ZERO, says);
        let event = Event::Account(AccountEvent::DeviceAdded(RosterStated { statement }));
        new_event(ACCOUNT.into(), Some(device(n)), u128::from(n), &event)
    };
    let created = Event::Vault(VaultEvent::Created(VaultCreated { vault: VAULT, account: ACCOUNT }));
    Unit {
        streams: vec![claim(ACCOUNT.into(), StreamKind::Account), claim(VAULT.into(), StreamKind::Vault)],
        events: vec![added(1), added(2), new_event(VAULT.into(), None, 50, &created)],
        ..Unit::default()
    }
}

/// A wrapped key of a generation with a box of so many bytes.
fn wrapped(generation: u32, bytes: usize) -> String {
    format!("{generation:08x}{}", "ab".repeat(bytes))
}

pub(super) fn push(by: u8, items: Vec<Item>) -> Push {
    Push {
        account: ACCOUNT,
        device: device(by),
        vault: VAULT,
        epoch: EPOCH,
        batch: BatchId(Uuid::new_v4()),
        items,
        groups: Vec::new(),
        reoffer: false,
    }
}

fn answers(pushed: Pushed) -> Vec<Answer> {
    pushed.answers.into_iter().map(|(_, answer)| answer).collect()
}

pub(super) fn edit(by: u8, of: EntryId, parents: &[VersionId], text: &str) -> Item {
    let bytes = text.as_bytes().to_vec();
    let header = Header {
        format: FORMAT,
        account: ACCOUNT,
        vault: VAULT,
        entry: of,
        kind: VersionKind::Edit,
        parents: parents.to_vec(),
        content_of: None,
        key_id: Uuid::from_u128(5),
        content_hash: Some(BlobHash(sha256(&bytes))),
        content_len: u32::try_from(bytes.len()).unwrap(),
        author_device: device(by),
        observed_seq: Seq::ZERO,
        observed_chain: Chain::ZERO,
        client_time: 0,
    };
    signed(
        by,
        Item {
            header,
            signer: device(by),
            signature: Signature([0; 64]),
            wrapped_key: Some(wrapped(1, 104)),
            content: Some(bytes),
            expect_heads: None,
            infer_parents: false,
            attachments: Vec::new(),
        },
    )
}

pub(super) fn signed(by: u8, mut item: Item) -> Item {
    item.signature = sign_version(&key(by), &item.header.version_id());
    item
}

pub(super) fn id(item: &Item) -> VersionId {
    item.header.version_id()
}

#[tokio::test]
async fn an_accepted_version_stands_in_the_log_with_its_content_and_is_answered_with_its_place() {
    let world = World::new().await;
    let item = edit(1, entry(1), &[], "first");
    let answer = world.push(vec![item.clone()]).await.remove(0);
    let head = Head { version: id(&item), branch: 0, kind: VersionKind::Edit, seq: Seq(2) };
    assert_eq!(answer, Answer::Accepted { seq: Seq(2), branch: 0, forked: false, heads: vec![head] });
    let stood = world.log.read_stream(VAULT.into(), Seq(1), 1, Contents::UpTo(100)).await.unwrap().remove(0);
    assert_eq!(stood.content.as_deref(), Some(b"first".as_slice()));
    assert_eq!(stood.body_hash, Hash32(id(&item).0));
}

#[tokio::test]
async fn two_edits_of_one_parent_become_two_branches_on_any_node() {
    let world = World::new().await;
    let other = node(&world.log);
    let root = edit(1, entry(1), &[], "root");
    let (a, b) = (edit(1, entry(1), &[id(&root)], "a"), edit(2, entry(1), &[id(&root)], "b"));
    world.push(vec![root]).await;
    world.push(vec![a.clone()]).await;
    let answer = answers(other.push(push(2, vec![b.clone()])).await.unwrap()).remove(0);
    let Answer::Accepted { branch: 1, forked: true, heads, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(heads.iter().map(|head| head.version).collect::<Vec<_>>(), [id(&a), id(&b)]);
    // The first node has not seen b: its knowledge is old, and its next answer is exact all the same.
    let again = edit(1, entry(1), &[id(&a)], "a2");
    let Answer::Accepted { heads, forked: false, .. } = world.push(vec![again.clone()]).await.remove(0)
    else {
        panic!()
    };
    assert_eq!(heads.iter().map(|head| head.version).collect::<Vec<_>>(), [id(&again), id(&b)]);
}

#[tokio::test]
async fn a_retry_is_recognised_for_ever_and_appends_nothing() {
    let world = World::new().await;
    let root = edit(1, entry(1), &[], "root");
    let child = edit(1, entry(1), &[id(&root)], "child");
    let items = vec![root, child];
    world.push(items.clone()).await;
    world.push(vec![edit(1, entry(1), &[id(&items[1])], "later")]).await;
    let tail = world.tail().await;
    let node = node(&world.log);
    for pusher in [&world.pusher, &node] {
        let seqs: Vec<_> = answers(pusher.push(push(1, items.clone())).await.unwrap())
            .into_iter()
            .map(|answer| matches!(answer, Answer::Duplicate { .. }).then(|| answer.seq().unwrap().0))
            .collect();
        assert_eq!(seqs, [Some(2), Some(3)]);
    }
    assert_eq!(world.tail().await, tail);
}

#[tokio::test]
async fn a_version_that_stands_twice_in_a_push_is_accepted_once() {
    let world = World::new().await;
    let item = edit(1, entry(1), &[], "one");
    let answers = world.push(vec![item.clone(), item]).await;
    assert!(matches!(answers[0], Answer::Accepted { .. }) && matches!(answers[1], Answer::Duplicate { .. }));
    assert_eq!(answers[0].seq(), answers[1].seq());
}

#[tokio::test]
async fn what_is_wrong_with_an_item_is_its_answer_and_changes_nothing() {
    let world = World::new().await;
    let good = edit(1, entry(1), &[], "x");
    let with = |change: fn(&mut Item)| {
        let mut item = good.clone();
        change(&mut item);
        item
    };
    let resigned = |change: fn(&mut Item)| signed(1, with(change));
    let cases = [
        ("header that does not recompute", with(|i| i.header.client_time = 5)),
        ("signature by another device", signed(2, good.clone())),
        ("another device's version", edit(2, entry(1), &[], "x")),
        ("foreign account", resigned(|i| i.header.account = AccountId(Uuid::from_u128(77)))),
        ("foreign vault in the header", resigned(|i| i.header.vault = VaultId(Uuid::from_u128(77)))),
        ("65 parents", resigned(|i| i.header.parents = (0..65).map(|n| VersionId([n; 32])).collect())),
        ("no wrapped key", with(|i| i.wrapped_key = None)),
        ("upper-case wrapped key", with(|i| i.wrapped_key = Some(wrapped(1, 104).to_uppercase()))),
        ("too long a wrapped key", with(|i| i.wrapped_key = Some(wrapped(1, 105)))),
        ("too short a wrapped key", with(|i| i.wrapped_key = Some(wrapped(1, 103)))),
        ("a wrapped key of no generation", with(|i| i.wrapped_key = Some(wrapped(0, 104)))),
        ("a wrapped key of a generation that cannot be", with(|i| i.wrapped_key = Some(wrapped(1025, 104)))),
        ("too long inline", edit(1, entry(1), &[], &"x".repeat(16_385))),
        (
            "inference with parents",
            resigned(|i| {
                i.header.parents = vec![VersionId([1; 32])];
                i.infer_parents = true;
            }),
        ),
        (
            "inference for somebody who has seen the vault",
            resigned(|i| {
                i.header.observed_seq = Seq(1);
                i.infer_parents = true;
            }),
        ),
    ];
    let tail = world.tail().await;
    for (what, item) in cases {
        let answer = world.push(vec![item]).await.remove(0);
        let forbidden = matches!(&answer, Answer::Refused { refusal: Refusal::Forbidden(_), .. });
        assert!(forbidden, "{what}: {answer:?}");
    }
    let wrong = with(|i| i.content = Some(b"y".to_vec()));
    let refused = |refusal| Answer::Refused { refusal, heads: None };
    assert_eq!(world.push(vec![wrong]).await, [refused(Refusal::HashMismatch)]);
    let gone = with(|i| i.content = None);
    assert_eq!(world.push(vec![gone]).await, [refused(Refusal::BlobMissing)]);
    assert_eq!(world.tail().await, tail);
}

#[tokio::test]
async fn another_epoch_or_vault_does_nothing_at_all() {
    let world = World::new().await;
    let item = edit(1, entry(1), &[], "x");
    let tail = world.tail().await;
    let old = Push { epoch: Epoch([8; 16]), ..push(1, vec![item.clone()]) };
    assert!(matches!(world.pusher.push(old).await, Err(PushError::Epoch(head)) if head.epoch == EPOCH));
    let foreign = Push { account: AccountId(Uuid::from_u128(3)), ..push(1, vec![item.clone()]) };
    assert!(matches!(world.pusher.push(foreign).await, Err(PushError::NotFound)));
    let nowhere = Push { vault: VaultId(Uuid::from_u128(3)), ..push(1, vec![item]) };
    assert!(matches!(world.pusher.push(nowhere).await, Err(PushError::NotFound)));
    assert_eq!(world.tail().await, tail);
}

#[tokio::test]
async fn of_many_writers_who_expect_the_same_heads_exactly_one_is_accepted() {
    let world = World::new().await;
    let root = edit(1, entry(1), &[], "root");
    world.push(vec![root.clone()]).await;
    let racers = (0..16).map(|n| {
        let mut item = edit(1, entry(1), &[id(&root)], &format!("racer {n}"));
        item.expect_heads = Some(vec![id(&root)]);
        world.pusher.push(push(1, vec![item]))
    });
    let outcomes: Vec<_> =
        futures_util::future::join_all(racers).await.into_iter().flat_map(|p| answers(p.unwrap())).collect();
    let accepted = outcomes.iter().filter(|answer| matches!(answer, Answer::Accepted { .. })).count();
    let refused = outcomes.iter().filter(|answer| {
        matches!(answer, Answer::Refused { refusal: Refusal::PreconditionFailed, heads: Some(heads) } if heads.len() == 1)
    });
    assert_eq!((accepted, refused.count()), (1, 15));
}

#[tokio::test]
async fn a_group_over_two_entries_is_all_or_nothing() {
    let world = World::new().await;
    let (a, b) = (edit(1, entry(1), &[], "a"), edit(1, entry(2), &[VersionId([9; 32])], "b"));
    let tail = world.tail().await;
    let grouped = Push { groups: vec![vec![0, 1]], ..push(1, vec![a.clone(), b.clone()]) };
    let answers_ = answers(world.pusher.push(grouped).await.unwrap());
    assert_eq!(answers_[0], Answer::Refused { refusal: Refusal::NotAttempted, heads: None });
    assert!(matches!(&answers_[1], Answer::Refused { refusal: Refusal::MissingParents(_), .. }));
    assert_eq!(world.tail().await, tail);
    let alone = world.push(vec![a, b]).await;
    assert!(matches!(&alone[0], Answer::Accepted { .. }));
}

#[tokio::test]
async fn items_of_one_push_commit_together_in_one_batch() {
    let log = Arc::new(MemoryLog::new(Uuid::nil()));
    let batches = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&batches);
    let hooked = HookedLog::new(log).before(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    });
    let world = World::over(Arc::new(hooked)).await;
    let before = batches.load(Ordering::SeqCst);
    let items = (0..100).map(|n| edit(1, entry(n), &[], "x")).collect();
    let seqs: Vec<_> = world.push(items).await.iter().map(|answer| answer.seq().unwrap().0).collect();
    assert_eq!(seqs, (2..102).collect::<Vec<_>>());
    // The first unit may leave before the others wait.
    assert!(batches.load(Ordering::SeqCst) - before <= 2);
}

#[tokio::test]
async fn an_append_whose_end_is_unknown_is_repeated_by_the_same_ids() {
    let log = Arc::new(MemoryLog::new(Uuid::nil()));
    let calls = AtomicUsize::new(0);
    let losing = HookedLog::new(log).after(move |_| {
        let lost = calls.fetch_add(1, Ordering::SeqCst) == 1;
        Box::pin(async move {
            if lost { Err(lockstep_events::LogError::Unavailable("lost".into())) } else { Ok(()) }
        })
    });
    let world = World::over(Arc::new(losing)).await;
    let answer = world.push(vec![edit(1, entry(1), &[], "x")]).await.remove(0);
    assert!(matches!(answer, Answer::Duplicate { seq: Seq(2), .. }), "{answer:?}");
    assert_eq!(world.log.stream_heads(&[VAULT.into()]).await.unwrap()[0].seq, Seq(2));
}

#[tokio::test]
async fn a_save_without_parents_replaces_what_its_device_saw_and_forks_from_what_it_did_not() {
    let world = World::new().await;
    let root = edit(1, entry(1), &[], "root");
    world.push(vec![root.clone()]).await;
    let save = |text: &str| Item { infer_parents: true, ..edit(2, entry(1), &[], text) };

    world.pusher.served.note(device(2), VAULT.into(), EPOCH, Seq(2));
    let first = save("over the root");
    let answer = answers(world.pusher.push(push(2, vec![first.clone()])).await.unwrap()).remove(0);
    assert!(matches!(&answer, Answer::Accepted { branch: 0, forked: false, .. }), "{answer:?}");

    world.push(vec![edit(1, entry(1), &[id(&first)], "unseen by device 2")]).await;
    let answer = answers(world.pusher.push(push(2, vec![save("stale")])).await.unwrap()).remove(0);
    assert!(matches!(&answer, Answer::Accepted { branch: 1, forked: true, .. }), "{answer:?}");

    let again = answers(world.pusher.push(push(2, vec![first])).await.unwrap()).remove(0);
    assert!(matches!(again, Answer::Duplicate { seq: Seq(3), .. }), "{again:?}");
}

#[tokio::test]
async fn a_batch_that_comes_again_with_other_versions_is_refused_and_one_that_is_repeated_is_not() {
    let world = World::new().await;
    let first = push(1, vec![edit(1, entry(1), &[], "a"), edit(1, entry(2), &[], "b")]);
    world.pusher.push(first.clone()).await.unwrap();
    let tail = world.tail().await;
    let other = Push { items: vec![edit(1, entry(3), &[], "c")], ..first.clone() };
    assert!(matches!(world.pusher.push(other.clone()).await, Err(PushError::BatchReused)));
    let turned = Push { items: first.items.iter().rev().cloned().collect(), ..first.clone() };
    assert!(matches!(world.pusher.push(turned).await, Err(PushError::BatchReused)));
    assert_eq!(world.tail().await, tail);
    let again = answers(world.pusher.push(first.clone()).await.unwrap());
    assert!(again.iter().all(|answer| matches!(answer, Answer::Duplicate { .. })), "{again:?}");
    let renamed = Push { batch: BatchId(Uuid::new_v4()), ..other };
    let accepted = answers(world.pusher.push(renamed).await.unwrap());
    assert!(matches!(accepted[0], Answer::Accepted { .. }));
}

#[tokio::test]
async fn only_a_save_without_parents_asks_what_its_device_was_served_and_once_for_a_batch() {
    let world = World::new().await;
    let places = Arc::new(MemoryPlaces::default());
    let pusher = Pusher { served: Arc::new(Served::new(places.clone())), ..node(&world.log) };
    let items = (0..50).map(|n| edit(1, entry(n), &[], "named")).collect();
    pusher.push(push(1, items)).await.unwrap();
    assert_eq!(places.reads.load(Ordering::SeqCst), 0);
    let save = |n| Item { infer_parents: true, ..edit(2, entry(n), &[], "unnamed") };
    pusher.push(push(2, (0..50).map(save).collect())).await.unwrap();
    assert_eq!((places.reads.load(Ordering::SeqCst), places.writes.load(Ordering::SeqCst)), (1, 0));
}
