//! Blobs above 8 MiB: in parts where the object store takes them itself, streamed and resumed where they go through
//! the server.

use std::time::{Duration, Instant};

use lockstep_api::sync::{
    BlobRef, CompleteBlob, PrepareBlobs, PreparedBlob, PreparedBlobs, PushItem, PushOutcome,
};
use lockstep_events::BlobHash;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::client::TlsStream;

use crate::{
    Ground,
    blobs::{OCTETS, hash, long, one, presigned},
    in_both_modes,
    support::{
        device::{Device, entry},
        mode::Mode,
        wire::{self, Reply},
    },
};

in_both_modes! {
    an_attachment_of_many_megabytes_is_uploaded_named_and_read_back_without_filling_the_servers_memory;
    a_blob_at_its_limit_is_taken_and_one_byte_more_is_not;
    a_version_is_refused_until_its_attachments_are_there;
}

const MIB: usize = 1024 * 1024;

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    // No two seeds begin alike, and none at zero.
    let mut state = u32::from(seed) * 2 + 1;
    let mut all = vec![0; length];
    for chunk in all.chunks_mut(4) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    all
}

async fn prepare(device: &Device, bytes: &[u8]) -> Reply {
    let blob = BlobRef { hash: hash(bytes), size: bytes.len() as u64, attachment: true };
    let path = format!("/v1/vaults/{}/blobs/prepare", device.vault);
    device.post(&path, &PrepareBlobs { blobs: vec![blob] }).await
}

async fn prepared(device: &Device, bytes: &[u8]) -> PreparedBlob {
    prepare(device, bytes).await.json::<PreparedBlobs>().blobs.remove(0)
}

/// The tags of the parts, uploaded to the object store.
async fn parts(prepared: &PreparedBlob, bytes: &[u8]) -> (String, Vec<String>) {
    let PreparedBlob::Parts { upload, part_size, parts, .. } = prepared else { panic!("{prepared:?}") };
    let mut tags = Vec::new();
    for (part, bytes) in parts.iter().zip(bytes.chunks(usize::try_from(*part_size).unwrap())) {
        let answer = presigned(&part.url, &part.headers, bytes).await;
        assert!(answer.status().is_success());
        tags.push(answer.headers()["etag"].to_str().unwrap().to_owned());
    }
    (upload.clone(), tags)
}

async fn complete(device: &Device, hash: &BlobHash, body: &CompleteBlob) -> Reply {
    device.post(&format!("/v1/vaults/{}/blobs/{hash}/complete", device.vault), body).await
}

/// Uploads to wherever the server says.
async fn upload(device: &Device, bytes: &[u8]) {
    let prepared = prepared(device, bytes).await;
    if let PreparedBlob::Put { url, .. } = &prepared {
        assert_eq!(device.send("PUT", url, &OCTETS, bytes).await.status, 204);
        return;
    }
    let (upload, tags) = parts(&prepared, bytes).await;
    let body = CompleteBlob { size: bytes.len() as u64, upload, tags };
    for _ in 0..2 {
        let reply = complete(device, &hash(bytes), &body).await;
        assert_eq!(reply.status, 204, "{}", String::from_utf8_lossy(&reply.body));
    }
}

fn with(device: &Device, attachments: &[&[u8]]) -> PushItem {
    let attachments = attachments.iter().map(|bytes| hash(bytes)).collect();
    PushItem { attachments, ..device.edit(entry(), &[], b"what it is") }
}

async fn an_attachment_of_many_megabytes_is_uploaded_named_and_read_back_without_filling_the_servers_memory(
    mode: Mode,
) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    // The first requests fill pools and caches.
    upload(device, &bytes(9 * MIB, 1)).await;
    let (before, _) = ground.server.memory();
    let file = bytes(72 * MIB + 5, 2);
    upload(device, &file).await;
    assert_eq!(device.push(vec![with(device, &[&file])]).await[0].outcome, PushOutcome::Accepted);
    assert!(one(device, &hash(&file)).await.body == file);
    let (_, most) = ground.server.memory();
    let grown = most.saturating_sub(before) / MIB as u64;
    assert!(grown < 40, "{grown} MiB for a blob of 72");
    let rest = [("range", format!("bytes={}-", 70 * MIB))];
    let path = format!("/v1/vaults/{}/blobs/{}", device.vault, hash(&file));
    let reply = device.send("GET", &path, &[(rest[0].0, rest[0].1.as_str())], b"").await;
    assert_eq!(reply.status, 206);
    assert!(reply.body == file[70 * MIB..]);
    assert!(matches!(prepared(device, &file).await, PreparedBlob::Have { .. }));
}

async fn a_blob_at_its_limit_is_taken_and_one_byte_more_is_not(mode: Mode) {
    let limits = [("LOCKSTEP_MAX_BLOB_BYTES", "30000"), ("LOCKSTEP_MAX_ATTACHMENT_BYTES", "40000")];
    let limits = limits.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let ground = Ground::with_options([mode.options().await, limits.to_vec()].concat()).await;
    let device = &ground.device;
    let prepare = |size: u64, attachment: bool| {
        let path = format!("/v1/vaults/{}/blobs/prepare", device.vault);
        let body = json!({ "blobs": [{ "hash": hash(b"x"), "size": size, "attachment": attachment }] });
        async move { device.post(&path, &body).await }
    };
    for (limit, attachment) in [(30_000, false), (40_000, true)] {
        assert_eq!(prepare(limit - 1, attachment).await.status, 200);
        assert_eq!(prepare(limit, attachment).await.status, 200);
        assert_eq!(prepare(limit + 1, attachment).await.code(), "invalid_field");
        let put = |length: u64| {
            let bytes = bytes(usize::try_from(length).unwrap(), 7);
            let path = format!(
                "/v1/vaults/{}/blobs/{}?size={length}&attachment={attachment}",
                device.vault,
                hash(&bytes)
            );
            async move { device.send("PUT", &path, &OCTETS, &bytes).await }
        };
        assert_eq!(put(limit - 1).await.status, 204);
        assert_eq!(put(limit).await.status, 204);
        assert_eq!(put(limit + 1).await.code(), "body_too_large");
    }
    assert_eq!(prepare(0, true).await.code(), "invalid_field");
}

async fn a_version_is_refused_until_its_attachments_are_there(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let (one_file, other) = (long(1), long(2));
    upload_small(device, &one_file).await;
    let item = with(device, &[&one_file, &other]);
    assert_eq!(device.push(vec![item.clone()]).await[0].outcome, PushOutcome::BlobMissing);
    upload_small(device, &other).await;
    assert_eq!(device.push(vec![item]).await[0].outcome, PushOutcome::Accepted);
    let many = PushItem { attachments: vec![hash(&other); 33], ..device.edit(entry(), &[], b"x") };
    assert_eq!(device.push(vec![many]).await[0].outcome, PushOutcome::Forbidden);
}

async fn upload_small(device: &Device, bytes: &[u8]) {
    let path = format!("/v1/vaults/{}/blobs/{}?size={}", device.vault, hash(bytes), bytes.len());
    assert_eq!(device.send("PUT", &path, &OCTETS, bytes).await.status, 204);
}

#[tokio::test]
async fn an_upload_that_is_cut_in_the_middle_is_resumed_where_it_stopped() {
    let mut ground = Ground::new(Mode::Embedded).await;
    let device = ground.device.clone();
    let file = bytes(12 * MIB, 3);
    let PreparedBlob::Put { url, .. } = prepared(&device, &file).await else {
        panic!("not through the server")
    };
    let mut at = 0;
    for cut in [3 * MIB, 7 * MIB] {
        // The connection lives until all of it has come: what is on its way when it breaks may be lost.
        let socket = send_some(&device, &url, (at, cut), &file).await;
        at = arrived(&device, &file, cut).await;
        drop(socket);
        assert_eq!(at, cut);
    }
    // And once more, by the death of the server.
    let socket = send_some(&device, &url, (at, 10 * MIB), &file).await;
    ground.kill_and_start();
    drop(socket);
    let at = arrived(&device, &file, 7 * MIB).await;
    let elsewhere = [OCTETS[0], ("upload-offset", "5")];
    // Few bytes: the server answers before it reads them, and does not listen to megabytes that it will not take.
    let refused = device.send("PUT", &url, &elsewhere, &file[5..1000]).await;
    assert_eq!(refused.code(), "offset_mismatch");
    assert_eq!(refused.json::<Value>()["facts"]["offset"], at);
    let offset = at.to_string();
    let resume = [OCTETS[0], ("upload-offset", offset.as_str())];
    assert_eq!(device.send("PUT", &url, &resume, &file[at..]).await.status, 204);
    assert!(one(&device, &hash(&file)).await.body == file);
}

/// Sends a part of a blob as if it were to be the rest of it. The connection breaks when it is dropped.
async fn send_some(
    device: &Device,
    url: &str,
    (from, to): (usize, usize),
    file: &[u8],
) -> TlsStream<TcpStream> {
    let head = format!(
        "PUT {url} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: {}\r\n\
         upload-offset: {from}\r\ncontent-length: {}\r\n\r\n",
        device.token,
        OCTETS[0].1,
        file.len() - from
    );
    let mut socket = wire::tls(device.addr).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&file[from..to]).await.unwrap();
    socket.flush().await.unwrap();
    socket
}

/// Where to go on, once the server has noticed what was sent.
async fn arrived(device: &Device, file: &[u8], sent: usize) -> usize {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let PreparedBlob::Put { offset, .. } = prepared(device, file).await else {
            panic!("it is not whole")
        };
        let offset = usize::try_from(offset).unwrap();
        if offset >= sent {
            return offset;
        }
        assert!(Instant::now() < until, "only {offset} of {sent} bytes arrived");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn parts_that_do_not_make_the_promised_blob_are_not_stored() {
    let ground = Ground::new(Mode::Distributed).await;
    let device = &ground.device;
    let (promised, sent) = (bytes(9 * MIB, 4), bytes(9 * MIB, 5));
    let (upload, tags) = parts(&prepared(device, &promised).await, &sent).await;
    let body = CompleteBlob { size: 9 * MIB as u64, upload, tags };
    assert_eq!(complete(device, &hash(&promised), &body).await.code(), "hash_mismatch");
    assert_eq!(one(device, &hash(&promised)).await.code(), "not_found");
    let named = with(device, &[&promised]);
    assert_eq!(device.push(vec![named]).await[0].outcome, PushOutcome::BlobMissing);
}

#[tokio::test]
async fn an_upload_in_parts_that_is_not_ones_own_or_not_whole_is_gone() {
    let ground = Ground::new(Mode::Distributed).await;
    let device = &ground.device;
    let stranger = Device::register(ground.server.addr).await;
    let file = bytes(9 * MIB, 6);
    let (upload, tags) = parts(&prepared(device, &file).await, &file).await;
    let body = CompleteBlob { size: file.len() as u64, upload, tags };
    assert_eq!(complete(&stranger, &hash(&file), &body).await.code(), "upload_gone");
    for upload in ["", "x", "../../packs", "00000000-0000-0000-0000-000000000000.x"] {
        let wrong = CompleteBlob { upload: upload.to_owned(), ..body.clone() };
        assert_eq!(complete(device, &hash(&file), &wrong).await.code(), "upload_gone", "{upload:?}");
    }
    let short = CompleteBlob { tags: body.tags[..1].to_vec(), ..body.clone() };
    assert_eq!(complete(device, &hash(&file), &short).await.code(), "invalid_field");
    let long = CompleteBlob { size: u64::MAX, ..body.clone() };
    assert_eq!(complete(device, &hash(&file), &long).await.code(), "body_too_large");
    assert_eq!(complete(device, &hash(&file), &body).await.status, 204);
    assert_eq!(one(&stranger, &hash(&file)).await.code(), "not_found");
}
