//! Where no lie is told and the line breaks: between the pages of a first sync, or before the answer to what is done once.

use lockstep_api::sync::{History, Snapshot};
use lockstep_client::{
    Error,
    model::{AlarmKind, Content},
};
use lockstep_events::{Event, VersionKind, event::VaultEvent};

use crate::{
    ground::{Ground, alarmed, entry, events},
    history::apart,
    lies::{about, all_of, said},
    people::Device,
    proxy::Lie,
};

/// A snapshot of two pages. The first has the entries that are kept, and the line breaks before the second.
fn between_pages(keep: impl Fn(&str) -> bool + Send + 'static) -> Lie {
    let mut first = about("/snapshot", move |page: &mut Snapshot| {
        page.entries.retain(|entry| keep(&entry.entry.to_string()));
        assert!(!page.entries.is_empty());
        page.next = Some("more".to_owned());
        true
    });
    let mut over = false;
    Box::new(move |asked, answer, known| {
        if over || !asked.path.contains("/snapshot") {
            return false;
        }
        if asked.path.contains("page=") {
            (answer.status, over) = (0, true);
            return true;
        }
        first(asked, answer, known)
    })
}

/// A first sync that ends between the pages.
async fn ends_between_pages(ground: &Ground, device: &Device, keep: impl Fn(&str) -> bool + Send + 'static) {
    ground.proxy.tell(between_pages(keep));
    let synced = device.sync().await;
    assert!(matches!(synced, Err(Error::Offline(_))), "{synced:?}");
    assert_eq!(device.entries().await.unwrap().len(), 1, "the first page was taken");
}

#[tokio::test]
async fn a_first_sync_that_was_cut_off_between_pages_begins_again_as_one_and_asks_for_no_history() {
    // The first device meets an author who saw another history, as after a restore; who joins later does not.
    let (ground, first, second) = apart(b"apart").await;
    drop(second);
    let kept = entry(&first, "one").await.entry.to_string();
    let joins = ground.unread().await;
    ends_between_pages(&ground, &joins, move |entry| entry == kept).await;
    joins.sync().await.unwrap();
    let (_, after) = ground.proxy.honest();
    assert!(after.iter().any(|asked| asked.path.ends_with("/snapshot")));
    let vault = joins.status().await.unwrap().vault.to_string();
    let whole = |path: &str| path.contains(&format!("{vault}/changes")) && path.contains(".0&");
    assert!(!after.iter().any(|asked| whole(&asked.path)), "{after:?}");
    assert_eq!(joins.contents().await, ["apart", "beside it", "hidden", "one", "two"]);
    assert_eq!(alarmed(&joins).await, []);
    joins.add(b"said").await.unwrap();
    joins.sync().await.unwrap();
    assert_eq!(joins.status().await.unwrap().waiting, 0);
}

#[tokio::test]
async fn what_was_erased_between_the_pages_of_a_first_sync_is_erased_and_disturbs_no_digest() {
    let (ground, first, _second) = Ground::two().await;
    let erased = entry(&first, "one").await;
    let (joins, kept) = (ground.unread().await, erased.entry.to_string());
    ends_between_pages(&ground, &joins, move |entry| entry == kept).await;
    first.remove(erased.entry, &erased.head_ids()).await.unwrap();
    first.sync().await.unwrap();
    let shown = first.get(erased.entry).await.unwrap().head_ids();
    first.purge(erased.entry, &shown).await.unwrap();
    joins.sync().await.unwrap();
    assert_eq!(joins.contents().await, ["two"]);
    assert_eq!(joins.deleted().await.unwrap(), []);
    let history = joins.history(erased.entry).await.unwrap();
    assert!(history.iter().all(|version| matches!(version.content, Content::Gone | Content::None)));
    // Another process compares everything with the digest.
    let joins = joins.reopened().await;
    joins.sync().await.unwrap();
    assert_eq!(alarmed(&joins).await, []);
}

#[tokio::test]
async fn what_the_pages_before_the_cut_showed_nobody_takes_away_by_leaving_it_out() {
    let (ground, first, _second) = Ground::two().await;
    let hidden = entry(&first, "one").await.entry;
    let (joins, kept) = (ground.unread().await, hidden.to_string());
    ends_between_pages(&ground, &joins, move |entry| entry == kept).await;
    ground.proxy.tell(about("/snapshot", move |page: &mut Snapshot| {
        page.entries.retain(|entry| entry.entry != hidden);
        true
    }));
    let _ = joins.sync().await;
    assert!(ground.proxy.honest().0 > 0);
    assert_eq!(alarmed(&joins).await, [AlarmKind::Content]);
    assert_eq!(joins.contents().await, ["one", "two"]);
}

#[tokio::test]
async fn what_is_done_once_is_sent_again_where_the_line_broke_before_the_answer_and_is_done_once() {
    let (ground, first, _second) = Ground::two().await;
    let erased = entry(&first, "one").await;
    first.remove(erased.entry, &erased.head_ids()).await.unwrap();
    first.sync().await.unwrap();
    let shown = first.get(erased.entry).await.unwrap().head_ids();
    let mut broke = false;
    ground.proxy.tell(Box::new(move |asked, answer, _| {
        let breaks = !broke && asked.path.ends_with("/purge");
        if breaks {
            (answer.status, broke) = (0, true);
        }
        breaks
    }));
    first.purge(erased.entry, &shown).await.unwrap();
    assert_eq!(ground.proxy.honest().0, 1);
    first.sync().await.unwrap();
    let purges = |event| matches!(said(event), Some(Event::Vault(VaultEvent::Purged(_))));
    assert_eq!(events(&first).await.iter().filter(|event| purges(event)).count(), 1);
}

#[tokio::test]
async fn e16_a_history_that_ends_with_a_deletion_erases_nothing_that_was_shown_as_undeleted() {
    let (ground, first, _second) = Ground::two().await;
    let undeleted = entry(&first, "one").await;
    first.remove(undeleted.entry, &undeleted.head_ids()).await.unwrap();
    first.restore(undeleted.entry, undeleted.head_ids()[0]).await.unwrap();
    first.sync().await.unwrap();
    let (joins, kept) = (ground.unread().await, undeleted.entry.to_string());
    ends_between_pages(&ground, &joins, move |entry| entry == kept).await;
    ground.proxy.tell(all_of(vec![
        about("/snapshot", move |page: &mut Snapshot| {
            page.entries.retain(|entry| entry.entry != undeleted.entry);
            true
        }),
        about("/entries/", |history: &mut History| {
            history.versions.retain(|version| version.header.kind != VersionKind::Adopt);
            true
        }),
    ]));
    let _ = joins.sync().await;
    assert!(ground.proxy.honest().0 > 1);
    assert_eq!(alarmed(&joins).await, [AlarmKind::Content]);
    assert_eq!(joins.contents().await, ["one", "two"]);
}
