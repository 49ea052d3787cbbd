//! Uploads in parts, straight to the object store. Which parts of a file are there is kept beside it, for as long as the
//! addresses are good: an upload that broke off goes on with the others, in this process or the next.

use std::path::PathBuf;

use lockstep_api::sync::{BlobPart, CompleteBlob};
use lockstep_events::{BlobHash, Micros};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use tokio::fs;

use super::uploads::Upload;
use crate::{
    attachments::{create, remove},
    engine::Engine,
    error::Error,
    transport::Body,
};

/// An address that is good for less is not begun with.
const MARGIN_S: u32 = 60;

/// An upload that was begun.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Begun {
    /// Names it.
    upload: String,
    part_size: u64,
    parts: Vec<BlobPart>,
    /// What the store answered to each part that it has.
    tags: Vec<Option<String>>,
    /// Until when the addresses are good.
    until: Micros,
}

impl Begun {
    pub(super) fn new(
        (upload, part_size): (String, u64),
        parts: Vec<BlobPart>,
        (now, expires_in): (Micros, u32),
    ) -> Self {
        let until = Micros(now.0 + i64::from(expires_in.saturating_sub(MARGIN_S)) * 1_000_000);
        Self { upload, part_size, tags: vec![None; parts.len()], parts, until }
    }

    fn is_good(&self, now: Micros) -> bool {
        now < self.until && self.tags.len() == self.parts.len()
    }
}

impl Engine {
    fn begun_file(&self, hash: &BlobHash) -> PathBuf {
        self.sealed_file(hash).with_extension("parts")
    }

    /// An earlier upload that can go on.
    async fn begun(&self, hash: &BlobHash) -> Option<Begun> {
        let kept = fs::read(self.begun_file(hash)).await.ok()?;
        serde_json::from_slice::<Begun>(&kept).ok().filter(|begun| begun.is_good(self.now()))
    }

    async fn keep_begun(&self, hash: &BlobHash, begun: &Begun) -> Result<(), Error> {
        let text = serde_json::to_vec(begun).map_err(|_| Error::Invalid("not to be written as JSON"))?;
        let path = self.begun_file(hash);
        let unfinished = path.with_extension("parts.new");
        // What lies there is of a process that died, and appended to it would be nothing.
        remove(&unfinished).await?;
        tokio::io::AsyncWriteExt::write_all(&mut create(&unfinished).await?, &text).await?;
        Ok(fs::rename(unfinished, path).await?)
    }

    /// An upload came to its end, one way or another.
    pub(super) async fn forget_begun(&self, hash: &BlobHash) -> Result<(), Error> {
        remove(&self.begun_file(hash)).await
    }

    /// Whether the store has parts of a blob: then it is within reach, and what is missing goes there too.
    pub(super) async fn has_parts(&self, hash: &BlobHash) -> bool {
        self.begun(hash).await.is_some_and(|begun| begun.tags.iter().any(Option::is_some))
    }

    /// Goes on with an earlier upload, without asking for another; whether there was one that could be ended.
    pub(super) async fn went_on(&self, upload: &Upload) -> Result<bool, Error> {
        let Some(begun) = self.begun(&upload.blob.hash).await else { return Ok(false) };
        let within_reach = self.goes_to(begun.parts.iter().map(|part| part.url.as_str())).await?;
        if !within_reach || !self.as_it_was(upload).await? {
            return Ok(false);
        }
        match self.send_parts(upload, begun).await {
            Ok(()) => Ok(true),
            // Somebody ended it, or what it made was not the blob; or the store is not trusted any more.
            Err(Error::Refused { .. } | Error::Certificate) => Ok(false),
            Err(other) => Err(other),
        }
    }

    pub(super) async fn send_parts(&self, upload: &Upload, mut begun: Begun) -> Result<(), Error> {
        let hash = upload.blob.hash;
        for (number, at) in (0..).zip(0..begun.parts.len()) {
            if begun.tags[at].is_none() {
                let piece = upload.piece(number * begun.part_size, begun.part_size);
                let tag = self.straight(&begun.parts[at], piece).await?;
                begun.tags[at] = Some(tag.ok_or(Error::Protocol("a part that was stored without a tag"))?);
                self.keep_begun(&hash, &begun).await?;
            }
        }
        let path = format!("/v1/vaults/{}/blobs/{hash}/complete", self.vault());
        let tags = begun.tags.into_iter().flatten().collect();
        let body = CompleteBlob { size: upload.blob.size, upload: begun.upload, tags };
        let done = self.request(Method::POST, &path, Body::json(&body)?).await?.ok();
        self.forget_begun(&hash).await?;
        done.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_goes_on_until_a_minute_before_its_addresses_are_no_longer_good() {
        let part = || BlobPart { url: "https://s3".into(), headers: Default::default() };
        let begun = Begun::new(("u".into(), 8), vec![part(), part()], (Micros(0), 900));
        assert!(begun.is_good(Micros(839_999_999)) && !begun.is_good(Micros(840_000_000)));
        let text = serde_json::to_string(&begun).unwrap();
        let mut again: Begun = serde_json::from_str(&text).unwrap();
        assert_eq!(again.tags, [None, None]);
        again.tags.pop();
        assert!(!again.is_good(Micros(0)), "a file that was written by something else");
        assert!(!Begun::new(("u".into(), 8), vec![part()], (Micros(5), 30)).is_good(Micros(5)));
    }
}
