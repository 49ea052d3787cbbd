//! A device's id, which its client chose: a name inside its account.

use std::{ops::ControlFlow, sync::Arc};

use lockstep_events::{
    AccountId, DeviceId, Event, EventId, EventLog, SessionId, StreamKind,
    event::{AccountCreated, AccountEvent, ErasedCounts, Method, RosterStated, SessionOpened, SubjectErased},
    ids::PublicKey,
    roster::Claim,
};
use uuid::Uuid;

use super::{memory_log, rebuilding::rebuild};
use crate::{
    Family, ReadStore, Runner,
    testing::script::{append, new_event, statement, unit_of},
};

const DEVICE: DeviceId = DeviceId(Uuid::from_u128(0xd1));

pub(super) fn account(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(n))
}

fn stated(of: AccountId, epoch: u32, claim: Claim) -> RosterStated {
    RosterStated { statement: statement(of, epoch, claim) }
}

/// An account with the device, and a session of it.
pub(super) fn begun(n: u8) -> Vec<AccountEvent> {
    let (of, key) = (account(n.into()), PublicKey([n; 32]));
    let created = statement(of, 0, Claim::AccountCreated { signing_key: key });
    let added = Claim::DeviceAdded { device: DEVICE, public_key: key };
    let session = SessionId(Uuid::from_u128(u128::from(n) + 0x50));
    vec![
        AccountEvent::Created(AccountCreated { account: of, statement: created }),
        AccountEvent::DeviceAdded(stated(of, 1, added)),
        AccountEvent::SessionOpened(SessionOpened { session, device: DEVICE, method: Method::Password }),
    ]
}

fn revoked(n: u128) -> AccountEvent {
    AccountEvent::DeviceRevoked(stated(account(n), 2, Claim::DeviceRevoked { device: DEVICE }))
}

fn erased(n: u128) -> AccountEvent {
    let (account, counts) = (account(n), ErasedCounts::default());
    AccountEvent::SubjectErased(SubjectErased { account, vaults: Vec::new(), keys: Vec::new(), counts })
}

pub(super) async fn happen(log: &Arc<dyn EventLog>, of: AccountId, events: Vec<AccountEvent>) {
    for event in events {
        let id = EventId(Uuid::from_u128(u128::from(log.tail().await.unwrap().position.0) + 1));
        let event = new_event(id, of.into(), None, &Event::Account(event));
        append(log, vec![unit_of(StreamKind::Account, event)]).await;
    }
}

/// The key of an account's device, and whether device and session are open; none if they are not there.
async fn seen(reads: &dyn ReadStore, n: u128) -> Option<(PublicKey, bool, bool)> {
    let device = reads.device(account(n), DEVICE).await.unwrap();
    let (devices, sessions) =
        (reads.devices(account(n)).await.unwrap(), reads.sessions(account(n)).await.unwrap());
    assert_eq!(devices, device.iter().cloned().collect::<Vec<_>>());
    device.map(|row| (row.public_key, row.revoked.is_none(), sessions[0].revoked.is_none()))
}

/// One of them is revoked and its account erased; then the other is revoked.
pub async fn a_device_id_that_two_accounts_have_names_two_devices(reads: Arc<dyn ReadStore>) {
    let log = memory_log();
    let mut runner = Runner::start(Arc::clone(&log), Arc::clone(&reads)).await.unwrap();
    let [one, two] = [1, 2].map(|n| PublicKey([n; 32]));
    happen(&log, account(1), begun(1)).await;
    happen(&log, account(2), begun(2)).await;
    happen(&log, account(2), vec![revoked(2)]).await;
    runner.catch_up().await.unwrap();
    assert_eq!(seen(&*reads, 1).await, Some((one, true, true)));
    assert_eq!(seen(&*reads, 2).await, Some((two, false, false)));
    happen(&log, account(2), vec![erased(2)]).await;
    runner.catch_up().await.unwrap();
    assert_eq!((seen(&*reads, 1).await, seen(&*reads, 2).await), (Some((one, true, true)), None));
    happen(&log, account(1), vec![revoked(1)]).await;
    assert_eq!(runner.catch_up().await.unwrap(), log.tail().await.unwrap().position);
    assert_eq!(seen(&*reads, 1).await, Some((one, false, false)));
    let mut on = |_| ControlFlow::Continue(());
    let done = rebuild(&log, &reads).run(Family::Account, &mut on).await.unwrap();
    assert!(done.identical(), "{done:?}");
}
