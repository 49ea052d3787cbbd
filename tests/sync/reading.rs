//! Snapshot, history, reconciling.

use std::collections::BTreeSet;

use lockstep_api::sync::{Bucket, Changes, History, Reconciled, Snapshot};
use lockstep_events::{VersionId, canonical::sha256, ids::Hash32};
use serde_json::json;

use crate::{
    Ground, in_both_modes,
    support::{
        device::{Device, entry, id},
        mode::Mode,
    },
};

in_both_modes! {
    a_snapshot_of_one_entry_more_than_a_page_has_them_all_once;
    a_snapshot_shows_every_head_and_what_an_adopted_one_keeps;
    history_comes_page_by_page_with_contents_if_asked;
    changes_leave_out_what_a_device_pushed_itself_if_it_says_so;
    reconciling_finds_what_only_one_side_has;
    another_account_sees_nothing_of_a_vault;
}

async fn snapshot(device: &Device) -> Vec<Snapshot> {
    let path = format!("/v1/vaults/{}/snapshot", device.vault);
    let mut pages: Vec<Snapshot> = vec![device.get(&path).await.json()];
    while let Some(next) = pages.last().unwrap().next.clone() {
        pages.push(device.get(&format!("{path}?page={next}")).await.json());
    }
    pages
}

async fn a_snapshot_of_one_entry_more_than_a_page_has_them_all_once(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let mut pushed = BTreeSet::new();
    for chunk in [256, 256, 256, 233] {
        let items: Vec<_> = (0..chunk).map(|_| device.edit(entry(), &[], b"small")).collect();
        pushed.extend(items.iter().map(|item| item.header.entry));
        assert!(device.push(items).await.iter().all(|result| result.outcome.stands()));
    }
    let pages = snapshot(device).await;
    assert_eq!(pages.len(), 2);
    let entries: Vec<_> =
        pages.iter().flat_map(|page| page.entries.iter().map(|entry| entry.entry)).collect();
    assert!(entries.is_sorted());
    assert_eq!(entries.len(), 1001);
    assert_eq!(entries.into_iter().collect::<BTreeSet<_>>(), pushed);
    let head = device.stream(device.vault.into()).await;
    for page in &pages {
        assert_eq!((page.position, page.chain, page.epoch), (head.head, head.chain, head.epoch));
    }
    assert_eq!(pages[0].entries[0].versions[0].content.as_ref().unwrap().0, b"small");
}

async fn a_snapshot_shows_every_head_and_what_an_adopted_one_keeps(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let of = entry();
    let (a, b) = (device.edit(of, &[], b"a"), device.edit(of, &[], b"b"));
    let mut both = [id(&a), id(&b)];
    both.sort_unstable();
    device.push(vec![a.clone(), b]).await;
    let adopt = device.adopt(of, &both, id(&a));
    let beside = device.edit(of, &[], b"c");
    device.push(vec![adopt.clone(), beside.clone()]).await;
    let page = snapshot(device).await.remove(0);
    let shown: Vec<_> = page.entries[0].versions.iter().map(|v| v.header.version_id()).collect();
    assert_eq!(shown, [id(&adopt), id(&beside), id(&a)]);
    assert_eq!(page.entries[0].versions[2].content.as_ref().unwrap().0, b"a");
    assert_eq!(page.entries[0].next_branch, 3);
}

async fn history_comes_page_by_page_with_contents_if_asked(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let of = entry();
    let mut parents = Vec::new();
    let mut pushed = Vec::new();
    for n in 0..5 {
        let item = device.edit(of, &parents, format!("{n}").as_bytes());
        parents = vec![id(&item)];
        pushed.push(id(&item));
        device.push(vec![item]).await;
    }
    let path = format!("/v1/vaults/{}/entries/{of}/versions?limit=2", device.vault);
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page: History = device.get(&format!("{path}&after={after}&content=1")).await.json();
        assert_eq!(page.heads[0].version, pushed[4]);
        assert!(page.versions.iter().all(|version| version.content.is_some()));
        seen.extend(page.versions.iter().map(|version| version.header.version_id()));
        match page.next {
            Some(next) => after = next.0,
            None => break,
        }
    }
    assert_eq!(seen, pushed);
    let bare: History = device.get(&path).await.json();
    assert!(bare.versions.iter().all(|version| version.content.is_none()));
}

async fn changes_leave_out_what_a_device_pushed_itself_if_it_says_so(mode: Mode) {
    let ground = Ground::new(mode).await;
    let one = &ground.device;
    let other = one.another().await;
    one.push(vec![one.edit(entry(), &[], b"of the one")]).await;
    other.push(vec![other.edit(entry(), &[], b"of the other")]).await;
    let read = async |by: &Device, own: &str| -> Vec<Option<Vec<u8>>> {
        let path = format!("/v1/streams/{}/changes?inline=16384{own}", by.vault);
        let page: Changes = by.get(&path).await.json();
        let versions = page.events.into_iter().filter(|event| event.kind == "entry.version_added");
        versions.map(|event| event.content.map(|content| content.0)).collect()
    };
    let both = [Some(b"of the one".to_vec()), Some(b"of the other".to_vec())];
    assert_eq!(read(one, "").await, both);
    assert_eq!(read(one, "&own=true").await, both);
    assert_eq!(read(one, "&own=false").await, [None, both[1].clone()]);
    assert_eq!(read(&other, "&own=false").await, [both[0].clone(), None]);
    let path = format!("/v1/streams/{}/changes?own=maybe", one.vault);
    assert_eq!(one.get(&path).await.code(), "invalid_parameter");
}

async fn reconciling_finds_what_only_one_side_has(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    // Not in the bucket of `ours`, where one of 256 would lie.
    let mut drawn = std::iter::repeat_with(|| device.edit(entry(), &[], b"shared"));
    let shared = drawn.find(|version| id(version).0[0] != 0x42).unwrap();
    let theirs = device.edit(entry(), &[], b"server only");
    device.push(vec![shared.clone(), theirs.clone()]).await;
    let ours = VersionId([0x42; 32]);
    let held = [id(&shared), ours];
    let mut buckets = vec![Bucket { count: 0, digest: Hash32::ZERO }; 256];
    for version in held {
        let bucket = &mut buckets[usize::from(version.0[0])];
        assert_eq!(bucket.count, 0, "two ids share a bucket");
        *bucket = Bucket { count: 1, digest: Hash32(sha256(&version.0)) };
    }
    let path = format!("/v1/vaults/{}/reconcile", device.vault);
    let first: Reconciled = device.post(&path, &json!({ "by": "buckets", "buckets": buckets })).await.json();
    let expected: BTreeSet<u8> = [id(&theirs).0[0], 0x42].into();
    assert_eq!(first.differ.iter().copied().collect::<BTreeSet<_>>(), expected);
    let ids: Vec<_> = held.iter().filter(|version| expected.contains(&version.0[0])).collect();
    let body = json!({ "by": "ids", "buckets": first.differ, "ids": ids });
    let second: Reconciled = device.post(&path, &body).await.json();
    assert_eq!((second.server_only, second.client_only), (vec![id(&theirs)], vec![ours]));
    let short = device.post(&path, &json!({ "by": "buckets", "buckets": &buckets[1..] })).await;
    assert_eq!(short.code(), "invalid_field");
}

async fn another_account_sees_nothing_of_a_vault(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let item = device.edit(entry(), &[], b"mine");
    device.push(vec![item.clone()]).await;
    let mut stranger = Device::register(ground.server.addr).await;
    stranger.vault = device.vault;
    let (vault, of) = (device.vault, item.header.entry);
    let tail = device.seq().await;
    for path in
        ["snapshot".to_owned(), format!("entries/{of}/versions"), "blobs/".to_owned() + &"0".repeat(64)]
    {
        let reply = stranger.get(&format!("/v1/vaults/{vault}/{path}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "not_found"), "{path}");
    }
    stranger.epoch = device.epoch;
    let push = stranger.post(&stranger.push_path(), &stranger.batch(vec![item])).await;
    assert_eq!(push.code(), "not_found");
    assert_eq!(device.seq().await, tail);
}
