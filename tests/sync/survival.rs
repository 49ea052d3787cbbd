//! What was answered stands, whatever happens to the server.

use std::collections::BTreeSet;

use lockstep_api::sync::{PushItem, PushOutcome, Pushed};

use crate::{
    Ground, in_both_modes,
    support::{
        device::{Device, entry, id},
        mode::Mode,
        wire::{Wire, request},
    },
};

in_both_modes! {
    a_server_killed_in_the_middle_of_pushes_has_each_version_exactly_once_after_the_retry;
    a_place_that_a_killed_server_had_not_kept_costs_a_branch_at_most_and_never_an_edit;
}

const ROUNDS: usize = 5;
const WRITERS: usize = 8;

/// Pushes until the server is gone; what was answered.
async fn until_killed(device: Device, items: Vec<PushItem>) -> Vec<(PushItem, u64)> {
    let mut answered = Vec::new();
    let bearer = format!("Bearer {}", device.token);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let Ok(mut wire) = Wire::connect(device.addr).await else { return answered };
    for item in items {
        let body = serde_json::to_vec(&device.batch(vec![item.clone()])).unwrap();
        let Ok(reply) = wire.exchange(&request("POST", &device.push_path(), &headers, &body)).await else {
            break;
        };
        if reply.status == 200 {
            answered.push((item, reply.json::<Pushed>().results[0].seq.unwrap().0));
        }
    }
    answered
}

async fn a_server_killed_in_the_middle_of_pushes_has_each_version_exactly_once_after_the_retry(mode: Mode) {
    let mut ground = Ground::new(mode).await;
    let mut total = 0;
    for _ in 0..ROUNDS {
        let batches: Vec<Vec<PushItem>> = (0..WRITERS)
            .map(|_| (0..2000).map(|_| ground.device.edit(entry(), &[], b"x")).collect())
            .collect();
        let writers: Vec<_> = batches
            .iter()
            .map(|items| tokio::spawn(until_killed(ground.device.clone(), items.clone())))
            .collect();
        let before = ground.device.seq().await;
        while ground.device.seq().await < before + 20 {}
        ground.kill_and_start();
        let mut answered = Vec::new();
        for writer in writers {
            answered.extend(writer.await.unwrap());
        }
        assert!(!answered.is_empty());
        for chunk in answered.chunks(256) {
            let results = ground.device.push(chunk.iter().map(|(item, _)| item.clone()).collect()).await;
            for ((_, seq), result) in chunk.iter().zip(results) {
                assert_eq!((result.outcome, result.seq.unwrap().0), (PushOutcome::Duplicate, *seq));
            }
        }
        // Those that were not answered may stand or not; pushed again, each stands once.
        let unknown: Vec<_> = batches.into_iter().flatten().take(200).collect();
        let seqs: BTreeSet<u64> =
            ground.device.push(unknown.clone()).await.iter().map(|result| result.seq.unwrap().0).collect();
        assert_eq!(seqs.len(), unknown.len());
        total += answered.len();
    }
    assert!(total >= ROUNDS);
}

async fn a_place_that_a_killed_server_had_not_kept_costs_a_branch_at_most_and_never_an_edit(mode: Mode) {
    let mut ground = Ground::new(mode).await;
    let partial = ground.device.another().await;
    for wait in [0, 3_000] {
        let of = entry();
        let root = ground.device.edit(of, &[], b"root");
        ground.device.push(vec![root.clone()]).await;
        let served = partial.get(&format!("/v1/streams/{}/changes", partial.vault)).await;
        let page: lockstep_api::sync::Changes = served.json();
        let asked = format!("/v1/streams/{}/changes?after={}.{}", partial.vault, page.epoch, page.to);
        assert_eq!(partial.get(&asked).await.status, 200);
        let unseen = ground.device.edit(of, &[id(&root)], b"not served to the other device");
        ground.device.push(vec![unseen.clone()]).await;
        // At once, and when the place may be kept already: both must do.
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        ground.kill_and_start();
        let mut save = partial.edit(of, &[], b"saved over the root");
        save.infer_parents = true;
        let result = partial.push(vec![save.clone()]).await.remove(0);
        assert_eq!(result.outcome, PushOutcome::AcceptedForked);
        let heads: Vec<_> = result.heads.unwrap().iter().map(|head| head.version).collect();
        assert_eq!(heads, [id(&unseen), id(&save)], "an edit that was not seen is still a head");
    }
}
