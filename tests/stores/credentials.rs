//! The credential store: keys, attempts, names and what an account begins with.

use std::sync::Arc;

use lockstep_events::{AccountId, Micros, ids::PublicKey};
use lockstepd::auth::credentials::{
    CredentialStore, Held, KeyState, KnownPassword, NameIndex, PasswordRecord, Reservation, Reserved,
    SigningKeyRow, Wrapped,
};
use uuid::Uuid;

use crate::over_every_adapter;

over_every_adapter! { sqlite = crate::open::sqlite_credentials, postgres = crate::open::postgres_credentials; {
    the_first_commitment_to_a_key_file_is_kept_for_ever;
    a_new_store_has_no_signing_keys;
    signing_keys_come_back_oldest_first_and_as_they_were;
    signing_keys_are_replaced_only_over_the_list_that_was_seen;
    of_many_replacements_of_the_signing_keys_exactly_one_is_done;
    an_attempt_is_there_until_it_expires_and_looking_leaves_it;
    an_attempt_is_taken_once;
    of_many_who_take_an_attempt_exactly_one_has_it;
    an_attempt_that_expired_is_not_taken;
    attempts_do_not_mix;
    an_unknown_name_has_no_password_and_an_unknown_account_no_keys;
    a_name_that_is_nobodys_is_found_with_what_was_asked_for_it;
    a_reserved_name_leads_to_all_that_its_account_begins_with;
    the_same_attempt_reserves_its_name_again;
    a_taken_name_says_who_has_it_and_stores_nothing;
    of_many_who_reserve_a_name_exactly_one_has_it;
    a_released_name_is_free_and_nothing_of_it_is_left;
    a_confirmed_name_is_not_released;
    a_name_is_not_released_for_another_account;
    a_sweep_deletes_attempts_that_expired_and_no_others;
}}

const NOW: Micros = Micros(1_000_000);
const LATER: Micros = Micros(2_000_000);

fn account(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(n))
}

fn signing_key(n: u8, state: KeyState) -> SigningKeyRow {
    SigningKeyRow {
        kid: format!("kid-{n}"),
        public_key: PublicKey([n; 32]),
        state,
        created_at: Micros(i64::from(n)),
        changed_at: Micros(i64::from(n) + 100),
    }
}

fn reservation(name: u8, of: u128, attempt: u128) -> Reservation {
    let wrap = |name: &str, generation| Wrapped {
        name: name.to_owned(),
        generation,
        bytes: vec![u8::try_from(of).unwrap(); 92],
    };
    Reservation {
        name: NameIndex([name; 32]),
        attempt: Uuid::from_u128(attempt),
        at: Micros(7),
        password: PasswordRecord {
            account: account(of),
            setup: 3,
            suite: 1,
            record: vec![u8::try_from(of).unwrap(); 192],
        },
        wraps: vec![wrap("vault/x", 4), wrap("ark/password", 1), wrap("ask", u32::MAX)],
    }
}

/// Account, setup, suite and record: a password record is never shown, so it has no `Debug`.
async fn password(store: &dyn CredentialStore, name: u8) -> Option<(AccountId, u32, u16, Vec<u8>)> {
    let found = store.password(NameIndex([name; 32])).await.unwrap();
    found.map(|KnownPassword { record: found, .. }| (found.account, found.setup, found.suite, found.record))
}

async fn wraps(store: &dyn CredentialStore, of: u128) -> (Vec<(String, u32, Vec<u8>)>, Option<u16>) {
    let Held { wraps, suite, .. } = store.held(account(of)).await.unwrap();
    (wraps.into_iter().map(|wrap| (wrap.name, wrap.generation, wrap.bytes)).collect(), suite)
}

async fn the_first_commitment_to_a_key_file_is_kept_for_ever(store: Arc<dyn CredentialStore>) {
    assert!(store.is_blank().await.unwrap());
    assert_eq!(store.key_commitment([1; 32]).await.unwrap(), [1; 32]);
    assert!(!store.is_blank().await.unwrap());
    assert_eq!(store.key_commitment([2; 32]).await.unwrap(), [1; 32]);
    assert_eq!(store.key_commitment([1; 32]).await.unwrap(), [1; 32]);
}

async fn a_new_store_has_no_signing_keys(store: Arc<dyn CredentialStore>) {
    store.ready().await.unwrap();
    assert_eq!(store.signing_keys().await.unwrap(), []);
}

async fn signing_keys_come_back_oldest_first_and_as_they_were(store: Arc<dyn CredentialStore>) {
    let all = [
        signing_key(1, KeyState::Revoked),
        signing_key(2, KeyState::Previous),
        signing_key(3, KeyState::Current),
        signing_key(4, KeyState::Next),
    ];
    let mixed = [all[2].clone(), all[0].clone(), all[3].clone(), all[1].clone()];
    assert!(store.replace_signing_keys(&[], &mixed).await.unwrap());
    assert_eq!(store.signing_keys().await.unwrap(), all);
}

async fn signing_keys_are_replaced_only_over_the_list_that_was_seen(store: Arc<dyn CredentialStore>) {
    let first = [signing_key(1, KeyState::Current)];
    let second = [signing_key(1, KeyState::Previous), signing_key(2, KeyState::Current)];
    assert!(store.replace_signing_keys(&[], &first).await.unwrap());
    assert!(!store.replace_signing_keys(&[], &second).await.unwrap());
    assert!(!store.replace_signing_keys(&second, &[]).await.unwrap());
    assert_eq!(store.signing_keys().await.unwrap(), first);
    assert!(store.replace_signing_keys(&first, &second).await.unwrap());
    assert_eq!(store.signing_keys().await.unwrap(), second);
}

async fn of_many_replacements_of_the_signing_keys_exactly_one_is_done(store: Arc<dyn CredentialStore>) {
    let replacing = (1..=8).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            store.replace_signing_keys(&[], &[signing_key(n, KeyState::Current)]).await.unwrap()
        })
    });
    let mut done = 0;
    for one in replacing.collect::<Vec<_>>() {
        done += usize::from(one.await.unwrap());
    }
    assert_eq!((done, store.signing_keys().await.unwrap().len()), (1, 1));
}

async fn an_attempt_is_there_until_it_expires_and_looking_leaves_it(store: Arc<dyn CredentialStore>) {
    let id = Uuid::from_u128(1);
    assert_eq!(store.attempt(id, NOW).await.unwrap(), None);
    store.put_attempt(id, b"state", LATER).await.unwrap();
    for _ in 0..2 {
        let before = Micros(LATER.0 - 1);
        assert_eq!(store.attempt(id, before).await.unwrap().as_deref(), Some(&b"state"[..]));
    }
    assert_eq!(store.attempt(id, LATER).await.unwrap(), None);
}

async fn an_attempt_is_taken_once(store: Arc<dyn CredentialStore>) {
    let id = Uuid::from_u128(1);
    store.put_attempt(id, b"state", LATER).await.unwrap();
    assert_eq!(store.take_attempt(id, NOW).await.unwrap().as_deref(), Some(&b"state"[..]));
    assert_eq!(store.take_attempt(id, NOW).await.unwrap(), None);
    assert_eq!(store.attempt(id, NOW).await.unwrap(), None);
}

async fn of_many_who_take_an_attempt_exactly_one_has_it(store: Arc<dyn CredentialStore>) {
    let id = Uuid::from_u128(1);
    store.put_attempt(id, b"state", LATER).await.unwrap();
    let taking = (0..16).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.take_attempt(id, NOW).await.unwrap() })
    });
    let mut taken = 0;
    for one in taking.collect::<Vec<_>>() {
        taken += usize::from(one.await.unwrap().is_some());
    }
    assert_eq!(taken, 1);
}

async fn an_attempt_that_expired_is_not_taken(store: Arc<dyn CredentialStore>) {
    let id = Uuid::from_u128(1);
    store.put_attempt(id, b"state", LATER).await.unwrap();
    assert_eq!(store.take_attempt(id, LATER).await.unwrap(), None);
}

async fn attempts_do_not_mix(store: Arc<dyn CredentialStore>) {
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    store.put_attempt(one, b"one", LATER).await.unwrap();
    store.put_attempt(two, b"", LATER).await.unwrap();
    assert_eq!(store.take_attempt(two, NOW).await.unwrap(), Some(Vec::new()));
    assert_eq!(store.attempt(one, NOW).await.unwrap(), Some(b"one".to_vec()));
}

async fn an_unknown_name_has_no_password_and_an_unknown_account_no_keys(store: Arc<dyn CredentialStore>) {
    store.reserve(&reservation(1, 1, 1)).await.unwrap();
    assert_eq!(password(&*store, 2).await, None);
    assert_eq!(wraps(&*store, 2).await, (Vec::new(), None));
}

async fn a_name_that_is_nobodys_is_found_with_what_was_asked_for_it(store: Arc<dyn CredentialStore>) {
    let nobody = PasswordRecord { account: account(99), setup: 7, suite: 2, record: vec![9; 192] };
    let asked = |name| {
        let (store, nobody) = (Arc::clone(&store), nobody.clone());
        async move { store.password_or(NameIndex([name; 32]), &nobody).await.unwrap() }
    };
    let nothing = KnownPassword { record: nobody.clone(), staged: false, factors: false };
    assert!(asked(2).await == nothing);
    let reserved = reservation(2, 5, 1);
    store.reserve(&reserved).await.unwrap();
    assert!(asked(2).await == KnownPassword { record: reserved.password, ..nothing.clone() });
    // Nor is one that is next to somebody's, before it or behind it.
    for name in [0, 1, 3, 255] {
        assert!(asked(name).await == nothing, "{name}");
    }
}

async fn a_reserved_name_leads_to_all_that_its_account_begins_with(store: Arc<dyn CredentialStore>) {
    assert_eq!(store.reserve(&reservation(1, 5, 1)).await.unwrap(), Reserved::Yes);
    assert_eq!(password(&*store, 1).await, Some((account(5), 3, 1, vec![5; 192])));
    let (found, suite) = wraps(&*store, 5).await;
    let wrap = |name: &str, generation| (name.to_owned(), generation, vec![5; 92]);
    assert_eq!(found, [wrap("ark/password", 1), wrap("ask", u32::MAX), wrap("vault/x", 4)]);
    assert_eq!(suite, Some(1));
}

async fn the_same_attempt_reserves_its_name_again(store: Arc<dyn CredentialStore>) {
    assert_eq!(store.reserve(&reservation(1, 5, 1)).await.unwrap(), Reserved::Yes);
    assert_eq!(store.reserve(&reservation(1, 5, 1)).await.unwrap(), Reserved::Yes);
    assert_eq!(wraps(&*store, 5).await.0.len(), 3);
}

async fn a_taken_name_says_who_has_it_and_stores_nothing(store: Arc<dyn CredentialStore>) {
    store.reserve(&reservation(1, 5, 1)).await.unwrap();
    let taken = |confirmed| Reserved::Taken { by: account(5), since: Micros(7), confirmed };
    assert_eq!(store.reserve(&reservation(1, 6, 2)).await.unwrap(), taken(false));
    store.confirm(account(5)).await.unwrap();
    assert_eq!(store.reserve(&reservation(1, 6, 2)).await.unwrap(), taken(true));
    assert_eq!(password(&*store, 1).await.unwrap().0, account(5));
    assert_eq!(wraps(&*store, 6).await, (Vec::new(), None));
}

async fn of_many_who_reserve_a_name_exactly_one_has_it(store: Arc<dyn CredentialStore>) {
    let reserving = (1..=8_u128).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { (n, store.reserve(&reservation(1, n, n)).await.unwrap()) })
    });
    let mut winners = Vec::new();
    for one in reserving.collect::<Vec<_>>() {
        let (n, reserved) = one.await.unwrap();
        winners.extend((reserved == Reserved::Yes).then_some(n));
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(password(&*store, 1).await.unwrap().0, account(winners[0]));
    for n in (1..=8).filter(|n| *n != winners[0]) {
        assert_eq!(wraps(&*store, n).await, (Vec::new(), None));
    }
}

async fn a_released_name_is_free_and_nothing_of_it_is_left(store: Arc<dyn CredentialStore>) {
    store.reserve(&reservation(1, 5, 1)).await.unwrap();
    store.reserve(&reservation(2, 6, 2)).await.unwrap();
    store.release(NameIndex([1; 32]), account(5)).await.unwrap();
    assert_eq!(password(&*store, 1).await, None);
    assert_eq!(wraps(&*store, 5).await, (Vec::new(), None));
    assert!(password(&*store, 2).await.is_some());
    assert_eq!(store.reserve(&reservation(1, 7, 3)).await.unwrap(), Reserved::Yes);
}

async fn a_confirmed_name_is_not_released(store: Arc<dyn CredentialStore>) {
    store.reserve(&reservation(1, 5, 1)).await.unwrap();
    store.confirm(account(5)).await.unwrap();
    store.release(NameIndex([1; 32]), account(5)).await.unwrap();
    assert!(password(&*store, 1).await.is_some());
    assert_eq!(wraps(&*store, 5).await.0.len(), 3);
}

async fn a_name_is_not_released_for_another_account(store: Arc<dyn CredentialStore>) {
    store.reserve(&reservation(1, 5, 1)).await.unwrap();
    store.release(NameIndex([1; 32]), account(6)).await.unwrap();
    store.release(NameIndex([9; 32]), account(5)).await.unwrap();
    assert!(password(&*store, 1).await.is_some());
}

async fn a_sweep_deletes_attempts_that_expired_and_no_others(store: Arc<dyn CredentialStore>) {
    for n in 1..=4 {
        store.put_attempt(Uuid::from_u128(n), b"x", Micros(i64::try_from(n).unwrap() * 10)).await.unwrap();
    }
    assert_eq!(store.sweep(Micros(20), Micros(0)).await.unwrap(), 2);
    assert_eq!(store.sweep(Micros(20), Micros(0)).await.unwrap(), 0);
    assert_eq!(store.attempt(Uuid::from_u128(2), Micros(0)).await.unwrap(), None);
    assert!(store.attempt(Uuid::from_u128(3), Micros(0)).await.unwrap().is_some());
}
