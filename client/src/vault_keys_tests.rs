use lockstep_events::{
    Event, Hash32, Hex,
    event::{VaultEvent, VersionAdded},
};

use super::*;
use crate::{
    account::testing::{Stream, TestDevice, two_devices},
    store::{outbox, versions},
    sync::{apply::Applied, offer::Offer},
};

/// The account as an honest server shows it to this device.
async fn shown(device: &TestDevice) -> Account {
    let mut db = device.store.pool().acquire().await.unwrap();
    let wrap = |((vault, generation), bytes)| {
        let name = vault_key_name(vault, generation);
        Wrap { name, generation, bytes: Bytes64(bytes) }
    };
    Account {
        account: device.account(),
        roster: keys::statements(&mut db).await.unwrap(),
        wraps: keys::vault_keys(&mut db).await.unwrap().into_iter().map(wrap).collect(),
        vaults: vec![device.vault()],
        suite: 1,
    }
}

fn all(device: &TestDevice, roster: &Roster, account: &Account) -> Option<Vec<u32>> {
    match all_wraps(account, roster, &device.keys.ark) {
        Ok(wraps) => Some(wraps.into_iter().map(|(_, generation, _)| generation).collect()),
        Err(Error::Alarm(AlarmKind::Keys)) => None,
        Err(other) => panic!("{other:?}"),
    }
}

/// The next generation, stated in the account's stream.
async fn stated(by: &TestDevice, stream: &mut Stream) -> (Statement, u32) {
    let roster = by.roster().await.unwrap();
    let (vault, generation) = (by.vault(), roster.vault_generations[&by.vault()] + 1);
    let statement = by.keys.ask.state(&roster, Claim::VaultKeyGen { vault, generation }).unwrap();
    stream.state(&statement);
    (statement, generation)
}

/// What a server that took it gives back.
async fn learned(device: &TestDevice, generation: u32, key: &VaultKey) {
    let place = (device.account(), device.vault(), generation);
    let wrap = device.keys.ark.wrap_vault_key(key, place, &mut os_random()).unwrap();
    let mut tx = device.store.begin().await.unwrap();
    keys::keep_vault_key(&mut tx, device.vault(), generation, &wrap).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_new_device_takes_exactly_the_generations_that_were_stated() {
    let (a, _, mut stream, _) = two_devices().await;
    let (first, before) = (shown(&a).await, a.roster().await.unwrap());
    assert_eq!(all(&a, &before, &first), Some(vec![1]));
    let (_, generation) = stated(&a, &mut stream).await;
    let from = stream.events.len() as u64 - 1;
    a.apply(&stream.page(from)).await.unwrap();
    learned(&a, generation, &VaultKey::random(&mut os_random())).await;
    let (honest, roster) = (shown(&a).await, a.roster().await.unwrap());
    assert_eq!(all(&a, &roster, &honest), Some(vec![1, 2]));
    // E18: one that was stated is withheld. E20: one that was not is there.
    for withheld in [0, 1] {
        let mut less = honest.clone();
        less.wraps.remove(withheld);
        assert_eq!(all(&a, &roster, &less), None);
    }
    assert_eq!(all(&a, &before, &honest), None);
    // E04: one lies in the place of the other.
    let mut swapped = honest.clone();
    swapped.wraps[1].bytes = honest.wraps[0].bytes.clone();
    assert_eq!(all(&a, &roster, &swapped), None);
    let mut named = honest.clone();
    named.wraps[1].name = "vault/nothing".to_owned();
    assert_eq!(all(&a, &roster, &named), None);
    let mut foreign = honest;
    foreign.vaults.push(VaultId(uuid::Uuid::from_u128(5)));
    assert_eq!(all(&a, &roster, &foreign), None);
}

#[tokio::test]
async fn a_version_sealed_under_a_key_that_is_not_stated_or_not_here_waits_for_it() {
    let (a, b, mut account, mut vault) = two_devices().await;
    a.add(b"first").await.unwrap();
    vault.accept_all(&a).await;
    b.apply(&vault.page(0)).await.unwrap();
    let entry = a.add(b"second").await.unwrap();
    let key = VaultKey::random(&mut os_random());
    let version = {
        let mut db = a.store.pool().acquire().await.unwrap();
        let waiting = outbox::first(&mut db, a.vault(), 10).await.unwrap();
        let ids: Vec<_> = waiting.iter().map(|waiting| waiting.version).collect();
        let all = versions::get_many(&mut db, &ids).await.unwrap();
        all.into_iter().find(|version| version.header.entry == entry).unwrap()
    };
    let wrapped = a.wrapped_by_newest(&version, &(2, key.clone())).unwrap();
    assert_eq!(generation_of(wrapped.as_ref().unwrap()), Ok(2));
    let added = VersionAdded {
        header: version.header.clone(),
        signer: version.signer,
        signature: version.signature,
        batch: uuid::Uuid::from_u128(9).into(),
        parent_inferred: false,
        inferred_parents: Vec::new(),
        content_missing: false,
        wrapped_key: wrapped.map(|key| Hex::of(&key).unwrap()),
        attachments: Vec::new(),
        attachment_sizes: Vec::new(),
    };
    vault.accept(&added, version.ciphertext.clone());
    let Event::Vault(VaultEvent::VersionAdded(_)) = vault.events[1].event().unwrap() else { panic!() };
    let page = vault.page(1);
    assert_eq!(b.apply(&page).await.unwrap(), Applied::UnknownKey, "not stated");
    let (_, generation) = stated(&b, &mut account).await;
    let from = account.events.len() as u64 - 1;
    b.apply(&account.page(from)).await.unwrap();
    assert_eq!(b.apply(&page).await.unwrap(), Applied::UnknownKey, "stated, and not here");
    assert_eq!(b.alarms().await.unwrap(), []);
    learned(&b, generation, &key).await;
    b.learn_vault_keys(&b.roster().await.unwrap()).await.unwrap();
    assert_eq!(b.apply(&page).await.unwrap(), Applied::Done(1));
    let read = b.entry(entry).await.unwrap();
    assert_eq!(read.heads[0].content.bytes(), Some(&b"second"[..]));
    // What it writes from now on is sealed under the new key, as that of another process of the profile is.
    let mut db = b.store.pool().acquire().await.unwrap();
    assert_eq!(b.newest_vault_key(&mut db, b.vault()).await.unwrap().0, 2);
}

#[tokio::test]
async fn what_waits_is_sent_under_the_newest_key_and_nothing_is_while_a_stated_one_is_not_here() {
    let (a, _, mut account, _) = two_devices().await;
    a.add(b"waits").await.unwrap();
    a.hold_stated_key(a.vault()).await.unwrap();
    let (_, generation) = stated(&a, &mut account).await;
    let from = account.events.len() as u64 - 1;
    a.apply(&account.page(from)).await.unwrap();
    assert!(a.hold_stated_key(a.vault()).await.is_err(), "there is nobody to fetch it from");
    assert!(a.push().await.is_err());
    assert_eq!(a.waiting().await.unwrap(), 1);
    learned(&a, generation, &VaultKey::random(&mut os_random())).await;
    a.hold_stated_key(a.vault()).await.unwrap();
}

#[tokio::test]
async fn the_roster_is_offered_with_the_wraps_that_are_here_and_only_up_to_the_first_that_is_not() {
    let (a, _, mut account, _) = two_devices().await;
    let before = a.roster().await.unwrap().epoch as usize + 1;
    let (statement, generation) = stated(&a, &mut account).await;
    let from = account.events.len() as u64 - 1;
    a.apply(&account.page(from)).await.unwrap();
    let offered = async || {
        let mut db = a.store.pool().acquire().await.unwrap();
        Offer::load(&mut db).await.unwrap().requests()
    };
    let less = offered().await;
    assert_eq!((less[0].statements.len(), less[0].wraps.len()), (before, 1));
    learned(&a, generation, &VaultKey::random(&mut os_random())).await;
    let whole = offered().await;
    assert_eq!(whole[0].statements.last(), Some(&statement));
    assert_eq!(whole[0].wraps[1].name, vault_key_name(a.vault(), 2));
    assert_ne!(statement.hash(), Hash32::ZERO);
}
