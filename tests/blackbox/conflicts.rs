//! Two devices that edit apart.

use lockstep_client::{crypto::wipe::Plaintext, model::Resolution};
use lockstep_events::{EntryId, VersionId};

use crate::{
    mode::Mode,
    people::{Device, another, register, text},
    server::Server,
};

in_both_modes! {
    what_a_device_settles_by_itself_goes_out_with_the_same_sync,
    the_same_edit_on_two_devices_becomes_one_by_itself_though_both_adopt_it_at_once,
    edits_apart_are_two_visible_branches_with_their_ancestor_on_both_devices,
    the_same_choice_on_both_devices_is_one_head,
    who_was_first_to_make_a_choice_is_told_alike_by_all_who_made_it,
    a_merge_by_hand_replaces_both_and_a_branch_that_arrives_meanwhile_stays_open,
    keep_both_makes_an_entry_of_the_other_side,
    a_delete_and_an_edit_apart_leave_the_entry_visible_until_somebody_decides,
}

/// An entry that two devices edited apart, both synced.
async fn apart(server: &Server, name: &str) -> (Device, Device, EntryId) {
    let first = register(server, name).await;
    let entry = first.add(b"base").await.unwrap();
    first.sync().await.unwrap();
    let second = another(server, name).await;
    for (device, word) in [(&first, "first"), (&second, "second")] {
        let base = heads(device, entry).await;
        device.edit(entry, &base, word.as_bytes()).await.unwrap();
    }
    for device in [&first, &second, &first] {
        device.sync().await.unwrap();
    }
    (first, second, entry)
}

async fn heads(device: &Device, entry: EntryId) -> Vec<VersionId> {
    device.get(entry).await.unwrap().head_ids()
}

async fn edits_apart_are_two_visible_branches_with_their_ancestor_on_both_devices(mode: Mode) {
    let server = Server::start_in(mode).await;
    let (first, second, entry) = apart(&server, "apart@example.org").await;
    for device in [&first, &second] {
        let conflicts = device.conflicts().await.unwrap();
        assert_eq!(conflicts.len(), 1);
        let texts: Vec<_> = conflicts[0].entry.heads.iter().map(text).collect();
        assert_eq!(texts, ["first", "second"], "who came first is branch 0");
        assert_eq!(
            device.conflict(entry).await.unwrap().ancestors.iter().map(text).collect::<Vec<_>>(),
            ["base"]
        );
    }
}

async fn the_same_choice_on_both_devices_is_one_head(mode: Mode) {
    let server = Server::start_in(mode).await;
    let (first, second, entry) = apart(&server, "choice@example.org").await;
    let shown = heads(&first, entry).await;
    for device in [&first, &second] {
        device.resolve(entry, &shown, &Resolution::Keep(shown[1])).await.unwrap();
    }
    for device in [&first, &second, &first] {
        device.sync().await.unwrap();
    }
    assert_eq!(heads(&first, entry).await, heads(&second, entry).await);
    assert_eq!(second.contents().await, ["second"]);
    assert_eq!(first.status().await.unwrap().conflicts, 0);
}

async fn who_was_first_to_make_a_choice_is_told_alike_by_all_who_made_it(mode: Mode) {
    let server = Server::start_in(mode).await;
    let (first, second, entry) = apart(&server, "who@example.org").await;
    let shown = heads(&first, entry).await;
    for device in [&first, &second] {
        device.resolve(entry, &shown, &Resolution::Keep(shown[1])).await.unwrap();
    }
    for device in [&second, &first] {
        device.sync().await.unwrap();
    }
    let chose = second.status().await.unwrap().device;
    for device in [&first, &second] {
        let history = device.history(entry).await.unwrap();
        assert_eq!(
            history.last().unwrap().device,
            chose,
            "the log has the choice of the one that came first"
        );
    }
}

async fn a_merge_by_hand_replaces_both_and_a_branch_that_arrives_meanwhile_stays_open(mode: Mode) {
    let server = Server::start_in(mode).await;
    let (first, second, entry) = apart(&server, "merge@example.org").await;
    let shown = heads(&first, entry).await;
    second.edit(entry, &shown[1..], b"second, once more").await.unwrap();
    second.sync().await.unwrap();
    let merged = Plaintext::new(b"merged".to_vec());
    first.resolve(entry, &shown, &Resolution::Merge(merged)).await.unwrap();
    for device in [&first, &second] {
        device.sync().await.unwrap();
    }
    assert_eq!(first.contents().await, ["merged", "second, once more"]);
    assert_eq!(first.contents().await, second.contents().await);
}

async fn keep_both_makes_an_entry_of_the_other_side(mode: Mode) {
    let server = Server::start_in(mode).await;
    let (first, second, entry) = apart(&server, "keep@example.org").await;
    let shown = heads(&first, entry).await;
    first.resolve(entry, &shown, &Resolution::KeepBoth(shown[0])).await.unwrap();
    for device in [&first, &second] {
        device.sync().await.unwrap();
    }
    assert_eq!(second.contents().await, ["first", "second"]);
    assert_eq!(second.entries().await.unwrap().len(), 2);
    assert_eq!(second.status().await.unwrap().conflicts, 0);
}

async fn a_delete_and_an_edit_apart_leave_the_entry_visible_until_somebody_decides(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "delete@example.org").await;
    let entry = first.add(b"base").await.unwrap();
    first.sync().await.unwrap();
    let second = another(&server, "delete@example.org").await;
    let base = heads(&first, entry).await;
    first.remove(entry, &base).await.unwrap();
    second.edit(entry, &base, b"still wanted").await.unwrap();
    for device in [&first, &second, &first] {
        device.sync().await.unwrap();
    }
    let shown = first.get(entry).await.unwrap();
    assert!(shown.divergent && !shown.deleted);
    assert_eq!(text(shown.winner().unwrap()), "still wanted");
    second.remove(entry, &heads(&second, entry).await).await.unwrap();
    for device in [&second, &first] {
        device.sync().await.unwrap();
        assert!(device.get(entry).await.unwrap().deleted);
    }
    // Over what a person was shown: a head that came meanwhile stays beside it. Over all: nothing does.
    let (history, shown) = (first.history(entry).await.unwrap(), heads(&first, entry).await);
    second.edit(entry, &heads(&second, entry).await, b"written again").await.unwrap();
    for device in [&second, &first] {
        device.sync().await.unwrap();
    }
    first.restore_over(entry, &shown, history[0].version).await.unwrap();
    first.sync().await.unwrap();
    let both = first.get(entry).await.unwrap();
    assert!(both.divergent && both.heads.len() == 2);
    first.restore(entry, history[0].version).await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    assert_eq!(second.contents().await, ["base"]);
    assert_eq!(heads(&second, entry).await.len(), 1);
}

async fn the_same_edit_on_two_devices_becomes_one_by_itself_though_both_adopt_it_at_once(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "same@example.org").await;
    let entry = first.add(b"base").await.unwrap();
    first.sync().await.unwrap();
    let second = another(&server, "same@example.org").await;
    for device in [&first, &second] {
        let base = heads(device, entry).await;
        device.edit(entry, &base, b"the same new password").await.unwrap();
    }
    let (one, other) = tokio::join!(first.sync(), second.sync());
    one.unwrap();
    other.unwrap();
    // Each has its own edit in; now both see both, and both adopt.
    for _ in 0..3 {
        let (one, other) = tokio::join!(first.sync(), second.sync());
        one.unwrap();
        other.unwrap();
    }
    for device in [&first, &second] {
        assert_eq!(device.contents().await, ["the same new password"]);
        assert_eq!(device.status().await.unwrap().conflicts, 0);
        assert_eq!(device.history(entry).await.unwrap().len(), 4, "base, two edits, one adopt");
        assert_eq!(device.alarms().await.unwrap(), []);
    }
    assert_eq!(heads(&first, entry).await, heads(&second, entry).await);
}

async fn what_a_device_settles_by_itself_goes_out_with_the_same_sync(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "settles@example.org").await;
    let entry = first.add(b"base").await.unwrap();
    first.sync().await.unwrap();
    let second = another(&server, "settles@example.org").await;
    for device in [&first, &second] {
        let base = heads(device, entry).await;
        device.edit(entry, &base, b"the same new password").await.unwrap();
    }
    first.sync().await.unwrap();
    let report = second.sync().await.unwrap();
    assert_eq!((report.pushed, report.waiting), (2, 0), "its own, and that both are one");
    first.sync().await.unwrap();
    assert_eq!((heads(&first, entry).await.len(), first.status().await.unwrap().waiting), (1, 0));
}
