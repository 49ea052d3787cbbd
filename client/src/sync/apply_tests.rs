use lockstep_api::Bytes64;
use lockstep_events::{
    AccountId, DeviceId, EntryId, Event, Hex, VersionKind,
    event::{EntryPurged, VaultEvent, VersionAdded},
    roster::Claim,
};
use uuid::Uuid;

use super::*;
use crate::{
    account::testing::{EPOCH, Stream, TestDevice, two_devices},
    crypto::{identity::DeviceKey, os_random},
    model::{Content, Resolution},
    sync::{check, reset::Life},
};

async fn contents(device: &TestDevice) -> Vec<String> {
    let mut all = Vec::new();
    for entry in device.entries().await.unwrap() {
        for head in &entry.heads {
            all.push(String::from_utf8(head.content.bytes().unwrap().to_vec()).unwrap());
        }
    }
    all.sort();
    all
}

async fn seq_of(device: &TestDevice, stream: &Stream) -> u64 {
    let mut db = device.store.begin().await.unwrap();
    streams::get(&mut db, stream.id).await.unwrap().unwrap().seq.0
}

fn added(stream: &Stream, at: usize) -> VersionAdded {
    match stream.events[at].event().unwrap() {
        Event::Vault(VaultEvent::VersionAdded(added)) => *added,
        other => panic!("not a version: {other:?}"),
    }
}

/// Applies a page that must be refused: the alarm is kept, nothing else has changed.
async fn refused(device: &TestDevice, stream: &Stream, page: &Page, kind: AlarmKind) {
    let before = (seq_of(device, stream).await, contents(device).await);
    let answer = device.apply(page).await;
    assert!(matches!(answer, Err(Error::Alarm(raised)) if raised == kind), "{kind:?}: {answer:?}");
    assert_eq!((seq_of(device, stream).await, contents(device).await), before, "{kind:?}");
    let alarms = device.alarms().await.unwrap();
    assert!(alarms.iter().any(|alarm| alarm.kind == kind && !alarm.seen), "{kind:?}: {alarms:?}");
}

#[tokio::test]
async fn what_one_device_adds_another_reads_and_the_echo_empties_the_outbox() {
    let (a, b, _, mut vault) = two_devices().await;
    a.add(b"first").await.unwrap();
    a.add(b"second").await.unwrap();
    assert_eq!(a.waiting().await.unwrap(), 2);
    vault.accept_all(&a).await;
    assert_eq!(b.apply(&vault.page(0)).await.unwrap(), Applied::Done(2));
    assert_eq!(contents(&b).await, ["first", "second"]);
    assert_eq!(a.apply(&vault.page(0)).await.unwrap(), Applied::Done(2));
    assert_eq!(a.waiting().await.unwrap(), 0);
    assert_eq!(contents(&a).await, contents(&b).await);
}

#[tokio::test]
async fn a_page_is_applied_once_and_only_where_it_begins() {
    let (a, b, _, mut vault) = two_devices().await;
    for word in ["one", "two", "three"] {
        a.add(word.as_bytes()).await.unwrap();
    }
    vault.accept_all(&a).await;
    assert_eq!(b.apply(&vault.page(1)).await.unwrap(), Applied::Gap);
    assert_eq!(contents(&b).await, Vec::<String>::new());
    assert_eq!(b.apply(&vault.page(0)).await.unwrap(), Applied::Done(3));
    assert_eq!(b.apply(&vault.page(0)).await.unwrap(), Applied::Old);
    let elsewhere = Page { epoch: Epoch([8; 16]), ..vault.page(0) };
    assert_eq!(b.apply(&elsewhere).await.unwrap(), Applied::OtherLife);
}

#[tokio::test]
async fn a_history_that_was_changed_shortened_or_reordered_is_refused() {
    let (a, b, _, mut vault) = two_devices().await;
    for word in ["one", "two", "three"] {
        a.add(word.as_bytes()).await.unwrap();
    }
    vault.accept_all(&a).await;
    let honest = vault.page(0);

    let mut changed = honest.clone();
    changed.events[1].recorded_at = Micros(5);
    refused(&b, &vault, &changed, AlarmKind::Chain).await;
    let mut dropped = honest.clone();
    dropped.events.remove(1);
    refused(&b, &vault, &dropped, AlarmKind::Page).await;
    let mut renumbered = dropped.clone();
    renumbered.events[1].seq = Seq(2);
    renumbered.to = Seq(2);
    refused(&b, &vault, &renumbered, AlarmKind::Chain).await;
    let mut swapped = honest.clone();
    swapped.events.swap(0, 1);
    swapped.events[0].seq = Seq(1);
    swapped.events[1].seq = Seq(2);
    refused(&b, &vault, &swapped, AlarmKind::Chain).await;
    let mut short = honest.clone();
    short.events.pop();
    refused(&b, &vault, &short, AlarmKind::Page).await;
    assert!(b.apply(&honest).await.is_ok());
}

type Forge = fn(&mut VersionAdded);

#[tokio::test]
async fn a_forged_version_is_refused_even_where_the_chain_is_right() {
    let (a, b, _, mut vault) = two_devices().await;
    a.add(b"honest").await.unwrap();
    vault.accept_all(&a).await;
    b.apply(&vault.page(0)).await.unwrap();
    let honest = added(&vault, 0);
    let ciphertext = vault.events[0].content.clone();

    let forgeries: &[(AlarmKind, Forge)] = &[
        (AlarmKind::Signature, |v| v.header.client_time += 1),
        (AlarmKind::Signature, |v| v.header.entry = EntryId(Uuid::from_u128(77))),
        (AlarmKind::Signature, |v| {
            v.signer = DeviceId(Uuid::from_u128(78));
            v.header.author_device = v.signer;
        }),
        (AlarmKind::Signature, |v| v.signature.0[0] ^= 1),
        (AlarmKind::Header, |v| v.header.account = AccountId(Uuid::from_u128(79))),
        (AlarmKind::Header, |v| v.header.vault = VaultId(Uuid::from_u128(80))),
        (AlarmKind::Header, |v| v.header.format = 2),
        (AlarmKind::Content, |v| v.wrapped_key = Hex::of(&[0; 20]).ok()),
    ];
    for (kind, forge) in forgeries {
        let mut forged = honest.clone();
        forge(&mut forged);
        let mut stream = Stream::new(vault.id, vault.kind);
        stream.events.clone_from(&vault.events);
        stream.accept(&forged, ciphertext.clone());
        refused(&b, &stream, &stream.page(1), *kind).await;
    }
}

#[tokio::test]
async fn a_swapped_ciphertext_is_refused() {
    let (a, b, _, mut vault) = two_devices().await;
    a.add(b"one").await.unwrap();
    a.add(b"two").await.unwrap();
    vault.accept_all(&a).await;
    let mut page = vault.page(0);
    let (one, two) = (page.events[0].content.clone(), page.events[1].content.clone());
    (page.events[0].content, page.events[1].content) = (two, one);
    refused(&b, &vault, &page, AlarmKind::ContentHash).await;
    let mut cut = vault.page(0);
    cut.events[0].content = Some(Bytes64(vec![1, 2, 3]));
    refused(&b, &vault, &cut, AlarmKind::ContentHash).await;
}

#[tokio::test]
async fn a_version_written_after_its_device_was_revoked_is_refused_and_one_from_before_is_not() {
    let (a, b, mut account, mut vault) = two_devices().await;
    a.add(b"before").await.unwrap();
    vault.accept_all(&a).await;
    let trusted = keys::trusted(&mut b.store.begin().await.unwrap()).await.unwrap();
    let statement = b.keys.ask.state(&trusted.roster, Claim::DeviceRevoked { device: a.device() }).unwrap();
    let from = account.events.len() as u64;
    account.state(&statement);
    // The vault's first event is of second 1, the revocation of second 5.
    b.apply(&account.page(from)).await.unwrap();
    assert_eq!(b.apply(&vault.page(0)).await.unwrap(), Applied::Done(1));
    a.apply(&vault.page(0)).await.unwrap();
    for word in ["x", "y", "z", "late"] {
        a.add(word.as_bytes()).await.unwrap();
    }
    let mut forged = Stream { events: vault.events.clone(), ..Stream::new(vault.id, vault.kind) };
    forged.accept_all(&a).await;
    refused(&b, &vault, &forged.page(1), AlarmKind::RevokedDevice).await;
}

#[tokio::test]
async fn an_author_who_was_shown_another_history_raises_the_alarm() {
    let (a, b, _, mut honest) = two_devices().await;
    b.add(b"by b").await.unwrap();
    honest.accept_all(&b).await;
    b.apply(&honest.page(0)).await.unwrap();
    // A fork: A is shown a history in which something else stands at 1.
    let mut fork = Stream::new(honest.id, honest.kind);
    a.add(b"by a").await.unwrap();
    fork.accept_all(&a).await;
    a.apply(&fork.page(0)).await.unwrap();
    let entry = a.entries().await.unwrap().remove(0);
    a.edit(entry.entry, &entry.head_ids(), b"edited in the fork").await.unwrap();
    // The server shows B what A wrote in its fork.
    let from = honest.events.len() as u64;
    honest.accept(&added(&fork, 0), fork.events[0].content.clone());
    honest.accept_all(&a).await;
    refused(&b, &honest, &honest.page(from), AlarmKind::ObservedChain).await;
}

#[tokio::test]
async fn a_statement_of_another_key_or_order_is_refused() {
    let (a, _, mut account, _) = two_devices().await;
    let trusted = keys::trusted(&mut a.store.begin().await.unwrap()).await.unwrap();
    let stranger = DeviceKey::random(&mut os_random());
    let claim = Claim::DeviceAdded { device: DeviceId(Uuid::from_u128(66)), public_key: stranger.public() };
    let mut statement = a.keys.ask.state(&trusted.roster, claim).unwrap();
    statement.signature.0[5] ^= 1;
    let from = account.events.len() as u64;
    account.state(&statement);
    refused(&a, &account, &account.page(from), AlarmKind::Roster).await;
}

#[tokio::test]
async fn edits_apart_become_two_heads_on_both_devices_and_a_resolution_makes_one() {
    let (a, b, _, mut vault) = two_devices().await;
    let entry = a.add(b"base").await.unwrap();
    vault.accept_all(&a).await;
    for device in [&a, &b] {
        device.apply(&vault.page(0)).await.unwrap();
    }
    let base = a.entry(entry).await.unwrap().head_ids();
    a.edit(entry, &base, b"by a").await.unwrap();
    b.edit(entry, &base, b"by b").await.unwrap();
    vault.accept_all(&a).await;
    vault.accept_all(&b).await;
    for device in [&a, &b] {
        device.apply(&vault.page(1)).await.unwrap();
        let conflict = device.conflict(entry).await.unwrap();
        assert!(conflict.entry.divergent);
        assert_eq!(conflict.entry.winner().unwrap().content.bytes(), Some(&b"by a"[..]));
        assert_eq!(conflict.ancestors.len(), 1);
        assert_eq!(conflict.ancestors[0].content.bytes(), Some(&b"base"[..]));
    }
    let shown = a.entry(entry).await.unwrap().head_ids();
    let keep = Resolution::Keep(shown[1]);
    let here = a.resolve(entry, &shown, &keep).await.unwrap();
    let there = b.resolve(entry, &shown, &keep).await.unwrap();
    assert_eq!(here, there, "the same choice is the same version");
    vault.accept_all(&a).await;
    for device in [&a, &b] {
        device.apply(&vault.page(3)).await.unwrap();
        assert_eq!(contents(device).await, ["by b"]);
        assert_eq!(device.waiting().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn keep_both_is_one_group_of_an_adoption_and_new_entries() {
    let (a, b, _, mut vault) = two_devices().await;
    let entry = a.add(b"base").await.unwrap();
    vault.accept_all(&a).await;
    for device in [&a, &b] {
        device.apply(&vault.page(0)).await.unwrap();
    }
    let base = a.entry(entry).await.unwrap().head_ids();
    a.edit(entry, &base, b"by a").await.unwrap();
    b.edit(entry, &base, b"by b").await.unwrap();
    vault.accept_all(&a).await;
    vault.accept_all(&b).await;
    a.apply(&vault.page(1)).await.unwrap();
    let shown = a.entry(entry).await.unwrap().head_ids();
    a.resolve(entry, &shown, &Resolution::KeepBoth(shown[0])).await.unwrap();
    assert_eq!(contents(&a).await, ["by a", "by b"]);
    assert!(!a.entry(entry).await.unwrap().divergent);
    let waiting = outbox::first(&mut a.store.begin().await.unwrap(), a.vault(), 9).await.unwrap();
    assert_eq!(waiting.len(), 2);
    assert!(waiting[0].unit.is_some() && waiting[0].unit == waiting[1].unit);
}

#[tokio::test]
async fn a_deleted_entry_can_be_brought_back_and_history_shows_all_of_it() {
    let (a, _, _, _) = two_devices().await;
    let entry = a.add(b"one").await.unwrap();
    let first = a.entry(entry).await.unwrap().head_ids();
    a.edit(entry, &first, b"two").await.unwrap();
    let shown = a.entry(entry).await.unwrap().head_ids();
    a.remove(entry, &shown).await.unwrap();
    assert_eq!(a.entries().await.unwrap(), []);
    a.restore(entry, first[0]).await.unwrap();
    assert_eq!(contents(&a).await, ["one"]);
    let kinds: Vec<_> = a.history(entry).await.unwrap().into_iter().map(|version| version.kind).collect();
    let expected = [VersionKind::Edit, VersionKind::Edit, VersionKind::Tombstone, VersionKind::Adopt];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn after_a_restore_of_the_server_what_it_lost_is_offered_again_and_nothing_is_wiped() {
    let (a, b, _, mut vault) = two_devices().await;
    let entry = a.add(b"kept by the backup").await.unwrap();
    vault.accept_all(&a).await;
    a.apply(&vault.page(0)).await.unwrap();
    let backup = vault.events.clone();
    a.edit(entry, &a.entry(entry).await.unwrap().head_ids(), b"lost by the backup").await.unwrap();
    vault.accept_all(&a).await;
    a.apply(&vault.page(1)).await.unwrap();
    a.add(b"never sent").await.unwrap();
    let before = contents(&a).await;

    let restored = Stream { id: vault.id, kind: vault.kind, epoch: Epoch([9; 16]), events: backup };
    let place = streams::get(&mut a.store.begin().await.unwrap(), vault.id).await.unwrap().unwrap();
    let nothing_in_common = Life {
        epoch: restored.epoch,
        common: (Seq::ZERO, Chain::ZERO),
        entries: Vec::new(),
        versions: Vec::new(),
    };
    a.begin_life(&place, &nothing_in_common).await.unwrap();
    assert_eq!(contents(&a).await, before, "in the middle of it");
    a.apply(&restored.page(0)).await.unwrap();
    let lost = versions::unplaced(&mut a.store.begin().await.unwrap(), a.vault()).await.unwrap();
    let lost: Vec<_> = lost.iter().map(|version| version.id).collect();
    a.offer_again(&place, &lost).await.unwrap();
    assert_eq!(contents(&a).await, before);
    let waiting = outbox::first(&mut a.store.begin().await.unwrap(), a.vault(), 9).await.unwrap();
    assert_eq!(waiting.iter().map(|w| w.reoffer).collect::<Vec<_>>(), [true, false]);
    let alarms = a.alarms().await.unwrap();
    assert_eq!(alarms.iter().map(|alarm| alarm.kind).collect::<Vec<_>>(), [AlarmKind::Reset]);

    let mut restored = restored;
    restored.accept_all(&a).await;
    let place = streams::get(&mut b.store.begin().await.unwrap(), vault.id).await.unwrap().unwrap();
    b.begin_life(&place, &nothing_in_common).await.unwrap();
    b.apply(&restored.page(0)).await.unwrap();
    a.apply(&restored.page(1)).await.unwrap();
    assert_eq!(contents(&b).await, before);
    assert_eq!((contents(&a).await, a.waiting().await.unwrap()), (before, 0));
}

#[tokio::test]
async fn a_purge_erases_what_a_device_deleted_and_a_server_alone_can_erase_nothing() {
    let (a, _, _, mut vault) = two_devices().await;
    let deleted = a.add(b"deleted").await.unwrap();
    let live = a.add(b"live").await.unwrap();
    a.remove(deleted, &a.entry(deleted).await.unwrap().head_ids()).await.unwrap();
    vault.accept_all(&a).await;
    a.apply(&vault.page(0)).await.unwrap();
    for entry in [deleted, live] {
        vault.happen(VaultEvent::Purged(EntryPurged { entry, heads: Vec::new() }));
    }
    let mut told = a.changes.subscribe();
    a.apply(&vault.page(3)).await.unwrap();
    let told: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    let [Change::Purged { entry }, Change::Alarm(alarm)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((*entry, alarm.kind), (deleted, AlarmKind::Content), "whoever watches is told of both");
    let gone = a.history(deleted).await.unwrap();
    assert_eq!(gone[0].content, Content::Gone);
    assert_eq!(a.history(live).await.unwrap()[0].content.bytes(), Some(&b"live"[..]));
    assert_eq!(contents(&a).await, ["live"], "and it is not hidden either");
    assert_eq!(a.alarms().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_purge_erases_nothing_that_this_device_wrote_and_never_sent() {
    let (a, b, _, mut vault) = two_devices().await;
    let entry = a.add(b"shared").await.unwrap();
    vault.accept_all(&a).await;
    b.apply(&vault.page(0)).await.unwrap();
    let heads = b.entry(entry).await.unwrap().head_ids();
    let unsent = b.edit(entry, &heads, b"unsent").await.unwrap();
    a.apply(&vault.page(0)).await.unwrap();
    a.remove(entry, &heads).await.unwrap();
    vault.accept_all(&a).await;
    vault.happen(VaultEvent::Purged(EntryPurged { entry, heads: Vec::new() }));
    b.apply(&vault.page(1)).await.unwrap();
    assert_eq!(b.alarms().await.unwrap(), []);
    let mut db = b.store.begin().await.unwrap();
    let kept = versions::get(&mut db, unsent).await.unwrap().unwrap();
    assert!(kept.ciphertext.is_some() && kept.wrapped_key.is_some());
    assert!(versions::get(&mut db, heads[0]).await.unwrap().unwrap().ciphertext.is_none());
}

#[test]
fn an_empty_page_is_right_only_where_it_stands_still() {
    let start = Place::start(StreamId::SYSTEM, lockstep_events::StreamKind::Vault, EPOCH);
    let at = Place { seq: Seq(3), chain: Chain([1; 32]), ..start };
    assert!(check::page(&at, (Seq(3), Chain([1; 32])), &[]).is_ok());
    assert!(check::page(&at, (Seq(3), Chain([2; 32])), &[]).is_err());
    assert!(check::page(&at, (Seq(4), Chain([1; 32])), &[]).is_err());
}

#[tokio::test]
async fn after_a_restore_a_device_is_revoked_where_the_log_says_so_now_and_saying_it_again_moves_nothing() {
    let (a, b, mut account, mut vault) = two_devices().await;
    let trusted = keys::trusted(&mut b.store.begin().await.unwrap()).await.unwrap();
    let statement = b.keys.ask.state(&trusted.roster, Claim::DeviceRevoked { device: a.device() }).unwrap();
    let known = keys::statements(&mut b.store.begin().await.unwrap()).await.unwrap();
    let (from, common) = (account.events.len(), account.events.last().unwrap().chain);
    let at = u64::try_from(from).unwrap();
    let revoked_at = async || {
        let trusted = keys::trusted(&mut b.store.begin().await.unwrap()).await.unwrap();
        trusted.revoked_at[&a.device()].seconds()
    };
    let mut restored = Stream {
        events: account.events.clone(),
        epoch: Epoch([9; 16]),
        ..Stream::new(account.id, account.kind)
    };
    for _ in 0..2 {
        account.state(&statement);
    }
    b.apply(&account.page(at)).await.unwrap();
    let first = i64::try_from(from).unwrap() + 1;
    assert_eq!(revoked_at().await, first, "said twice in one life");
    // The backup is of before. The device is removed anew, later than the first time.
    let place = streams::get(&mut b.store.begin().await.unwrap(), account.id).await.unwrap().unwrap();
    let common = (Seq(at), common);
    let life = Life { epoch: restored.epoch, common, entries: Vec::new(), versions: Vec::new() };
    b.begin_life(&place, &life).await.unwrap();
    for _ in 0..3 {
        restored.state(&known[0]);
    }
    restored.state(&statement);
    b.apply(&restored.page(at)).await.unwrap();
    assert_eq!(revoked_at().await, first + 3);
    // What the restored server took of it before that is no lie of the server's; what it would take later is one.
    for n in 0..first + 2 {
        a.add(format!("{n}").as_bytes()).await.unwrap();
    }
    vault.accept_all(&a).await;
    b.apply(&vault.page(0)).await.unwrap();
    let taken = u64::try_from(first + 2).unwrap();
    a.apply(&vault.page(0)).await.unwrap();
    a.add(b"late").await.unwrap();
    vault.accept_all(&a).await;
    refused(&b, &vault, &vault.page(taken), AlarmKind::RevokedDevice).await;
}

#[tokio::test]
async fn who_watches_is_told_of_two_versions_where_one_of_them_waits_here() {
    let (a, b, _, mut vault) = two_devices().await;
    let entry = a.add(b"base").await.unwrap();
    vault.accept_all(&a).await;
    for device in [&a, &b] {
        device.apply(&vault.page(0)).await.unwrap();
    }
    let base = a.entry(entry).await.unwrap().head_ids();
    a.edit(entry, &base, b"by a").await.unwrap();
    b.edit(entry, &base, b"unsent by b").await.unwrap();
    vault.accept_all(&a).await;
    for (device, expected) in [(&a, false), (&b, true)] {
        let mut told = device.changes.subscribe();
        device.apply(&vault.page(1)).await.unwrap();
        let Ok(Change::Version { divergent, .. }) = told.try_recv() else { panic!("told nothing") };
        assert_eq!((divergent, device.entry(entry).await.unwrap().divergent), (expected, expected));
    }
}
