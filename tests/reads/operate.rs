//! `lockstepd projections list|rebuild`.

use std::{ops::ControlFlow, sync::Arc};

use lockstep_events::{
    Event, Position,
    event::SystemEvent,
    log::{Contents, Filter},
};
use lockstep_projections::{
    Family, Runner,
    testing::{
        contract::live_checksums,
        script::{Script, play},
    },
};
#[cfg(feature = "distributed")]
use lockstepd::adapters::postgres::{Database, log::PostgresLog, read::PostgresReads};
use lockstepd::{
    adapters::sqlite::{log::SqliteLog, read::SqliteReads},
    clock::SystemClock,
    operate::projections::{OperateError, Place, families, list, plan, rebuild},
};
use uuid::Uuid;

/// Runs tests, written for stores, over each kind of them.
macro_rules! over_both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $test() { super::$test(super::Stores::sqlite()).await; })+
        }
        #[cfg(feature = "distributed")]
        mod postgres {
            $(#[tokio::test] async fn $test() { super::$test(super::Stores::postgres().await).await; })+
        }
    };
}

over_both! {
    the_list_shows_generation_position_lag_and_rows,
    a_rebuild_of_all_keeps_every_row_and_is_itself_an_event,
    a_second_rebuild_is_told_who_is_at_work_and_notes_nothing,
}

/// Empty stores, of which there may be several users.
enum Stores {
    Sqlite(tempfile::TempDir),
    #[cfg(feature = "distributed")]
    Postgres(Box<Database>),
}

impl Stores {
    fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    #[cfg(feature = "distributed")]
    async fn postgres() -> Self {
        Self::Postgres(Box::new(crate::database::new().await))
    }

    async fn place(&self) -> Place {
        let clock = Arc::new(SystemClock);
        match self {
            Self::Sqlite(folder) => {
                let log = SqliteLog::open(&folder.path().join("log.sqlite")).await.unwrap();
                let reads = SqliteReads::open(&folder.path().join("reads.sqlite")).await.unwrap();
                Place { log: Arc::new(log), reads: Arc::new(reads), clock }
            }
            #[cfg(feature = "distributed")]
            Self::Postgres(database) => {
                let (log, reads) = (
                    PostgresLog::new(Database::clone(database)),
                    PostgresReads::new(database.pool().clone()),
                );
                Place { log: Arc::new(log), reads: Arc::new(reads), clock }
            }
        }
    }
}

async fn follow(place: &Place) {
    let mut runner = Runner::start(Arc::clone(&place.log), Arc::clone(&place.reads)).await.unwrap();
    runner.catch_up().await.unwrap();
}

async fn the_list_shows_generation_position_lag_and_rows(stores: Stores) {
    let place = stores.place().await;
    play(&place.log, &mut Script::new(31), 60).await;
    let tail = place.log.tail().await.unwrap();
    let before = list(&*place.log, &*place.reads, tail.recorded_at).await.unwrap();
    assert_eq!(before.len(), 6);
    assert!(before.iter().all(|row| row.lag == tail.position.0 && row.lag_micros > 0 && row.rows == 0));
    follow(&place).await;
    let after = list(&*place.log, &*place.reads, tail.recorded_at).await.unwrap();
    assert!(after.iter().all(|row| (row.lag, row.lag_micros, row.generation) == (0, 0, 1)));
    assert!(after.iter().all(|row| row.position == tail.position.0 && row.filling.is_none()));
    assert!(after.iter().find(|row| row.name == "versions").unwrap().rows > 10);
}

async fn a_rebuild_of_all_keeps_every_row_and_is_itself_an_event(stores: Stores) {
    let place = stores.place().await;
    play(&place.log, &mut Script::new(32), 400).await;
    follow(&place).await;
    let before = live_checksums(&*place.reads).await;
    let all = families(&[], true).unwrap();
    let planned = plan(&place, &all).await.unwrap();
    assert!(planned.iter().all(|report| report.live.is_none() && report.replaces == 1));
    let tail = place.log.tail().await.unwrap().position;

    let run = Uuid::new_v4();
    let done = rebuild(&place, &all, run, &mut |_| ControlFlow::Continue(())).await.unwrap();
    assert!(done.iter().all(|report| report.identical == Some(true) && report.live == Some(2)));
    let after = live_checksums(&*place.reads).await;
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((old.sha256, old.rows), (new.sha256, new.rows));
    }
    let noted = place.log.read_all(tail, 10, &Filter::default(), Contents::No).await.unwrap();
    assert_eq!(noted.len(), 1);
    let Event::System(SystemEvent::OperatorActed(acted)) = noted[0].event().unwrap() else {
        panic!("{noted:?}")
    };
    assert_eq!(acted.run, run);
    assert_eq!(acted.command, "projections rebuild accounts devices sessions vaults entries versions");
    follow(&place).await;
    assert_eq!(
        place.reads.checkpoint(lockstep_projections::Projection::Vaults).await.unwrap().position,
        tail.next()
    );
}

async fn a_second_rebuild_is_told_who_is_at_work_and_notes_nothing(stores: Stores) {
    let (first, second) = (stores.place().await, stores.place().await);
    play(&first.log, &mut Script::new(34), 50).await;
    follow(&first).await;
    let (all, tail) = (families(&[], true).unwrap(), first.log.tail().await.unwrap());
    let claim = first.reads.claim_rebuild().await.unwrap();
    let go_on = &mut |_| ControlFlow::Continue(());
    let refused = rebuild(&second, &all, Uuid::new_v4(), go_on).await.unwrap_err().to_string();
    let holder = format!("process {} ", std::process::id());
    let told = refused.starts_with(&holder) && refused.contains(" is rebuilding read models: wait");
    assert!(told, "{refused}");
    assert_eq!(first.log.tail().await.unwrap(), tail);
    claim.give_back().await;
    for _ in 0..2 {
        rebuild(&second, &all, Uuid::new_v4(), go_on).await.unwrap();
    }
}

#[tokio::test]
async fn rows_survive_closing_and_opening_the_file() {
    let stores = Stores::sqlite();
    let first = stores.place().await;
    play(&first.log, &mut Script::new(33), 200).await;
    follow(&first).await;
    let before = live_checksums(&*first.reads).await;
    drop(first);
    assert_eq!(live_checksums(&*stores.place().await.reads).await, before);
    assert!(before[0].position > Position::ZERO);
}

#[test]
fn names_choose_families_once_and_an_unknown_name_says_which_there_are() {
    let words = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(families(&words(&["entries", "vaults"]), false).unwrap(), [Family::Vault]);
    assert_eq!(families(&[], true).unwrap(), Family::ALL);
    let unknown = families(&words(&["entrys"]), false).unwrap_err();
    assert!(unknown.to_string().contains("entrys; there are: accounts, devices"), "{unknown}");
    assert!(matches!(families(&[], false), Err(OperateError::Nothing)));
}
