//! Lies about where a version stands, in answers that are not the feed: what is asked for by its id, the history of an
//! entry, the snapshot. No chain binds them; what they say is believed only as far as the feed comes to say it too.

use lockstep_api::sync::{History, Snapshot, Versions};
use lockstep_client::{Error, model::AlarmKind};
use lockstep_events::Seq;

use crate::{
    ground::{Ground, alarmed, change, entry},
    lies::{about, all_of, fit, versions},
    people::Device,
    proxy::Lie,
};

/// Where no log reaches.
const FAR: u64 = 1_000_000_000_000;

/// A device that joined when there was a history already, and the one that wrote it.
async fn joined() -> (Ground, Device, Device) {
    let (ground, first, _) = Ground::two().await;
    change(&first, "one", "one again").await;
    first.sync().await.unwrap();
    let joined = ground.unread().await;
    joined.sync().await.unwrap();
    assert_eq!(joined.contents().await, ["one again", "two"]);
    (ground, first, joined)
}

/// Pages show no version.
fn hidden() -> Lie {
    versions(|page, before| {
        page.events.clear();
        fit(page, before);
        page.head = page.to;
        true
    })
}

/// What is asked for by its id is said to stand here.
fn stands_at(seq: u64) -> Lie {
    about("/versions/get", move |found: &mut Versions| {
        found.versions.iter_mut().for_each(|version| version.seq = Seq(seq));
        !found.versions.is_empty()
    })
}

/// The newest version of any history is said to stand here.
fn newest_at(seq: u64) -> Lie {
    about("/entries/", move |history: &mut History| {
        history.versions.last_mut().is_some_and(|newest| {
            newest.seq = Seq(seq);
            true
        })
    })
}

async fn waiting(device: &Device) -> u64 {
    device.status().await.unwrap().waiting
}

#[tokio::test]
async fn e09_what_was_taken_and_is_not_shown_goes_out_again_wherever_the_server_says_that_it_stands() {
    let (ground, first, joined) = joined().await;
    change(&joined, "two", "two by the joined").await;
    // A choice has no author, and names no place that its author saw.
    let gone = entry(&joined, "one again").await;
    joined.remove(gone.entry, &gone.head_ids()).await.unwrap();
    for seq in [FAR, 1, 1, FAR] {
        ground.proxy.tell(all_of(vec![hidden(), stands_at(seq)]));
        let synced = joined.sync().await;
        assert!(matches!(synced, Err(Error::Alarm(AlarmKind::SetDigest))), "{seq}: {synced:?}");
        assert_eq!(joined.contents().await, ["two by the joined"]);
        assert_eq!(waiting(&joined).await, 2, "{seq}: it is said that nobody else has it");
    }
    assert_eq!(alarmed(&joined).await, [AlarmKind::SetDigest]);
    ground.proxy.honest();
    joined.sync().await.unwrap();
    first.sync().await.unwrap();
    assert_eq!(first.contents().await, ["two by the joined"]);
    assert_eq!(waiting(&joined).await, 0);
}

#[tokio::test]
async fn e09_a_device_that_holds_everything_is_told_no_place_that_it_has_read_already() {
    let (ground, first, second) = Ground::two().await;
    second.add(b"swallowed").await.unwrap();
    for seq in [1, 1, FAR] {
        ground.proxy.tell(all_of(vec![hidden(), stands_at(seq)]));
        let synced = second.sync().await;
        assert!(matches!(synced, Err(Error::Alarm(AlarmKind::SetDigest))), "{seq}: {synced:?}");
        assert_eq!(waiting(&second).await, 1, "{seq}");
    }
    ground.proxy.honest();
    second.sync().await.unwrap();
    first.sync().await.unwrap();
    assert_eq!(first.contents().await, ["one", "swallowed", "two"]);
}

#[tokio::test]
async fn e09_a_history_takes_nothing_away_that_waits_by_naming_a_place_for_it() {
    let (ground, first, joined) = joined().await;
    let edited = entry(&joined, "one again").await.entry;
    change(&joined, "one again", "edited").await;
    // The server takes it and hides it: now it knows of it.
    ground.proxy.tell(all_of(vec![
        hidden(),
        about("/versions/get", |found: &mut Versions| {
            found.versions.clear();
            true
        }),
    ]));
    assert!(joined.sync().await.is_err());
    assert_eq!(waiting(&joined).await, 1);
    ground.proxy.tell(newest_at(1));
    let history = joined.history(edited).await;
    assert!(matches!(history, Err(Error::Alarm(AlarmKind::Header))), "{history:?}");
    assert_eq!(waiting(&joined).await, 1, "its author saw more than that");
    joined.acknowledge_alarms().await.unwrap();
    // Where the feed may still come to, nothing speaks against it; when it has come to its end, it is a lie.
    ground.proxy.tell(newest_at(FAR));
    joined.history(edited).await.unwrap();
    ground.proxy.tell(hidden());
    let synced = joined.sync().await;
    assert!(matches!(synced, Err(Error::Alarm(AlarmKind::Page))), "{synced:?}");
    assert_eq!(waiting(&joined).await, 1);
    assert_eq!(joined.contents().await, ["edited", "two"]);
    assert_eq!(alarmed(&joined).await, [AlarmKind::Page]);
    ground.proxy.honest();
    joined.acknowledge_alarms().await.unwrap();
    joined.sync().await.unwrap();
    first.sync().await.unwrap();
    assert_eq!(first.contents().await, ["edited", "two"]);
    assert_eq!(waiting(&joined).await, 0);
}

#[tokio::test]
async fn e09_a_snapshot_that_names_a_place_where_no_log_reaches_is_an_alarm_and_freezes_nothing() {
    let (ground, first, second) = Ground::two().await;
    change(&first, "one", "one again").await;
    first.sync().await.unwrap();
    let joins = ground.unread().await;
    ground.proxy.tell(about("/snapshot", |page: &mut Snapshot| {
        let versions = page.entries.iter_mut().flat_map(|entry| &mut entry.versions);
        versions.for_each(|version| version.seq = Seq(1 << 60));
        true
    }));
    let synced = joins.sync().await;
    assert!(ground.proxy.honest().0 > 0);
    assert!(matches!(synced, Err(Error::Alarm(AlarmKind::Page))), "{synced:?}");
    assert_eq!(alarmed(&joins).await, [AlarmKind::Page]);
    assert_eq!(joins.contents().await, ["one again", "two"]);
    joins.acknowledge_alarms().await.unwrap();
    joins.sync().await.unwrap();
    // What is written from now on counts, on both branches.
    second.sync().await.unwrap();
    change(&first, "one again", "one by the first").await;
    change(&second, "one again", "one by the second").await;
    for device in [&first, &second, &joins, &first] {
        device.sync().await.unwrap();
    }
    let (here, there) = (entry(&joins, "one by the first").await, entry(&first, "one by the first").await);
    assert_eq!(here.head_ids(), there.head_ids());
    assert!(here.divergent);
    assert_eq!(joins.contents().await, first.contents().await);
    assert_eq!((waiting(&joins).await, alarmed(&joins).await), (0, Vec::new()));
}
