//! Every store of shared rate limits passes the contract suite.

use std::sync::Arc;

use lockstepd::limits::{RateStore, testing};

macro_rules! contract {
    ($open:path) => {
        #[tokio::test]
        async fn a_bucket_runs_empty_and_fills_again() {
            super::testing::a_bucket_runs_empty_and_fills_again(&*$open().await).await;
        }
        #[tokio::test]
        async fn an_empty_bucket_protects_those_behind_it() {
            super::testing::an_empty_bucket_protects_those_behind_it(&*$open().await).await;
        }
        #[tokio::test]
        async fn what_is_given_back_can_be_taken_again() {
            super::testing::what_is_given_back_can_be_taken_again(&*$open().await).await;
        }
        #[tokio::test(flavor = "multi_thread")]
        async fn many_at_once_take_no_more_than_there_is() {
            super::testing::many_at_once_take_no_more_than_there_is($open().await).await;
        }
        #[tokio::test]
        async fn only_full_buckets_are_forgotten() {
            super::testing::only_full_buckets_are_forgotten(&*$open().await).await;
        }
        #[tokio::test]
        async fn a_clock_that_is_set_back_empties_a_bucket_and_lets_it_fill() {
            super::testing::a_clock_that_is_set_back_empties_a_bucket_and_lets_it_fill(&*$open().await).await;
        }
        #[tokio::test]
        async fn what_a_clock_wrote_that_was_set_back_is_forgotten_in_a_day() {
            super::testing::what_a_clock_wrote_that_was_set_back_is_forgotten_in_a_day(&*$open().await).await;
        }
        #[tokio::test]
        async fn every_line_of_the_table_holds() {
            super::testing::every_line_of_the_table_holds($open().await).await;
        }
        #[tokio::test]
        async fn the_limits_of_a_day_hold() {
            super::testing::the_limits_of_a_day_hold($open().await).await;
        }
    };
}

async fn in_sqlite() -> Arc<dyn RateStore> {
    let path = tempfile::tempdir().unwrap().keep().join("rates.sqlite");
    Arc::new(lockstepd::adapters::sqlite::rates::SqliteRates::open(&path).await.unwrap())
}

mod sqlite {
    contract!(super::in_sqlite);
}

#[cfg(feature = "distributed")]
async fn in_postgres() -> Arc<dyn RateStore> {
    Arc::new(lockstepd::adapters::postgres::rates::PostgresRates::new(&crate::database::new().await))
}

#[cfg(feature = "distributed")]
mod postgres {
    use lockstep_events::Clock;
    use lockstepd::{
        clock::SystemClock,
        limits::{Quota, Take, Taken},
    };

    contract!(super::in_postgres);

    #[tokio::test]
    async fn a_node_whose_clock_is_behind_gives_nothing_back_of_what_others_have_counted() {
        const DAY: i64 = 24 * 3600;
        let (store, now) = (super::in_postgres().await, SystemClock.now());
        let behind = now.plus_seconds(-3600);
        for kept in [false, true] {
            let take = Take { key: [13; 16], kept, quota: Quota::per(48, DAY) };
            for n in 0..48 {
                assert!(matches!(store.take(&[take], now).await, Ok(Taken::All(_))), "{n}");
            }
            for _ in 0..2 {
                store.sweep(behind).await.unwrap();
                for clock in [behind, now] {
                    let refused = store.take(&[take], clock).await;
                    assert!(matches!(refused, Ok(Taken::Refused { .. })), "{refused:?}");
                }
            }
        }
    }
}
