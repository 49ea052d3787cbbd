//! Long ciphertexts.

use std::collections::BTreeMap;

use lockstep_api::sync::{PreparedBlob, PreparedBlobs, PushItem, PushOutcome};
use lockstep_events::{BlobHash, canonical::sha256};
use serde_json::json;

use crate::{
    Ground, in_both_modes,
    support::{
        device::{Device, entry},
        mode::Mode,
        wire::Reply,
    },
};

in_both_modes! {
    a_long_ciphertext_is_uploaded_first_named_by_a_version_and_read_back;
    several_blobs_of_one_upload_are_read_back_one_by_one_and_together;
    bytes_that_do_not_have_their_hash_are_not_stored;
    the_last_piece_of_an_upload_that_comes_again_is_taken_as_stored;
    a_blob_of_another_vault_gives_nothing;
}

pub const OCTETS: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

pub fn long(byte: u8) -> Vec<u8> {
    vec![byte; 40_000]
}

pub fn hash(bytes: &[u8]) -> BlobHash {
    BlobHash(sha256(bytes))
}

pub async fn prepare(device: &Device, bytes: &[u8]) -> PreparedBlob {
    let path = format!("/v1/vaults/{}/blobs/prepare", device.vault);
    let body = json!({ "blobs": [{ "hash": hash(bytes), "size": bytes.len() }] });
    device.post(&path, &body).await.json::<PreparedBlobs>().blobs.remove(0)
}

/// Uploads to wherever the server says: through itself, or straight to the object store.
pub async fn upload(device: &Device, prepared: PreparedBlob, bytes: &[u8]) -> u16 {
    let PreparedBlob::Put { url, headers, offset, .. } = prepared else { return 200 };
    if url.starts_with('/') {
        let offset_text = offset.to_string();
        let mut headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.push(("upload-offset", &offset_text));
        let rest = &bytes[usize::try_from(offset).unwrap()..];
        return device.send("PUT", &url, &headers, rest).await.status;
    }
    presigned(&url, &headers, bytes).await.status().as_u16()
}

pub async fn presigned(url: &str, headers: &BTreeMap<String, String>, bytes: &[u8]) -> reqwest::Response {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut put = reqwest::Client::new().put(url).body(bytes.to_vec());
    for (name, value) in headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length")) {
        put = put.header(name, value);
    }
    put.send().await.unwrap()
}

pub fn without_bytes(device: &Device, bytes: &[u8]) -> PushItem {
    PushItem { inline: None, ..device.edit(entry(), &[], bytes) }
}

pub async fn one(device: &Device, hash: &BlobHash) -> Reply {
    device.get(&format!("/v1/vaults/{}/blobs/{hash}", device.vault)).await
}

async fn a_long_ciphertext_is_uploaded_first_named_by_a_version_and_read_back(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let bytes = long(1);
    let item = without_bytes(device, &bytes);
    assert_eq!(device.push(vec![item.clone()]).await[0].outcome, PushOutcome::BlobMissing);
    let prepared = prepare(device, &bytes).await;
    assert!(upload(device, prepared, &bytes).await < 300);
    assert_eq!(device.push(vec![item]).await[0].outcome, PushOutcome::Accepted);
    assert_eq!(one(device, &hash(&bytes)).await.body, bytes);
    assert!(matches!(prepare(device, &bytes).await, PreparedBlob::Have { .. }));
}

pub fn frame(hash: &BlobHash, bytes: &[u8]) -> Vec<u8> {
    [hash.as_bytes(), &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

async fn several_blobs_of_one_upload_are_read_back_one_by_one_and_together(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let blobs = [long(1), long(2), long(3)];
    let frames: Vec<u8> = blobs.iter().flat_map(|bytes| frame(&hash(bytes), bytes)).collect();
    let path = format!("/v1/vaults/{}/blobs", device.vault);
    let octets = [("content-type", "application/octet-stream")];
    assert_eq!(device.send("POST", &path, &octets, &frames).await.status, 204);
    assert_eq!(one(device, &hash(&blobs[1])).await.body, blobs[1]);
    let nothing = BlobHash([9; 32]);
    let body = json!({ "hashes": [hash(&blobs[2]), nothing, hash(&blobs[0])] });
    let answer = device.post(&format!("{path}/get"), &body).await.body;
    let not_there = [nothing.as_bytes(), &u32::MAX.to_be_bytes()[..]].concat();
    let expected =
        [frame(&hash(&blobs[2]), &blobs[2]), not_there, frame(&hash(&blobs[0]), &blobs[0])].concat();
    assert!(answer == expected);
    let items = blobs.iter().map(|bytes| without_bytes(device, bytes)).collect();
    assert!(device.push(items).await.iter().all(|result| result.outcome == PushOutcome::Accepted));
}

async fn bytes_that_do_not_have_their_hash_are_not_stored(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let (promised, sent) = (long(1), long(2));
    let path = format!("/v1/vaults/{}/blobs", device.vault);
    let octets = [("content-type", "application/octet-stream")];
    let put = format!("{path}/{}?size={}", hash(&promised), sent.len());
    assert_eq!(device.send("PUT", &put, &octets, &sent).await.code(), "hash_mismatch");
    assert_eq!(
        device.send("PUT", &put, &octets, &[&sent[..], b"more"].concat()).await.code(),
        "hash_mismatch"
    );
    let packed = frame(&hash(&promised), &sent);
    assert_eq!(device.send("POST", &path, &octets, &packed).await.code(), "hash_mismatch");
    assert_eq!(device.send("POST", &path, &octets, &packed[..50]).await.code(), "invalid_field");
    let plain = [("content-type", "text/plain")];
    assert_eq!(device.send("PUT", &put, &plain, &sent).await.code(), "unsupported_media_type");
    assert_eq!(one(device, &hash(&promised)).await.code(), "not_found");
    let half = device.send("PUT", &put, &octets, &promised[..10_000]).await;
    assert_eq!(half.code(), "offset_mismatch");
    let resume = [octets[0], ("upload-offset", "10000")];
    assert_eq!(device.send("PUT", &put, &resume, &promised[10_000..]).await.status, 204);
    assert_eq!(one(device, &hash(&promised)).await.body, promised);
}

async fn the_last_piece_of_an_upload_that_comes_again_is_taken_as_stored(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let bytes = long(3);
    let put = format!("/v1/vaults/{}/blobs/{}?size={}", device.vault, hash(&bytes), bytes.len());
    let from = |at: &'static str| [OCTETS[0], ("upload-offset", at)];
    assert_eq!(device.send("PUT", &put, &OCTETS, &bytes[..10_000]).await.code(), "offset_mismatch");
    for _ in 0..2 {
        let reply = device.send("PUT", &put, &from("10000"), &bytes[10_000..]).await;
        assert_eq!(reply.status, 204, "{}", String::from_utf8_lossy(&reply.body));
    }
    assert_eq!(one(device, &hash(&bytes)).await.body, bytes);
    // What never came whole goes on where the server is.
    let other = format!("/v1/vaults/{}/blobs/{}?size=40000", device.vault, hash(&long(4)));
    let reply = device.send("PUT", &other, &from("10000"), &long(4)[10_000..]).await;
    assert_eq!(reply.code(), "offset_mismatch");
}

async fn a_blob_of_another_vault_gives_nothing(mode: Mode) {
    let ground = Ground::new(mode).await;
    let bytes = long(1);
    let prepared = prepare(&ground.device, &bytes).await;
    upload(&ground.device, prepared, &bytes).await;
    ground.device.push(vec![without_bytes(&ground.device, &bytes)]).await;
    let stranger = Device::register(ground.server.addr).await;
    assert!(matches!(prepare(&stranger, &bytes).await, PreparedBlob::Put { .. }));
    assert_eq!(one(&stranger, &hash(&bytes)).await.code(), "not_found");
    let stolen = stranger.push(vec![without_bytes(&stranger, &bytes)]).await;
    assert_eq!(stolen[0].outcome, PushOutcome::BlobMissing);
}
