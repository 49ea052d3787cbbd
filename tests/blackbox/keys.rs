//! The generations of a vault's key, with real devices: turned by whoever removes a device, learned by the others, and
//! never in the way of what was written before.

use std::{collections::BTreeSet, time::Duration};

use lockstep_api::{Code, sync::Snapshot};
use lockstep_client::{
    Client, Error, Unlock,
    crypto::password::Password,
    model::Link,
    server::{Server as Address, Trust},
};
use lockstep_events::DeviceId;
use lockstepd::{
    auth::factors::{Replacement, Staged},
    config::Layer,
};
use uuid::Uuid;

use crate::{
    mode::Mode,
    people::{Device, another, password, register, until},
    proxy::Proxy,
    server::Server,
    support::{self, Node},
};

in_both_modes! {
    removing_a_device_turns_the_key_and_everybody_else_reads_on,
    edits_made_offline_before_the_key_was_turned_are_sent_under_the_new_one_and_read,
    a_key_that_two_devices_turn_at_once_is_one_key,
    what_was_refused_after_a_removal_is_done_by_the_next_sync_of_any_device,
    kills_in_the_middle_of_turning_leave_one_key_that_every_device_gets,
    every_way_in_leads_to_every_generation,
    an_approval_that_comes_when_a_profile_is_there_by_now_deletes_nothing_of_it,
    a_restored_server_gets_the_newer_generations_back_with_their_keys,
}

/// A server in this process, and how real devices reach it.
pub struct Ground {
    pub node: Node,
    pub address: Address,
    name: String,
    _proxy: Proxy,
}

impl Ground {
    pub async fn start(mode: Mode) -> Self {
        Self::start_with(mode, Layer::default()).await
    }

    pub async fn start_with(mode: Mode, changed: Layer) -> Self {
        let mode = match mode {
            Mode::Embedded => support::Mode::Embedded,
            Mode::Distributed => support::Mode::Distributed,
        };
        let node = Node::start_with(mode, changed).await;
        let proxy = Proxy::start(node.running().addr);
        proxy.refuse(false);
        let trust = Trust::Pinned(proxy.fingerprint.parse().unwrap());
        let address = Address::new(&format!("https://{}", proxy.addr), trust).unwrap();
        Self { node, address, name: format!("{}@example.org", Uuid::new_v4()), _proxy: proxy }
    }

    /// The account's first device.
    pub async fn first(&self) -> Device {
        let home = tempfile::tempdir().unwrap();
        let client = Client::register(home.path(), &self.address, &self.name, &password()).await.unwrap();
        client.sync().await.unwrap();
        Device { home, client }
    }

    /// Another device of the account, or why not.
    pub async fn try_another(&self) -> Result<Device, Error> {
        let home = tempfile::tempdir().unwrap();
        let client = Client::login(home.path(), &self.address, &self.name, &password()).await?;
        client.sync().await?;
        Ok(Device { home, client })
    }

    pub async fn another(&self) -> Device {
        self.try_another().await.unwrap()
    }

    /// Changes credentials as whoever has the database can.
    pub async fn replace(&self, device: &Device, replacement: Replacement) {
        let account = device.status().await.unwrap().account;
        let credentials = &self.node.running().server.credentials;
        let staged = staged(self, account, replacement);
        assert!(credentials.stage(&staged).await.unwrap());
        assert!(credentials.carry_out(account, staged.attempt).await.unwrap());
    }
}

fn staged(ground: &Ground, account: lockstep_events::AccountId, replacement: Replacement) -> Staged {
    let staged_at = lockstep_events::Clock::now(&*ground.node.clock);
    Staged { account, attempt: Uuid::new_v4(), replacement, staged_at }
}

async fn id(device: &Device) -> DeviceId {
    device.status().await.unwrap().device
}

pub async fn generation(device: &Device) -> u32 {
    device.status().await.unwrap().key_generation
}

/// Under which generations the heads on the server are sealed.
async fn sealed_under(device: &Device) -> BTreeSet<u32> {
    let vault = device.status().await.unwrap().vault;
    let (status, page) = device.api("GET", &format!("/v1/vaults/{vault}/snapshot"), None).await.unwrap();
    assert_eq!(status, 200, "{page}");
    let page: Snapshot = serde_json::from_str(&page).unwrap();
    let versions = page.entries.iter().flat_map(|entry| &entry.versions);
    let keys = versions.filter_map(|version| version.wrapped_key.as_deref());
    keys.map(|key| u32::from_str_radix(&key[..8], 16).unwrap()).collect()
}

async fn write(device: &Device, text: &str) {
    device.add(text.as_bytes()).await.unwrap();
    device.sync().await.unwrap();
}

async fn removing_a_device_turns_the_key_and_everybody_else_reads_on(mode: Mode) {
    let ground = Ground::start(mode).await;
    let (first, second, lost) = (ground.first().await, ground.another().await, ground.another().await);
    write(&first, "before").await;
    second.sync().await.unwrap();
    lost.sync().await.unwrap();
    let mut watching = second.follow();
    watching.link.wait_for(|link| *link == Link::Live).await.unwrap();
    first.revoke_device(id(&lost).await).await.unwrap();
    assert_eq!(generation(&first).await, 2);
    assert!(first.vaults().await.unwrap().iter().all(|vault| !vault.due && vault.key_generation == 2));
    // The others hear of it without being told to.
    until("the key is learned live", || async { generation(&second).await == 2 }).await;
    write(&first, "after").await;
    until("and what is sealed under it is read", || async { second.contents().await == ["after", "before"] })
        .await;
    second.add(b"by the second").await.unwrap();
    let all = ["after", "before", "by the second"];
    until("and answered", || async {
        first.sync().await.unwrap();
        first.contents().await == all
    })
    .await;
    assert_eq!(sealed_under(&first).await, BTreeSet::from([1, 2]));
    assert!(matches!(lost.sync().await, Err(Error::Revoked(_))));
    assert_eq!(lost.contents().await, ["before"], "its own copy stays");
    let third = ground.another().await;
    assert_eq!(third.contents().await, all);
    for device in [&first, &second, &third] {
        device.sync().await.unwrap();
        assert_eq!((generation(device).await, device.alarms().await.unwrap()), (2, vec![]), "once is enough");
    }
}

async fn edits_made_offline_before_the_key_was_turned_are_sent_under_the_new_one_and_read(mode: Mode) {
    let ground = Ground::start(mode).await;
    let (first, second) = (ground.first().await, ground.another().await);
    let entry = first.add(b"shared").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    let base = second.get(entry).await.unwrap().head_ids();
    second.edit(entry, &base, b"edited offline").await.unwrap();
    let new = second.add(b"new offline").await.unwrap();
    let made = second.get(new).await.unwrap().head_ids();
    let vault = first.status().await.unwrap().vault;
    assert_eq!(first.rotate_vault_key(vault).await.unwrap(), 2);
    first.edit(entry, &base, b"edited under the new key").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    first.sync().await.unwrap();
    let all = ["edited offline", "edited under the new key", "new offline"];
    for device in [&first, &second] {
        assert_eq!(device.contents().await, all);
        assert_eq!(device.status().await.unwrap().conflicts, 1);
        assert_eq!(device.alarms().await.unwrap(), []);
    }
    // The versions are those that were made offline; only their keys are wrapped anew.
    assert_eq!(first.get(new).await.unwrap().head_ids(), made);
    assert_eq!(sealed_under(&first).await, BTreeSet::from([2]));
    assert_eq!(generation(&second).await, 2);
    let history = second.history(entry).await.unwrap();
    assert!(history.iter().all(|version| version.content.bytes().is_some()));
}

async fn a_key_that_two_devices_turn_at_once_is_one_key(mode: Mode) {
    let ground = Ground::start(mode).await;
    let (first, second) = (ground.first().await, ground.another().await);
    let vault = first.status().await.unwrap().vault;
    let mut expected = Vec::new();
    for round in 0..4 {
        let before = generation(&first).await;
        let turned = tokio::join!(first.rotate_vault_key(vault), second.rotate_vault_key(vault));
        assert!(turned.0.unwrap() > before && turned.1.unwrap() > before);
        first.sync().await.unwrap();
        second.sync().await.unwrap();
        assert_eq!(generation(&first).await, generation(&second).await);
        for (device, name) in [(&first, "first"), (&second, "second")] {
            let text = format!("{name} in round {round}");
            write(device, &text).await;
            expected.push(text);
        }
        first.sync().await.unwrap();
        expected.sort();
        assert_eq!((first.contents().await, second.contents().await), (expected.clone(), expected.clone()));
    }
    assert_eq!((first.alarms().await.unwrap(), second.alarms().await.unwrap()), (vec![], vec![]));
}

async fn what_was_refused_after_a_removal_is_done_by_the_next_sync_of_any_device(mode: Mode) {
    let ground = Ground::start(mode).await;
    let (first, second, lost) = (ground.first().await, ground.another().await, ground.another().await);
    // Another change of credentials is under way, and stays so.
    let account = first.status().await.unwrap().account;
    let credentials = &ground.node.running().server.credentials;
    let other = staged(&ground, account, Replacement::default());
    assert!(credentials.stage(&other).await.unwrap());
    first.revoke_device(id(&lost).await).await.unwrap();
    let vaults = first.vaults().await.unwrap();
    assert!(vaults[0].due && vaults[0].key_generation == 1);
    write(&first, "meanwhile").await;
    assert_eq!(sealed_under(&first).await, BTreeSet::from([1]));
    credentials.unstage(account, other.attempt).await.unwrap();
    second.sync().await.unwrap();
    assert_eq!(generation(&second).await, 2);
    first.sync().await.unwrap();
    assert_eq!(generation(&first).await, 2);
    assert!(first.vaults().await.unwrap().iter().all(|vault| !vault.due));
    write(&second, "then").await;
    first.sync().await.unwrap();
    assert_eq!(first.contents().await, ["meanwhile", "then"]);
}

async fn kills_in_the_middle_of_turning_leave_one_key_that_every_device_gets(mode: Mode) {
    let mut server = Server::start_in(mode).await;
    let first = register(&server, "turning@example.org").await;
    let second = another(&server, "turning@example.org").await;
    let vault = first.status().await.unwrap().vault;
    let mut expected = Vec::new();
    for round in 0..6_u64 {
        // Sometimes the server dies on the way, sometimes the device.
        let turning = first.client.clone();
        let turn = tokio::spawn(async move { turning.rotate_vault_key(vault).await });
        tokio::time::sleep(Duration::from_millis(4 + 9 * round)).await;
        if round % 2 == 0 {
            server.kill();
            server.start_again();
        }
        turn.abort();
        let _ = turn.await;
        let text = format!("round {round}");
        first.add(text.as_bytes()).await.unwrap();
        expected.push(text);
        until("both devices have one key and read everything", || async {
            let synced = (first.sync().await.is_ok(), second.sync().await.is_ok());
            synced == (true, true)
                && generation(&first).await == generation(&second).await
                && second.contents().await == expected
        })
        .await;
    }
    // Whatever was sealed, a device that is new gets every key that it needs.
    let third = another(&server, "turning@example.org").await;
    assert_eq!(third.contents().await, expected);
    // A turn that was cut off before the log had it holds its place for a while; after that, or at once, it goes on.
    let before = generation(&third).await;
    match first.rotate_vault_key(vault).await {
        Err(Error::Refused { problem, .. }) => assert_eq!(problem.code, Code::RosterConflict),
        turned => assert_eq!(turned.unwrap(), before + 1),
    }
    for device in [&first, &second, &third] {
        assert_eq!(device.alarms().await.unwrap(), []);
    }
}

async fn every_way_in_leads_to_every_generation(mode: Mode) {
    let ground = Ground::start(mode).await;
    let first = ground.first().await;
    let vault = first.status().await.unwrap().vault;
    let mut expected = vec!["generation 1".to_owned()];
    write(&first, "generation 1").await;
    for _ in 0..2 {
        let text = format!("generation {}", first.rotate_vault_key(vault).await.unwrap());
        write(&first, &text).await;
        expected.push(text);
    }
    let home = || tempfile::tempdir().unwrap();
    let reads = async |device: &Device| {
        device.sync().await.unwrap();
        assert_eq!(device.contents().await, expected);
        assert_eq!(generation(device).await, 3);
    };
    let refuse = |_: &lockstep_api::factor::Demanded| unreachable!("no second factor is demanded");
    // Approved by an enrolled device.
    let place = home();
    let asking = Client::ask_approval(place.path(), &ground.address, &ground.name).await.unwrap();
    let waiting = first.approvals().await.unwrap();
    first.approve(&waiting[0], &password(), &mut { refuse }).await.unwrap();
    let client = Client::approved(place.path(), asking, &password()).await.unwrap();
    reads(&Device { home: place, client }).await;
    // With another password.
    let new = Password::new("violet anchor mumbles eighteen".to_owned());
    first.change_password(&password(), &new, &mut { refuse }).await.unwrap();
    let place = home();
    let client = Client::login(place.path(), &ground.address, &ground.name, &new).await.unwrap();
    reads(&Device { home: place, client }).await;
    // By the recovery code.
    let code = first.new_recovery_code(&new, &mut { refuse }).await.unwrap();
    let place = home();
    let client =
        Client::recover(place.path(), &ground.address, &ground.name, &code, &password()).await.unwrap();
    reads(&Device { home: place, client }).await;
}

async fn an_approval_that_comes_when_a_profile_is_there_by_now_deletes_nothing_of_it(mode: Mode) {
    let ground = Ground::start(mode).await;
    let first = ground.first().await;
    let place = tempfile::tempdir().unwrap();
    let asking = Client::ask_approval(place.path(), &ground.address, &ground.name).await.unwrap();
    // Nobody waits ten minutes: in another terminal somebody logs in, and writes.
    let there = Client::login(place.path(), &ground.address, &ground.name, &password()).await.unwrap();
    let entry = there.add(b"meanwhile").await.unwrap();
    let waiting = first.approvals().await.unwrap();
    let refuse = |_: &lockstep_api::factor::Demanded| unreachable!("no second factor is demanded");
    first.approve(&waiting[0], &password(), &mut { refuse }).await.unwrap();
    let approved = Client::approved(place.path(), asking, &password()).await.map(drop);
    assert!(matches!(approved, Err(Error::ProfileExists(_))), "{approved:?}");
    there.close().await;
    let again = Client::open(place.path(), &Unlock::Password(password())).await.unwrap();
    assert!(again.get(entry).await.unwrap().pending);
    again.sync().await.unwrap();
    first.sync().await.unwrap();
    assert_eq!(first.contents().await, ["meanwhile"]);
    again.close().await;
}

async fn a_restored_server_gets_the_newer_generations_back_with_their_keys(mode: Mode) {
    let mut server = Server::start_in(mode).await;
    let first = register(&server, "turned-back@example.org").await;
    let second = another(&server, "turned-back@example.org").await;
    let lost = another(&server, "turned-back@example.org").await;
    write(&first, "in the backup").await;
    second.sync().await.unwrap();
    let backup = server.backed_up().await;
    until("the device is removed", || async { first.revoke_device(id(&lost).await).await.is_ok() }).await;
    assert_eq!(generation(&first).await, 2);
    write(&first, "after the backup").await;
    second.sync().await.unwrap();
    server.goes_back_to(&backup).await;
    let expected = ["after the backup", "in the backup"];
    until("both have everything again", || async {
        let synced = (second.sync().await.is_ok(), first.sync().await.is_ok());
        synced == (true, true) && first.contents().await == expected && second.contents().await == expected
    })
    .await;
    let third = another(&server, "turned-back@example.org").await;
    assert_eq!(third.contents().await, expected);
    assert_eq!((generation(&third).await, sealed_under(&third).await), (2, BTreeSet::from([1, 2])));
    assert!(matches!(lost.sync().await, Err(Error::Revoked(_))));
}
