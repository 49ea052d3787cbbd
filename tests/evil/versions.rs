//! Lies about single versions, most of them told so that the history around them fits.

use lockstep_api::sync::{Changes, StreamEvent};
use lockstep_client::{Error, model::AlarmKind};
use lockstep_events::{
    AccountId, BlobHash, Chain, DeviceId, EntryId, Event, Hex, Seq, VaultId, VersionId, VersionKind,
    event::{EntryPurged, VaultEvent, VersionAdded},
};
use uuid::Uuid;

use crate::{
    ground::{Ground, alarmed, change, entry, events, held},
    lies::{fit, last_version, places, say, version, versions},
    proxy::Lie,
};

const NEWS: [&str; 5] = ["four", "one", "three", "two", "unsaid"];

async fn news() -> (Ground, crate::people::Device, crate::people::Device) {
    Ground::with_news(&["three", "four"]).await
}

/// Makes a header one of a choice, which has no author and no content of its own.
fn blank(added: &mut VersionAdded, kind: VersionKind) {
    let header = &mut added.header;
    (header.kind, header.key_id, header.content_hash, header.content_len) = (kind, Uuid::nil(), None, 0);
    (header.author_device, header.observed_seq) = (DeviceId::NIL, Seq::ZERO);
    (header.observed_chain, header.client_time) = (Chain::ZERO, 0);
    added.wrapped_key = None;
}

#[tokio::test]
async fn e03_ciphertexts_that_were_swapped_are_an_alarm() {
    let (ground, _first, second) = news().await;
    let swapped = versions(|page, _| {
        let [one, .., other] = places(page)[..] else { return false };
        let content = page.events[one].content.take();
        page.events[one].content = page.events[other].content.take();
        page.events[other].content = content;
        true
    });
    ground.caught(&second, AlarmKind::ContentHash, swapped).await;
    ground.recovers(&second, &NEWS).await;
}

#[tokio::test]
async fn e05_whole_records_that_were_swapped_between_entries_are_an_alarm() {
    let (ground, _first, second) = news().await;
    let swapped = versions(|page, before| {
        let [one, .., other] = places(page)[..] else { return false };
        let (left, right) = (page.events[one].clone(), page.events[other].clone());
        (page.events[one].public, page.events[one].content) = (right.public, right.content);
        (page.events[other].public, page.events[other].content) = (left.public, left.content);
        fit(page, before);
        true
    });
    ground.caught(&second, AlarmKind::Header, swapped).await;
    ground.recovers(&second, &NEWS).await;
}

#[tokio::test]
async fn e13_a_version_that_no_device_of_the_account_signed_is_an_alarm() {
    let (ground, _first, second) = news().await;
    let unsigned = last_version(|added| added.signature.0 = [0; 64]);
    ground.caught(&second, AlarmKind::Signature, unsigned).await;
    let stranger = last_version(|added| {
        added.signer = DeviceId(Uuid::from_u128(13));
        added.header.author_device = added.signer;
    });
    ground.caught(&second, AlarmKind::Signature, stranger).await;
    let me = second.status().await.unwrap().device;
    let another = last_version(move |added| {
        added.signer = me;
        added.header.author_device = me;
    });
    ground.caught(&second, AlarmKind::Signature, another).await;
    ground.recovers(&second, &NEWS).await;
}

#[tokio::test]
async fn e13_what_a_revoked_device_wrote_is_an_alarm_if_it_is_shown_as_written_after_its_revocation() {
    let (ground, first, second) = Ground::two().await;
    second.add(b"before it").await.unwrap();
    second.sync().await.unwrap();
    first.revoke_device(second.status().await.unwrap().device).await.unwrap();
    let late = versions(|page, before| {
        page.events.last_mut().unwrap().recorded_at.0 += 3_600_000_000;
        fit(page, before);
        true
    });
    ground.caught(&first, AlarmKind::RevokedDevice, late).await;
    // What it wrote before, it wrote.
    ground.recovers(&first, &["before it", "one", "two", "unsaid"]).await;
}

#[tokio::test]
async fn e14_a_version_that_is_said_to_build_on_something_else_is_an_alarm() {
    let (ground, first, second) = Ground::two().await;
    // Two branches, of which the first goes on with its own.
    change(&first, "one", "one by the first").await;
    change(&second, "one", "one by the second").await;
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    let branch = entry(&second, "one by the second").await;
    assert!(branch.divergent);
    let both = branch.head_ids();
    change(&first, "one by the first", "one, further").await;
    first.sync().await.unwrap();
    let mut sorted = both.clone();
    sorted.sort_unstable();
    let rewritten = last_version({
        let sorted = sorted.clone();
        move |added| {
            added.header.parents.clone_from(&sorted);
            added.header.kind = VersionKind::Merge;
        }
    });
    ground.caught(&second, AlarmKind::Signature, rewritten).await;
    let swallowed = last_version(move |added| {
        added.parent_inferred = true;
        added.inferred_parents.clone_from(&sorted);
    });
    ground.caught(&second, AlarmKind::Header, swallowed).await;
    let cut_off = last_version(|added| added.parent_inferred = true);
    ground.caught(&second, AlarmKind::Header, cut_off).await;
    ground.recovers(&second, &["one by the second", "one, further", "two", "unsaid"]).await;
}

#[tokio::test]
async fn e15_a_resolution_that_the_server_made_is_an_alarm() {
    let (ground, first, second) = Ground::two().await;
    change(&first, "one", "one by the first").await;
    change(&second, "one", "one by the second").await;
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    let mut heads = entry(&second, "one by the second").await.head_ids();
    heads.sort_unstable();
    first.add(b"three").await.unwrap();
    first.sync().await.unwrap();
    let adopted = entry(&second, "one by the first").await;
    let resolved = last_version(move |added| {
        blank(added, VersionKind::Adopt);
        added.header.entry = adopted.entry;
        added.header.content_of = Some(heads[0]);
        added.header.parents.clone_from(&heads);
    });
    ground.caught(&second, AlarmKind::Signature, resolved).await;
    ground.recovers(&second, &["one by the first", "one by the second", "three", "two", "unsaid"]).await;
}

#[tokio::test]
async fn e16_a_deletion_or_its_undoing_that_no_device_chose_is_an_alarm() {
    let (ground, first, second) = Ground::two().await;
    change(&first, "one", "one again").await;
    first.sync().await.unwrap();
    let deleted = last_version(|added| blank(added, VersionKind::Tombstone));
    ground.caught(&second, AlarmKind::Signature, deleted).await;
    ground.recovers(&second, &["one again", "two", "unsaid"]).await;
    // Deleted and brought back: the deletion that was is not shown again.
    let gone = entry(&first, "two").await;
    first.remove(gone.entry, &gone.head_ids()).await.unwrap();
    first.sync().await.unwrap();
    let tombstone = events(&first).await.pop().unwrap();
    first.restore(gone.entry, gone.head_ids()[0]).await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    first.add(b"three").await.unwrap();
    first.sync().await.unwrap();
    let again = versions(move |page, before| {
        page.events.push(tombstone.clone());
        fit(page, before);
        true
    });
    ground.caught(&second, AlarmKind::Header, again).await;
    ground.recovers(&second, &["one again", "three", "two", "unsaid", "unsaid"]).await;
}

#[tokio::test]
async fn e16_a_purge_of_what_nobody_deleted_is_an_alarm_and_hides_nothing() {
    let (ground, first, second) = Ground::two().await;
    let kept = entry(&second, "one").await;
    first.add(b"three").await.unwrap();
    first.sync().await.unwrap();
    let before = held(&second).await;
    ground.proxy.tell(versions(move |page, before| {
        let event = page.events.last_mut().unwrap();
        event.subject = Some(kept.entry.into());
        let purged = EntryPurged { entry: kept.entry, heads: kept.head_ids() };
        say(event, &Event::Vault(VaultEvent::Purged(purged)));
        fit(page, before);
        true
    }));
    second.sync().await.unwrap();
    assert!(ground.proxy.honest().0 > 0);
    assert_eq!(held(&second).await, before);
    assert_eq!(alarmed(&second).await, [AlarmKind::Content]);
    // What stands in the place of the lie does not follow from it.
    first.add(b"four").await.unwrap();
    first.sync().await.unwrap();
    assert!(matches!(second.sync().await, Err(Error::Alarm(AlarmKind::Chain))));
}

#[tokio::test]
async fn e17_a_version_of_another_vault_or_account_is_an_alarm() {
    let (ground, first, second) = news().await;
    let other = first.create_vault("another").await.unwrap();
    let theirs = first.in_vault(other).await.unwrap();
    theirs.add(b"theirs").await.unwrap();
    theirs.sync().await.unwrap();
    let moved = events(&theirs).await.pop().unwrap();
    assert!(version(&moved).is_some());
    let vault = second.status().await.unwrap().vault;
    let lie = versions(move |page, before| {
        if page.stream != vault.into() {
            return false;
        }
        page.events.push(moved.clone());
        fit(page, before);
        true
    });
    ground.caught(&second, AlarmKind::Header, lie).await;
    let account = last_version(|added| added.header.account = AccountId(Uuid::from_u128(17)));
    ground.caught(&second, AlarmKind::Header, account).await;
    ground.recovers(&second, &NEWS).await;
}

#[tokio::test]
async fn e26_a_format_of_another_time_is_refused_and_nothing_is_guessed() {
    let (ground, _first, second) = news().await;
    for format in [0, 2, u16::MAX] {
        let lie = last_version(move |added| added.header.format = format);
        ground.caught(&second, AlarmKind::Header, lie).await;
    }
    for (kind, schema) in [("entry.version_added", 0), ("entry.version_added", 2), ("entry.converted", 1)] {
        let lie = versions(move |page, before| {
            let event = page.events.last_mut().unwrap();
            (event.kind, event.schema) = (kind.to_owned(), schema);
            fit(page, before);
            true
        });
        ground.refused(&second, lie, |error| matches!(error, Error::UpdateNeeded(_))).await;
    }
    let unknown = crate::lies::raw("/changes", |answer| {
        let text = String::from_utf8(answer.body.clone()).unwrap();
        answer.body = text.replacen('{', "{\"legacy\":true,", 1).into_bytes();
    });
    ground.refused(&second, unknown, |error| matches!(error, Error::Protocol(_))).await;
    ground.recovers(&second, &NEWS).await;
}

type Bad<T> = (&'static str, fn(&mut T));

/// Each field of a version that anything depends on, one after the other, in a history that fits otherwise.
const FIELDS: [Bad<VersionAdded>; 18] = [
    ("format", |added| added.header.format ^= 2),
    ("account", |added| added.header.account = AccountId(Uuid::from_u128(1))),
    ("vault", |added| added.header.vault = VaultId(Uuid::from_u128(1))),
    ("entry", |added| added.header.entry = EntryId(Uuid::from_u128(1))),
    ("kind", |added| added.header.kind = VersionKind::Tombstone),
    ("parents", |added| added.header.parents = vec![VersionId([1; 32])]),
    ("content_of", |added| added.header.content_of = Some(VersionId([1; 32]))),
    ("key_id", |added| added.header.key_id = Uuid::from_u128(1)),
    ("content_hash", |added| added.header.content_hash = Some(BlobHash([1; 32]))),
    ("content_len", |added| added.header.content_len += 1),
    ("author_device", |added| added.header.author_device = DeviceId(Uuid::from_u128(1))),
    ("observed_seq", |added| added.header.observed_seq = Seq(1)),
    ("observed_chain", |added| added.header.observed_chain = Chain([1; 32])),
    ("client_time", |added| added.header.client_time += 1),
    ("signer", |added| added.signer = DeviceId(Uuid::from_u128(1))),
    ("signature", |added| added.signature.0[63] ^= 1),
    ("wrapped_key", |added| added.wrapped_key = Some(Hex::of(&[0; 70]).unwrap())),
    ("no wrapped_key", |added| added.wrapped_key = None),
];

#[tokio::test]
async fn e35_one_bad_field_is_never_taken() {
    let (ground, _first, second) = news().await;
    second.add(b"unsaid").await.unwrap();
    let before = held(&second).await;
    let told = |name: &'static str, lie: Lie| {
        ground.proxy.tell(lie);
        let (second, before, ground) = (&second, &before, &ground);
        async move {
            let synced = second.sync().await;
            let caught = matches!(synced, Err(Error::Alarm(_)));
            assert!(caught && ground.proxy.honest().0 > 0, "{name}: {synced:?}");
            assert_eq!(held(second).await, *before, "{name}");
        }
    };
    for (name, forge) in FIELDS {
        told(name, last_version(forge)).await;
    }
    // Fields of events and pages, in a history that is what it was otherwise.
    let event: [Bad<StreamEvent>; 7] = [
        ("seq", |event| event.seq = event.seq.next()),
        ("event_id", |event| event.event_id = Uuid::from_u128(1).into()),
        ("subject", |event| event.subject = None),
        ("recorded_at", |event| event.recorded_at.0 += 1),
        ("actor", |event| event.actor = None),
        ("device", |event| event.device = None),
        ("content", |event| event.content.as_mut().unwrap().0[9] ^= 1),
    ];
    for (name, forge) in event {
        let lie = versions(move |page, _| {
            forge(page.events.last_mut().unwrap());
            true
        });
        told(name, lie).await;
    }
    let page: [Bad<Changes>; 4] = [
        ("from", |page| page.from = page.from.next()),
        ("to", |page| page.to = page.to.next()),
        ("epoch", |page| page.epoch.0[0] ^= 1),
        ("chain", |page| page.chain.0[0] ^= 1),
    ];
    for (name, forge) in page {
        let lie = versions(move |page, _| {
            forge(page);
            true
        });
        told(name, lie).await;
    }
    second.acknowledge_alarms().await.unwrap();
    ground.recovers(&second, &NEWS).await;
}

#[tokio::test]
async fn e35_other_files_than_a_version_came_with_are_an_alarm() {
    let (ground, first, second) = Ground::two().await;
    let noted = entry(&first, "one").await;
    let file = first.attach(noted.entry, b"a file").await.unwrap();
    first.edit_with(noted.entry, &noted.head_ids(), b"one with a file", &[&file]).await.unwrap();
    // Its author knows which it has.
    for forge in [
        |added: &mut VersionAdded| added.attachments.clear(),
        |added: &mut VersionAdded| added.attachments.push(BlobHash([1; 32])),
    ] {
        ground.proxy.tell(last_version(forge));
        let synced = first.sync().await;
        assert!(matches!(synced, Err(Error::Alarm(AlarmKind::Content))), "{synced:?}");
        assert!(ground.proxy.honest().0 > 0);
        assert_eq!(alarmed(&first).await, [AlarmKind::Content]);
        first.acknowledge_alarms().await.unwrap();
    }
    ground.recovers(&first, &["one with a file", "two"]).await;
    // What deletes has none.
    second.sync().await.unwrap();
    let gone = entry(&first, "two").await;
    first.remove(gone.entry, &gone.head_ids()).await.unwrap();
    first.sync().await.unwrap();
    let hash = file.hash;
    let named = last_version(move |added| added.attachments = vec![hash]);
    ground.caught(&second, AlarmKind::Content, named).await;
    ground.recovers(&second, &["one with a file", "unsaid"]).await;
}
