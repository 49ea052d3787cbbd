//! Uploads of what does not stand inline in a push: long ciphertexts and attachments.

use std::collections::BTreeMap;

use lockstep_api::{
    Code,
    sync::{BlobPart, BlobRef, PrepareBlobs, PreparedBlob, PreparedBlobs},
};
use lockstep_events::{BlobHash, VersionId};
use reqwest::Method;

use super::{destination::describes, parts::Begun};
use crate::{engine::Engine, error::Error, store::versions::Kept, transport::Body};

/// How often an upload that broke off is gone on with before it is left to the next push.
const ATTEMPTS: usize = 4;

/// From so many bytes on it is worth a question how many of them the server has.
const WORTH_ASKING: u64 = 1024 * 1024;

/// What is uploaded.
pub(super) struct Upload {
    pub(super) blob: BlobRef,
    body: Body,
}

impl Upload {
    /// The bytes from one of them on, at most so many.
    pub(super) fn piece(&self, from: u64, most: u64) -> Body {
        match &self.body {
            Body::Bytes(bytes) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                Body::Bytes(bytes[from..].iter().take(most).copied().collect())
            }
            Body::File(path, ..) => Body::File(path.clone(), from, most),
            other => other.clone(),
        }
    }
}

impl Engine {
    /// Uploads the long ciphertexts of some versions and the attachments of some. Those that the vault has already are
    /// skipped, and attachments that are not on this device: then somebody else sent them, or the server says that they
    /// are missing.
    pub(super) async fn upload(
        &self,
        versions: &[&Kept],
        attachments: &BTreeMap<VersionId, Vec<BlobHash>>,
    ) -> Result<(), Error> {
        let mut uploads = BTreeMap::new();
        for version in versions {
            if let (Some(hash), Some(ciphertext)) = (version.header.content_hash, &version.ciphertext) {
                let blob = BlobRef { hash, size: ciphertext.len() as u64, attachment: false };
                uploads.insert(hash, Upload { blob, body: Body::Bytes(ciphertext.clone()) });
            }
        }
        for hash in attachments.values().flatten() {
            let path = self.sealed_file(hash);
            if let Ok(data) = tokio::fs::metadata(&path).await {
                let blob = BlobRef { hash: *hash, size: data.len(), attachment: true };
                uploads.insert(*hash, Upload { blob, body: Body::File(path, 0, u64::MAX) });
            }
        }
        let uploads: Vec<Upload> = uploads.into_values().collect();
        for some in uploads.chunks(64) {
            self.upload_some(some).await?;
        }
        Ok(())
    }

    async fn upload_some(&self, uploads: &[Upload]) -> Result<(), Error> {
        for attempt in 1.. {
            match self.try_upload(uploads).await {
                Err(Error::Offline(_)) if attempt < ATTEMPTS => {}
                Err(Error::Refused { problem, .. })
                    if matches!(problem.code, Code::OffsetMismatch | Code::UploadGone)
                        && attempt < ATTEMPTS => {}
                other => return other,
            }
        }
        Ok(())
    }

    /// Goes on with what was begun; of the rest, asks where to, and goes on from there.
    async fn try_upload(&self, uploads: &[Upload]) -> Result<(), Error> {
        let mut rest = Vec::with_capacity(uploads.len());
        for upload in uploads {
            if !self.went_on(upload).await? {
                rest.push(upload);
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        let path = format!("/v1/vaults/{}/blobs/prepare", self.vault());
        let blobs = rest.iter().map(|upload| upload.blob).collect();
        let prepared: PreparedBlobs = self.post(&path, &PrepareBlobs { blobs }).await?;
        for blob in prepared.blobs {
            let (PreparedBlob::Have { hash }
            | PreparedBlob::Put { hash, .. }
            | PreparedBlob::Parts { hash, .. }) = blob;
            let upload = rest.iter().find(|upload| upload.blob.hash == hash);
            let upload = upload.ok_or(Error::Protocol("a blob that was not offered"))?;
            self.upload_one(upload, blob).await?;
        }
        Ok(())
    }

    async fn upload_one(&self, upload: &Upload, prepared: PreparedBlob) -> Result<(), Error> {
        let direct = match prepared {
            PreparedBlob::Have { hash } => return self.forget_begun(&hash).await,
            // As good as not here, and the server would refuse it.
            _ if !self.as_it_was(upload).await? => return Ok(()),
            PreparedBlob::Put { url, offset, .. } if url.starts_with('/') => {
                self.goes_to([url.as_str()]).await?;
                return self.through_the_server(upload, offset).await;
            }
            PreparedBlob::Put { url, headers, .. } if self.goes_to([url.as_str()]).await? => {
                self.straight(&BlobPart { url, headers }, upload.piece(0, u64::MAX)).await.map(drop)
            }
            PreparedBlob::Parts { upload: name, part_size, parts, expires_in, .. }
                if self.goes_to(parts.iter().map(|part| part.url.as_str())).await? =>
            {
                let fresh = Begun::new((name, part_size), parts, (self.now(), expires_in));
                self.send_parts(upload, fresh).await
            }
            PreparedBlob::Put { .. } | PreparedBlob::Parts { .. } => {
                return self.on_through_the_server(upload).await;
            }
        };
        match direct {
            Err(Error::Offline(cause)) if self.has_parts(&upload.blob.hash).await => {
                Err(Error::Offline(cause))
            }
            // This device does not reach the object store, or does not trust it: the server does.
            Err(Error::Offline(_) | Error::Certificate) => self.on_through_the_server(upload).await,
            other => other,
        }
    }

    /// Whether the bytes were not changed on this device's disk since they were sealed.
    pub(super) async fn as_it_was(&self, upload: &Upload) -> Result<bool, Error> {
        Ok(!upload.blob.attachment || self.is_whole(&upload.blob.hash).await?)
    }

    /// Goes on where an earlier upload through the server broke off. Nobody said where that is: the server does when it
    /// is told to go on behind the last byte.
    async fn on_through_the_server(&self, upload: &Upload) -> Result<(), Error> {
        if upload.blob.size < WORTH_ASKING {
            return self.through_the_server(upload, 0).await;
        }
        match self.through_the_server(upload, upload.blob.size).await {
            Err(Error::Refused { problem, .. }) if problem.code == Code::OffsetMismatch => {
                let offset = problem.facts.as_ref().and_then(|facts| facts["offset"].as_u64());
                self.through_the_server(upload, offset.unwrap_or(0)).await
            }
            other => other,
        }
    }

    async fn through_the_server(&self, upload: &Upload, offset: u64) -> Result<(), Error> {
        let BlobRef { hash, size, attachment } = upload.blob;
        let kind = if attachment { "&attachment=true" } else { "" };
        let path = format!("/v1/vaults/{}/blobs/{hash}?size={size}{kind}", self.vault());
        let headers = [("upload-offset".to_owned(), offset.to_string())];
        let body = upload.piece(offset, u64::MAX);
        self.request_with(Method::PUT, &path, &headers, body).await?.ok().map(drop)
    }

    /// Sends to a presigned address, which gets no token: it is another service's. The tag of what it stored.
    pub(super) async fn straight(&self, to: &BlobPart, body: Body) -> Result<Option<String>, Error> {
        let mut headers: Vec<_> = to.headers.clone().into_iter().collect();
        headers.retain(|(name, _)| describes(name));
        let answer = self.transport.send(Method::PUT, &to.url, None, &headers, body).await?;
        let tag = answer.etag.clone();
        answer.ok().map(|_| tag)
    }
}
