//! An entry that is set back to a version from before a device joined: a snapshot leaves out what was superseded.

use lockstep_client::model::Link;
use lockstep_events::EntryId;

use crate::{
    mode::Mode,
    people::{Device, another, register, until},
    server::Server,
};

in_both_modes! {
    a_younger_device_opens_what_was_set_back_to_a_version_from_before_it_joined,
    a_younger_device_that_follows_opens_it_by_itself,
    a_younger_device_opens_what_came_back_after_it_was_deleted,
}

/// What does not come along with a version, and what does.
fn contents() -> [String; 2] {
    ["short".to_owned(), "long ".repeat(8_000)]
}

/// Two entries that were edited before the second device joined; with their first contents.
async fn edited(server: &Server, name: &str) -> (Device, Device, Vec<EntryId>) {
    let first = register(server, name).await;
    let mut entries = Vec::new();
    for content in contents() {
        let entry = first.add(content.as_bytes()).await.unwrap();
        let base = first.get(entry).await.unwrap().head_ids();
        first.edit(entry, &base, b"edited").await.unwrap();
        entries.push(entry);
    }
    first.sync().await.unwrap();
    let second = another(server, name).await;
    assert_eq!(second.contents().await, ["edited", "edited"]);
    (first, second, entries)
}

/// Sets entries back to their first version.
async fn set_back(device: &Device, entries: &[EntryId]) {
    for entry in entries {
        let oldest = device.history(*entry).await.unwrap()[0].version;
        device.restore(*entry, oldest).await.unwrap();
    }
    device.sync().await.unwrap();
}

fn expected() -> Vec<String> {
    let mut all = contents().to_vec();
    all.sort();
    all
}

async fn a_younger_device_opens_what_was_set_back_to_a_version_from_before_it_joined(mode: Mode) {
    let server = Server::start_in(mode).await;
    let (first, second, entries) = edited(&server, "back@example.org").await;
    set_back(&first, &entries).await;
    second.sync().await.unwrap();
    assert_eq!(second.contents().await, expected());
    // Set back once more, to the adoption: what is adopted is an adoption itself.
    let adopted = first.get(entries[0]).await.unwrap().head_ids();
    first.edit(entries[0], &adopted, b"once more").await.unwrap();
    first.sync().await.unwrap();
    let third = another(&server, "back@example.org").await;
    first.restore(entries[0], adopted[0]).await.unwrap();
    for device in [&first, &second, &third] {
        device.sync().await.unwrap();
        assert_eq!(device.contents().await, expected());
        assert_eq!(device.alarms().await.unwrap(), []);
    }
}

async fn a_younger_device_that_follows_opens_it_by_itself(mode: Mode) {
    let server = Server::start_in(mode).await;
    let (first, second, entries) = edited(&server, "live@example.org").await;
    let mut watching = second.follow();
    watching.link.wait_for(|link| *link == Link::Live).await.unwrap();
    set_back(&first, &entries).await;
    until("both are set back", || async { second.contents().await == expected() }).await;
    assert_eq!(*watching.link.borrow(), Link::Live, "by the live feed");
}

async fn a_younger_device_opens_what_came_back_after_it_was_deleted(mode: Mode) {
    let server = Server::start_in(mode).await;
    let (first, _, entries) = edited(&server, "undelete@example.org").await;
    for entry in &entries {
        let heads = first.get(*entry).await.unwrap().head_ids();
        first.remove(*entry, &heads).await.unwrap();
    }
    first.sync().await.unwrap();
    let third = another(&server, "undelete@example.org").await;
    assert!(third.contents().await.is_empty());
    set_back(&first, &entries).await;
    third.sync().await.unwrap();
    assert_eq!(third.contents().await, expected());
}
