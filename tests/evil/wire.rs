//! Answers that are meant to break or to probe the client, and ways to lead it elsewhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lockstep_api::sync::{PreparedBlob, PreparedBlobs};
use lockstep_client::{
    Error,
    model::AlarmKind,
    server::{Server as Address, Trust},
};
use lockstep_events::{Hex, VersionId};
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::{
    ground::{Ground, alarmed, nothing_secret},
    lies::{about, last_version, raw, versions},
};

/// Somebody else's server: how many bytes it has been sent.
async fn elsewhere() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            // Whoever connects is counted, too.
            counter.fetch_add(1, Ordering::SeqCst);
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(len @ 1..) = socket.read(&mut buffer).await {
                    counter.fetch_add(len, Ordering::SeqCst);
                }
            });
        }
    });
    (addr.to_string(), heard)
}

fn no_answer(error: &Error) -> bool {
    matches!(error, Error::Protocol(_))
}

#[tokio::test]
async fn e24_bombs_of_size_depth_and_count_are_refused() {
    let (ground, _first, second) = Ground::with_news(&["three"]).await;
    let bodies: [fn() -> Vec<u8>; 5] = [
        || "[".repeat(200_000).into_bytes(),
        || format!("{}{}", "{\"a\":".repeat(100_000), "}".repeat(100_000)).into_bytes(),
        || vec![b' '; 65 * 1024 * 1024],
        || format!("{{\"from\":{}}}", "9".repeat(100_000)).into_bytes(),
        || b"\xff\xfe not text".to_vec(),
    ];
    for body in bodies {
        ground.refused(&second, raw("/changes", move |answer| answer.body = body()), no_answer).await;
    }
    let parents = last_version(|added| added.header.parents = (0..65).map(|n| VersionId([n; 32])).collect());
    ground.caught(&second, AlarmKind::Header, parents).await;
    let count = versions(|page, _| {
        let event = page.events[0].clone();
        page.events = vec![event; 5_000];
        true
    });
    ground.caught(&second, AlarmKind::Page, count).await;
    ground.recovers(&second, &["one", "three", "two", "unsaid"]).await;
}

#[tokio::test]
async fn e25_wherever_a_ciphertext_or_key_was_changed_the_server_sees_the_same_and_little() {
    let (ground, _first, second) = Ground::with_news(&["three"]).await;
    let mut seen = Vec::new();
    for at in [0, 23, 24, 55, 56, 100, 200] {
        ground.proxy.tell(versions(move |page, _| {
            let content = page.events.last_mut().unwrap().content.as_mut().unwrap();
            content.0[at] ^= 1;
            true
        }));
        let error = second.sync().await.unwrap_err();
        let (told, after) = ground.proxy.honest();
        nothing_secret(&after);
        assert!((1..=3).contains(&told), "it asks {told} times");
        let asked: Vec<_> = after.into_iter().map(|asked| (asked.method, asked.path)).collect();
        seen.push((format!("{error:?}"), told, asked));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    assert_eq!(alarmed(&second).await, [AlarmKind::ContentHash], "the same alarm is kept once");
    second.acknowledge_alarms().await.unwrap();
    ground.recovers(&second, &["one", "three", "two"]).await;
}

#[tokio::test]
async fn e25_a_wrapped_content_key_that_was_changed_is_an_alarm_and_asks_for_nothing() {
    let mut seen = Vec::new();
    for at in [5, 30, 75] {
        let (ground, _first, second) = Ground::with_news(&["three"]).await;
        ground.proxy.tell(last_version(move |added| {
            let mut key = hex::decode(added.wrapped_key.take().unwrap().to_string()).unwrap();
            key[at] ^= 1;
            added.wrapped_key = Some(Hex::of(&key).unwrap());
        }));
        let synced = second.sync().await.map(|report| report.pulled).map_err(|error| format!("{error:?}"));
        let shown = second.contents().await;
        let (told, after) = ground.proxy.honest();
        nothing_secret(&after);
        let asked: Vec<_> = after.into_iter().map(|asked| asked.method).collect();
        assert_eq!(alarmed(&second).await, [AlarmKind::Content], "{at}");
        seen.push((synced, shown, told, asked));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[tokio::test]
async fn e30_a_client_says_nothing_to_anybody_but_its_server() {
    let (ground, first, second) = Ground::two().await;
    let (other, heard) = elsewhere().await;
    let long = "long".repeat(10_000);
    first.add(long.as_bytes()).await.unwrap();
    for scheme in ["http", "ftp", "file"] {
        let url = format!("{scheme}://{other}/take");
        ground.proxy.tell(about("/blobs/prepare", move |prepared: &mut PreparedBlobs| {
            let mut told = false;
            for blob in &mut prepared.blobs {
                if let PreparedBlob::Put { url: to, .. } = blob {
                    to.clone_from(&url);
                    told = true;
                }
            }
            told
        }));
        let _ = first.sync().await;
        ground.proxy.honest();
        assert_eq!(heard.load(Ordering::SeqCst), 0, "{scheme}");
    }
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    assert_eq!(second.contents().await, [long.as_str(), "one", "two"]);
    assert_eq!(heard.load(Ordering::SeqCst), 0);
    // It has taken uploads itself: whatever it names now is not asked, not even over TLS. The upload goes where it was.
    let longer = "longer".repeat(10_000);
    first.add(longer.as_bytes()).await.unwrap();
    let url = format!("https://{other}/take");
    ground.proxy.tell(about("/blobs/prepare", move |prepared: &mut PreparedBlobs| {
        let [PreparedBlob::Put { url: to, headers, .. }] = &mut prepared.blobs[..] else { return false };
        to.clone_from(&url);
        headers.insert("authorization".to_owned(), "somebody's".to_owned());
        true
    }));
    first.sync().await.unwrap();
    assert!(ground.proxy.honest().0 > 0);
    second.sync().await.unwrap();
    assert!(second.contents().await == [longer.as_str(), long.as_str(), "one", "two"]);
    assert_eq!(heard.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn e36_no_redirect_is_followed_and_nothing_goes_out_in_the_open() {
    let (ground, first, second) = Ground::with_news(&["three"]).await;
    let (other, heard) = elsewhere().await;
    for (status, scheme) in [(301, "http"), (302, "https"), (303, "http"), (307, "https"), (308, "http")] {
        let to = format!("{scheme}://{other}/");
        let redirect = raw("/v1/", move |answer| {
            answer.status = status;
            answer.headers.push(("location".to_owned(), to.clone()));
            answer.body.clear();
        });
        ground.refused(&second, redirect, |error| matches!(error, Error::Refused { .. })).await;
    }
    // Not for what is sent, either.
    first.add(b"four").await.unwrap();
    let to = format!("http://{other}/");
    ground.proxy.tell(raw("/versions", move |answer| {
        answer.status = 307;
        answer.headers.push(("location".to_owned(), to.clone()));
    }));
    assert!(first.sync().await.is_err());
    assert!(ground.proxy.honest().0 > 0);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(heard.load(Ordering::SeqCst), 0);
    for url in [format!("http://{other}"), format!("ftp://{other}"), "https://a.example/path".to_owned()] {
        assert!(matches!(Address::new(&url, Trust::System), Err(Error::Address(_))), "{url}");
    }
    ground.recovers(&second, &["four", "one", "three", "two", "unsaid"]).await;
}
