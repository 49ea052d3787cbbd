use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::{testing::MemoryPlaces, *};

const STREAM: StreamId = StreamId(Uuid::from_u128(7));
const OLD: Epoch = Epoch([1; 16]);
const NEW: Epoch = Epoch([2; 16]);

fn device(n: u128) -> DeviceId {
    DeviceId(Uuid::from_u128(n))
}

fn served() -> (Arc<MemoryPlaces>, Served) {
    let kept = Arc::new(MemoryPlaces::default());
    (Arc::clone(&kept), Served::new(kept))
}

#[tokio::test]
async fn a_node_that_is_started_again_knows_what_the_one_before_kept_and_nothing_more() {
    let (kept, before) = served();
    before.note(device(1), STREAM, OLD, Seq(5));
    assert_eq!(before.keep(Micros(1), 10).await.unwrap(), 0);
    before.note(device(1), STREAM, OLD, Seq(9));
    assert_eq!(before.to(device(1), STREAM, OLD).await, Seq(9));
    let after = Served::new(kept);
    assert_eq!(after.to(device(1), STREAM, OLD).await, Seq(5));
    assert_eq!(after.to(device(2), STREAM, OLD).await, Seq::ZERO);
}

#[tokio::test]
async fn a_place_never_goes_back_in_its_life_and_counts_for_nothing_in_another() {
    let (_, served) = served();
    served.note(device(1), STREAM, OLD, Seq(9));
    served.note(device(1), STREAM, OLD, Seq(4));
    assert_eq!(served.to(device(1), STREAM, OLD).await, Seq(9));
    assert_eq!(served.to(device(1), STREAM, NEW).await, Seq::ZERO);
    served.note(device(1), STREAM, NEW, Seq(2));
    assert_eq!(served.to(device(1), STREAM, NEW).await, Seq(2));
    assert_eq!(served.to(device(1), STREAM, OLD).await, Seq::ZERO);
}

#[tokio::test]
async fn a_thousand_frames_to_a_device_are_one_write_and_none_waits_for_it() {
    let (kept, served) = served();
    for seq in 1..=1_000 {
        served.note(device(1), STREAM, OLD, Seq(seq));
        served.note(device(2), STREAM, OLD, Seq(seq));
    }
    assert_eq!(kept.writes.load(Ordering::SeqCst) + kept.reads.load(Ordering::SeqCst), 0);
    served.keep(Micros(1), 10).await.unwrap();
    served.note(device(1), STREAM, OLD, Seq(1_000));
    served.keep(Micros(1), 10).await.unwrap();
    assert_eq!(kept.writes.load(Ordering::SeqCst), 1, "what has not changed is not written again");
    assert_eq!(kept.places.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_round_keeps_no_more_than_it_may_and_the_next_goes_on_with_the_rest() {
    let (kept, served) = served();
    for n in 0..1_200 {
        served.note(device(n), STREAM, OLD, Seq(1));
    }
    assert_eq!(served.keep(Micros(1), 1_000).await.unwrap(), 200);
    assert_eq!(kept.writes.load(Ordering::SeqCst), 2);
    assert_eq!(served.keep(Micros(1), 1_000).await.unwrap(), 0);
    assert_eq!(kept.places.lock().unwrap().len(), 1_200);
}

#[tokio::test]
async fn while_the_database_is_away_nothing_is_forgotten_and_the_memory_still_answers() {
    let (kept, served) = served();
    served.note(device(1), STREAM, OLD, Seq(3));
    kept.fails.store(true, Ordering::SeqCst);
    assert!(served.keep(Micros(1), 10).await.is_err());
    assert_eq!(served.to(device(1), STREAM, OLD).await, Seq(3));
    served.note(device(1), STREAM, OLD, Seq(4));
    kept.fails.store(false, Ordering::SeqCst);
    assert_eq!(served.keep(Micros(1), 10).await.unwrap(), 0);
    assert_eq!(kept.places.lock().unwrap()[&(device(1), STREAM)].seq, Seq(4));
    assert_eq!(kept.writes.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn more_devices_than_fit_in_memory_cost_places_and_no_memory() {
    let (kept, served) = served();
    for n in 0..REMEMBERED.get() + 100 {
        served.note(device(n as u128), STREAM, OLD, Seq(1));
    }
    served.keep(Micros(1), usize::MAX).await.unwrap();
    assert_eq!(kept.places.lock().unwrap().len(), REMEMBERED.get());
    assert_eq!(served.to(device(0), STREAM, OLD).await, Seq::ZERO);
}
