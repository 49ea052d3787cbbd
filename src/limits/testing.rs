//! What every store of shared buckets keeps to.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use lockstep_events::Micros;
use rand::rngs::OsRng;
use uuid::Uuid;

use super::{Action, Limits, Proxies, Quota, RateStore, Rules, Stop, Subject, TABLE, Take, Taken};
use crate::auth::server_keys::ServerKeys;

const SECOND: i64 = 1_000_000;
/// Later than the clock of any database that runs these: what is ahead of this one is so for its database, too.
const START: Micros = Micros(4_000_000_000_000_000);

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

/// A clock that is set back stops nobody for longer than it takes to fill an empty bucket, and gives nothing away.
///
/// # Panics
/// If it is not so.
pub async fn a_clock_that_is_set_back_empties_a_bucket_and_lets_it_fill(store: &dyn RateStore) {
    const AHEAD: i64 = 7_200;
    for kept in [false, true] {
        let take = take(10, kept, Quota::new(3, 1, 10));
        for _ in 0..3 {
            assert!(is_taken(store, &[take], AHEAD).await);
        }
        let refused = store.take(&[take], START).await;
        assert!(matches!(refused, Ok(Taken::Refused { at: 0, full_at }) if full_at == at(30)), "{refused:?}");
        assert!(!is_taken(store, &[take], 9).await);
        assert!(is_taken(store, &[take], 10).await);
        assert!(!is_taken(store, &[take], 10).await && !is_taken(store, &[take], 19).await);
        assert!(is_taken(store, &[take], 20).await);
    }
}

/// What such a clock has written is not kept until its time has come.
///
/// # Panics
/// If it is not so.
pub async fn what_a_clock_wrote_that_was_set_back_is_forgotten_in_a_day(store: &dyn RateStore) {
    const DAY: i64 = 24 * 3600;
    const YEARS: i64 = 5 * 365 * DAY;
    let (one, other) = (take(11, false, Quota::per(1, 10)), take(12, true, Quota::per(1, 10)));
    assert!(is_taken(store, &[one, other], YEARS).await);
    assert!(matches!(store.sweep(at(0)).await, Ok(0)));
    assert!(!is_taken(store, &[one], 0).await, "nothing is given away");
    assert!(matches!(store.sweep(at(DAY - 1)).await, Ok(forgotten) if forgotten <= 1));
    assert!(matches!(store.sweep(at(DAY)).await, Ok(forgotten) if forgotten >= 1));
    assert!(matches!(store.sweep(at(YEARS)).await, Ok(0)));
}

/// Whom the takes of a test are about.
enum Asks {
    /// So many addresses in turn.
    From(fn(u32) -> IpAddr),
    /// One subject.
    About(Subject),
}

/// Lets so many ask, and one more: all but the last are let through, and that one is told which limit has ended.
async fn holds(limits: &Limits, rules: &Rules, asks: &Asks, quota: Quota) {
    for n in 0..=u32::try_from(quota.burst).unwrap_or(u32::MAX) {
        let asked = match asks {
            Asks::From(address) => limits.enter(rules.action, address(n), START).await,
            Asks::About(subject) => limits.subject(rules.action, *subject, START).await,
        };
        match asked {
            Ok(_) => assert!(i64::from(n) < quota.burst, "{} lets one too many through", rules.name),
            Err(Stop::TooMany { standing, .. }) => {
                assert_eq!((i64::from(n), standing.limit), (quota.burst, quota.burst), "{}", rules.name);
            }
            Err(Stop::Unavailable(error)) => panic!("{}: {error}", rules.name),
        }
    }
}

const fn one_address(_: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7))
}

/// Networks of 64 bits in one of 48.
fn neighbours(n: u32) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(0x2001_0db8_0001_0000_0000_0000_0000_0000_u128 | u128::from(n) << 64))
}

fn strangers(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))
}

/// Every limit of the table, for an address, a network, a subject and all together, lets through exactly as many as it
/// says.
///
/// # Panics
/// If it is not so.
pub async fn every_line_of_the_table_holds(store: Arc<dyn RateStore>) {
    let keys = ServerKeys::generate(&mut OsRng);
    let limits = Limits::new(store, &keys, 1, Proxies::default());
    let subject = Subject::Request(Uuid::from_u128(7));
    for rules in &TABLE {
        if let Some(quota) = rules.address {
            holds(&limits, rules, &Asks::From(one_address), quota).await;
            holds(&limits, rules, &Asks::From(neighbours), quota.times(8)).await;
        }
        if let Some(quota) = rules.subject {
            holds(&limits, rules, &Asks::About(subject), quota).await;
        }
    }
    // What is counted for all was used by those before, too.
    let limits =
        Limits::new(Arc::clone(&limits.store), &ServerKeys::generate(&mut OsRng), 1, Proxies::default());
    for rules in &TABLE {
        if let Some(quota) = rules.all {
            holds(&limits, rules, &Asks::From(strangers), quota).await;
        }
    }
}

/// What is counted for a day runs empty however slowly somebody goes on, and guesses have limits that nothing multiplies.
///
/// # Panics
/// If it is not so.
pub async fn the_limits_of_a_day_hold(store: Arc<dyn RateStore>) {
    let keys = ServerKeys::generate(&mut OsRng);
    let limits = Limits::new(store, &keys, 1_000, Proxies::default());
    let guess = |request: u128, whose: u128| {
        let (request, whose) = (Some(Uuid::from_u128(request)), Subject::Request(Uuid::from_u128(whose)));
        limits.guess(request, whose, START)
    };
    for n in 0..6 {
        assert_eq!(guess(1, 1_000 + n).await.is_ok(), n < 5, "guess {n} in one request");
    }
    for n in 0..21 {
        assert_eq!(guess(100 + n, 1).await.is_ok(), n < 20, "guess {n} of a day");
    }
    let (Some(quota), Some(often)) = (Action::Login.rules().daily, Action::Login.rules().subject) else {
        panic!("a login has both limits")
    };
    let limits = Limits::new(Arc::clone(&limits.store), &keys, 1, Proxies::default());
    let subject = Subject::Request(Uuid::from_u128(8));
    let mut full_at = None;
    for n in 0..200 {
        let now = Micros(START.0 + n * often.step);
        let asked = limits.subject(Action::Login, subject, now).await;
        let Ok(next) = quota.take(full_at, now) else {
            assert!(n > quota.burst && asked.is_err(), "failure {n} of a day");
            return;
        };
        full_at = Some(next);
        assert!(asked.is_ok(), "failure {n} of a day");
    }
    panic!("a day lets everything through");
}
