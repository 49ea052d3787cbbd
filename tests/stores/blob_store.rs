//! The blob store: immutable objects by key.

use std::sync::Arc;

use bytes::Bytes;
use lockstepd::blobs::{BlobError, BlobStore};

use crate::over_every_adapter;

over_every_adapter! { filesystem = crate::open::filesystem, s3 = crate::open::s3; {
    a_new_store_answers_and_is_empty;
    what_was_put_comes_back_byte_for_byte;
    a_part_of_an_object_comes_back_alone;
    a_part_beyond_the_end_is_missing;
    an_object_that_was_not_put_is_missing;
    the_length_is_that_of_the_bytes;
    putting_the_same_again_is_no_error;
    many_put_the_same_object_at_the_same_time;
    a_deleted_object_is_missing_and_is_deleted_again_without_an_error;
    deleting_touches_no_other_object;
    a_list_has_one_order_and_its_pages_join_without_gap_or_repetition;
    a_list_of_a_prefix_has_no_other_keys;
    a_list_after_a_key_that_is_gone_goes_on_behind_it;
    a_key_of_other_characters_is_refused_everywhere;
    an_object_of_megabytes_comes_back;
    the_bytes_of_a_file_become_an_object;
    a_file_that_is_not_there_becomes_no_object;
    a_list_tells_how_long_each_object_is;
    an_upload_in_parts_that_nobody_began_is_missing_and_aborted_without_an_error;
}}

async fn put(store: &dyn BlobStore, key: &str, bytes: &[u8]) {
    store.put(key, Bytes::copy_from_slice(bytes)).await.unwrap();
}

async fn whole(store: &dyn BlobStore, key: &str) -> Vec<u8> {
    let length = store.length(key).await.unwrap();
    store.get(key, 0, length).await.unwrap().to_vec()
}

async fn keys(store: &dyn BlobStore, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    store.list(prefix, after, limit).await.unwrap().into_iter().map(|object| object.key).collect()
}

fn is_missing<T: std::fmt::Debug>(result: Result<T, BlobError>) -> bool {
    matches!(result, Err(BlobError::Missing))
}

async fn a_new_store_answers_and_is_empty(store: Arc<dyn BlobStore>) {
    store.ready().await.unwrap();
    assert!(keys(&*store, "", None, 10).await.is_empty());
}

async fn what_was_put_comes_back_byte_for_byte(store: Arc<dyn BlobStore>) {
    let every: Vec<u8> = (0..=255).collect();
    put(&*store, "packs/a-1", &every).await;
    put(&*store, "packs/a-2", b"another").await;
    assert_eq!(whole(&*store, "packs/a-1").await, every);
    assert_eq!(whole(&*store, "packs/a-2").await, b"another");
}

async fn a_part_of_an_object_comes_back_alone(store: Arc<dyn BlobStore>) {
    put(&*store, "a", b"0123456789").await;
    for (offset, length) in [(0, 1), (3, 4), (9, 1), (0, 10)] {
        let part = store.get("a", offset, length).await.unwrap();
        let from = usize::try_from(offset).unwrap();
        assert_eq!(part, &b"0123456789"[from..from + usize::try_from(length).unwrap()]);
    }
    assert!(store.get("a", 4, 0).await.unwrap().is_empty());
}

async fn a_part_beyond_the_end_is_missing(store: Arc<dyn BlobStore>) {
    put(&*store, "a", b"0123456789").await;
    assert!(is_missing(store.get("a", 5, 6).await));
    assert!(is_missing(store.get("a", 10, 1).await));
    assert!(is_missing(store.get("a", 1000, 1).await));
}

async fn an_object_that_was_not_put_is_missing(store: Arc<dyn BlobStore>) {
    put(&*store, "a/b", b"x").await;
    for key in ["b", "a/bc", "c/b", "ab"] {
        assert!(is_missing(store.get(key, 0, 1).await), "{key}");
        assert!(is_missing(store.length(key).await), "{key}");
    }
}

async fn the_length_is_that_of_the_bytes(store: Arc<dyn BlobStore>) {
    for length in [1, 2, 4095, 65_537] {
        let key = format!("length-{length}");
        put(&*store, &key, &vec![7; length]).await;
        assert_eq!(store.length(&key).await.unwrap(), length as u64);
    }
}

async fn putting_the_same_again_is_no_error(store: Arc<dyn BlobStore>) {
    put(&*store, "a", b"same").await;
    put(&*store, "a", b"same").await;
    assert_eq!(whole(&*store, "a").await, b"same");
    assert_eq!(keys(&*store, "", None, 10).await, ["a"]);
}

async fn many_put_the_same_object_at_the_same_time(store: Arc<dyn BlobStore>) {
    let bytes = Bytes::from(vec![3; 50_000]);
    let putting = (0..8).map(|_| {
        let (store, bytes) = (Arc::clone(&store), bytes.clone());
        tokio::spawn(async move { store.put("a", bytes).await.unwrap() })
    });
    for one in putting.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert!(whole(&*store, "a").await == bytes);
}

async fn a_deleted_object_is_missing_and_is_deleted_again_without_an_error(store: Arc<dyn BlobStore>) {
    put(&*store, "a", b"x").await;
    for _ in 0..2 {
        store.delete("a").await.unwrap();
        assert!(is_missing(store.get("a", 0, 1).await));
        assert!(is_missing(store.length("a").await));
    }
    assert!(keys(&*store, "", None, 10).await.is_empty());
    put(&*store, "a", b"y").await;
    assert_eq!(whole(&*store, "a").await, b"y");
}

async fn deleting_touches_no_other_object(store: Arc<dyn BlobStore>) {
    for key in ["a/1", "a/11", "a/2", "b/1"] {
        put(&*store, key, key.as_bytes()).await;
    }
    store.delete("a/1").await.unwrap();
    for key in ["a/11", "a/2", "b/1"] {
        assert_eq!(whole(&*store, key).await, key.as_bytes());
    }
}

async fn a_list_has_one_order_and_its_pages_join_without_gap_or_repetition(store: Arc<dyn BlobStore>) {
    let mut all: Vec<String> = (0..23).map(|n| format!("packs/{}/{n}", n % 3)).collect();
    for key in &all {
        put(&*store, key, b"x").await;
    }
    let order = keys(&*store, "", None, 100).await;
    let mut sorted = order.clone();
    all.sort_unstable();
    sorted.sort_unstable();
    assert_eq!(sorted, all);
    for size in [1, 7, 23, 24] {
        let mut listed: Vec<String> = Vec::new();
        loop {
            let page = keys(&*store, "", listed.last().map(String::as_str), size).await;
            let full = page.len() == size;
            listed.extend(page);
            if !full {
                break;
            }
        }
        assert_eq!(listed, order, "pages of {size}");
    }
}

async fn a_list_of_a_prefix_has_no_other_keys(store: Arc<dyn BlobStore>) {
    for key in ["direct/1", "direct/2", "packs/1", "packs/a/1", "packs/b/1"] {
        put(&*store, key, b"x").await;
    }
    let mut direct = keys(&*store, "direct/", None, 10).await;
    direct.sort_unstable();
    assert_eq!(direct, ["direct/1", "direct/2"]);
    assert_eq!(keys(&*store, "packs/a", None, 10).await, ["packs/a/1"]);
    let packs = keys(&*store, "packs/", None, 10).await;
    assert_eq!(packs.len(), 3);
    for (at, after) in packs.iter().enumerate() {
        assert_eq!(keys(&*store, "packs/", Some(after), 10).await, packs[at + 1..]);
    }
    assert!(keys(&*store, "other/", None, 10).await.is_empty());
}

async fn a_list_after_a_key_that_is_gone_goes_on_behind_it(store: Arc<dyn BlobStore>) {
    for key in ["a", "b", "c"] {
        put(&*store, key, b"x").await;
    }
    let order = keys(&*store, "", None, 10).await;
    store.delete(&order[1]).await.unwrap();
    assert_eq!(keys(&*store, "", Some(&order[1]), 10).await, order[2..]);
    assert_eq!(keys(&*store, "", Some(&order[0]), 10).await, order[2..]);
}

async fn a_key_of_other_characters_is_refused_everywhere(store: Arc<dyn BlobStore>) {
    let long = "a".repeat(201);
    for key in ["", "A", "a b", "a.b", "ü", "..", "a\0b", long.as_str()] {
        assert!(
            matches!(store.put(key, Bytes::from_static(b"x")).await, Err(BlobError::Other(_))),
            "{key:?}"
        );
        assert!(matches!(store.get(key, 0, 1).await, Err(BlobError::Other(_))), "{key:?}");
        assert!(matches!(store.length(key).await, Err(BlobError::Other(_))), "{key:?}");
        assert!(matches!(store.delete(key).await, Err(BlobError::Other(_))), "{key:?}");
    }
    assert!(keys(&*store, "", None, 10).await.is_empty());
    // As long as the longest key that is used.
    put(&*store, &"a".repeat(110), b"x").await;
}

async fn an_object_of_megabytes_comes_back(store: Arc<dyn BlobStore>) {
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 4]).collect();
    put(&*store, "a", &bytes).await;
    assert!(whole(&*store, "a").await == bytes);
    assert!(store.get("a", 4_999_000, 1000).await.unwrap() == bytes[4_999_000..]);
}

async fn the_bytes_of_a_file_become_an_object(store: Arc<dyn BlobStore>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for _ in 0..2 {
        std::fs::write(&file, &bytes).unwrap();
        store.put_file("a", &file).await.unwrap();
        assert!(whole(&*store, "a").await == bytes);
    }
    assert_eq!(keys(&*store, "", None, 10).await, ["a"]);
}

async fn a_file_that_is_not_there_becomes_no_object(store: Arc<dyn BlobStore>) {
    let folder = tempfile::tempdir().unwrap();
    assert!(store.put_file("a", &folder.path().join("nothing")).await.is_err());
    assert!(is_missing(store.length("a").await));
}

async fn a_list_tells_how_long_each_object_is(store: Arc<dyn BlobStore>) {
    put(&*store, "a", &[1; 7]).await;
    put(&*store, "b", &[1; 70_000]).await;
    let mut lengths: Vec<u64> =
        store.list("", None, 10).await.unwrap().into_iter().map(|object| object.length).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [7, 70_000]);
}

async fn an_upload_in_parts_that_nobody_began_is_missing_and_aborted_without_an_error(
    store: Arc<dyn BlobStore>,
) {
    let nobody = uuid::Uuid::new_v4().to_string();
    assert!(is_missing(store.finish_parts("a", &nobody, &["\"tag\"".to_owned()]).await));
    store.abort_parts("a", &nobody).await.unwrap();
    assert!(is_missing(store.length("a").await));
}

/// What only a store does that clients reach themselves.
mod presigned {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use lockstep_events::{BlobHash, VaultId, canonical::sha256};
    use lockstepd::{
        blobs::{Presigned, Shelf, direct_key},
        clock::SystemClock,
    };

    use super::{BlobError, is_missing, keys, put, whole};

    const PART: usize = 5 * 1024 * 1024;

    async fn send(request: &Presigned, bytes: &[u8]) -> reqwest::Response {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut put = reqwest::Client::new().put(&request.url).body(bytes.to_vec());
        for (name, value) in request.headers.iter().filter(|(name, _)| name != "content-length") {
            put = put.header(name, value);
        }
        put.send().await.unwrap()
    }

    #[tokio::test]
    async fn a_presigned_put_takes_exactly_the_promised_bytes() {
        let store = crate::open::s3().await.port;
        let signed = store.presign_put("a", 5, &sha256(b"right"), 60).await.unwrap().unwrap();
        assert!(!send(&signed, b"right and more").await.status().is_success());
        assert!(!send(&signed, b"righ").await.status().is_success());
        assert!(is_missing(store.length("a").await));
        assert!(!send(&signed, b"wrong").await.status().is_success());
        assert!(send(&signed, b"right").await.status().is_success());
        assert_eq!(whole(&*store, "a").await, b"right");
    }

    /// Not every store keeps to that: s3s-fs, which the tests run on, refuses bytes of a wrong hash after it has put
    /// them in their place. So nothing counts that the server has not hashed itself.
    #[tokio::test]
    async fn a_blob_that_a_client_put_into_the_store_counts_once_it_has_its_hash() {
        let (store, index) = (crate::open::s3().await, crate::open::postgres_index().await);
        let clock = Arc::new(SystemClock);
        let shelf = Shelf { store: store.port.clone(), index: index.port.clone(), clock };
        let (vault, hash) = (VaultId(uuid::Uuid::from_u128(1)), BlobHash(sha256(b"right")));
        let key = direct_key(vault, &hash);
        for wrong in [&b"wrong"[..], b"righ", b"right and more"] {
            put(&*store.port, &key, wrong).await;
            assert!(shelf.lengths(vault, &[hash]).await.unwrap().is_empty());
        }
        let signed = store.port.presign_put(&key, 5, &hash.0, 60).await.unwrap().unwrap();
        assert!(!send(&signed, b"wrong").await.status().is_success());
        assert!(shelf.lengths(vault, &[hash]).await.unwrap().is_empty());
        assert!(send(&signed, b"right").await.status().is_success());
        assert_eq!(shelf.lengths(vault, &[hash]).await.unwrap()[&hash], 5);
    }

    #[tokio::test]
    async fn parts_become_an_object_when_they_are_finished_and_not_before() {
        let store = crate::open::s3().await.port;
        let bytes: Vec<u8> =
            (0..u32::try_from(PART * 2 + 100).unwrap()).map(|n| n.to_le_bytes()[1]).collect();
        let lengths: Vec<u64> = bytes.chunks(PART).map(|part| part.len() as u64).collect();
        let begun = store.start_parts("a", &lengths, 60).await.unwrap().unwrap();
        let mut tags = vec![String::new(); 3];
        for at in [2, 0, 1] {
            let part = bytes.chunks(PART).nth(at).unwrap();
            let answer = send(&begun.parts[at], part).await;
            assert!(answer.status().is_success());
            tags[at] = answer.headers()["etag"].to_str().unwrap().to_owned();
        }
        assert!(is_missing(store.length("a").await));
        store.finish_parts("a", &begun.upload, &tags).await.unwrap();
        assert!(whole(&*store, "a").await == bytes);
        assert_eq!(keys(&*store, "", None, 10).await, ["a"]);
        assert!(is_missing(store.finish_parts("a", &begun.upload, &tags).await));
    }

    /// The store goes by its own clock, and by the time at which a request begins.
    #[tokio::test]
    async fn an_address_is_refused_once_its_time_is_over() {
        let store = crate::open::s3().await.port;
        let lasting = store.presign_put("a", 5, &sha256(b"right"), 900).await.unwrap().unwrap();
        let short = store.presign_put("a", 5, &sha256(b"right"), 1).await.unwrap().unwrap();
        let part = store.start_parts("b", &[5], 1).await.unwrap().unwrap().parts.remove(0);
        let until = Instant::now() + Duration::from_secs(30);
        for request in [&short, &part] {
            while send(request, b"right").await.status() != 403 {
                assert!(Instant::now() < until, "it is good for longer than a second");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        store.delete("a").await.unwrap();
        assert_eq!(send(&short, b"right").await.status(), 403);
        assert!(is_missing(store.length("a").await));
        assert!(send(&lasting, b"right").await.status().is_success());
    }

    #[tokio::test]
    async fn an_aborted_upload_is_gone() {
        let store = crate::open::s3().await.port;
        let begun = store.start_parts("a", &[5], 60).await.unwrap().unwrap();
        let answer = send(&begun.parts[0], b"bytes").await;
        let tags = [answer.headers()["etag"].to_str().unwrap().to_owned()];
        store.abort_parts("a", &begun.upload).await.unwrap();
        store.abort_parts("a", &begun.upload).await.unwrap();
        let finished = store.finish_parts("a", &begun.upload, &tags).await;
        assert!(matches!(finished, Err(BlobError::Missing)), "{finished:?}");
        assert!(keys(&*store, "", None, 10).await.is_empty());
    }
}
