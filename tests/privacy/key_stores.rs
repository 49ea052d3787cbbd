//! The contract of the store of subject keys, kept by both databases.

use std::sync::Arc;

use lockstep_events::{AccountId, Micros};
use lockstepd::{
    adapters::{
        postgres::{Database, subject_keys::PostgresSubjectKeys},
        sqlite::subject_keys::SqliteSubjectKeys,
    },
    subjects::{
        Purpose,
        keys::{KeyName, Standing, StoredKey, SubjectKeys},
    },
};
use uuid::Uuid;

/// A store, and what must live as long as it does.
pub struct Opened {
    pub keys: Arc<dyn SubjectKeys>,
    _keep: Option<tempfile::TempDir>,
}

pub async fn sqlite() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let keys = SqliteSubjectKeys::open(&folder.path().join("credentials.sqlite")).await.unwrap();
    Opened { keys: Arc::new(keys), _keep: Some(folder) }
}

pub async fn postgres() -> Opened {
    let database = Database::connect(&crate::database::fresh("keys").await, 8).await.unwrap();
    Opened { keys: Arc::new(PostgresSubjectKeys::new(&database)), _keep: None }
}

fn person(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(n))
}

fn key(n: u128, subject: u128, purpose: Purpose, period: &str) -> StoredKey {
    let name = KeyName { subject: person(subject), purpose, period: period.to_owned() };
    StoredKey { name, id: Uuid::from_u128(n), epoch: 7, bytes: n.to_be_bytes().to_vec() }
}

async fn the_first_key_under_a_name_is_everybodys(keys: Arc<dyn SubjectKeys>) {
    let first = key(1, 1, Purpose::Identity, "");
    assert_eq!(keys.find(&first.name).await.unwrap(), Standing::None);
    assert_eq!(keys.add(&first).await.unwrap(), Standing::Key(first.clone()));
    assert_eq!(keys.add(&key(2, 1, Purpose::Identity, "")).await.unwrap(), Standing::Key(first.clone()));
    assert_eq!(keys.find(&first.name).await.unwrap(), Standing::Key(first.clone()));
    let other = key(3, 1, Purpose::Telemetry, "2026-11");
    assert_eq!(keys.add(&other).await.unwrap(), Standing::Key(other.clone()));
    keys.add(&key(4, 2, Purpose::Identity, "")).await.unwrap();
    assert_eq!(keys.of(person(1)).await.unwrap(), [first, other]);
}

async fn of_many_that_add_at_once_one_wins_for_all(keys: Arc<dyn SubjectKeys>) {
    let adding = (1..=16).map(|n| {
        let keys = Arc::clone(&keys);
        tokio::spawn(async move { keys.add(&key(n, 1, Purpose::Identity, "")).await.unwrap() })
    });
    let mut got = Vec::new();
    for task in adding.collect::<Vec<_>>() {
        got.push(task.await.unwrap());
    }
    assert!(got.iter().all(|standing| *standing == got[0] && *standing != Standing::None), "{got:?}");
}

async fn what_is_destroyed_never_comes_back(keys: Arc<dyn SubjectKeys>) {
    let (month, next) = (key(1, 1, Purpose::Telemetry, "2026-11"), key(2, 1, Purpose::Telemetry, "2026-12"));
    let (identity, billing) = (key(3, 1, Purpose::Identity, ""), key(4, 1, Purpose::Billing, "2026-11"));
    for each in [&month, &billing] {
        keys.add(each).await.unwrap();
    }
    let purposes = [Purpose::Telemetry, Purpose::Identity];
    assert_eq!(keys.destroy(person(1), &purposes, Micros(5)).await.unwrap(), [month.id]);
    assert_eq!(keys.destroy(person(1), &purposes, Micros(6)).await.unwrap(), [month.id], "again is the same");
    for each in [&month, &next, &identity] {
        assert_eq!(keys.find(&each.name).await.unwrap(), Standing::Destroyed, "{each:?}");
        assert_eq!(keys.add(each).await.unwrap(), Standing::Destroyed, "{each:?}");
    }
    assert_eq!(keys.of(person(1)).await.unwrap(), [billing]);
    let other = key(5, 2, Purpose::Identity, "");
    assert_eq!(keys.add(&other).await.unwrap(), Standing::Key(other));
}

async fn nobody_who_adds_while_keys_are_destroyed_is_left_with_one(keys: Arc<dyn SubjectKeys>) {
    for subject in 1..=12 {
        let adding = (1..=4_u128).map(|n| {
            let keys = Arc::clone(&keys);
            let new = key(subject * 100 + n, subject, Purpose::Telemetry, &format!("2026-0{n}"));
            tokio::spawn(async move { keys.add(&new).await.unwrap() })
        });
        let adding: Vec<_> = adding.collect();
        keys.destroy(person(subject), &[Purpose::Telemetry], Micros(1)).await.unwrap();
        for task in adding {
            task.await.unwrap();
        }
        assert_eq!(keys.of(person(subject)).await.unwrap(), []);
    }
}

async fn a_key_is_sealed_anew_only_from_what_it_was(keys: Arc<dyn SubjectKeys>) {
    let old = key(1, 1, Purpose::Identity, "");
    let late = StoredKey { epoch: 9, ..key(2, 2, Purpose::Identity, "") };
    keys.add(&old).await.unwrap();
    keys.add(&late).await.unwrap();
    assert_eq!(keys.sealed_under(0..7, 9).await.unwrap(), []);
    assert_eq!(keys.sealed_under(7..9, 9).await.unwrap(), std::slice::from_ref(&old));
    assert_eq!(keys.sealed_under(0..10, 1).await.unwrap(), std::slice::from_ref(&old));
    let new = StoredKey { epoch: 8, bytes: vec![8; 61], ..old.clone() };
    assert!(keys.reseal(&old, &new).await.unwrap());
    assert!(!keys.reseal(&old, &new).await.unwrap());
    assert_eq!(keys.find(&old.name).await.unwrap(), Standing::Key(new.clone()));
    keys.destroy(person(1), &[Purpose::Identity], Micros(1)).await.unwrap();
    assert!(!keys.reseal(&new, &old).await.unwrap());
    assert_eq!(keys.find(&old.name).await.unwrap(), Standing::Destroyed);
}

async fn keys_run_out_by_their_period_for_everybody(keys: Arc<dyn SubjectKeys>) {
    let gone = [key(1, 1, Purpose::Telemetry, "2026-08"), key(2, 2, Purpose::Telemetry, "2025-12")];
    let kept = [
        key(3, 1, Purpose::Identity, ""),
        key(4, 1, Purpose::Audit, "2026-08"),
        key(5, 1, Purpose::Telemetry, "2026-09"),
    ];
    for each in gone.iter().chain(&kept) {
        keys.add(each).await.unwrap();
    }
    keys.destroy(person(3), &[Purpose::Telemetry], Micros(1)).await.unwrap();
    assert_eq!(keys.expire(Purpose::Telemetry, "2026-09").await.unwrap(), 2);
    for each in &gone {
        assert_eq!(keys.find(&each.name).await.unwrap(), Standing::None);
    }
    for each in &kept {
        assert_eq!(keys.find(&each.name).await.unwrap(), Standing::Key(each.clone()));
    }
    let erased = key(6, 3, Purpose::Telemetry, "2026-11");
    assert_eq!(keys.add(&erased).await.unwrap(), Standing::Destroyed, "a tombstone stays");
}

macro_rules! contract {
    ($($case:ident)+) => {
        mod in_sqlite {
            $(#[tokio::test] async fn $case() {
                let opened = super::sqlite().await;
                super::$case(std::sync::Arc::clone(&opened.keys)).await;
            })+
        }
        mod in_postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $case() {
                let opened = super::postgres().await;
                super::$case(std::sync::Arc::clone(&opened.keys)).await;
            })+
        }
    };
}

contract! {
    the_first_key_under_a_name_is_everybodys
    of_many_that_add_at_once_one_wins_for_all
    what_is_destroyed_never_comes_back
    nobody_who_adds_while_keys_are_destroyed_is_left_with_one
    a_key_is_sealed_anew_only_from_what_it_was
    keys_run_out_by_their_period_for_everybody
}
