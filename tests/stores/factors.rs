//! The credential store: factors, and changes of credentials under way.

use std::sync::Arc;

use lockstep_events::{AccountId, Micros};
use lockstepd::auth::{
    credentials::{CredentialStore, NameIndex, PasswordRecord, Reservation, Wrapped},
    factors::{APPROVAL_KEPT_S, FactorKind, Replacement, Staged, StoredFactor},
};
use uuid::Uuid;

use crate::over_every_adapter;

over_every_adapter! { sqlite = crate::open::sqlite_credentials, postgres = crate::open::postgres_credentials; {
    factors_come_back_as_they_were_oldest_first_and_for_their_account_only;
    a_recovery_slot_that_is_not_there_is_found_as_it_was_asked_for;
    requests_for_approval_go_by_their_age_and_their_account_and_nothing_else_goes;
    storing_a_factor_again_changes_nothing;
    of_many_who_replace_a_factor_at_one_version_exactly_one_does;
    a_factor_is_removed_by_its_own_account_only;
    one_change_of_an_account_is_under_way_at_a_time;
    a_change_that_is_carried_out_replaces_everything_at_once_and_once;
    nothing_of_a_lower_generation_comes_back;
    a_change_that_was_dropped_is_not_carried_out;
    a_sweep_forgets_devices_that_asked_long_ago_and_no_factor;
    a_password_comes_with_whether_a_change_is_under_way_and_whether_there_may_be_a_second_factor;
}}

fn account(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(n))
}

fn factor(n: u128, kind: FactorKind) -> StoredFactor {
    let created_at = Micros(1000 - i64::try_from(n).unwrap());
    StoredFactor {
        id: Uuid::from_u128(n),
        account: account(1),
        kind,
        body: vec![7; 40],
        version: 1,
        created_at,
    }
}

fn wrapped(name: &str, generation: u32) -> Wrapped {
    Wrapped { name: name.to_owned(), generation, bytes: vec![u8::try_from(generation).unwrap(); 50] }
}

fn record(mark: u8) -> PasswordRecord {
    PasswordRecord { account: account(1), setup: 1, suite: 1, record: vec![mark; 192] }
}

fn change(attempt: u128, replacement: Replacement) -> Staged {
    Staged { account: account(1), attempt: Uuid::from_u128(attempt), replacement, staged_at: Micros(5) }
}

async fn with_account(store: &dyn CredentialStore) {
    let reservation = Reservation {
        name: NameIndex([1; 32]),
        attempt: Uuid::from_u128(50),
        at: Micros(1),
        password: record(1),
        wraps: vec![wrapped("ark/password", 1), wrapped("ask", 1)],
    };
    store.reserve(&reservation).await.unwrap();
}

/// Mark of the password record, and name and generation of each wrapped key.
async fn keys(store: &dyn CredentialStore) -> (u8, Vec<(String, u32)>) {
    let mark = store.password_of(account(1)).await.unwrap().unwrap().record.record[0];
    let mut wraps: Vec<_> = store
        .held(account(1))
        .await
        .unwrap()
        .wraps
        .into_iter()
        .map(|wrap| (wrap.name, wrap.generation))
        .collect();
    wraps.sort();
    (mark, wraps)
}

async fn a_password_comes_with_whether_a_change_is_under_way_and_whether_there_may_be_a_second_factor(
    store: Arc<dyn CredentialStore>,
) {
    with_account(&*store).await;
    let flags = async || {
        let by_name = store.password(NameIndex([1; 32])).await.unwrap().unwrap();
        let of_account = store.password_of(account(1)).await.unwrap().unwrap();
        assert!(by_name == of_account);
        let held = store.held(account(1)).await.unwrap();
        assert_eq!((held.staged, held.suite, held.wraps.len()), (by_name.staged, Some(1), 2));
        (by_name.staged, by_name.factors)
    };
    assert_eq!(flags().await, (false, false));
    for (n, other) in [FactorKind::Recovery, FactorKind::Approval].into_iter().enumerate() {
        store.put_factor(&factor(n as u128, other)).await.unwrap();
    }
    store.put_factor(&StoredFactor { account: account(2), ..factor(8, FactorKind::Totp) }).await.unwrap();
    let of_another = Staged { account: account(2), ..change(7, Replacement::default()) };
    assert!(store.stage(&of_another).await.unwrap());
    assert_eq!(flags().await, (false, false), "nothing of that is about it");
    for kind in [FactorKind::Totp, FactorKind::Passkey, FactorKind::Codes] {
        let second = factor(9, kind);
        store.put_factor(&second).await.unwrap();
        assert_eq!(flags().await, (false, true), "{kind:?}");
        store.remove_factor(account(1), second.id).await.unwrap();
        assert_eq!(flags().await, (false, false));
    }
    let staged = change(1, Replacement::default());
    assert!(store.stage(&staged).await.unwrap());
    assert_eq!(flags().await, (true, false));
    assert!(store.carry_out(account(1), staged.attempt).await.unwrap());
    assert_eq!(flags().await, (false, false));
}

async fn factors_come_back_as_they_were_oldest_first_and_for_their_account_only(
    store: Arc<dyn CredentialStore>,
) {
    let all = [1, 2, 3, 4, 5].map(|n| factor(n, FactorKind::ALL[usize::try_from(n).unwrap() - 1]));
    for factor in &all {
        store.put_factor(factor).await.unwrap();
    }
    store.put_factor(&StoredFactor { account: account(2), ..factor(9, FactorKind::Totp) }).await.unwrap();
    let mut oldest_first = all.to_vec();
    oldest_first.reverse();
    assert!(store.factors(account(1)).await.unwrap() == oldest_first);
    assert!(store.factor(all[2].id).await.unwrap().as_ref() == Some(&all[2]));
    assert!(store.factor(Uuid::from_u128(77)).await.unwrap().is_none());
    assert!(store.factors(account(3)).await.unwrap().is_empty());
}

async fn a_recovery_slot_that_is_not_there_is_found_as_it_was_asked_for(store: Arc<dyn CredentialStore>) {
    let none = |of| StoredFactor {
        account: account(of),
        body: vec![0; 32],
        version: 3,
        ..factor(77, FactorKind::Recovery)
    };
    store.put_factor(&StoredFactor { account: account(2), ..factor(1, FactorKind::Totp) }).await.unwrap();
    assert!(store.recovery_or(&none(2)).await.unwrap() == none(2));
    let slot = StoredFactor { account: account(2), ..factor(2, FactorKind::Recovery) };
    store.put_factor(&slot).await.unwrap();
    assert!(store.recovery_or(&none(2)).await.unwrap() == slot);
    // Nor is that of an account next to one that has a slot, before it or behind it.
    for of in [1, 3] {
        assert!(store.recovery_or(&none(of)).await.unwrap() == none(of), "{of}");
    }
}

async fn requests_for_approval_go_by_their_age_and_their_account_and_nothing_else_goes(
    store: Arc<dyn CredentialStore>,
) {
    let at =
        |n, of, kind, at| StoredFactor { account: account(of), created_at: Micros(at), ..factor(n, kind) };
    let [old, due] = [(1, 4), (2, 5)].map(|(n, made)| at(n, 1, FactorKind::Approval, made));
    let stays = [
        at(3, 1, FactorKind::Approval, 6),
        at(4, 1, FactorKind::Recovery, 4),
        at(5, 2, FactorKind::Approval, 4),
    ];
    for factor in [&old, &due].into_iter().chain(&stays) {
        store.put_factor(factor).await.unwrap();
    }
    store.remove_approvals(account(1), Micros(5)).await.unwrap();
    for gone in [old, due] {
        assert!(store.factor(gone.id).await.unwrap().is_none());
    }
    for kept in stays {
        assert!(store.factor(kept.id).await.unwrap().as_ref() == Some(&kept));
    }
}

async fn storing_a_factor_again_changes_nothing(store: Arc<dyn CredentialStore>) {
    let first = factor(1, FactorKind::Totp);
    store.put_factor(&first).await.unwrap();
    assert!(store.replace_factor(&first, b"later").await.unwrap());
    store.put_factor(&first).await.unwrap();
    let now = store.factor(first.id).await.unwrap().unwrap();
    assert_eq!((now.version, now.body.as_slice()), (2, &b"later"[..]));
}

async fn of_many_who_replace_a_factor_at_one_version_exactly_one_does(store: Arc<dyn CredentialStore>) {
    let first = factor(1, FactorKind::Codes);
    store.put_factor(&first).await.unwrap();
    let tries = (0..16_u8).map(|n| {
        let (store, first) = (Arc::clone(&store), first.clone());
        tokio::spawn(async move { store.replace_factor(&first, &[n]).await.unwrap() })
    });
    let mut done = 0;
    for each in tries.collect::<Vec<_>>() {
        done += usize::from(each.await.unwrap());
    }
    assert_eq!(done, 1);
    assert_eq!(store.factor(first.id).await.unwrap().unwrap().version, 2);
}

async fn a_factor_is_removed_by_its_own_account_only(store: Arc<dyn CredentialStore>) {
    let first = factor(1, FactorKind::Passkey);
    store.put_factor(&first).await.unwrap();
    store.remove_factor(account(2), first.id).await.unwrap();
    assert!(store.factor(first.id).await.unwrap().is_some());
    store.remove_factor(account(1), first.id).await.unwrap();
    assert!(store.factor(first.id).await.unwrap().is_none());
    assert!(!store.replace_factor(&first, b"gone").await.unwrap());
}

async fn one_change_of_an_account_is_under_way_at_a_time(store: Arc<dyn CredentialStore>) {
    let (one, two) = (change(1, Replacement::default()), change(2, Replacement::default()));
    assert!(store.staged(account(1)).await.unwrap().is_none());
    assert!(store.stage(&one).await.unwrap());
    assert!(store.stage(&one).await.unwrap(), "the same again");
    assert!(!store.stage(&two).await.unwrap());
    assert!(store.staged(account(1)).await.unwrap() == Some(one.clone()));
    assert!(store.stage(&Staged { account: account(2), ..two.clone() }).await.unwrap());
    store.unstage(account(1), two.attempt).await.unwrap();
    assert!(store.staged(account(1)).await.unwrap().is_some(), "not by another's name");
    store.unstage(account(1), one.attempt).await.unwrap();
    assert!(store.stage(&two).await.unwrap());
}

async fn a_change_that_is_carried_out_replaces_everything_at_once_and_once(store: Arc<dyn CredentialStore>) {
    with_account(&*store).await;
    let (old, other) = (factor(1, FactorKind::Recovery), factor(2, FactorKind::Totp));
    store.put_factor(&old).await.unwrap();
    store.put_factor(&other).await.unwrap();
    let staged = change(
        1,
        Replacement {
            password: Some((record(2), 2)),
            wraps: vec![wrapped("ark/password", 2), wrapped("ark/recovery", 1)],
            dropped_wraps: vec!["ask".to_owned()],
            dropped_factors: vec![FactorKind::Recovery],
            factors: vec![factor(3, FactorKind::Recovery)],
        },
    );
    assert!(store.stage(&staged).await.unwrap());
    assert_eq!(keys(&*store).await.0, 1, "staged is not carried out");
    assert!(store.carry_out(account(1), staged.attempt).await.unwrap());
    let (mark, wraps) = keys(&*store).await;
    assert_eq!(mark, 2);
    assert_eq!(wraps, [("ark/password".to_owned(), 2), ("ark/recovery".to_owned(), 1)]);
    let left: Vec<_> = store.factors(account(1)).await.unwrap().iter().map(|factor| factor.id).collect();
    assert_eq!(left, [Uuid::from_u128(3), other.id]);
    assert!(store.staged(account(1)).await.unwrap().is_none());
    assert!(!store.carry_out(account(1), staged.attempt).await.unwrap());
}

async fn nothing_of_a_lower_generation_comes_back(store: Arc<dyn CredentialStore>) {
    with_account(&*store).await;
    for (attempt, generation) in [(1, 3), (2, 2), (3, 3)] {
        let wraps = vec![wrapped("ark/password", generation)];
        let mark = u8::try_from(10 * attempt).unwrap();
        let replacement =
            Replacement { password: Some((record(mark), generation)), wraps, ..Replacement::default() };
        assert!(store.stage(&change(attempt, replacement)).await.unwrap());
        assert!(store.carry_out(account(1), Uuid::from_u128(attempt)).await.unwrap());
        let (mark, wraps) = keys(&*store).await;
        assert_eq!((mark, wraps[0].1), (10, 3), "after generation {generation}");
    }
}

async fn a_change_that_was_dropped_is_not_carried_out(store: Arc<dyn CredentialStore>) {
    with_account(&*store).await;
    let staged = change(1, Replacement { password: Some((record(2), 2)), ..Replacement::default() });
    assert!(store.stage(&staged).await.unwrap());
    store.unstage(account(1), staged.attempt).await.unwrap();
    assert!(!store.carry_out(account(1), staged.attempt).await.unwrap());
    assert_eq!(keys(&*store).await.0, 1);
}

async fn a_sweep_forgets_devices_that_asked_long_ago_and_no_factor(store: Arc<dyn CredentialStore>) {
    let now = Micros(0).plus_seconds(10 * APPROVAL_KEPT_S);
    let at = |n, kind, ago: i64| StoredFactor { created_at: now.plus_seconds(-ago), ..factor(n, kind) };
    let old = at(1, FactorKind::Approval, APPROVAL_KEPT_S + 1);
    let young = at(2, FactorKind::Approval, APPROVAL_KEPT_S - 1);
    let kept = at(3, FactorKind::Totp, 9 * APPROVAL_KEPT_S);
    for factor in [&old, &young, &kept] {
        store.put_factor(factor).await.unwrap();
    }
    assert_eq!(store.sweep(now, Micros(0)).await.unwrap(), 1);
    assert!(store.factor(old.id).await.unwrap().is_none());
    assert!(
        store.factor(young.id).await.unwrap().is_some() && store.factor(kept.id).await.unwrap().is_some()
    );
}
