//! Many entries, long entries, long absences.

use lockstep_client::crypto::wipe::Plaintext;

use crate::{
    mode::Mode,
    people::{another, register, until},
    server::Server,
};

in_both_modes! {
    an_import_of_a_thousand_entries_is_the_same_on_a_device_that_comes_later,
    a_device_that_was_away_for_more_than_a_page_catches_up,
    contents_of_every_size_arrive_live_and_at_first_sync,
    the_history_of_an_entry_is_there_on_a_device_that_came_later,
    an_import_of_427_entries_and_their_removal_arrive_together_and_leave_nothing,
}

async fn an_import_of_a_thousand_entries_is_the_same_on_a_device_that_comes_later(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "import@example.org").await;
    let contents: Vec<_> =
        (0..1000).map(|n| Plaintext::new(format!("entry number {n}").into_bytes())).collect();
    let mut saved = 0;
    first.add_many(&contents, &mut |n| saved = n).await.unwrap();
    assert_eq!(saved, 1000);
    let report = first.sync().await.unwrap();
    assert_eq!((report.pushed, report.waiting, report.quarantined), (1000, 0, 0));
    let second = another(&server, "import@example.org").await;
    assert_eq!(second.contents().await, first.contents().await);
}

#[tokio::test]
async fn an_import_of_three_thousand_entries_and_a_watching_device_stay_within_the_limits_as_they_ship() {
    let server = Server::limited(1);
    let first = register(&server, "large@example.org").await;
    let second = another(&server, "large@example.org").await;
    let watching = second.follow();
    let contents: Vec<_> =
        (0..3000).map(|n| Plaintext::new(format!("entry number {n}").into_bytes())).collect();
    first.add_many(&contents, &mut |_| {}).await.unwrap();
    let report = first.sync().await.unwrap();
    assert_eq!((report.pushed, report.waiting, report.quarantined), (3000, 0, 0));
    until("everything is on the device that watches", || async { second.contents().await.len() == 3000 })
        .await;
    drop(watching);
    for device in [&first, &second] {
        device.client.clone().close().await;
    }
}

async fn a_device_that_was_away_for_more_than_a_page_catches_up(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "away@example.org").await;
    first.add(b"seen").await.unwrap();
    first.sync().await.unwrap();
    let second = another(&server, "away@example.org").await;
    let contents: Vec<_> =
        (0..lockstep_api::MAX_PAGE).map(|n| Plaintext::new(format!("missed {n}").into_bytes())).collect();
    first.add_many(&contents, &mut |_| {}).await.unwrap();
    first.sync().await.unwrap();
    let report = second.sync().await.unwrap();
    assert!(report.pulled > lockstep_api::MAX_PAGE as u64 - 1, "{report:?}");
    assert_eq!(second.contents().await, first.contents().await);
}

async fn an_import_of_427_entries_and_their_removal_arrive_together_and_leave_nothing(mode: Mode) {
    // vaultwarden #4693
    let server = Server::start_in(mode).await;
    let first = register(&server, "undone@example.org").await;
    let away = another(&server, "undone@example.org").await;
    let contents: Vec<_> = (0..427).map(|n| Plaintext::new(format!("imported {n}").into_bytes())).collect();
    first.add_many(&contents, &mut |_| {}).await.unwrap();
    first.sync().await.unwrap();
    for entry in first.entries().await.unwrap() {
        first.remove(entry.entry, &entry.head_ids()).await.unwrap();
    }
    first.sync().await.unwrap();
    let report = away.sync().await.unwrap();
    assert!(report.pulled >= 2 * 427, "{report:?}");
    for device in [&first, &away] {
        let left: Vec<_> = device.entries().await.unwrap().into_iter().filter(|e| !e.deleted).collect();
        assert!(left.is_empty(), "{} entries are left", left.len());
        let status = device.status().await.unwrap();
        assert_eq!((status.conflicts, status.waiting, status.quarantined), (0, 0, 0));
    }
}

async fn contents_of_every_size_arrive_live_and_at_first_sync(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "sizes@example.org").await;
    let second = another(&server, "sizes@example.org").await;
    let _watching = second.follow();
    for len in [0, 1, 3_000, 4_200, 15_000, 17_000, 56_000] {
        first.add("x".repeat(len).as_bytes()).await.unwrap();
    }
    first.sync().await.unwrap();
    assert!(first.add("x".repeat(70_000).as_bytes()).await.is_err());
    let expected = first.contents().await;
    assert_eq!(expected.len(), 7);
    until("all sizes are there live", || async { second.contents().await == expected }).await;
    let third = another(&server, "sizes@example.org").await;
    assert_eq!(third.contents().await, expected);
}

async fn the_history_of_an_entry_is_there_on_a_device_that_came_later(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "history@example.org").await;
    let entry = first.add(b"version 0").await.unwrap();
    for n in 1..5 {
        let base = first.get(entry).await.unwrap().head_ids();
        first.edit(entry, &base, format!("version {n}").as_bytes()).await.unwrap();
    }
    first.sync().await.unwrap();
    let second = another(&server, "history@example.org").await;
    let history = second.history(entry).await.unwrap();
    let texts: Vec<_> = history.iter().map(crate::people::text).collect();
    assert_eq!(texts, (0..5).map(|n| format!("version {n}")).collect::<Vec<_>>());
    assert_eq!(second.contents().await, ["version 4"]);
}
