use lockstep_api::Bytes64;
use lockstep_events::{
    Chain, EntryId, Event, Hex, Seq, VersionKind,
    event::{VaultEvent, VersionAdded},
};

use super::*;
use crate::{
    account::testing::{Stream, TestDevice, two_devices},
    crypto::{
        keys::VaultKey,
        os_random,
        version::{Author, new_id},
    },
    model::{Alarm, Content, Resolution},
    store::{streams, versions},
    sync::apply::Applied,
};

/// What the app of a device writes, and says of it.
struct App<'a> {
    device: &'a TestDevice,
    observed: (Seq, Chain),
    generation: u32,
    vault_key: VaultKey,
}

impl App<'_> {
    /// A version that is signed as it must be, next in the stream of the vault.
    fn writes(
        &self,
        stream: &mut Stream,
        (entry, parents): (EntryId, &[VersionId]),
        content: &[u8],
    ) -> VersionId {
        let device = self.device;
        let author = Author {
            account: device.account(),
            vault: device.vault(),
            device: device.device(),
            device_key: &device.keys.device_key,
            vault_key: &self.vault_key,
            generation: self.generation,
            observed_seq: self.observed.0,
            observed_chain: self.observed.1,
            client_time: 1,
        };
        let version = author.write(entry, parents.to_vec(), content, &mut os_random()).unwrap();
        let added = VersionAdded {
            header: version.header,
            signer: version.signer,
            signature: version.signature,
            batch: uuid::Uuid::from_u128(9).into(),
            parent_inferred: false,
            inferred_parents: Vec::new(),
            content_missing: false,
            wrapped_key: version.wrapped_key.map(|key| Hex::of(&key).unwrap()),
            attachments: Vec::new(),
            attachment_sizes: Vec::new(),
        };
        stream.accept(&added, version.ciphertext);
        version.id
    }
}

/// Two devices that agree about one entry. The first one's app is wrong from now on.
async fn agreed() -> (TestDevice, TestDevice, Stream, EntryId) {
    let (a, b, _, mut vault) = two_devices().await;
    let entry = a.add(b"agreed").await.unwrap();
    vault.accept_all(&a).await;
    for device in [&a, &b] {
        device.apply(&vault.page(0)).await.unwrap();
    }
    (a, b, vault, entry)
}

/// It says that it saw this, and all else is right.
fn saw(device: &TestDevice, seq: u64, chain: Chain) -> App<'_> {
    let vault_key = device.vault_key(device.vault(), 1).unwrap();
    App { device, observed: (Seq(seq), chain), generation: 1, vault_key }
}

fn of_nowhere(device: &TestDevice) -> App<'_> {
    saw(device, 1, Chain([9; 32]))
}

/// It has a key of its own, and says that it is this generation's.
fn sealed_under(device: &TestDevice, generation: u32) -> App<'_> {
    App { generation, vault_key: VaultKey::random(&mut os_random()), ..saw(device, 0, Chain::ZERO) }
}

async fn unseen(device: &TestDevice) -> Vec<Alarm> {
    device.alarms().await.unwrap().into_iter().filter(|alarm| !alarm.seen).collect()
}

/// Whatever a person has seen: the page is refused, by an alarm about each of these versions.
async fn stops(device: &TestDevice, stream: &Stream, kind: AlarmKind, of: &[VersionId]) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    for _ in 0..2 {
        device.acknowledge_alarms(i64::MAX).await.unwrap();
        let answer = device.apply_with(&stream.page(1), true).await;
        assert!(matches!(answer, Err(Error::Alarm(raised)) if raised == kind), "{answer:?}");
        alarms = unseen(device).await;
        alarms.reverse();
        let about: Vec<_> = alarms.iter().map(|alarm| alarm.about.unwrap().version).collect();
        assert_eq!(about, of);
    }
    alarms
}

/// Everything counts as the log has it.
async fn in_step(device: &TestDevice, stream: &Stream) {
    let place = streams::get(&mut device.store.begin().await.unwrap(), stream.id).await.unwrap().unwrap();
    let last = stream.events.last().unwrap();
    assert_eq!((place.seq, place.chain, place.digest), (last.seq, last.chain, Some(stream.digest())));
    device.audit_digest().await.unwrap();
    assert_eq!(unseen(device).await, []);
}

#[tokio::test]
async fn a_version_that_says_what_its_device_never_saw_stops_its_vault_until_a_person_sets_it_aside() {
    let (a, b, mut vault, entry) = agreed().await;
    let app = of_nowhere(&a);
    let wrong = [
        app.writes(&mut vault, (new_id(&mut os_random()), &[]), b"one"),
        app.writes(&mut vault, (new_id(&mut os_random()), &[]), b"two"),
    ];
    a.add(b"right").await.unwrap();
    vault.accept_all(&a).await;
    let alarms = stops(&b, &vault, AlarmKind::ObservedChain, &wrong).await;
    let about = alarms[0].about.unwrap();
    assert_eq!((about.device, about.vault), (a.device(), b.vault()));
    assert_ne!(about.entry, entry);
    for part in [wrong[0].to_string(), Chain([9; 32]).to_string(), vault.events[0].chain.to_string()] {
        assert!(alarms[0].detail.contains(&part), "{}", alarms[0].detail);
    }
    // Each by itself.
    b.set_aside(&alarms[0]).await.unwrap();
    let alarms = stops(&b, &vault, AlarmKind::ObservedChain, &wrong[1..]).await;
    b.set_aside(&alarms[0]).await.unwrap();
    assert_eq!(b.apply(&vault.page(1)).await.unwrap(), Applied::Done(3));
    in_step(&b, &vault).await;
    assert_eq!(b.entries().await.unwrap().len(), 4, "and what it says is read");
    // The same device's next is as wrong, and nobody has looked at it.
    let read = vault.events.len() as u64;
    app.writes(&mut vault, (entry, &[]), b"three");
    let answer = b.apply(&vault.page(read)).await;
    assert!(matches!(answer, Err(Error::Alarm(AlarmKind::ObservedChain))), "{answer:?}");
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words_that_tell_a_mistaken_place_from_another_history() {
    let (a, b, mut vault, entry) = agreed().await;
    let chain = vault.events[0].chain;
    saw(&a, 7, chain).writes(&mut vault, (entry, &[]), b"late");
    assert!(b.apply(&vault.page(1)).await.is_err());
    let said = unseen(&b).await.remove(0).detail;
    let words = "at 7 of the vault, and it stands at 2 itself; what it names stood at 1";
    assert!(said.contains(words), "{said}");
}

#[tokio::test]
async fn what_was_set_aside_of_a_version_excuses_nothing_else_of_it() {
    let (a, b, mut vault, _) = agreed().await;
    let wrong = of_nowhere(&a).writes(&mut vault, (new_id(&mut os_random()), &[]), b"one");
    let alarm = stops(&b, &vault, AlarmKind::ObservedChain, &[wrong]).await.remove(0);
    b.set_aside(&alarm).await.unwrap();
    let Event::Vault(VaultEvent::VersionAdded(honest)) = vault.events[1].event().unwrap() else { panic!() };
    let content = vault.events[1].content.clone();
    let said = |change: &dyn Fn(&mut VersionAdded)| {
        let mut stream = Stream { events: vault.events[..1].to_vec(), ..Stream::new(vault.id, vault.kind) };
        let mut added = (*honest).clone();
        change(&mut added);
        stream.accept(&added, content.clone());
        stream
    };
    let unsigned = said(&|added| added.signature.0[0] ^= 1);
    let under = said(&|added| {
        added.wrapped_key = Hex::of(&[&7_u32.to_be_bytes()[..], &[5; 104]].concat()).ok();
    });
    let mut twice = said(&|_| {});
    twice.accept(&honest, content.clone());
    let mut swapped = vault.page(1);
    swapped.events[0].content = Some(Bytes64(vec![1; 300]));
    for (kind, page) in [
        (AlarmKind::Signature, unsigned.page(1)),
        (AlarmKind::Keys, under.page(1)),
        (AlarmKind::Header, twice.page(1)),
        (AlarmKind::ContentHash, swapped),
    ] {
        let answer = b.apply_with(&page, true).await;
        assert!(matches!(answer, Err(Error::Alarm(raised)) if raised == kind), "{kind:?}: {answer:?}");
    }
    // Nor is it what another alarm says that a person could have meant.
    let general = Alarm { about: None, ..alarm };
    assert!(b.set_aside(&general).await.is_err());
    b.acknowledge_alarms(i64::MAX).await.unwrap();
    b.apply(&vault.page(1)).await.unwrap();
    in_step(&b, &vault).await;
}

#[tokio::test]
async fn a_version_under_a_key_that_was_never_stated_is_set_aside_and_stays_an_open_side() {
    let (a, b, mut vault, entry) = agreed().await;
    let base = b.entry(entry).await.unwrap().head_ids();
    let wrong = sealed_under(&a, 9).writes(&mut vault, (entry, &base), b"nobody reads it");
    b.edit(entry, &base, b"by b").await.unwrap();
    vault.accept_all(&b).await;
    assert_eq!(b.apply(&vault.page(1)).await.unwrap(), Applied::UnknownKey, "the roster is read first");
    let alarm = stops(&b, &vault, AlarmKind::Keys, &[wrong]).await.remove(0);
    assert!(alarm.detail.contains("generation 9"), "{}", alarm.detail);
    b.set_aside(&alarm).await.unwrap();
    assert_eq!(b.apply(&vault.page(1)).await.unwrap(), Applied::Done(2));
    let shown = b.entry(entry).await.unwrap();
    let contents: Vec<_> = shown.heads.iter().map(|head| head.content.clone()).collect();
    assert!(shown.divergent && contents[0] == Content::Rejected, "{contents:?}");
    in_step(&b, &vault).await;
    // A person keeps the other side, or deletes both.
    let heads = shown.head_ids();
    b.remove(entry, &heads).await.unwrap();
    assert!(b.entry(entry).await.unwrap().deleted);
    b.restore(entry, heads[1]).await.unwrap();
    let kept = b.entry(entry).await.unwrap();
    assert_eq!((kept.heads.len(), kept.heads[0].content.bytes()), (1, Some(&b"by b"[..])));
}

#[tokio::test]
async fn keeping_the_other_side_ends_a_conflict_with_one_that_cannot_be_read() {
    let (a, b, mut vault, entry) = agreed().await;
    let base = b.entry(entry).await.unwrap().head_ids();
    let wrong = sealed_under(&a, 9).writes(&mut vault, (entry, &base), b"nobody reads it");
    b.edit(entry, &base, b"by b").await.unwrap();
    vault.accept_all(&b).await;
    let alarm = stops(&b, &vault, AlarmKind::Keys, &[wrong]).await.remove(0);
    b.set_aside(&alarm).await.unwrap();
    b.apply(&vault.page(1)).await.unwrap();
    let heads = b.entry(entry).await.unwrap().head_ids();
    b.resolve(entry, &heads, &Resolution::Keep(heads[1])).await.unwrap();
    let kept = b.entry(entry).await.unwrap();
    assert_eq!((kept.heads.len(), kept.heads[0].kind), (1, VersionKind::Adopt));
    assert_eq!(kept.heads[0].content.bytes(), Some(&b"by b"[..]));
}

#[tokio::test]
async fn a_content_that_does_not_open_is_said_until_a_person_sets_it_aside_and_is_shown_so_for_ever() {
    let (a, b, mut vault, entry) = agreed().await;
    let base = b.entry(entry).await.unwrap().head_ids();
    let wrong = sealed_under(&a, 1).writes(&mut vault, (entry, &base), b"sealed under another key");
    assert_eq!(b.apply(&vault.page(1)).await.unwrap(), Applied::Done(1), "it is no reason to stop");
    let rejected = async || {
        let shown = b.entry(entry).await.unwrap();
        assert_eq!(shown.heads[0].content, Content::Rejected);
        unseen(&b).await
    };
    for _ in 0..2 {
        let alarms = rejected().await;
        assert_eq!((alarms.len(), alarms[0].kind), (1, AlarmKind::Content));
        assert_eq!(alarms[0].about.unwrap().version, wrong);
        b.acknowledge_alarms(i64::MAX).await.unwrap();
    }
    let alarm = rejected().await.remove(0);
    b.set_aside(&alarm).await.unwrap();
    assert_eq!(rejected().await, []);
    let aside = b.alarms().await.unwrap();
    assert!(aside.iter().all(|alarm| alarm.set_aside && alarm.seen), "{aside:?}");
    // Should the server lose it, it goes out again as it was.
    let mut db = b.store.begin().await.unwrap();
    let kept = versions::get(&mut db, wrong).await.unwrap().unwrap();
    let newer = (2, VaultKey::random(&mut os_random()));
    assert_eq!(b.wrapped_by_newest(&kept, &newer).unwrap(), kept.wrapped_key);
}
