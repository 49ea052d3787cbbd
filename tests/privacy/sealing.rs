//! The front that everybody else uses: seal, open, destroy, and epochs that end.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use lockstep_events::{AccountId, Clock, EventLog, Micros, testing::build::*};
use lockstepd::{
    adapters::sqlite::log::SqliteLog,
    auth::server_keys::ServerKeys,
    subjects::{Purpose, SubjectError, Subjects, keys::SubjectKeys},
};
use rand::rngs::OsRng;
use uuid::Uuid;

use crate::key_stores;

const DAY: i64 = 24 * 3600;
const ZOE: AccountId = AccountId(Uuid::from_u128(0x20e));

/// A clock that the test moves.
struct Moved(AtomicI64);

impl Moved {
    fn pass(&self, days: i64) {
        self.0.fetch_add(days * DAY * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for Moved {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::SeqCst))
    }
}

/// One server's front over a store.
struct Front {
    subjects: Subjects,
    keys: Arc<dyn SubjectKeys>,
    clock: Arc<Moved>,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Front {
    fn over(keys: &Arc<dyn SubjectKeys>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.json");
        // 2026-11-25.
        let clock = Arc::new(Moved(AtomicI64::new(1_795_608_000_000_000)));
        let subjects = Self::open(keys, &file, &clock);
        Self { subjects, keys: Arc::clone(keys), clock, file, _folder: folder }
    }

    fn open(keys: &Arc<dyn SubjectKeys>, file: &std::path::Path, clock: &Arc<Moved>) -> Subjects {
        let server = ServerKeys::load_or_make(file, &mut OsRng).unwrap();
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        Subjects::new(Arc::clone(keys), &server, clock, file.to_owned())
    }

    /// Another process with the same key file.
    fn again(&self) -> Subjects {
        Self::open(&self.keys, &self.file, &self.clock)
    }
}

#[tokio::test]
async fn personal_data_opens_where_it_belongs_until_its_key_is_destroyed() {
    for opened in [key_stores::sqlite().await, key_stores::postgres().await] {
        let front = Front::over(&opened.keys);
        let sealed = front.subjects.seal(ZOE, Purpose::Identity, b"row 1", b"zoe@example.org").await.unwrap();
        assert_eq!((sealed.purpose.as_str(), sealed.period.as_str()), ("identity", ""));
        assert!(!sealed.bytes.windows(3).any(|three| three == b"zoe"));
        assert_eq!(
            front.subjects.open(&sealed, b"row 1").await.unwrap().unwrap().as_slice(),
            b"zoe@example.org"
        );
        assert!(matches!(front.subjects.open(&sealed, b"row 2").await, Err(SubjectError::Rejected(_))));
        let of_another = lockstep_events::Sealed { subject: AccountId(Uuid::from_u128(2)), ..sealed.clone() };
        assert!(front.subjects.open(&of_another, b"row 1").await.unwrap().is_none());

        assert_eq!(front.subjects.destroy(ZOE, &Purpose::ALL).await.unwrap().len(), 1);
        assert!(front.subjects.open(&sealed, b"row 1").await.unwrap().is_none());
        let again = front.subjects.seal(ZOE, Purpose::Telemetry, b"row 1", b"::1").await;
        assert!(matches!(again, Err(SubjectError::Erased)));
    }
}

#[tokio::test]
async fn an_event_carries_its_sealed_part_and_a_retry_is_the_same_event() {
    let opened = key_stores::sqlite().await;
    let front = Front::over(&opened.keys);
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("log.sqlite")).await.unwrap();
    let event = || event(1, stream(1));
    for duplicate in [false, true] {
        let sealed = front.subjects.seal_into(event(), ZOE, Purpose::Audit, b"asked by phone").await.unwrap();
        let outcomes = log.append(&[unit(vec![sealed])], Micros(1)).await.unwrap();
        assert_eq!(placed(&outcomes[0])[0].duplicate, duplicate);
    }
    let (id, part) = log.sealed_parts(&[id(1)]).await.unwrap().remove(0);
    assert_eq!(part.period, "2026-11");
    assert_eq!(front.again().open_of(id, &part).await.unwrap().unwrap().as_slice(), b"asked by phone");
}

#[tokio::test]
async fn a_turn_of_epochs_keeps_living_keys_and_kills_old_backups() {
    for opened in [key_stores::sqlite().await, key_stores::postgres().await] {
        let front = Front::over(&opened.keys);
        front.subjects.turn_epochs().await.unwrap();
        let sealed = front.subjects.seal(ZOE, Purpose::Identity, b"x", b"zoe@example.org").await.unwrap();
        let backup = front.keys.of(ZOE).await.unwrap().remove(0);
        let old_file = std::fs::read(&front.file).unwrap();

        front.clock.pass(30);
        assert_eq!(front.subjects.turn_epochs().await.unwrap(), 1);
        assert_eq!(front.again().turn_epochs().await.unwrap(), 0, "every node may do it");
        assert!(front.subjects.open(&sealed, b"x").await.unwrap().is_some());
        front.clock.pass(30);
        assert_eq!(front.again().turn_epochs().await.unwrap(), 1);
        assert!(front.again().open(&sealed, b"x").await.unwrap().is_some());
        assert_ne!(std::fs::read(&front.file).unwrap(), old_file);

        // The backup of the key as it was sealed two epochs ago is put back: nothing opens it any more.
        let now = front.keys.of(ZOE).await.unwrap().remove(0);
        assert!(front.keys.reseal(&now, &backup).await.unwrap());
        assert!(matches!(front.again().open(&sealed, b"x").await, Err(SubjectError::Outdated)));
        assert_eq!(front.again().turn_epochs().await.unwrap(), 0, "it does not stop the turn of the others");
    }
}

#[tokio::test]
async fn a_server_that_slept_for_a_year_still_opens_what_it_had() {
    for opened in [key_stores::sqlite().await, key_stores::postgres().await] {
        let front = Front::over(&opened.keys);
        front.subjects.turn_epochs().await.unwrap();
        let sealed = front.subjects.seal(ZOE, Purpose::Identity, b"x", b"zoe@example.org").await.unwrap();
        front.clock.pass(400);
        let awake = front.again();
        assert_eq!(awake.turn_epochs().await.unwrap(), 1);
        assert!(awake.open(&sealed, b"x").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn telemetry_goes_with_its_monthly_key_and_identity_stays() {
    for opened in [key_stores::sqlite().await, key_stores::postgres().await] {
        let front = Front::over(&opened.keys);
        let seen = front.subjects.seal(ZOE, Purpose::Telemetry, b"x", b"192.0.2.0/24").await.unwrap();
        let name = front.subjects.seal(ZOE, Purpose::Identity, b"x", b"zoe@example.org").await.unwrap();
        front.clock.pass(60);
        assert_eq!(front.subjects.expire().await.unwrap(), 0);
        assert!(front.subjects.open(&seen, b"x").await.unwrap().is_some());
        front.clock.pass(31);
        assert_eq!(front.subjects.expire().await.unwrap(), 1);
        assert!(front.subjects.open(&seen, b"x").await.unwrap().is_none());
        assert!(front.subjects.open(&name, b"x").await.unwrap().is_some());
    }
}
