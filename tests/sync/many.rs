//! As many devices as an account may have, which all push at the same moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lockstep_api::sync::{Changes, PushItem, PushOutcome, PushResult, Pushed, Snapshot};
use lockstep_events::{
    Chain, EntryId, Event, StreamKind, VersionId,
    event::VaultEvent,
    graph::{Heads, MAX_BRANCHES},
};

use crate::{
    Ground, in_both_modes,
    support::{
        device::{Device, entry, id},
        mode::Mode,
        wire::{Wire, request},
    },
};

in_both_modes! {
    what_thirty_two_devices_push_at_once_stands_once_in_one_order_and_all_of_them_read_the_same;
}

const DEVICES: usize = 32;
/// Pushes of each device, and over how many connections at once.
const PUSHES: usize = 32;
const LANES: usize = 4;
/// How often a server that is busy is asked again by one of them, and after how long.
const TRIES: usize = 300;
const PAUSE: Duration = Duration::from_millis(200);
const PASSWORD: &[u8] = b"not stretched";

/// Pushes one version after the other over one connection. A server that has too much to do is asked again, as a client
/// does; how often it was.
async fn lane(device: Device, items: Vec<PushItem>) -> (Vec<PushResult>, usize) {
    let bearer = format!("Bearer {}", device.token);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let mut wire = Wire::connect(device.addr).await.unwrap();
    let (mut results, mut asked_again) = (Vec::new(), 0);
    for item in items {
        let body = serde_json::to_vec(&device.batch(vec![item])).unwrap();
        let request = request("POST", &device.push_path(), &headers, &body);
        let mut reply = wire.exchange(&request).await.unwrap();
        while reply.status == 503 && asked_again < TRIES {
            asked_again += 1;
            tokio::time::sleep(PAUSE).await;
            wire = Wire::connect(device.addr).await.unwrap();
            reply = wire.exchange(&request).await.unwrap();
        }
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        results.extend(reply.json::<Pushed>().results);
    }
    (results, asked_again)
}

/// What a device pushes, lane by lane: edits of entries that all devices edit on the same root, and entries of its own;
/// and the first of each lane over the lane before as well, as a client does that lost an answer.
fn lanes(device: &Device, roots: &[PushItem]) -> Vec<Vec<PushItem>> {
    let written = device.device.to_string();
    let edit = |root: &PushItem| device.edit(root.header.entry, &[id(root)], written.as_bytes());
    let both = roots.iter().flat_map(|root| [edit(root), device.edit(entry(), &[], written.as_bytes())]);
    let pushes: Vec<PushItem> = both.collect();
    let mut lanes: Vec<Vec<PushItem>> = pushes.chunks(PUSHES / LANES).map(<[PushItem]>::to_vec).collect();
    for next in 1..LANES {
        let twice = lanes[next][0].clone();
        lanes[next - 1].insert(0, twice);
    }
    lanes
}

/// A page of the vault as a device is served it.
async fn page(device: &Device, after: u64) -> Vec<u8> {
    let path = format!("/v1/streams/{}/changes?limit=500&after={}.{after}", device.vault, device.epoch);
    device.get(&path).await.body
}

/// The vault as a device is served it from the beginning: each page with the place that it was asked for.
async fn pages(device: &Device) -> Vec<(u64, Vec<u8>)> {
    let (mut after, mut pages) = (0, Vec::new());
    loop {
        let body = page(device, after).await;
        let read: Changes = serde_json::from_slice(&body).unwrap();
        pages.push((after, body));
        after = read.to.0;
        if !read.more {
            return pages;
        }
    }
}

/// Every version in order, and the heads and the chain that they make.
fn folded(device: &Device, pages: &[(u64, Vec<u8>)]) -> (Vec<VersionId>, BTreeMap<EntryId, Heads>, Chain) {
    let (mut versions, mut heads) = (Vec::new(), BTreeMap::<EntryId, Heads>::new());
    let (mut seq, mut chain) = (0, Chain::ZERO);
    for (after, page) in pages {
        let page: Changes = serde_json::from_slice(page).unwrap();
        assert_eq!((page.from.0, seq), (*after, *after));
        for event in page.events {
            seq += 1;
            assert_eq!(event.seq.0, seq, "no seq is left out");
            let recorded = event.recorded((device.vault.into(), StreamKind::Vault), &chain);
            chain = recorded.chain;
            let Ok(Event::Vault(said)) = recorded.event() else { panic!("{event:?}") };
            if let VaultEvent::VersionAdded(added) = &said {
                versions.push(added.header.version_id());
                let _ = heads.entry(added.header.entry).or_default().apply(&said, event.seq);
            }
        }
        assert_eq!((page.to.0, page.chain), (seq, chain));
    }
    (versions, heads, chain)
}

/// Each version was accepted once, whoever was told, and always at the same place; the places in order. An answer that was
/// asked for again may have been the one that said so.
fn places(results: Vec<PushResult>, asked_again: usize) -> BTreeMap<u64, VersionId> {
    let mut found = BTreeMap::<VersionId, (u64, usize)>::new();
    for result in results {
        let seq = result.seq.unwrap().0;
        let (at, accepted) = found.entry(result.version_id).or_insert((seq, 0));
        assert_eq!(*at, seq, "a retry is told another place");
        *accepted += match result.outcome {
            PushOutcome::Accepted | PushOutcome::AcceptedForked => 1,
            PushOutcome::Duplicate => 0,
            other => panic!("{other:?}: {result:?}"),
        };
    }
    assert!(found.values().all(|(_, accepted)| *accepted <= 1), "accepted more than once");
    let untold = found.values().filter(|(_, accepted)| *accepted == 0).count();
    assert!(untold <= asked_again, "{untold} were accepted, and nobody was told");
    found.into_iter().map(|(version, (seq, _))| (seq, version)).collect()
}

async fn what_thirty_two_devices_push_at_once_stands_once_in_one_order_and_all_of_them_read_the_same(
    mode: Mode,
) {
    let ground = Ground::new(mode).await;
    let mut devices = vec![Device::register_unstretched(ground.server.addr, PASSWORD).await];
    while devices.len() < DEVICES {
        let next = devices[0].another_unstretched(PASSWORD).await;
        devices.push(next);
    }
    let roots: Vec<PushItem> = (0..PUSHES / 2).map(|_| devices[0].edit(entry(), &[], b"root")).collect();
    devices[0].push(roots.clone()).await;
    let before = devices[0].seq().await;
    let all_lanes = devices.iter().flat_map(|device| {
        lanes(device, &roots).into_iter().map(|items| tokio::spawn(lane(device.clone(), items)))
    });
    let (mut results, mut asked_again) = (Vec::new(), 0);
    for lane in all_lanes.collect::<Vec<_>>() {
        let (of_lane, again) = lane.await.unwrap();
        results.extend(of_lane);
        asked_again += again;
    }
    let all = DEVICES * PUSHES;
    assert_eq!(results.len(), all + DEVICES * (LANES - 1));
    let places = places(results, asked_again);
    let row = before + 1..=before + all as u64;
    assert!(places.keys().copied().eq(row), "places are one row without a gap");
    let served = pages(&devices[0]).await;
    let (versions, heads, chain) = folded(&devices[0], &served);
    assert_eq!(versions.len(), roots.len() + all);
    assert!(versions.iter().skip(roots.len()).eq(places.values()), "the answers tell the order of the log");
    // A root has as many children as there may be branches: each stands on one of its own, and none is lost.
    for root in &roots {
        let heads = &heads[&root.header.entry].heads;
        let branches: BTreeSet<u32> = heads.iter().map(|head| head.branch).collect();
        assert_eq!((heads.len(), branches.len()), (MAX_BRANCHES, MAX_BRANCHES));
    }
    // All others read the same, and so have the same heads.
    for device in &devices[1..] {
        for (after, body) in &served {
            assert!(page(device, *after).await == *body, "two devices are served different histories");
        }
    }
    let path = format!("/v1/vaults/{}/snapshot", devices[1].vault);
    let snapshot: Snapshot = devices[1].get(&path).await.json();
    assert_eq!((snapshot.position.0, snapshot.chain), (before + all as u64, chain));
    for shown in &snapshot.entries {
        let mut ids: Vec<_> = shown.versions.iter().map(|version| version.header.version_id()).collect();
        let mut expected = heads[&shown.entry].ids();
        ids.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ids, expected);
    }
}
