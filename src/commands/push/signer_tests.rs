//! A device that is revoked while its push is under way writes no more: the log decides, by what stands in it first.

use lockstep_events::{
    Event, Hash32, StreamId, StreamKind, Unit,
    event::{AccountEvent, RosterStated},
    log::{StreamClaim, StreamExpect},
    roster::{Claim, Statement},
    testing::MemoryLog,
};
use uuid::Uuid;

use super::{
    tests::{ACCOUNT, EPOCH, edit, entry, founding, id, key, new_event, node, push},
    *,
};

/// A node that has taken a push of the first device already, so that it knows the device.
async fn after_a_push() -> (Arc<dyn EventLog>, Pusher, VersionId) {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(Uuid::nil()));
    log.append(&[founding()], lockstep_events::Micros(1)).await.unwrap();
    let pusher = node(&log);
    let root = edit(1, entry(1), &[], "root");
    let pushed = pusher.push(push(1, vec![root.clone()])).await.unwrap();
    assert!(matches!(pushed.answers[0].1, Answer::Accepted { .. }), "{pushed:?}");
    (log, pusher, id(&root))
}

/// Appends a statement about the first device, as another node would.
async fn say(log: &Arc<dyn EventLog>, says: Claim) {
    let (Claim::DeviceAdded { device, .. } | Claim::DeviceRevoked { device }) = says else { unreachable!() };
    let revoked = matches!(says, Claim::DeviceRevoked { .. });
    let stated = RosterStated { statement: Statement::sign(&key(99), ACCOUNT, 9, Hash32::ZERO, says) };
    let event = if revoked { AccountEvent::DeviceRevoked(stated) } else { AccountEvent::DeviceAdded(stated) };
    let stream = StreamId::from(ACCOUNT);
    let claim =
        StreamClaim { stream, kind: StreamKind::Account, expect: StreamExpect::Exists, epoch_if_new: EPOCH };
    let events = vec![new_event(stream, Some(device), 777, &Event::Account(event))];
    let unit = Unit { streams: vec![claim], events, ..Unit::default() };
    log.append(&[unit], lockstep_events::Micros(2)).await.unwrap();
}

fn first_device() -> DeviceId {
    push(1, Vec::new()).device
}

#[tokio::test]
async fn what_a_device_signed_is_not_appended_after_its_revocation_although_the_node_has_not_heard_of_it() {
    let (log, pusher, root) = after_a_push().await;
    say(&log, Claim::DeviceRevoked { device: first_device() }).await;
    let tail = log.tail().await.unwrap().position;
    let next = edit(1, entry(1), &[root], "too late");
    let other = edit(1, entry(2), &[], "too late as well");
    let pushed = pusher.push(push(1, vec![next, other])).await.unwrap();
    for (_, answer) in &pushed.answers {
        let Answer::Refused { refusal: Refusal::Forbidden(unfit), .. } = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(unfit.rule, Rule::Signer);
    }
    assert_eq!(log.tail().await.unwrap().position, tail);
}

#[tokio::test]
async fn what_is_said_anew_of_a_device_that_stays_does_not_keep_it_from_writing() {
    let (log, pusher, root) = after_a_push().await;
    let public_key = lockstep_events::header::public_key(&key(1));
    say(&log, Claim::DeviceAdded { device: first_device(), public_key }).await;
    let next = edit(1, entry(1), &[root], "next");
    let pushed = pusher.push(push(1, vec![next])).await.unwrap();
    assert!(matches!(pushed.answers[0].1, Answer::Accepted { forked: false, .. }), "{pushed:?}");
}
