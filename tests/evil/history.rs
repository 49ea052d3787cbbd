//! Lies about what happened, and in which order.

use lockstep_api::sync::Versions;
use lockstep_client::{
    Error,
    model::{AlarmKind, Content, Entry, Link},
};
use lockstep_events::{
    Event, Micros,
    event::{ContentPruned, VaultEvent},
};

use crate::{
    ground::{Ground, alarmed, change, entry, events, held},
    lies::{about, all_of, fit, page, places, raw, say, versions},
    people::{Device, heard, until},
};

#[tokio::test]
async fn e06_an_old_version_shown_as_the_newest_is_an_alarm() {
    let (ground, first, second) = Ground::two().await;
    let old = events(&first).await.into_iter().nth(1).unwrap();
    for text in ["one", "two"] {
        change(&first, text, &format!("{text} again")).await;
    }
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    first.add(b"three").await.unwrap();
    first.sync().await.unwrap();
    let again = versions(move |page, before| {
        page.events.push(old.clone());
        fit(page, before);
        true
    });
    ground.caught(&second, AlarmKind::Header, again).await;
    ground.recovers(&second, &["one again", "three", "two again", "unsaid"]).await;
}

#[tokio::test]
async fn e09_what_is_left_out_of_the_middle_is_an_alarm() {
    let (ground, _first, second) = Ground::with_news(&["three", "four"]).await;
    let dropped = versions(|page, _| {
        page.events.remove(0);
        true
    });
    ground.caught(&second, AlarmKind::Page, dropped).await;
    let renumbered = versions(|page, _| {
        page.events.remove(0);
        page.events[0].seq = page.from.next();
        page.to = page.from.next();
        page.set_digest = None;
        true
    });
    ground.caught(&second, AlarmKind::Chain, renumbered).await;
    let cut_short = versions(|page, _| {
        page.events.pop();
        true
    });
    ground.caught(&second, AlarmKind::Page, cut_short).await;
    ground.recovers(&second, &["four", "one", "three", "two", "unsaid"]).await;
}

#[tokio::test]
async fn e09_what_the_server_took_and_does_not_show_goes_out_again_with_an_alarm() {
    let (ground, first, second) = Ground::two().await;
    second.add(b"swallowed").await.unwrap();
    ground.proxy.tell(all_of(vec![
        page(|page, before| {
            page.events.clear();
            fit(page, before);
            page.head = page.to;
            true
        }),
        about("/versions/get", |found: &mut Versions| {
            found.versions.clear();
            true
        }),
    ]));
    for _ in 0..2 {
        // It is offered, taken, not shown, and waits again.
        let synced = second.sync().await;
        assert!(matches!(synced, Err(Error::Alarm(AlarmKind::SetDigest))), "{synced:?}");
        assert_eq!(second.contents().await, ["one", "swallowed", "two"]);
        assert_eq!(second.status().await.unwrap().waiting, 1, "it is said that nobody else has it");
    }
    assert_eq!(alarmed(&second).await, [AlarmKind::SetDigest]);
    ground.proxy.honest();
    second.sync().await.unwrap();
    first.sync().await.unwrap();
    assert_eq!(first.contents().await, ["one", "swallowed", "two"]);
    assert_eq!(second.status().await.unwrap().waiting, 0);
}

/// The answer about blobs, with none of them there.
fn without_any(frames: &[u8]) -> Vec<u8> {
    let (mut rest, mut none) = (frames, Vec::new());
    while let Some((head, bytes)) = rest.split_first_chunk::<36>() {
        none.extend([&head[..32], &[0xff; 4]].concat());
        let length = u32::from_be_bytes(head[32..].try_into().unwrap());
        rest = &bytes[if length < u32::MAX - 1 { length as usize } else { 0 }..];
    }
    none
}

#[tokio::test]
async fn e09_a_content_that_is_shown_and_said_to_be_gone_is_not_taken_for_gone_and_is_asked_for_again() {
    let (ground, _first, second) = Ground::with_news(&["three"]).await;
    ground.proxy.tell(all_of(vec![
        versions(|page, _| {
            page.events.iter_mut().for_each(|event| event.content = None);
            true
        }),
        raw("/blobs/get", |answer| answer.body = without_any(&answer.body)),
    ]));
    for _ in 0..2 {
        second.sync().await.unwrap();
    }
    let missing = |entry: &Entry| entry.heads.iter().any(|head| matches!(head.content, Content::Missing));
    assert_eq!(second.entries().await.unwrap().iter().filter(|entry| missing(entry)).count(), 1);
    assert!(ground.proxy.honest().0 >= 2);
    assert_eq!(alarmed(&second).await, []);
    ground.recovers(&second, &["one", "three", "two"]).await;
}

#[tokio::test]
async fn e09_a_content_that_is_shown_and_said_to_be_pruned_is_an_alarm() {
    let (ground, _first, second) = Ground::with_news(&["three"]).await;
    let shown = entry(&second, "one").await;
    let pruned = versions(move |page, before| {
        let event = page.events.last_mut().unwrap();
        (event.subject, event.content) = (Some(shown.entry.into()), None);
        let pruned = ContentPruned { entry: shown.entry, versions: shown.head_ids(), contents: Vec::new() };
        say(event, &Event::Vault(VaultEvent::ContentPruned(pruned)));
        fit(page, before);
        true
    });
    ground.caught(&second, AlarmKind::Content, pruned).await;
    ground.recovers(&second, &["one", "three", "two", "unsaid"]).await;
}

#[tokio::test]
async fn e10_a_history_in_another_order_is_an_alarm() {
    let (ground, first, second) = Ground::with_news(&["three"]).await;
    change(&first, "three", "three again").await;
    first.sync().await.unwrap();
    let reordered = versions(|page, _| {
        let [one, .., other] = places(page)[..] else { return false };
        page.events.swap(one, other);
        let seq = page.events[one].seq;
        page.events[one].seq = page.events[other].seq;
        page.events[other].seq = seq;
        true
    });
    ground.caught(&second, AlarmKind::Chain, reordered).await;
    let child_first = versions(|page, before| {
        let [one, .., other] = places(page)[..] else { return false };
        page.events.swap(one, other);
        fit(page, before);
        true
    });
    ground.caught(&second, AlarmKind::Header, child_first).await;
    ground.recovers(&second, &["one", "three again", "two", "unsaid"]).await;
}

#[tokio::test]
async fn e11_an_event_that_comes_twice_is_an_alarm() {
    let (ground, _first, second) = Ground::with_news(&["three"]).await;
    let doubled = versions(|page, _| {
        let event = page.events.last().unwrap().clone();
        page.events.push(event);
        true
    });
    ground.caught(&second, AlarmKind::Page, doubled).await;
    let numbered = versions(|page, before| {
        let event = page.events.last().unwrap().clone();
        page.events.push(event);
        fit(page, before);
        true
    });
    ground.caught(&second, AlarmKind::Header, numbered).await;
    ground.recovers(&second, &["one", "three", "two", "unsaid"]).await;
}

/// Two devices, of which the second was shown a history without what the first wrote, and wrote `text` after it: to the
/// first that is also what an app looks like that names a place that it did not see.
pub async fn apart(text: &[u8]) -> (Ground, Device, Device) {
    let (ground, first, second) = Ground::with_news(&["hidden"]).await;
    second.add(b"beside it").await.unwrap();
    ground.proxy.tell(versions(|page, before| {
        page.events.remove(0);
        fit(page, before);
        true
    }));
    second.sync().await.unwrap();
    second.add(text).await.unwrap();
    second.sync().await.unwrap();
    assert!(ground.proxy.honest().0 > 0);
    (ground, first, second)
}

#[tokio::test]
async fn e12_two_histories_of_one_vault_are_noticed_as_soon_as_they_meet() {
    let (_ground, first, second) = apart(b"in the fork").await;
    let before = held(&first).await;
    // The first meets a version whose author saw another history,
    let synced = first.sync().await;
    assert!(matches!(synced, Err(Error::Alarm(AlarmKind::ObservedChain))), "{synced:?}");
    assert_eq!(held(&first).await, before);
    assert_eq!(alarmed(&first).await, [AlarmKind::ObservedChain]);
    // and the second, shown the truth, one that does not follow from its own.
    let (before, synced) = (held(&second).await, second.sync().await);
    assert!(matches!(synced, Err(Error::Alarm(AlarmKind::Chain))), "{synced:?}");
    assert_eq!(held(&second).await, before);
    assert_eq!(alarmed(&second).await, [AlarmKind::Chain]);
}

#[tokio::test]
async fn e27_a_clock_that_is_wrong_everywhere_decides_nothing() {
    // One that went back is E31.
    for years in [1, 80] {
        let (ground, first, second) = Ground::two().await;
        change(&first, "one", "one by the first").await;
        change(&second, "one", "one by the second").await;
        first.sync().await.unwrap();
        let truth = entry(&first, "one by the first").await.head_ids();
        ground.proxy.tell(versions(move |page, before| {
            page.events.iter_mut().for_each(|event| event.recorded_at.0 += years * 31_557_600_000_000);
            fit(page, before);
            true
        }));
        second.sync().await.unwrap();
        assert!(ground.proxy.honest().0 > 0);
        assert_eq!(second.contents().await, ["one by the first", "one by the second", "two"]);
        let shown = entry(&second, "one by the second").await;
        assert_eq!((shown.head_ids()[0], shown.divergent), (truth[0], true), "the first branch wins");
        // The lie stands in the chain, and is noticed where the truth comes next.
        first.add(b"three").await.unwrap();
        first.sync().await.unwrap();
        assert!(matches!(second.sync().await, Err(Error::Alarm(AlarmKind::Chain))));
    }
}

#[tokio::test]
async fn e31_a_time_that_goes_back_is_an_alarm() {
    let (ground, _first, second) = Ground::with_news(&["three", "four"]).await;
    let back = versions(|page, before| {
        fit(page, before);
        let first = page.events[0].recorded_at;
        page.events.last_mut().unwrap().recorded_at = Micros(first.0 - 1);
        crate::lies::chained(page, before);
        true
    });
    ground.caught(&second, AlarmKind::Page, back).await;
    ground.recovers(&second, &["four", "one", "three", "two", "unsaid"]).await;
}

#[tokio::test]
async fn e31_a_time_that_goes_back_from_one_page_to_the_next_is_an_alarm() {
    let (ground, _first, second) = Ground::with_news(&["three", "four"]).await;
    let back = versions(|page, before| {
        fit(page, before);
        page.events[0].recorded_at = Micros(1);
        crate::lies::chained(page, before);
        true
    });
    ground.caught(&second, AlarmKind::Page, back).await;
    ground.recovers(&second, &["four", "one", "three", "two", "unsaid"]).await;
}

#[tokio::test]
async fn e33_an_older_one_file_vault_is_an_alarm() {
    let (ground, first, second) = Ground::two().await;
    first.file_put(&[], b"the file").await.unwrap();
    first.sync().await.unwrap();
    let old = events(&first).await.pop().unwrap();
    let heads = first.file_get().await.unwrap().unwrap().1;
    first.file_put(&heads, b"the newer file").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    let newest = |bytes: &[u8]| assert_eq!(bytes, b"the newer file");
    newest(&second.file_get().await.unwrap().unwrap().0);
    first.add(b"three").await.unwrap();
    first.sync().await.unwrap();
    let again = versions(move |page, before| {
        page.events.push(old.clone());
        fit(page, before);
        true
    });
    ground.caught(&second, AlarmKind::Header, again).await;
    ground.recovers(&second, &["one", "three", "two", "unsaid"]).await;
    newest(&second.file_get().await.unwrap().unwrap().0);
}

#[tokio::test]
async fn a_lie_that_is_told_on_the_live_feed_is_caught_too() {
    let (ground, first, second) = Ground::two().await;
    let mut following = second.follow();
    following.link.wait_for(|link| *link == Link::Live).await.unwrap();
    let before = held(&second).await;
    ground.proxy.tell(crate::lies::last_version(|added| added.signature.0[5] ^= 1));
    first.add(b"three").await.unwrap();
    // It is told the same when it reads what it wrote.
    assert!(matches!(first.sync().await, Err(Error::Alarm(AlarmKind::Signature))));
    heard(&mut following, AlarmKind::Signature).await;
    assert_eq!(held(&second).await, before);
    assert_eq!(alarmed(&second).await, [AlarmKind::Signature]);
    ground.proxy.honest();
    until("the truth is taken", || async { second.contents().await == ["one", "three", "two"] }).await;
}
