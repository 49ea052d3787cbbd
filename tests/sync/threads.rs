//! What users of other engines lost, played against the real server.

use std::collections::BTreeMap;

use lockstep_api::sync::{Changes, History, PushItem, PushOutcome, Snapshot};
use lockstep_events::{
    BlobHash, Chain, EntryId, Event, StreamKind, VersionKind, canonical::sha256, event::VaultEvent,
};

use crate::{
    Ground, in_both_modes,
    support::{
        device::{Device, entry, id},
        mode::Mode,
    },
};

in_both_modes! {
    importing_and_deleting_427_entries_in_one_range_leaves_none_for_a_device_that_was_away;
    an_attachment_that_is_uploaded_beside_an_edit_makes_neither_stale;
    a_partial_client_that_drops_fields_takes_nothing_out_of_the_history;
    a_clock_that_is_a_day_off_decides_nothing;
}

const MANY: usize = 427;

/// Everything after a place, page by page.
async fn pulled(device: &Device, mut after: u64) -> Vec<lockstep_api::sync::StreamEvent> {
    let mut all = Vec::new();
    loop {
        let path = format!("/v1/streams/{}/changes?limit=500&after={}.{after}", device.vault, device.epoch);
        let page: Changes = device.get(&path).await.json();
        assert_eq!(page.from.0, after);
        after = page.to.0;
        all.extend(page.events);
        if !page.more {
            return all;
        }
    }
}

async fn accepted(device: &Device, items: &[PushItem]) {
    for chunk in items.chunks(256) {
        let results = device.push(chunk.to_vec()).await;
        assert!(results.iter().all(|result| result.outcome == PushOutcome::Accepted), "{results:?}");
    }
}

async fn importing_and_deleting_427_entries_in_one_range_leaves_none_for_a_device_that_was_away(mode: Mode) {
    // vaultwarden #4693
    let ground = Ground::new(mode).await;
    let (device, away) = (&ground.device, ground.device.another().await);
    let before = away.seq().await;
    let imported: Vec<_> = (0..MANY).map(|n| device.edit(entry(), &[], format!("{n}").as_bytes())).collect();
    accepted(device, &imported).await;
    let deleted: Vec<_> =
        imported.iter().map(|item| device.tombstone(item.header.entry, &[id(item)])).collect();
    accepted(device, &deleted).await;
    let mut heads: BTreeMap<EntryId, lockstep_events::graph::Heads> = BTreeMap::new();
    let events = pulled(&away, before).await;
    assert_eq!(events.len(), 2 * MANY);
    for event in events {
        let entry = EntryId(event.subject.unwrap().0);
        let recorded = event.recorded((away.vault.into(), StreamKind::Vault), &Chain::ZERO);
        let Ok(Event::Vault(decoded)) = recorded.event() else { panic!("{event:?}") };
        let VaultEvent::VersionAdded(added) = &decoded else { panic!("{decoded:?}") };
        assert_eq!(added.header.entry, entry);
        let _ = heads.entry(entry).or_default().apply(&decoded, event.seq);
    }
    assert_eq!(heads.len(), MANY);
    assert!(heads.values().all(|heads| heads.is_deleted() && heads.heads.len() == 1));
    let snapshot: Snapshot = away.get(&format!("/v1/vaults/{}/snapshot", away.vault)).await.json();
    for shown in &snapshot.entries {
        assert!(shown.versions.iter().all(|version| version.header.kind == VersionKind::Tombstone));
    }
    // Sent again, by whoever missed the answers, nothing comes back.
    for item in imported.chunks(256).chain(deleted.chunks(256)) {
        let again = device.push(item.to_vec()).await;
        assert!(again.iter().all(|result| result.outcome == PushOutcome::Duplicate));
    }
    assert_eq!(away.seq().await, before + 2 * MANY as u64);
}

async fn an_attachment_that_is_uploaded_beside_an_edit_makes_neither_stale(mode: Mode) {
    // bitwarden/server #332: an upload changed the entry's revision, and the edit that was open was refused.
    let ground = Ground::new(mode).await;
    let (device, phone) = (&ground.device, ground.device.another().await);
    let of = entry();
    let root = device.edit(of, &[], b"root");
    accepted(device, std::slice::from_ref(&root)).await;
    let open = phone.edit(of, &[id(&root)], b"edited while the attachment went up");
    let tail = device.seq().await;
    let attachment = vec![9; 40_000];
    let hash = BlobHash(sha256(&attachment));
    let octets = [("content-type", "application/octet-stream")];
    let put = format!("/v1/vaults/{}/blobs/{hash}?size={}", device.vault, attachment.len());
    assert_eq!(device.send("PUT", &put, &octets, &attachment).await.status, 204);
    assert_eq!(device.seq().await, tail, "an upload alone is no event");
    let result = phone.push(vec![open.clone()]).await.remove(0);
    assert_eq!((result.outcome, result.branch), (PushOutcome::Accepted, Some(0)));
    // The entry that names the attachment follows; it does not fork from the edit either.
    let mut naming = device.edit(of, &[id(&open)], &attachment);
    naming.inline = None;
    let result = device.push(vec![naming]).await.remove(0);
    assert_eq!((result.outcome, result.branch), (PushOutcome::Accepted, Some(0)));
}

async fn a_partial_client_that_drops_fields_takes_nothing_out_of_the_history(mode: Mode) {
    // rbw #364
    let ground = Ground::new(mode).await;
    let (device, partial) = (&ground.device, ground.device.another().await);
    let of = entry();
    let whole = device.edit(of, &[], b"name, password, and a field that only new clients know");
    accepted(device, std::slice::from_ref(&whole)).await;
    let has = pulled(&partial, 0).await.last().unwrap().seq.0;
    pulled(&partial, has).await;
    let mut save = partial.edit(of, &[], b"name, password");
    save.infer_parents = true;
    let result = partial.push(vec![save.clone()]).await.remove(0);
    assert_eq!((result.outcome, result.branch), (PushOutcome::Accepted, Some(0)));
    let path = format!("/v1/vaults/{}/entries/{of}/versions?content=1", device.vault);
    let history: History = device.get(&path).await.json();
    let texts: Vec<_> = history.versions.iter().map(|version| version.content.clone().unwrap().0).collect();
    assert_eq!(texts, [whole.inline.unwrap().0, save.inline.clone().unwrap().0]);
    let restored = device.adopt(of, &[id(&save)], history.versions[0].header.version_id());
    assert_eq!(device.push(vec![restored]).await[0].outcome, PushOutcome::Accepted);
}

async fn a_clock_that_is_a_day_off_decides_nothing(mode: Mode) {
    let ground = Ground::new(mode).await;
    let (device, phone) = (&ground.device, ground.device.another().await);
    let of = entry();
    let root = device.edit(of, &[], b"root");
    accepted(device, std::slice::from_ref(&root)).await;
    let at = |device: &Device, text: &[u8], time: i64| {
        let item = device.edit(of, &[id(&root)], text);
        let mut header = item.header.clone();
        header.client_time = time;
        PushItem { inline: item.inline, wrapped_key: item.wrapped_key, ..device.signed(header) }
    };
    let day = 24 * 3600 * 1_000_000;
    // Who came first is branch 0 and wins, whatever the clocks say.
    let (ahead, behind) = (at(device, b"first", -day), at(&phone, b"second", 4_000_000_000_000_000 + day));
    assert_eq!(device.push(vec![ahead.clone()]).await[0].outcome, PushOutcome::Accepted);
    let second = phone.push(vec![behind]).await.remove(0);
    assert_eq!((second.outcome, second.branch), (PushOutcome::AcceptedForked, Some(1)));
    assert_eq!(second.heads.unwrap()[0].version, id(&ahead));
}
