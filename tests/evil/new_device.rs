//! Lies to a device that has seen nothing yet. It cannot know what it was not shown; but what it is shown is checked like
//! everything else, and what it writes on the strength of a lie hides nothing from anybody.

use lockstep_api::sync::{Changes, Snapshot};
use lockstep_client::model::AlarmKind;
use lockstep_events::VersionId;

use crate::{
    ground::{Forgery, Ground, alarmed, change, entry},
    lies::{about, all_of, fit, page},
    people::Device,
    proxy::Lie,
};

/// A device that has written two entries and changed both, and one that has read nothing.
async fn fresh() -> (Ground, Device, Device) {
    let ground = Ground::start().await;
    let first = ground.first().await;
    for text in ["one", "two"] {
        first.add(text.as_bytes()).await.unwrap();
        change(&first, text, &format!("{text} again")).await;
    }
    first.sync().await.unwrap();
    let second = ground.unread().await;
    (ground, first, second)
}

fn snapshot(change: impl FnMut(&mut Snapshot) -> bool + Send + 'static) -> Lie {
    about("/snapshot", change)
}

#[tokio::test]
async fn e05_records_of_a_snapshot_that_were_swapped_are_an_alarm() {
    let (ground, _first, second) = fresh().await;
    let swapped = |change: fn(&mut Snapshot)| {
        snapshot(move |page| {
            change(page);
            true
        })
    };
    let lies: [Forgery<Snapshot>; 4] = [
        (AlarmKind::Header, |page| {
            let versions = std::mem::take(&mut page.entries[0].versions);
            page.entries[0].versions = std::mem::replace(&mut page.entries[1].versions, versions);
        }),
        (AlarmKind::ContentHash, |page| {
            let content = page.entries[0].versions[0].content.take();
            page.entries[0].versions[0].content = page.entries[1].versions[0].content.clone();
            page.entries[1].versions[0].content = content;
        }),
        (AlarmKind::Signature, |page| {
            page.entries[0].versions[0].signature = page.entries[1].versions[0].signature;
        }),
        (AlarmKind::Header, |page| {
            page.entries[0].versions[0].parent_inferred = true;
        }),
    ];
    for (kind, lie) in lies {
        ground.caught(&second, kind, swapped(lie)).await;
    }
    ground.recovers(&second, &["one again", "two again", "unsaid"]).await;
}

#[tokio::test]
async fn e08_a_device_that_is_shown_an_older_state_overwrites_nothing_with_what_it_writes() {
    let ground = Ground::start().await;
    let first = ground.first().await;
    first.add(b"one").await.unwrap();
    first.sync().await.unwrap();
    let vault = first.status().await.unwrap().vault;
    let (code, old) = first.api("GET", &format!("/v1/vaults/{vault}/snapshot"), None).await.unwrap();
    assert_eq!(code, 200);
    let old: Snapshot = serde_json::from_str(&old).unwrap();
    change(&first, "one", "one again").await;
    first.sync().await.unwrap();
    let second = ground.unread().await;
    let frozen = page(move |page: &mut Changes, before| {
        if page.stream != vault.into() {
            return false;
        }
        page.events.clear();
        fit(page, before);
        page.head = page.to;
        true
    });
    let rolled_back = snapshot(move |page| {
        page.clone_from(&old);
        true
    });
    ground.proxy.tell(all_of(vec![rolled_back, frozen]));
    second.sync().await.unwrap();
    assert!(ground.proxy.honest().0 > 0);
    // Nobody can tell it; it works on what it was shown.
    assert_eq!(second.contents().await, ["one"]);
    change(&second, "one", "one by the second").await;
    second.sync().await.unwrap();
    first.sync().await.unwrap();
    for device in [&first, &second] {
        assert_eq!(device.contents().await, ["one again", "one by the second"]);
        assert!(entry(device, "one again").await.divergent);
        assert_eq!(alarmed(device).await, []);
    }
}

#[tokio::test]
async fn e23_a_blob_that_belongs_elsewhere_is_an_alarm() {
    let ground = Ground::start().await;
    let first = ground.first().await;
    let long = |letter: char| letter.to_string().repeat(20_000);
    first.add(long('a').as_bytes()).await.unwrap();
    first.add(long('b').as_bytes()).await.unwrap();
    first.sync().await.unwrap();
    let second = ground.unread().await;
    let lie =
        |change: fn(&mut Vec<u8>)| crate::lies::raw("/blobs/get", move |answer| change(&mut answer.body));
    // Each under the name of the other.
    let foreign = lie(|body| {
        let half = body.len() / 2;
        let (left, right) = body.split_at_mut(half);
        left[..32].swap_with_slice(&mut right[..32]);
    });
    assert!(second.sync_through(&ground, foreign, AlarmKind::ContentHash).await);
    assert_eq!(second.contents().await, ["Missing", "Missing"]);
    // Only what is right is taken.
    let spoilt = lie(|body| *body.last_mut().unwrap() ^= 1);
    assert!(second.sync_through(&ground, spoilt, AlarmKind::ContentHash).await);
    assert!(second.contents().await.contains(&"Missing".to_owned()));
    second.sync().await.unwrap();
    assert_eq!(second.contents().await, [long('a'), long('b')]);
}

impl Device {
    /// Whether the next sync ends in this alarm, which is kept.
    async fn sync_through(&self, ground: &Ground, lie: Lie, kind: AlarmKind) -> bool {
        ground.proxy.tell(lie);
        let synced = self.sync().await;
        let (told, after) = ground.proxy.honest();
        crate::ground::nothing_secret(&after);
        assert!(told > 0, "the lie was not told");
        let kept = alarmed(self).await.contains(&kind);
        self.acknowledge_alarms().await.unwrap();
        kept && matches!(synced, Err(lockstep_client::Error::Alarm(raised)) if raised == kind)
    }
}

#[tokio::test]
async fn e34_ten_thousand_branches_are_an_alarm_and_not_a_burden() {
    let (ground, _first, second) = fresh().await;
    let repeated = |times: u32, distinct: bool| {
        snapshot(move |page| {
            let entry = &mut page.entries[0];
            (entry.heads, entry.next_branch) = (times, times);
            let version = entry.versions[0].clone();
            entry.versions = (0..times)
                .map(|branch| {
                    let mut version = version.clone();
                    version.branch = branch;
                    if distinct {
                        version.header.client_time += i64::from(branch);
                    }
                    version
                })
                .collect();
            true
        })
    };
    for (times, distinct) in [(2, false), (33, true), (10_000, true)] {
        ground.caught(&second, AlarmKind::Header, repeated(times, distinct)).await;
    }
    // Nor is a version one of the heads that another one of them builds on, or that is none.
    ground
        .caught(
            &second,
            AlarmKind::Header,
            snapshot(|page| {
                page.entries[0].heads = 7;
                true
            }),
        )
        .await;
    ground.recovers(&second, &["one again", "two again", "unsaid"]).await;
}

#[tokio::test]
async fn e06_a_snapshot_that_shows_a_version_and_its_parent_as_heads_is_an_alarm() {
    let (ground, first, second) = fresh().await;
    let vault = first.status().await.unwrap().vault;
    let changed = entry(&first, "one again").await;
    let path = format!("/v1/vaults/{vault}/entries/{}/versions?content=1", changed.entry);
    let (code, text) = first.api("GET", &path, None).await.unwrap();
    assert_eq!(code, 200, "{text}");
    let history: lockstep_api::sync::History = serde_json::from_str(&text).unwrap();
    let old = history.versions[0].clone();
    let ids: Vec<VersionId> = history.versions.iter().map(|version| version.header.version_id()).collect();
    assert_eq!(history.versions[1].header.parents, ids[..1]);
    let both = snapshot(move |page| {
        let shown = page.entries.iter_mut().find(|entry| entry.entry == changed.entry).unwrap();
        let mut old = old.clone();
        old.branch = 1;
        shown.versions.push(old);
        (shown.heads, shown.next_branch) = (2, 2);
        true
    });
    ground.caught(&second, AlarmKind::Header, both).await;
    ground.recovers(&second, &["one again", "two again", "unsaid"]).await;
}
