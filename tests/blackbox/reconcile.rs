//! Servers that were restored: what is found out with few bytes, and what devices give back.

use lockstep_client::{
    Client,
    crypto::wipe::Plaintext,
    model::AlarmKind,
    server::{Server as Address, Trust},
};

use crate::{
    mode::Mode,
    people::{Device, another, heard, password, register, until},
    proxy::Relay,
    server::Server,
};

in_both_modes! {
    after_a_restore_five_differences_among_three_thousand_versions_move_few_bytes,
    a_device_that_comes_after_another_has_written_where_events_were_lost_goes_on_working,
    a_device_that_joined_after_a_restore_takes_what_another_gives_back_and_asks_a_person,
    a_device_that_joined_after_the_backup_goes_on_working_since_another_gives_its_statement_back,
    a_device_that_joined_after_the_backup_gives_its_own_statement_back_when_it_logs_in,
    what_a_device_pushed_that_was_revoked_since_is_given_back_by_another,
}

const ENTRIES: usize = 3000;
const NAME: &str = "restored@example.org";

fn only_resets(kinds: &[lockstep_client::model::Alarm]) -> bool {
    kinds.iter().all(|alarm| alarm.kind == AlarmKind::Reset) && !kinds.is_empty()
}

fn through(relay: &Relay, server: &Server) -> Address {
    Address::new(&format!("https://{}", relay.addr), server.address.trust.clone()).unwrap()
}

async fn device(address: &Address, first: bool) -> Device {
    let home = tempfile::tempdir().unwrap();
    let client = if first {
        Client::register(home.path(), address, NAME, &password()).await.unwrap()
    } else {
        Client::login(home.path(), address, NAME, &password()).await.unwrap()
    };
    Device { home, client }
}

async fn after_a_restore_five_differences_among_three_thousand_versions_move_few_bytes(mode: Mode) {
    let mut server = Server::start_in(mode).await;
    let (near, far) = (Relay::start(server.socket()), Relay::start(server.socket()));
    let first = device(&through(&near, &server), true).await;
    let contents: Vec<_> =
        (0..ENTRIES).map(|n| Plaintext::new(format!("entry number {n}").into_bytes())).collect();
    let entries = first.add_many(&contents, &mut |_| {}).await.unwrap();
    first.sync().await.unwrap();
    let everything = near.moved();
    let second = device(&through(&far, &server), false).await;
    second.sync().await.unwrap();
    let a_first_sync = far.moved();
    let backup = server.backed_up().await;
    for n in 0..3 {
        first.add(format!("after the backup {n}").as_bytes()).await.unwrap();
    }
    for entry in &entries[..2] {
        let base = first.get(*entry).await.unwrap().head_ids();
        first.edit(*entry, &base, b"edited after the backup").await.unwrap();
    }
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    let expected = second.contents().await;
    assert_eq!(first.contents().await, expected);
    server.goes_back_to(&backup).await;
    let _ = (near.moved(), far.moved());
    for device in [&first, &second] {
        until("a device syncs with the restored server", || async { device.sync().await.is_ok() }).await;
    }
    let (by_the_first, by_the_second) = (near.moved(), far.moved());
    assert!(by_the_first < 200_000 && by_the_first * 10 < everything, "{by_the_first} of {everything}");
    assert!(by_the_second < 200_000 && by_the_second * 5 < a_first_sync, "{by_the_second} of {a_first_sync}");
    let third = another(&server, NAME).await;
    for device in [&first, &second, &third] {
        device.sync().await.unwrap();
        assert_eq!(device.contents().await, expected);
        let status = device.status().await.unwrap();
        assert_eq!((status.waiting, status.quarantined, status.conflicts), (0, 0, 0));
    }
    assert!(only_resets(&first.alarms().await.unwrap()), "{:?}", first.alarms().await);
    assert!(only_resets(&second.alarms().await.unwrap()), "{:?}", second.alarms().await);
}

async fn a_device_that_comes_after_another_has_written_where_events_were_lost_goes_on_working(mode: Mode) {
    let mut server = Server::start_in(mode).await;
    let first = register(&server, "second-to-come@example.org").await;
    let second = another(&server, "second-to-come@example.org").await;
    first.sync().await.unwrap();
    let backup = server.backed_up().await;
    first.add(b"after the backup").await.unwrap();
    first.sync().await.unwrap();
    // The second device alone sees what the account's stream has after the backup.
    let device = second.status().await.unwrap().device;
    second.name_device(device, "lost with the server").await.unwrap();
    second.sync().await.unwrap();
    server.goes_back_to(&backup).await;
    until("the first syncs with the restored server", || async { first.sync().await.is_ok() }).await;
    let own = first.status().await.unwrap().device;
    for name in ["at the same place", "and beyond it"] {
        first.name_device(own, name).await.unwrap();
    }
    until("the second syncs as well", || async { second.sync().await.is_ok() }).await;
    second.add(b"once more").await.unwrap();
    second.sync().await.unwrap();
    first.sync().await.unwrap();
    for device in [&first, &second] {
        assert_eq!(device.contents().await, ["after the backup", "once more"]);
        assert!(only_resets(&device.alarms().await.unwrap()), "{:?}", device.alarms().await);
        let status = device.status().await.unwrap();
        assert_eq!((status.waiting, status.quarantined, status.conflicts), (0, 0, 0));
    }
}

async fn a_device_that_joined_after_a_restore_takes_what_another_gives_back_and_asks_a_person(mode: Mode) {
    let mut server = Server::start_in(mode).await;
    let first = register(&server, "joins-late@example.org").await;
    let second = another(&server, "joins-late@example.org").await;
    first.add(b"before the backup").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    let backup = server.backed_up().await;
    let lost = ["lost: one", "lost: two", "lost: three"];
    first.add(lost[0].as_bytes()).await.unwrap();
    first.sync().await.unwrap();
    for content in &lost[1..] {
        second.sync().await.unwrap();
        second.add(content.as_bytes()).await.unwrap();
        second.sync().await.unwrap();
    }
    server.goes_back_to(&backup).await;
    until("the first gives back what it has", || async { first.sync().await.is_ok() }).await;
    // The third joins the new life, and nothing tells it that there was another.
    let third = another(&server, "joins-late@example.org").await;
    assert_eq!(third.contents().await, ["before the backup", lost[0]]);
    until("the second gives back what it has", || async { second.sync().await.is_ok() }).await;
    // Whoever watches is told at once that a person is asked for.
    let mut watching = third.follow();
    heard(&mut watching, AlarmKind::ObservedChain).await;
    drop(watching);
    let everything = ["before the backup", lost[0], lost[2], lost[1]];
    assert_eq!(third.contents().await, everything, "it is authentic, whatever place its author saw");
    let alarms = third.alarms().await.unwrap();
    assert!(alarms.iter().any(|alarm| alarm.kind == AlarmKind::ObservedChain), "{alarms:?}");
    third.acknowledge_alarms().await.unwrap();
    third.add(b"written by the third").await.unwrap();
    third.sync().await.unwrap();
    for device in [&first, &second] {
        device.sync().await.unwrap();
        assert_eq!(device.contents().await.len(), 5);
        assert!(only_resets(&device.alarms().await.unwrap()), "{:?}", device.alarms().await);
    }
    third.sync().await.unwrap();
    assert!(third.alarms().await.unwrap().iter().all(|alarm| alarm.seen), "once is enough");
}

async fn what_a_device_pushed_that_was_revoked_since_is_given_back_by_another(mode: Mode) {
    let mut server = Server::start_in(mode).await;
    let first = register(&server, "revoked-since@example.org").await;
    let second = another(&server, "revoked-since@example.org").await;
    let kept = first.add(b"before the backup").await.unwrap();
    let deleted = first.add(b"deleted").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    let backup = server.backed_up().await;
    let entry = second.add(b"by the second").await.unwrap();
    second.add(b"by the second alone").await.unwrap();
    second.remove(deleted, &second.get(deleted).await.unwrap().head_ids()).await.unwrap();
    second.sync().await.unwrap();
    first.sync().await.unwrap();
    first.edit(entry, &first.get(entry).await.unwrap().head_ids(), b"by the first upon it").await.unwrap();
    first.sync().await.unwrap();
    first.revoke_device(second.status().await.unwrap().device).await.unwrap();
    server.goes_back_to(&backup).await;
    until("the first gives back what it has", || async { first.sync().await.is_ok() }).await;
    let third = another(&server, "revoked-since@example.org").await;
    for device in [&first, &third] {
        device.sync().await.unwrap();
        let expected = ["before the backup", "by the first upon it", "by the second alone"];
        assert_eq!(device.contents().await, expected);
        let status = device.status().await.unwrap();
        assert_eq!((status.waiting, status.quarantined, status.conflicts), (0, 0, 0));
        assert_eq!(device.history(entry).await.unwrap().len(), 2);
        assert!(device.get(deleted).await.unwrap().deleted && !device.get(kept).await.unwrap().deleted);
    }
    assert_eq!(third.alarms().await.unwrap(), []);
    assert!(only_resets(&first.alarms().await.unwrap()), "{:?}", first.alarms().await);
    assert!(second.sync().await.is_err(), "and the one that was revoked stays out");
}

/// A server that was restored to a time before the second device joined.
async fn before_the_second(mode: Mode, name: &str) -> (Server, Device, Device) {
    let mut server = Server::start_in(mode).await;
    let first = register(&server, name).await;
    first.add(b"in the backup").await.unwrap();
    first.sync().await.unwrap();
    let backup = server.backed_up().await;
    let second = another(&server, name).await;
    second.add(b"by the second").await.unwrap();
    second.sync().await.unwrap();
    first.sync().await.unwrap();
    server.goes_back_to(&backup).await;
    (server, first, second)
}

async fn logged_in_again(server: &Server, mut device: Device, name: &str) -> Device {
    device.client.close().await;
    device.client = Client::login(device.home.path(), &server.address, name, &password()).await.unwrap();
    device
}

async fn all_is_there(server: &Server, devices: [&Device; 2]) {
    let [first, second] = devices;
    until("both have everything", || async {
        let _ = (first.sync().await, second.sync().await);
        let expected = ["by the second", "in the backup", "once more"];
        first.contents().await == expected && second.contents().await == expected
    })
    .await;
    for device in devices {
        let status = device.status().await.unwrap();
        assert_eq!((status.waiting, status.quarantined, status.conflicts), (0, 0, 0));
        assert!(only_resets(&device.alarms().await.unwrap()), "{:?}", device.alarms().await);
        assert_eq!(device.devices().await.unwrap().len(), 2);
    }
    let Trust::Pinned(_) = server.address.trust else { panic!("pinned") };
}

async fn a_device_that_joined_after_the_backup_goes_on_working_since_another_gives_its_statement_back(
    mode: Mode,
) {
    let (server, first, second) = before_the_second(mode, "given-back@example.org").await;
    until("the first syncs with the restored server", || async { first.sync().await.is_ok() }).await;
    let second = logged_in_again(&server, second, "given-back@example.org").await;
    second.add(b"once more").await.unwrap();
    all_is_there(&server, [&first, &second]).await;
}

async fn a_device_that_joined_after_the_backup_gives_its_own_statement_back_when_it_logs_in(mode: Mode) {
    let (server, first, second) = before_the_second(mode, "alone@example.org").await;
    let second = logged_in_again(&server, second, "alone@example.org").await;
    until("the second syncs with the restored server", || async { second.sync().await.is_ok() }).await;
    second.add(b"once more").await.unwrap();
    all_is_there(&server, [&first, &second]).await;
}
