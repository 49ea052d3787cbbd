//! A prune that was cut off between its event and the deletion: nothing new keeps what it named, and the next one deletes.

use lockstep_events::{
    Clock, Event, Micros, StreamId, StreamKind, Unit,
    event::{ContentPruned, VaultEvent},
    header::{VersionKind, sign_version},
    log::{StreamClaim, StreamExpect},
    testing::MemoryLog,
};
use uuid::Uuid;

use super::{
    tests::{EPOCH, VAULT, edit, entry, founding, id, key, new_event, node, push},
    *,
};
use crate::{
    blobs::Keepers,
    commands::prune::{Pruner, Retention},
};

/// When everything is old.
pub(super) struct Later;
impl Clock for Later {
    fn now(&self) -> Micros {
        Micros(1_000_000)
    }
}

/// An entry of three versions, the first of which was pruned, though its content is still there.
async fn cut_off() -> (Arc<dyn EventLog>, Pusher, [Item; 3]) {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(Uuid::nil()));
    log.append(&[founding()], Micros(1)).await.unwrap();
    let pusher = node(&log);
    let one = edit(1, entry(1), &[], "one");
    let two = edit(1, entry(1), &[id(&one)], "two");
    let three = edit(1, entry(1), &[id(&two)], "three");
    pusher.push(push(1, vec![one.clone(), two.clone(), three.clone()])).await.unwrap();
    let contents = vec![one.header.content_hash.unwrap()];
    let pruned = ContentPruned { entry: entry(1), versions: vec![id(&one)], contents };
    let mut event = new_event(VAULT.into(), None, 77, &Event::Vault(VaultEvent::ContentPruned(pruned)));
    event.subject = Some(entry(1).into());
    let stream = StreamId::from(VAULT);
    let claim =
        StreamClaim { stream, kind: StreamKind::Vault, expect: StreamExpect::Any, epoch_if_new: EPOCH };
    let unit = Unit { streams: vec![claim], events: vec![event], ..Unit::default() };
    log.append(&[unit], Micros(2)).await.unwrap();
    (log, pusher, [one, two, three])
}

/// Keeps the content of an older version over the present head.
fn adopt(of: &Item, over: &Item) -> Item {
    let mut item = edit(1, entry(1), &[id(over)], "");
    item.header.kind = VersionKind::Adopt;
    item.header.content_of = Some(id(of));
    (item.header.content_hash, item.header.content_len) = (None, 0);
    (item.header.key_id, item.header.author_device) = (Uuid::nil(), DeviceId::NIL);
    (item.content, item.wrapped_key) = (None, None);
    item.signature = sign_version(&key(1), &id(&item));
    item
}

#[tokio::test]
async fn nobody_keeps_the_content_of_a_version_that_was_pruned_a_moment_ago() {
    let (_, pusher, [one, two, three]) = cut_off().await;
    let answer = pusher.push(push(1, vec![adopt(&one, &three)])).await.unwrap().answers.remove(0).1;
    assert!(matches!(answer, Answer::Refused { refusal: Refusal::BlobMissing, .. }), "{answer:?}");
    let answer = pusher.push(push(1, vec![adopt(&two, &three)])).await.unwrap().answers.remove(0).1;
    assert!(matches!(answer, Answer::Accepted { .. }), "what was not pruned can be kept: {answer:?}");
}

#[tokio::test]
async fn what_a_prune_did_not_come_to_delete_goes_with_the_next_one_once() {
    let (log, pusher, [one, two, three]) = cut_off().await;
    let there = async |item: &Item| {
        let hash = [item.header.content_hash.unwrap()];
        !log.contents(VAULT.into(), &hash).await.unwrap().is_empty()
    };
    assert!(there(&one).await);
    let pruner = Pruner {
        log: Arc::clone(&log),
        batcher: pusher.batcher.clone(),
        entries: Arc::clone(&pusher.entries),
        shelf: Arc::clone(&pusher.shelf),
        keepers: Keepers::new(Arc::clone(&log)),
        clock: Arc::new(Later),
    };
    let keep_two = Retention { versions: 2, days: 0 };
    assert_eq!(pruner.prune(VAULT, entry(1), keep_two).await.unwrap(), 1);
    assert_eq!([there(&one).await, there(&two).await, there(&three).await], [false, true, true]);
    assert_eq!(pruner.prune(VAULT, entry(1), keep_two).await.unwrap(), 0);
}
