//! `/v1/vaults/{vault}/blobs`: ciphertexts that are too long to stand inline in a push.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use lockstep_api::{
    Code,
    sync::{BlobPart, BlobRef, GetBlobs, PrepareBlobs, PreparedBlob, PreparedBlobs},
};
use lockstep_events::{AccountId, BlobHash, VaultId, canonical::sha256};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Answer, Failure, Path, Query, Routes,
    caller::Caller,
    extract::{Json, check_content_type, read_body},
    openapi::problems,
    pace,
    routes::routes,
    version_view::own,
};
use crate::{
    blobs::{BlobError, BlobPlace, PART, Presigned, UploadError},
    no_room::{Store, is_full},
    quotas::Take,
    state::{Server, Shared},
};

/// An answer of several blobs stops at so many bytes of blobs.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Several blobs in one upload have at most so many bytes, frames included.
const MAX_PACK: usize = 4 * 1024 * 1024;
const NOT_THERE: u32 = u32::MAX;
const TOO_LARGE: u32 = u32::MAX - 1;
/// A presigned address is good for so many seconds.
const PRESIGNED_S: u32 = 900;
const OCTETS: &str = "application/octet-stream";

/// How long a blob may be.
pub(super) fn limit(server: &Server, attachment: bool) -> u64 {
    let config = &server.config;
    if attachment { config.max_attachment_bytes } else { config.max_blob_bytes }
}

problems! {
    /// What asking for the rest of a blob meets.
    GetProblems: RangeNotSatisfiable, BlobLost;
    /// What bringing a blob, or asking where to bring it, meets.
    PutProblems: QuotaExceeded;
}

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(prepare))
        .routes(routes!(put_pack))
        .routes(routes!(get_many))
        .routes(routes!(put_one, get_one))
}

/// Says of each blob whether the vault has it, and else where to put it.
#[utoipa::path(post, path = "/v1/vaults/{vault}/blobs/prepare", operation_id = "prepare_blobs", tag = "blobs", security(("token" = [])),
    params(("vault" = VaultId, Path)), request_body = PrepareBlobs,
    responses((status = 200, description = "One per blob, in order", body = PreparedBlobs), PutProblems))]
async fn prepare(
    State(server): State<Shared>,
    caller: Caller,
    Path(vault): Path<VaultId>,
    Json(body): Json<PrepareBlobs>,
) -> Answer<Json<PreparedBlobs>> {
    own(&server, caller.account, vault).await?;
    server.blob_watch.may_ask()?;
    if body.blobs.is_empty() || body.blobs.len() > 256 {
        return Err(Failure::from(Code::InvalidField).detail("1 to 256 blobs"));
    }
    if let Some(blob) = body.blobs.iter().find(|b| b.size == 0 || b.size > limit(&server, b.attachment)) {
        let longest = limit(&server, blob.attachment);
        let detail = format!("this blob may have 1 to {longest} bytes");
        let facts = serde_json::json!({ "longest": longest });
        return Err(Failure::from(Code::InvalidField).detail(detail).facts(facts));
    }
    let sizes = body.blobs.iter().map(|blob| (blob.hash, blob.size)).collect();
    // Bytes that come through the server take their room when they come.
    let take = if server.shelf.store.is_reached_by_clients() { Take::Now } else { Take::Later };
    let mut have = room_for(&server, (caller.account, vault), sizes, take).await?;
    let is_large = |blob: &&BlobRef| blob.size > PART && !have.contains(&blob.hash);
    let large = body.blobs.iter().filter(is_large).count() as u64;
    if !server.shelf.may_start_large(vault, large).await? {
        let detail = "too many uploads of this vault have not ended: finish them, or wait a day";
        return Err(Failure::from(Code::TooManyRequests).detail(detail));
    }
    let lost = lost(&server, vault, &mut have).await?;
    let mut blobs = Vec::with_capacity(body.blobs.len());
    for blob in body.blobs {
        blobs.push(if have.contains(&blob.hash) {
            PreparedBlob::Have { hash: blob.hash }
        } else if lost.iter().any(|(hash, _)| *hash == blob.hash) {
            // Through the server: of what the index has, it does not look for what arrived.
            through_here(&server, vault, blob).await
        } else {
            upload(&server, vault, blob).await?
        });
    }
    Ok(Json(PreparedBlobs { blobs }))
}

/// Which of these blobs the vault has; for the others there is room.
async fn room_for(
    server: &Server,
    (account, vault): (AccountId, VaultId),
    blobs: BTreeMap<BlobHash, u64>,
    take: Take,
) -> Answer<HashSet<BlobHash>> {
    let hashes: Vec<BlobHash> = blobs.keys().copied().collect();
    let have = have(server, vault, &hashes).await?;
    let new: Vec<_> = blobs.into_iter().filter(|(hash, _)| !have.contains(hash)).collect();
    server.quotas.reserve_upload(account, vault, &new, take).await??;
    Ok(have)
}

async fn have(server: &Server, vault: VaultId, hashes: &[BlobHash]) -> Answer<HashSet<BlobHash>> {
    let found = server.shelf.index.find(vault, hashes).await?;
    Ok(found.into_iter().map(|(hash, _)| hash).collect())
}

/// Those that the store lost are had no more.
async fn lost(
    server: &Server,
    vault: VaultId,
    have: &mut HashSet<BlobHash>,
) -> Answer<Vec<(BlobHash, BlobPlace)>> {
    let hashes: Vec<BlobHash> = have.iter().copied().collect();
    let lost = server.shelf.lost(vault, &hashes).await?;
    for (hash, _) in &lost {
        have.remove(hash);
    }
    Ok(lost)
}

async fn upload(server: &Server, vault: VaultId, blob: BlobRef) -> Answer<PreparedBlob> {
    let BlobRef { hash, size, .. } = blob;
    let (shelf, expires_in) = (&server.shelf, PRESIGNED_S);
    if size > PART {
        if let Some((ticket, parts)) = shelf.start_large(vault, (hash, size), PRESIGNED_S).await? {
            let parts = parts.into_iter().map(part).collect();
            let upload = ticket.text();
            return Ok(PreparedBlob::Parts { hash, upload, part_size: PART, parts, expires_in });
        }
    } else if let Some(put) = shelf.presign_direct(vault, (hash, size), PRESIGNED_S).await? {
        let BlobPart { url, headers } = part(put);
        return Ok(PreparedBlob::Put { hash, url, headers, expires_in, offset: 0 });
    }
    Ok(through_here(server, vault, blob).await)
}

async fn through_here(server: &Server, vault: VaultId, blob: BlobRef) -> PreparedBlob {
    let BlobRef { hash, size, attachment } = blob;
    let kind = if attachment { "&attachment=true" } else { "" };
    PreparedBlob::Put {
        hash,
        url: format!("/v1/vaults/{vault}/blobs/{hash}?size={size}{kind}"),
        headers: BTreeMap::from([(header::CONTENT_TYPE.to_string(), OCTETS.to_owned())]),
        expires_in: 24 * 3600,
        offset: server.uploads.offset(vault, &hash).await,
    }
}

fn part(put: Presigned) -> BlobPart {
    BlobPart { url: put.url, headers: put.headers.into_iter().collect() }
}

/// Several blobs in one upload, stored as one object: frames of `hash (32 bytes) ‖ length (u32 big-endian) ‖ bytes`,
/// at most 4 MiB. All or nothing.
#[utoipa::path(post, path = "/v1/vaults/{vault}/blobs", operation_id = "put_blobs", tag = "blobs", security(("token" = [])),
    params(("vault" = VaultId, Path)),
    request_body(content = String, content_type = "application/octet-stream", description = "Frames"),
    responses((status = 204, description = "All are stored"),
        (status = 422, description = "`hash_mismatch`: a blob does not have its hash; nothing is stored"), PutProblems))]
async fn put_pack(
    State(server): State<Shared>,
    caller: Caller,
    Path(vault): Path<VaultId>,
    headers: HeaderMap,
    body: Body,
) -> Answer<StatusCode> {
    own(&server, caller.account, vault).await?;
    server.blob_watch.may_ask()?;
    check_content_type(&headers, OCTETS)?;
    let _seat = server.packs.take(caller.account.0.as_u128()).ok_or(Code::TooManyRequests)?;
    let bytes = read_body(&headers, body, MAX_PACK).await?;
    caller.still(&server)?;
    let mut blobs =
        frames(bytes).ok_or_else(|| Failure::from(Code::InvalidField).detail("not whole frames"))?;
    if blobs.is_empty() || blobs.len() > 256 {
        return Err(Failure::from(Code::InvalidField).detail("1 to 256 frames"));
    }
    if blobs.iter().any(|(hash, bytes)| sha256(bytes) != hash.0) {
        return Err(Code::HashMismatch.into());
    }
    let sizes = blobs.iter().map(|(hash, bytes)| (*hash, bytes.len() as u64)).collect();
    let mut have = room_for(&server, (caller.account, vault), sizes, Take::Now).await?;
    let lost = lost(&server, vault, &mut have).await?;
    // What is there already, or comes twice, would lie in the store twice and count once.
    blobs.retain(|(hash, _)| have.insert(*hash));
    if !blobs.is_empty() {
        server.shelf.put_again(vault, &blobs, &lost).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn frames(mut bytes: Bytes) -> Option<Vec<(BlobHash, Bytes)>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let hash = BlobHash::from_slice(bytes.get(..32)?)?;
        let length = u32::from_be_bytes(bytes.get(32..36)?.try_into().ok()?) as usize;
        let end = 36_usize.checked_add(length).filter(|end| *end <= bytes.len() && length > 0)?;
        frames.push((hash, bytes.split_to(end).split_off(36)));
    }
    Some(frames)
}

/// Up to 200 blobs in one answer, as frames of `hash (32 bytes) ‖ length (u32 big-endian) ‖ bytes`. Length
/// 0xffffffff: not there. Length 0xfffffffe: not in this answer, as it is too large or the server has lost it: fetch it
/// by itself.
#[utoipa::path(post, path = "/v1/vaults/{vault}/blobs/get", operation_id = "get_blobs", tag = "blobs", security(("token" = [])),
    params(("vault" = VaultId, Path)), request_body = GetBlobs,
    responses((status = 200, description = "Frames, in the order asked", content_type = "application/octet-stream")))]
async fn get_many(
    State(server): State<Shared>,
    caller: Caller,
    Path(vault): Path<VaultId>,
    Json(body): Json<GetBlobs>,
) -> Answer<Response> {
    own(&server, caller.account, vault).await?;
    if body.hashes.is_empty() || body.hashes.len() > 200 {
        return Err(Failure::from(Code::InvalidField).detail("1 to 200 hashes"));
    }
    let found = find(&server, vault, &body.hashes, MAX_ANSWER as u64).await?;
    let mut frames = BytesMut::new();
    for hash in &body.hashes {
        frames.put_slice(hash.as_bytes());
        let bytes = match found.get(hash) {
            None => Err(NOT_THERE),
            Some(Some(bytes)) if frames.len() + bytes.len() <= MAX_ANSWER => Ok(bytes),
            Some(_) => Err(TOO_LARGE),
        };
        match bytes {
            Ok(bytes) => {
                frames.put_u32(u32::try_from(bytes.len()).unwrap_or(TOO_LARGE));
                frames.put_slice(bytes);
            }
            Err(mark) => frames.put_u32(mark),
        }
    }
    Ok(([(header::CONTENT_TYPE, OCTETS)], frames.freeze()).into_response())
}

/// Short ones from the log, long ones from the shelf.
async fn find(
    server: &Server,
    vault: VaultId,
    hashes: &[BlobHash],
    most: u64,
) -> Answer<HashMap<BlobHash, Option<Bytes>>> {
    let short = server.log.contents(vault.into(), hashes).await?;
    let mut found: HashMap<_, _> = short.into_iter().map(|(hash, b)| (hash, Some(Bytes::from(b)))).collect();
    let long: Vec<_> = hashes.iter().filter(|hash| !found.contains_key(*hash)).copied().collect();
    if !long.is_empty() {
        found.extend(server.shelf.get(vault, &long, most).await?);
    }
    Ok(found)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Size {
    /// How long the blob is, in bytes.
    #[param(minimum = 1)]
    size: u64,
    /// Whether it is an attachment: these may be longer.
    #[serde(default)]
    #[param(required = false)]
    attachment: bool,
}

/// One blob through the server. With the header `upload-offset` it goes on where an earlier request broke off;
/// without it, it starts again.
#[utoipa::path(put, path = "/v1/vaults/{vault}/blobs/{hash}", operation_id = "put_blob", tag = "blobs", security(("token" = [])),
    params(("vault" = VaultId, Path), ("hash" = BlobHash, Path), Size,
        ("upload-offset" = Option<u64>, Header, description = "The first byte that this request brings")),
    request_body(content = String, content_type = "application/octet-stream", description = "Bytes"),
    responses((status = 204, description = "It is stored"),
        (status = 409, description = "`offset_mismatch`: the upload goes on at the `offset` of the facts; also the answer to a piece that does not end the blob"),
        (status = 422, description = "`hash_mismatch`: it does not have its hash or size; nothing is stored"), PutProblems))]
async fn put_one(
    State(server): State<Shared>,
    caller: Caller,
    Path((vault, hash)): Path<(VaultId, BlobHash)>,
    Query(Size { size, attachment }): Query<Size>,
    headers: HeaderMap,
    body: Body,
) -> Answer<StatusCode> {
    own(&server, caller.account, vault).await?;
    server.blob_watch.may_ask()?;
    check_content_type(&headers, OCTETS)?;
    if size == 0 {
        return Err(Failure::from(Code::InvalidParameter).detail("a blob has at least one byte"));
    }
    let most = limit(&server, attachment);
    if size > most {
        return Err(Failure::from(Code::BodyTooLarge).detail(format!("at most {most} bytes")));
    }
    let offset = number(&headers, "upload-offset", |text| text.parse().ok())?.unwrap_or(0);
    let broken =
        |error| if pace::was_too_slow(&error) { UploadError::TooSlow } else { UploadError::Broken(0) };
    room_for(&server, (caller.account, vault), BTreeMap::from([(hash, size)]), Take::Now).await?;
    let mut body = body.into_data_stream().map_err(broken);
    let taken = server.uploads.take(vault, &hash, (offset, size), &mut body).await;
    let is_late = offset < size && matches!(taken, Err(UploadError::Offset(_)));
    if is_late && server.shelf.has(vault, hash).await? {
        // The last piece comes again: its answer did not arrive.
        server.shelf.index.break_promise(vault, hash).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    if let Err(UploadError::TooLong | UploadError::Hash) = taken {
        // Nothing of it is left.
        server.shelf.index.break_promise(vault, hash).await?;
    }
    let whole = taken.map_err(not_taken)?;
    caller.still(&server)?;
    let mut have = have(&server, vault, &[hash]).await?;
    let lost = lost(&server, vault, &mut have).await?;
    if have.is_empty() {
        server.shelf.put_file(vault, (hash, size), whole.path(), &lost).await?;
    } else {
        server.shelf.index.break_promise(vault, hash).await?;
    }
    whole.done().await;
    Ok(StatusCode::NO_CONTENT)
}

/// A header that holds a number, in some way.
fn number(headers: &HeaderMap, name: &str, read: impl Fn(&str) -> Option<u64>) -> Answer<Option<u64>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(read);
    number.map(Some).ok_or_else(|| Failure::from(Code::InvalidHeader).detail(format!("{name} is not valid")))
}

fn not_taken(error: UploadError) -> Failure {
    match error {
        UploadError::Offset(at) | UploadError::Broken(at) => {
            Failure::from(Code::OffsetMismatch).facts(serde_json::json!({ "offset": at }))
        }
        UploadError::TooLong | UploadError::Hash => Code::HashMismatch.into(),
        UploadError::TooSlow => Code::BodyTooSlow.into(),
        UploadError::Disk(ref disk) if is_full(disk) => Failure::full(Store::Blobs, error),
        UploadError::Disk(_) => Failure::caused(Code::BlobsUnavailable, error),
    }
}

/// One blob, or with `Range: bytes=N-` the rest of it.
#[utoipa::path(get, path = "/v1/vaults/{vault}/blobs/{hash}", operation_id = "get_blob", tag = "blobs", security(("token" = [])),
    params(("vault" = VaultId, Path), ("hash" = BlobHash, Path),
        ("range" = Option<String>, Header, description = "`bytes=N-`: from this byte on")),
    responses((status = 200, description = "Its bytes", content_type = "application/octet-stream"),
        (status = 206, description = "The rest of them", content_type = "application/octet-stream"),
        GetProblems))]
async fn get_one(
    State(server): State<Shared>,
    caller: Caller,
    Path((vault, hash)): Path<(VaultId, BlobHash)>,
    headers: HeaderMap,
) -> Answer<Response> {
    own(&server, caller.account, vault).await?;
    let from = |text: &str| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
    let from = number(&headers, "range", from)?;
    let start = from.unwrap_or(0);
    let (length, body) = match server.log.contents(vault.into(), &[hash]).await?.pop() {
        Some((_, bytes)) => {
            let rest = bytes.get(usize::try_from(start).unwrap_or(usize::MAX)..).unwrap_or_default();
            (bytes.len() as u64, Body::from(rest.to_vec()))
        }
        None => long(&server, (vault, hash), start).await?,
    };
    if start >= length && length > 0 {
        let mut answer = Failure::from(Code::RangeNotSatisfiable).into_response();
        let whole = HeaderValue::from_str(&format!("bytes */{length}"));
        answer.headers_mut().extend(whole.ok().map(|whole| (header::CONTENT_RANGE, whole)));
        return Ok(answer);
    }
    let mut answer = ([(header::CONTENT_TYPE, OCTETS)], body).into_response();
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length - start));
    if from.is_some() {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {start}-{}/{length}", length - 1);
        answer.headers_mut().extend(HeaderValue::from_str(&range).ok().map(|r| (header::CONTENT_RANGE, r)));
    }
    Ok(answer)
}

/// A long blob from one of its bytes on. The first bytes are there before anything is answered: a store that is not
/// there is still a problem then, and not a broken answer.
async fn long(server: &Server, (vault, hash): (VaultId, BlobHash), from: u64) -> Answer<(u64, Body)> {
    let (length, mut pieces) = server.shelf.stream(vault, hash, from).await?.ok_or(Code::NotFound)?;
    let first = match pieces.next().await.transpose() {
        // Unless it was taken off the shelf a moment ago.
        Err(BlobError::Missing) if !have(server, vault, &[hash]).await?.is_empty() => {
            return Err(Code::BlobLost.into());
        }
        other => other?,
    };
    let body = stream::iter(first.map(Ok)).chain(pieces);
    Ok((length, Body::from_stream(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_frames_are_frames() {
        let frame = [&[7; 32][..], &3_u32.to_be_bytes(), b"abc"].concat();
        let two = Bytes::from([frame.clone(), frame.clone()].concat());
        assert_eq!(frames(two).unwrap()[1], (BlobHash([7; 32]), Bytes::from_static(b"abc")));
        for cut in 1..frame.len() {
            assert!(frames(Bytes::copy_from_slice(&frame[..cut])).is_none(), "{cut}");
        }
        let huge = [&[7; 32][..], &u32::MAX.to_be_bytes(), b"abc"].concat();
        assert!(frames(Bytes::from(huge)).is_none());
    }
}
