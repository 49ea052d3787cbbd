//! Servers that die, networks that are not there.

use std::time::Duration;

use lockstep_client::{
    Client, Error,
    model::{AlarmKind, Link},
    server::{Server as Address, Trust},
};

use crate::{
    mode::Mode,
    people::{another, password, register, until},
    proxy::Proxy,
    server::Server,
    support::{self, Node},
};

in_both_modes! {
    what_is_written_while_the_server_is_down_goes_out_when_it_is_back,
    the_live_feed_comes_back_by_itself_after_the_server_was_killed,
    kills_in_the_middle_of_pushes_lose_and_double_nothing,
    a_server_that_was_restored_to_an_older_backup_gets_back_what_it_lost_from_the_devices,
}

async fn what_is_written_while_the_server_is_down_goes_out_when_it_is_back(mode: Mode) {
    let mut server = Server::start_in(mode).await;
    let first = register(&server, "down@example.org").await;
    server.kill();
    first.add(b"written offline").await.unwrap();
    assert!(matches!(first.sync().await, Err(Error::Offline(_))));
    let first = first.reopened().await;
    assert_eq!(first.contents().await, ["written offline"]);
    server.start_again();
    first.sync().await.unwrap();
    let second = another(&server, "down@example.org").await;
    assert_eq!(second.contents().await, ["written offline"]);
}

async fn the_live_feed_comes_back_by_itself_after_the_server_was_killed(mode: Mode) {
    let mut server = Server::start_in(mode).await;
    let first = register(&server, "heal@example.org").await;
    let second = another(&server, "heal@example.org").await;
    let mut watching = second.follow();
    watching.link.wait_for(|link| *link == Link::Live).await.unwrap();
    server.kill();
    watching.link.wait_for(|link| *link != Link::Live).await.unwrap();
    server.start_again();
    first.add(b"after the crash").await.unwrap();
    first.sync().await.unwrap();
    until("the entry is on the other device", || async { second.contents().await == ["after the crash"] })
        .await;
    watching.link.wait_for(|link| *link == Link::Live).await.unwrap();
    assert_eq!(second.alarms().await.unwrap(), [], "a crash is no restore");
}

async fn kills_in_the_middle_of_pushes_lose_and_double_nothing(mode: Mode) {
    let mut server = Server::start_in(mode).await;
    let device = register(&server, "kills@example.org").await;
    for round in 0..5 {
        let contents: Vec<_> = (0..60)
            .map(|n| lockstep_client::crypto::wipe::Plaintext::new(format!("{round}-{n}").into_bytes()))
            .collect();
        device.add_many(&contents, &mut |_| {}).await.unwrap();
        let (pushing, client) = (device.client.clone(), &device.client);
        let pushing = tokio::spawn(async move { pushing.sync().await.map(drop) });
        // At a different moment of the push each time.
        tokio::time::sleep(std::time::Duration::from_millis(3 * round)).await;
        server.kill();
        let _ = pushing.await.unwrap();
        server.start_again();
        until("the outbox is empty", || async {
            let _ = client.sync().await;
            client.status().await.unwrap().waiting == 0
        })
        .await;
    }
    let second = another(&server, "kills@example.org").await;
    let mut expected: Vec<_> =
        (0..5).flat_map(|round| (0..60).map(move |n| format!("{round}-{n}"))).collect();
    expected.sort();
    assert_eq!(second.contents().await, expected);
    assert_eq!(second.status().await.unwrap().conflicts, 0);
    assert_eq!(device.alarms().await.unwrap(), []);
}

async fn a_server_that_was_restored_to_an_older_backup_gets_back_what_it_lost_from_the_devices(mode: Mode) {
    let mut server = Server::start_in(mode).await;
    let first = register(&server, "restore@example.org").await;
    let second = another(&server, "restore@example.org").await;
    first.add(b"in the backup").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    let backup = server.backed_up().await;
    first.add(b"after the backup").await.unwrap();
    first.sync().await.unwrap();
    second.add(b"never sent before the crash").await.unwrap();
    server.goes_back_to(&backup).await;
    for device in [&first, &second, &first] {
        until("a device syncs with the restored server", || async { device.sync().await.is_ok() }).await;
    }
    let expected = ["after the backup", "in the backup", "never sent before the crash"];
    until("both have everything", || async {
        let _ = (first.sync().await, second.sync().await);
        first.contents().await == expected && second.contents().await == expected
    })
    .await;
    let status = first.status().await.unwrap();
    assert_eq!((status.waiting, status.quarantined, status.conflicts), (0, 0, 0));
    let alarms = first.alarms().await.unwrap();
    assert!(alarms.iter().all(|alarm| alarm.kind == AlarmKind::Reset) && !alarms.is_empty(), "{alarms:?}");
}

#[tokio::test]
async fn a_cluster_that_was_restored_gets_back_what_it_lost_at_whichever_node_a_device_is() {
    let mut one = Server::start_in(Mode::Distributed).await;
    let mut two = one.second();
    let first = register(&one, "cluster@example.org").await;
    let second = another(&two, "cluster@example.org").await;
    first.add(b"in the backup").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    one.kill();
    two.kill();
    let backup = one.backup().await;
    one.start_again();
    two.start_again();
    for (device, content) in [(&first, "by the first"), (&second, "by the second")] {
        device.add(content.as_bytes()).await.unwrap();
        until("a device sends", || async { device.sync().await.is_ok() }).await;
    }
    first.sync().await.unwrap();
    one.kill();
    two.kill();
    one.restore(&backup).await;
    one.start_again();
    two.start_again();
    let expected = ["by the first", "by the second", "in the backup"];
    until("both have everything", || async {
        let synced = (second.sync().await.is_ok(), first.sync().await.is_ok());
        synced == (true, true) && first.contents().await == expected && second.contents().await == expected
    })
    .await;
    for (node, device) in [(&two, &first), (&one, &second)] {
        let status = device.status().await.unwrap();
        assert_eq!((status.waiting, status.quarantined, status.conflicts), (0, 0, 0));
        // Both nodes serve the same new life.
        let third = another(node, "cluster@example.org").await;
        assert_eq!(third.contents().await, expected);
    }
    // And what is written at one is heard live at the other.
    let mut watching = second.follow();
    watching.link.wait_for(|link| *link == Link::Live).await.unwrap();
    first.add(b"heard live").await.unwrap();
    first.sync().await.unwrap();
    until("the new entry is heard", || async { second.contents().await.contains(&"heard live".to_owned()) })
        .await;
}

#[tokio::test]
async fn a_device_whose_websocket_is_refused_goes_on_by_long_poll_and_returns_to_live_when_it_works() {
    let node = Node::start(support::Mode::Embedded).await;
    let proxy = Proxy::start(node.running().addr);
    let trust = Trust::Pinned(proxy.fingerprint.parse().unwrap());
    let address = Address::new(&format!("https://{}", proxy.addr), trust).unwrap();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let name = "proxied@example.org";
    let first = Client::register(one.path(), &address, name, &password()).await.unwrap();
    first.sync().await.unwrap();
    let second = Client::login(two.path(), &address, name, &password()).await.unwrap();
    let mut watching = second.follow();
    watching.link.wait_for(|link| *link == Link::Polling).await.unwrap();
    first.add(b"by long-poll").await.unwrap();
    first.sync().await.unwrap();
    until("the entry comes without a socket", || async { second.entries().await.unwrap().len() == 1 }).await;
    assert_eq!(*watching.link.borrow(), Link::Polling);
    proxy.refuse(false);
    let live =
        tokio::time::timeout(Duration::from_mins(2), watching.link.wait_for(|link| *link == Link::Live));
    live.await.unwrap().unwrap();
    first.add(b"live").await.unwrap();
    first.sync().await.unwrap();
    until("the next one comes live", || async { second.entries().await.unwrap().len() == 2 }).await;
    assert_eq!(second.alarms().await.unwrap(), []);
}
