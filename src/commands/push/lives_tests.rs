//! What a node knows of a stream's former life decides nothing in the present one.

use lockstep_events::{VersionKind, graph::Heads, testing::MemoryLog};
use uuid::Uuid;

use super::{
    tests::{EPOCH, VAULT, edit, entry, founding, id, node, push, signed},
    *,
};

#[tokio::test]
async fn a_version_over_one_that_only_the_former_life_had_is_not_taken_for_one_over_a_head() {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(Uuid::nil()));
    log.append(&[founding()], lockstep_events::Micros(1)).await.unwrap();
    let (pusher, other) = (node(&log), node(&log));
    let root = edit(1, entry(1), &[], "root");
    pusher.push(push(1, vec![root.clone()])).await.unwrap();
    // This node has seen an edit over it at seq 3. The log was put back to before that, and has another one there now.
    let lost = edit(1, entry(1), &[id(&root)], "lost");
    let mut former = Heads::default();
    for (item, parents, seq) in [(&root, vec![], 2), (&lost, vec![id(&root)], 3)] {
        former.accept(id(item), VersionKind::Edit, &parents, Seq(seq));
    }
    pusher.entries.put(VAULT, EPOCH, entry(1), &former);
    let present = edit(2, entry(1), &[id(&root)], "in its place");
    let pushed = other.push(push(2, vec![present.clone()])).await.unwrap();
    assert_eq!(pushed.answers[0].1.seq(), Some(Seq(3)));
    let next = Epoch([9; 16]);
    log.renew_epoch(VAULT.into(), next).await.unwrap();
    pusher.members.renewed(VAULT.into());

    let over = Push { epoch: next, ..push(1, vec![edit(1, entry(1), &[id(&lost)], "over what was lost")]) };
    let answer = pusher.push(over).await.unwrap().answers.remove(0).1;
    let Answer::Refused { refusal: Refusal::MissingParents(missing), .. } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(missing, [id(&lost)]);
    // Over what stands it is taken, also by a node that knew better.
    let over = Push { epoch: next, ..push(1, vec![edit(1, entry(1), &[id(&present)], "over what stands")]) };
    let answer = pusher.push(over).await.unwrap().answers.remove(0).1;
    assert!(matches!(answer, Answer::Accepted { forked: false, .. }), "{answer:?}");
}

#[tokio::test]
async fn who_says_that_it_saw_more_than_there_is_reads_first_unless_it_is_of_an_earlier_life() {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(Uuid::nil()));
    log.append(&[founding()], lockstep_events::Micros(1)).await.unwrap();
    let (pusher, other) = (node(&log), node(&log));
    let seen = |by: u8, seq: u64, text: &str| {
        let mut item = edit(by, entry(u128::from(seq)), &[], text);
        item.header.observed_seq = Seq(seq);
        signed(by, item)
    };
    let pushed = pusher.push(push(1, vec![seen(1, 1, "of what stands")])).await.unwrap();
    assert_eq!(pushed.answers[0].1.seq(), Some(Seq(2)));
    for ahead in [3, 53] {
        let refused = pusher.push(push(1, vec![seen(1, ahead, "ahead")])).await;
        assert!(matches!(&refused, Err(PushError::Epoch(head)) if head.seq == Seq(2)), "{refused:?}");
    }
    // Another node wrote meanwhile, which this one has not heard of.
    other.push(push(2, vec![edit(2, entry(9), &[], "elsewhere")])).await.unwrap();
    let pushed = pusher.push(push(1, vec![seen(1, 3, "ahead")])).await.unwrap();
    assert_eq!(pushed.answers[0].1.seq(), Some(Seq(4)));
    let again = Push { reoffer: true, ..push(1, vec![seen(1, 53, "ahead")]) };
    assert_eq!(pusher.push(again).await.unwrap().answers[0].1.seq(), Some(Seq(5)));
}
