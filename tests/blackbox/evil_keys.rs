//! What a server that lies about keys achieves: a typed alarm that is kept, and nothing else. Each lie is told by
//! whoever has the databases; before it, everything passes.

use lockstep_client::{
    Error,
    model::{Alarm, AlarmKind},
};
use lockstep_events::{
    Hash32, LogError, Outcome, Unit,
    event::{AccountEvent, RosterStated},
    roster::{Claim, Statement, vault_key_name},
};
use lockstepd::{
    auth::{credentials::Wrapped, factors::Replacement},
    commands::facts::{Actor, existing_account, statement_id},
};

use crate::{
    keys::{Ground, generation},
    mode::Mode,
    people::{Device, heard},
    support::person::random_key,
};

in_both_modes! {
    e18_a_generation_that_was_stated_and_is_withheld_is_an_alarm,
    e04_an_old_key_in_the_place_of_the_new_one_is_an_alarm,
    e20_a_generation_that_the_account_did_not_state_is_an_alarm,
}

/// Two devices, of which the first has turned the key and the second does not know yet.
async fn turned(mode: Mode) -> (Ground, Device, Device) {
    let ground = Ground::start(mode).await;
    let (first, second) = (ground.first().await, ground.another().await);
    first.add(b"before").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    let vault = first.status().await.unwrap().vault;
    assert_eq!(first.rotate_vault_key(vault).await.unwrap(), 2);
    first.add(b"after").await.unwrap();
    first.sync().await.unwrap();
    (ground, first, second)
}

/// A sync ends with this alarm, which is kept, and what the device holds is what it held.
async fn alarms(device: &Device, kind: AlarmKind) {
    let before = (device.contents().await, generation(device).await);
    for _ in 0..2 {
        let synced = device.sync().await;
        assert!(matches!(synced, Err(Error::Alarm(raised)) if raised == kind), "{synced:?}");
    }
    assert_eq!((device.contents().await, generation(device).await), before);
    let kept: Vec<Alarm> = device.alarms().await.unwrap();
    assert!(kept.iter().any(|alarm| alarm.kind == kind && !alarm.seen), "{kept:?}");
}

/// The generation's wrap, as it lies on the server.
async fn lies(ground: &Ground, device: &Device, of: u32) -> Wrapped {
    let status = device.status().await.unwrap();
    let wraps = ground.node.running().server.credentials.held(status.account).await.unwrap().wraps;
    let name = vault_key_name(status.vault, of);
    wraps.into_iter().find(|wrap| wrap.name == name).unwrap()
}

async fn e18_a_generation_that_was_stated_and_is_withheld_is_an_alarm(mode: Mode) {
    let (ground, first, second) = turned(mode).await;
    let honest = lies(&ground, &first, 2).await;
    let withheld = Replacement { dropped_wraps: vec![honest.name.clone()], ..Replacement::default() };
    ground.replace(&first, withheld).await;
    second.add(b"meanwhile").await.unwrap();
    alarms(&second, AlarmKind::Keys).await;
    // Following on, it sends nothing under less than it has seen stated.
    let mut following = second.follow();
    for _ in 0..3 {
        second.acknowledge_alarms().await.unwrap();
        heard(&mut following, AlarmKind::Keys).await;
    }
    drop(following);
    assert_eq!(second.status().await.unwrap().waiting, 1);
    let fresh = ground.try_another().await;
    assert!(matches!(fresh.err(), Some(Error::Alarm(AlarmKind::Keys))), "a new device is not fooled either");
    ground.replace(&first, Replacement { wraps: vec![honest], ..Replacement::default() }).await;
    second.sync().await.unwrap();
    assert_eq!((generation(&second).await, second.contents().await.len()), (2, 3));
    first.sync().await.unwrap();
    assert_eq!(first.contents().await, ["after", "before", "meanwhile"]);
}

async fn e04_an_old_key_in_the_place_of_the_new_one_is_an_alarm(mode: Mode) {
    let (ground, first, second) = turned(mode).await;
    let (old, honest) = (lies(&ground, &first, 1).await, lies(&ground, &first, 2).await);
    let swapped = Wrapped { bytes: old.bytes, ..honest.clone() };
    let place = vec![honest.name.clone()];
    let swap = Replacement { dropped_wraps: place, wraps: vec![swapped], ..Replacement::default() };
    ground.replace(&first, swap).await;
    alarms(&second, AlarmKind::Keys).await;
    let fresh = ground.try_another().await;
    assert!(matches!(fresh.err(), Some(Error::Alarm(AlarmKind::Keys))));
    // Whoever has learned the right one is not touched.
    first.sync().await.unwrap();
    assert_eq!(first.alarms().await.unwrap(), []);
}

async fn e20_a_generation_that_the_account_did_not_state_is_an_alarm(mode: Mode) {
    let ground = Ground::start(mode).await;
    let (first, second) = (ground.first().await, ground.another().await);
    first.add(b"before").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    let status = first.status().await.unwrap();
    let server = &ground.node.running().server;
    let row = server.reads.account(status.account).await.unwrap().unwrap();
    let last = row.roster.last().unwrap();
    let claim = Claim::VaultKeyGen { vault: status.vault, generation: 2 };
    let forged = Statement::sign(&random_key(), status.account, last.epoch + 1, last.hash(), claim);
    assert_ne!(forged.hash(), Hash32::ZERO);
    let name = vault_key_name(status.vault, 2);
    let wraps = vec![Wrapped { name, generation: 2, bytes: vec![7; 104] }];
    ground.replace(&first, Replacement { wraps, ..Replacement::default() }).await;
    let stated: Result<Outcome, LogError> = async {
        let actor = Actor { account: status.account, device: status.device };
        let stated = AccountEvent::RosterStated(RosterStated { statement: forged.clone() });
        let event = actor.event(statement_id(status.account, forged.epoch), None, stated)?;
        let streams = vec![existing_account(status.account)];
        server.batcher.append(Unit { streams, events: vec![event], ..Unit::default() }).await
    }
    .await;
    assert!(matches!(stated, Ok(Outcome::Appended(_))), "{stated:?}");
    for device in [&first, &second] {
        alarms(device, AlarmKind::Roster).await;
        assert_eq!(generation(device).await, 1);
    }
}
