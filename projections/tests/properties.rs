//! Invariants of sync.md §10 that the read models keep, over random scripts.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{collections::BTreeSet, sync::Arc};

use lockstep_events::{
    Event, Position, Seq, VersionId,
    event::VaultEvent,
    graph::Graph,
    log::{Contents, Filter},
};
use lockstep_projections::{
    ReadStore, Runner,
    rows::EntryRow,
    testing::{
        MemoryReads,
        contract::{live_checksums, memory_log},
        script::{Script, play},
    },
};
use proptest::prelude::*;

fn ids(row: &EntryRow) -> BTreeSet<VersionId> {
    row.heads.heads.iter().map(|head| head.version).collect()
}

fn check_branches(row: &EntryRow, what: &str) {
    let branches: BTreeSet<_> = row.heads.heads.iter().map(|head| head.branch).collect();
    assert_eq!(branches.len(), row.heads.heads.len(), "S7: {what}: two heads on one branch: {row:?}");
    let live = |head: &&lockstep_events::graph::Head| head.kind.is_live();
    let lowest_live = row.heads.heads.iter().filter(live).min_by_key(|head| head.branch);
    let expected = lowest_live.or_else(|| row.heads.heads.iter().min_by_key(|head| head.branch));
    assert_eq!(row.winner, expected.map(|head| head.version), "S7: {what}: the winner jumped: {row:?}");
    let conflict = row.heads.heads.len() > 1 && lowest_live.is_some();
    assert_eq!(row.conflict, conflict, "S7: {what}: wrong conflict flag: {row:?}");
}

/// Folds event by event and compares each prefix with the plain definition of heads.
async fn check_every_prefix(seed: u64, events: usize) {
    let (log, mut script) = (memory_log(), Script::new(seed));
    play(&log, &mut script, events).await;
    let reads: Arc<dyn ReadStore> = Arc::new(MemoryReads::new());
    let mut runner = Runner::start(Arc::clone(&log), Arc::clone(&reads)).await.unwrap();
    let mut graphs = std::collections::HashMap::<_, Graph>::new();
    for recorded in log.read_all(Position::ZERO, 100_000, &Filter::default(), Contents::No).await.unwrap() {
        let (vault, what) = (recorded.stream.into(), format!("seed {seed}, position {}", recorded.position));
        let entry = recorded.subject.map(lockstep_events::EntryId::from);
        let row = async |reads: &dyn ReadStore| {
            let rows = reads.entries_by_id(vault, entry.as_slice()).await.unwrap();
            rows.into_iter().next()
        };
        let before = row(&*reads).await;
        runner.apply(std::slice::from_ref(&recorded)).await.unwrap();
        let (Event::Vault(event), Some(after)) = (recorded.event().unwrap(), row(&*reads).await) else {
            continue;
        };
        let graph = graphs.entry((vault, after.entry)).or_default();
        match event {
            VaultEvent::VersionAdded(added) => {
                let id = added.header.version_id();
                graph.insert(id, added.parents());
                let mut expected = before.as_ref().map(ids).unwrap_or_default();
                expected.retain(|head| !added.parents().contains(head));
                expected.insert(id);
                assert_eq!(ids(&after), expected, "S6: {what}: heads are not (heads − parents) + version");
                check_version(&*reads, &after, id, &what).await;
            }
            VaultEvent::Purged(_) => *graph = Graph::default(),
            VaultEvent::Created(_) | VaultEvent::ContentPruned(_) | VaultEvent::Erased(_) => {}
        }
        assert_eq!(ids(&after), graph.heads(), "S5: {what}: heads are not the versions without children");
        check_branches(&after, &what);
    }
    check_counts(&*reads, &script, seed).await;
}

async fn check_version(reads: &dyn ReadStore, entry: &EntryRow, id: VersionId, what: &str) {
    let rows = reads.versions_by_id(entry.vault, &[id]).await.unwrap();
    let head = entry.heads.heads.iter().find(|head| head.version == id).unwrap();
    assert_eq!(rows.len(), 1, "S3: {what}: the version has no row");
    assert_eq!(rows[0].header.version_id(), id, "S8: {what}: the header does not recompute to the id");
    assert_eq!((rows[0].branch, rows[0].seq), (head.branch, head.seq), "S7: {what}: version and head differ");
}

/// The counts of a vault, counted again from its entries and versions.
async fn check_counts(reads: &dyn ReadStore, script: &Script, seed: u64) {
    for made in &script.vaults {
        let vault = reads.vault(made.vault).await.unwrap().unwrap();
        let entries = reads.entries(made.vault, None, 100_000).await.unwrap();
        let live =
            entries.iter().filter(|row| !row.heads.heads.is_empty() && !row.heads.is_deleted()).count();
        let divergent = entries.iter().filter(|row| row.conflict).count();
        let (mut versions, mut bytes) = (0, 0);
        for entry in &entries {
            let rows = reads.versions_of(made.vault, entry.entry, Seq::ZERO, 100_000).await.unwrap();
            assert_eq!(rows.len() as u64, entry.versions, "seed {seed}");
            versions += rows.len();
            let kept = rows.iter().filter(|row| !row.content_gone);
            bytes += kept.clone().map(|row| u64::from(row.header.content_len)).sum::<u64>();
            let attached: BTreeSet<_> = kept.flat_map(|row| &row.attachments).collect();
            bytes += attached.into_iter().map(|hash| u64::from(hash.0[0])).sum::<u64>();
            assert!(
                !entry.heads.purged || rows.iter().all(|row| row.content_gone && row.wrapped_key.is_none())
            );
        }
        let counted = (live as u64, divergent as u64, versions as u64, bytes);
        let kept = (vault.live_entries, vault.divergent_entries, vault.versions, vault.content_bytes);
        assert_eq!(kept, counted, "seed {seed}: counts of vault {}", made.vault);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn s5_s6_s7_heads_branches_and_winner_hold_in_every_prefix(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check_every_prefix(seed, 160));
    }

    #[test]
    fn s5_folding_in_two_pieces_gives_the_rows_of_folding_at_once(seed: u64, cut in 1_usize..200) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move {
            let (log, mut script) = (memory_log(), Script::new(seed));
            let (halves, whole) = (Arc::new(MemoryReads::new()), Arc::new(MemoryReads::new()));
            for part in [cut, 200 - cut] {
                play(&log, &mut script, part).await;
                Runner::start(log.clone(), halves.clone()).await.unwrap().catch_up().await.unwrap();
            }
            Runner::start(log.clone(), whole.clone()).await.unwrap().catch_up().await.unwrap();
            assert_eq!(live_checksums(&*halves).await, live_checksums(&*whole).await, "S5: seed {seed}");
        });
    }
}
