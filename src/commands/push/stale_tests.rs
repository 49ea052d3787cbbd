//! A hundred devices that have not synced for long do not slow a save (vaultwarden #3577): what a save asks of the log
//! is counted, not timed.

use lockstep_events::{
    Event, Hash32, StreamId, StreamKind, Unit,
    event::{AccountEvent, RosterStated},
    header::public_key,
    log::{StreamClaim, StreamExpect},
    roster::{Claim, Statement},
    testing::{HookedLog, MemoryLog},
};
use uuid::Uuid;

use super::{
    tests::{ACCOUNT, EPOCH, VAULT, edit, entry, founding, id, key, new_event, node, push},
    *,
};

/// What three saves of one device ask of the log and what they get, with so many other devices on the account, each
/// served some of the vault and then gone.
async fn asked(stale: u128) -> (usize, usize) {
    let hooked = Arc::new(HookedLog::new(Arc::new(MemoryLog::new(Uuid::nil()))));
    let log: Arc<dyn EventLog> = hooked.clone();
    log.append(&[founding()], lockstep_events::Micros(1)).await.unwrap();
    for n in 0..stale {
        log.append(&[enrolled(n)], lockstep_events::Micros(1)).await.unwrap();
    }
    let pusher = node(&log);
    let root = edit(1, entry(1), &[], "root");
    pusher.push(push(1, vec![root.clone()])).await.unwrap();
    for n in 0..stale {
        pusher.served.note(DeviceId(Uuid::from_u128(5_000 + n)), VAULT.into(), EPOCH, Seq(2));
    }
    let before = hooked.reads();
    let mut parent = id(&root);
    for n in 0..3 {
        let next = edit(1, entry(1), &[parent], &format!("save {n}"));
        parent = id(&next);
        let pushed = pusher.push(push(1, vec![next])).await.unwrap();
        assert!(matches!(pushed.answers[0].1, Answer::Accepted { forked: false, .. }), "{pushed:?}");
    }
    let after = hooked.reads();
    (after.0 - before.0, after.1 - before.1)
}

fn enrolled(n: u128) -> Unit {
    let device = DeviceId(Uuid::from_u128(5_000 + n));
    let says = Claim::DeviceAdded { device, public_key: public_key(&key(3)) };
    let statement = Statement::sign(&key(99), ACCOUNT, 5, Hash32::ZERO, says);
    let event = Event::Account(AccountEvent::DeviceAdded(RosterStated { statement }));
    let stream = StreamId::from(ACCOUNT);
    let claim =
        StreamClaim { stream, kind: StreamKind::Account, expect: StreamExpect::Any, epoch_if_new: EPOCH };
    Unit {
        streams: vec![claim],
        events: vec![new_event(stream, Some(device), 50_000 + n, &event)],
        ..Unit::default()
    }
}

#[tokio::test]
async fn a_hundred_stale_devices_do_not_make_a_save_read_one_event_more() {
    let (reads, events) = asked(0).await;
    assert_eq!(asked(100).await, (reads, events));
    assert_eq!((reads, events), (0, 0), "the usual save reads nothing");
}
