//! What every store of shared buckets keeps to.

use std::sync::Arc;

use lockstep_events::Micros;

use super::{Quota, RateStore, Take, Taken};

const SECOND: i64 = 1_000_000;
const START: Micros = Micros(1_800_000_000_000_000);

fn take(key: u8, kept: bool, quota: Quota) -> Take {
    Take { key: [key; 16], kept, quota }
}

fn at(seconds: i64) -> Micros {
    Micros(START.0 + seconds * SECOND)
}

async fn is_taken(store: &dyn RateStore, takes: &[Take], seconds: i64) -> bool {
    matches!(store.take(takes, at(seconds)).await, Ok(Taken::All(_)))
}

/// A burst is taken at once, then one in every step, and a bucket is never fuller than full.
///
/// # Panics
/// If it is not so.
pub async fn a_bucket_runs_empty_and_fills_again(store: &dyn RateStore) {
    for kept in [false, true] {
        let take = take(1, kept, Quota::new(3, 1, 10));
        for left in [20, 10, 0] {
            let Ok(Taken::All(times)) = store.take(&[take], START).await else { panic!("refused") };
            assert_eq!(times, [at(30 - left)]);
        }
        let refused = store.take(&[take], START).await;
        assert!(matches!(refused, Ok(Taken::Refused { at: 0, full_at }) if full_at == at(30)));
        assert!(!is_taken(store, &[take], 9).await);
        assert!(is_taken(store, &[take], 10).await);
        assert!(!is_taken(store, &[take], 19).await);
        let mut taken = 0;
        while is_taken(store, &[take], 10_000).await {
            taken += 1;
        }
        assert_eq!(taken, 3);
    }
}

/// What stands before an empty bucket is taken; what stands after it is not.
///
/// # Panics
/// If it is not so.
pub async fn an_empty_bucket_protects_those_behind_it(store: &dyn RateStore) {
    let quota = Quota::per(2, 3600);
    let (first, empty, last) = (take(2, false, quota.times(2)), take(3, true, quota), take(4, false, quota));
    assert!(is_taken(store, &[empty], 0).await && is_taken(store, &[empty], 0).await);
    let refused = store.take(&[first, empty, last], START).await;
    assert!(matches!(refused, Ok(Taken::Refused { at: 1, .. })));
    for _ in 0..3 {
        assert!(is_taken(store, &[first], 0).await);
    }
    assert!(!is_taken(store, &[first], 0).await);
    assert!(is_taken(store, &[last], 0).await && is_taken(store, &[last], 0).await);
}

/// What is given back can be taken again, once.
///
/// # Panics
/// If it is not so.
pub async fn what_is_given_back_can_be_taken_again(store: &dyn RateStore) {
    for kept in [false, true] {
        let take = take(5, kept, Quota::per(2, 3600));
        assert!(is_taken(store, &[take], 0).await && is_taken(store, &[take], 0).await);
        assert!(store.give_back(&take).await.is_ok());
        assert!(is_taken(store, &[take], 0).await);
        assert!(!is_taken(store, &[take], 0).await);
    }
}

/// Many at once never take more than there is.
///
/// # Panics
/// If it is not so.
pub async fn many_at_once_take_no_more_than_there_is(store: Arc<dyn RateStore>) {
    let (one, other) = (take(6, false, Quota::per(40, 3600)), take(7, true, Quota::per(30, 3600)));
    let tasks = (0..100).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { is_taken(&*store, &[one, other], 0).await })
    });
    let mut taken = 0;
    for task in tasks.collect::<Vec<_>>() {
        taken += usize::from(task.await.is_ok_and(|taken| taken));
    }
    assert_eq!(taken, 30);
}

/// Only what is full again is forgotten.
///
/// # Panics
/// If it is not so.
pub async fn only_full_buckets_are_forgotten(store: &dyn RateStore) {
    let (short, long) = (take(8, false, Quota::per(1, 10)), take(9, true, Quota::per(1, 1_000)));
    assert!(is_taken(store, &[short, long], 100_000).await);
    store.sweep(at(100_020)).await.ok();
    assert!(is_taken(store, &[short], 100_020).await);
    assert!(!is_taken(store, &[long], 100_020).await);
    assert!(matches!(store.sweep(at(200_000)).await, Ok(forgotten) if forgotten >= 2));
}
