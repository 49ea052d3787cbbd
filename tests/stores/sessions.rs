//! The credential store: sessions and the rotation of their tokens.

use std::sync::Arc;

use lockstep_events::{AccountId, DeviceId, Micros, SessionId, event::Method};
use lockstepd::auth::credentials::{CredentialStore, StoredSession};
use uuid::Uuid;

use crate::over_every_adapter;

over_every_adapter! { sqlite = crate::open::sqlite_credentials, postgres = crate::open::postgres_credentials; {
    an_unknown_session_is_not_there;
    a_session_comes_back_as_it_was_opened;
    opening_a_session_again_changes_nothing;
    a_rotation_moves_a_session_from_one_token_to_the_next;
    a_rotation_from_a_token_that_is_not_valid_changes_nothing;
    of_many_rotations_from_one_token_exactly_one_is_done;
    a_session_that_ended_is_not_rotated;
    a_session_ends_once;
    ending_touches_no_other_session;
    a_sweep_deletes_sessions_that_ended_long_ago_and_no_others;
    a_sweep_deletes_sessions_that_ran_out_and_none_that_can_be_refreshed;
}}

fn new(n: u128) -> StoredSession {
    let byte = u8::try_from(n).unwrap();
    StoredSession {
        session: SessionId(Uuid::from_u128(n)),
        account: AccountId(Uuid::from_u128(n + 100)),
        device: DeviceId(Uuid::from_u128(n + 200)),
        method: Method::Password,
        seed: [byte; 32],
        generation: 0,
        token_hash: [byte; 32],
        rotations: Vec::new(),
        opened_at: Micros(5),
        ended_at: None,
    }
}

fn next(from: &StoredSession, mark: u8) -> StoredSession {
    let mut to = from.clone();
    to.generation += 1;
    to.token_hash = [mark; 32];
    to.rotations.insert(0, Micros(i64::from(mark)));
    to
}

/// Sessions are never shown, so they have no `Debug`.
async fn is_now(store: &dyn CredentialStore, expected: &StoredSession) -> bool {
    store.session(expected.session).await.unwrap().as_ref() == Some(expected)
}

async fn an_unknown_session_is_not_there(store: Arc<dyn CredentialStore>) {
    assert!(store.session(new(1).session).await.unwrap().is_none());
    assert!(!store.rotate(&new(1), &next(&new(1), 2)).await.unwrap());
    store.end_sessions(&[new(1).session], Micros(9)).await.unwrap();
    assert!(store.session(new(1).session).await.unwrap().is_none());
}

async fn a_session_comes_back_as_it_was_opened(store: Arc<dyn CredentialStore>) {
    let rotations = (1..=8).map(Micros).collect();
    let session = StoredSession { generation: u32::MAX, rotations, ..new(1) };
    store.open_session(&session).await.unwrap();
    assert!(is_now(&*store, &session).await);
}

async fn opening_a_session_again_changes_nothing(store: Arc<dyn CredentialStore>) {
    let session = new(1);
    store.open_session(&session).await.unwrap();
    let moved = next(&session, 2);
    assert!(store.rotate(&session, &moved).await.unwrap());
    store.open_session(&session).await.unwrap();
    assert!(is_now(&*store, &moved).await);
}

async fn a_rotation_moves_a_session_from_one_token_to_the_next(store: Arc<dyn CredentialStore>) {
    let mut session = new(1);
    store.open_session(&session).await.unwrap();
    for mark in 2..12 {
        let moved = next(&session, mark);
        assert!(store.rotate(&session, &moved).await.unwrap());
        assert!(is_now(&*store, &moved).await);
        session = moved;
    }
}

async fn a_rotation_from_a_token_that_is_not_valid_changes_nothing(store: Arc<dyn CredentialStore>) {
    let session = new(1);
    store.open_session(&session).await.unwrap();
    let moved = next(&session, 2);
    assert!(store.rotate(&session, &moved).await.unwrap());
    let other_hash = StoredSession { token_hash: [9; 32], ..moved.clone() };
    let other_generation = StoredSession { generation: 7, ..moved.clone() };
    for stale in [session, other_hash, other_generation] {
        assert!(!store.rotate(&stale, &next(&stale, 3)).await.unwrap());
        assert!(is_now(&*store, &moved).await);
    }
}

async fn of_many_rotations_from_one_token_exactly_one_is_done(store: Arc<dyn CredentialStore>) {
    let session = new(1);
    store.open_session(&session).await.unwrap();
    let rotating = (2..18).map(|mark| {
        let (store, from) = (Arc::clone(&store), session.clone());
        tokio::spawn(async move { (mark, store.rotate(&from, &next(&from, mark)).await.unwrap()) })
    });
    let mut done = Vec::new();
    for one in rotating.collect::<Vec<_>>() {
        let (mark, moved) = one.await.unwrap();
        done.extend(moved.then_some(mark));
    }
    assert_eq!(done.len(), 1);
    assert!(is_now(&*store, &next(&session, done[0])).await);
}

async fn a_session_that_ended_is_not_rotated(store: Arc<dyn CredentialStore>) {
    let session = new(1);
    store.open_session(&session).await.unwrap();
    store.end_sessions(&[session.session], Micros(9)).await.unwrap();
    assert!(!store.rotate(&session, &next(&session, 2)).await.unwrap());
    assert!(is_now(&*store, &StoredSession { ended_at: Some(Micros(9)), ..session }).await);
}

async fn a_session_ends_once(store: Arc<dyn CredentialStore>) {
    let session = new(1);
    store.open_session(&session).await.unwrap();
    store.end_sessions(&[session.session], Micros(9)).await.unwrap();
    store.end_sessions(&[session.session], Micros(10)).await.unwrap();
    assert!(is_now(&*store, &StoredSession { ended_at: Some(Micros(9)), ..session }).await);
}

async fn ending_touches_no_other_session(store: Arc<dyn CredentialStore>) {
    for n in 1..=3 {
        store.open_session(&new(n)).await.unwrap();
    }
    store.end_sessions(&[], Micros(9)).await.unwrap();
    store.end_sessions(&[new(1).session, new(3).session], Micros(9)).await.unwrap();
    assert!(is_now(&*store, &StoredSession { ended_at: Some(Micros(9)), ..new(1) }).await);
    assert!(is_now(&*store, &new(2)).await);
    assert!(is_now(&*store, &StoredSession { ended_at: Some(Micros(9)), ..new(3) }).await);
}

async fn a_sweep_deletes_sessions_that_ended_long_ago_and_no_others(store: Arc<dyn CredentialStore>) {
    for n in 1..=3 {
        store.open_session(&new(n)).await.unwrap();
    }
    store.end_sessions(&[new(1).session], Micros(9)).await.unwrap();
    store.end_sessions(&[new(2).session], Micros(10)).await.unwrap();
    assert_eq!(store.sweep(Micros(0), Micros(10)).await.unwrap(), 1);
    assert!(store.session(new(1).session).await.unwrap().is_none());
    assert!(store.session(new(2).session).await.unwrap().is_some());
    assert!(is_now(&*store, &new(3)).await);
}

async fn a_sweep_deletes_sessions_that_ran_out_and_none_that_can_be_refreshed(
    store: Arc<dyn CredentialStore>,
) {
    let (day, opened) = (24 * 3600 * 1_000_000, |n, at| StoredSession { opened_at: Micros(at), ..new(n) });
    let used = |n, at, rotations: &[i64]| StoredSession {
        rotations: rotations.iter().copied().map(Micros).collect(),
        ..opened(n, at)
    };
    let sessions = [
        (opened(1, 100 * day), true),
        (opened(2, 300 * day), false),
        // Opened and used long ago, used just before and just in time, and one that ended besides.
        (used(3, 250 * day, &[260 * day, 255 * day]), true),
        (used(4, 250 * day, &[270 * day - 1, 255 * day]), true),
        (used(5, 250 * day, &[270 * day, 255 * day]), false),
        (used(6, 100 * day - 1, &[300 * day]), true),
        (used(7, 100 * day, &[300 * day, 5]), false),
        (StoredSession { ended_at: Some(Micros(day)), ..used(8, 250 * day, &[260 * day]) }, true),
    ];
    for (session, _) in &sessions {
        store.open_session(session).await.unwrap();
    }
    let mut left = sessions.iter().filter(|(_, gone)| !gone).count();
    assert_eq!(store.sweep_run_out(Micros(100 * day), Micros(270 * day)).await.unwrap(), 5);
    for (session, gone) in &sessions {
        let there = is_now(&*store, session).await;
        assert_eq!(there, !gone, "{}", session.session);
        left -= usize::from(there);
    }
    assert_eq!(left, 0);
    assert_eq!(store.sweep_run_out(Micros(100 * day), Micros(270 * day)).await.unwrap(), 0);
}
