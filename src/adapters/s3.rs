//! Blobs in an S3 bucket.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    presigning::{PresignedRequest, PresigningConfig},
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use aws_smithy_http_client::{Builder, tls};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use lockstep_events::canonical::sha256;

use crate::blobs::{BlobError, BlobStore, Listed, Parts, Presigned, check_key};

/// What it takes to reach a bucket.
#[derive(Clone)]
pub struct S3Options {
    /// URL of the service; empty: AWS itself.
    pub endpoint: String,
    /// URL under which clients reach the service; empty: they do not.
    pub public_endpoint: String,
    /// Region.
    pub region: String,
    /// Bucket.
    pub bucket: String,
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
}

/// A connection is there within this time, or never.
const CONNECT: Duration = Duration::from_secs(2);
/// The longest single request.
const LONG: Duration = Duration::from_mins(9);
/// What a request with a file may take besides its bytes.
const SETUP: Duration = Duration::from_secs(20);
/// The slowest line that a file still goes over: so many bytes a second.
const SLOWEST: u64 = 512 * 1024;

/// How long a request with so many bytes may take.
fn patience(length: u64) -> Duration {
    LONG.min(SETUP + Duration::from_secs(length / SLOWEST))
}

/// A blob store in a bucket.
#[derive(Debug, Clone)]
pub struct S3Blobs {
    client: Client,
    /// Signs what clients send themselves; none: they do not reach the service.
    public: Option<Client>,
    bucket: String,
}

impl S3Blobs {
    /// A store; nothing is asked of the service yet.
    pub fn new(options: &S3Options) -> Self {
        let public = &options.public_endpoint;
        Self {
            client: client(options, &options.endpoint),
            public: (!public.is_empty()).then(|| client(options, public)),
            bucket: options.bucket.clone(),
        }
    }

    /// Makes the bucket, if it is not there.
    ///
    /// # Errors
    /// If the service does not answer or refuses.
    pub async fn make_bucket(&self) -> Result<(), BlobError> {
        match self.client.create_bucket().bucket(&self.bucket).send().await {
            Err(error)
                if !matches!(error.code(), Some("BucketAlreadyOwnedByYou" | "BucketAlreadyExists")) =>
            {
                Err(failed(error))
            }
            _ => Ok(()),
        }
    }
}

fn client(options: &S3Options, endpoint: &str) -> Client {
    let credentials =
        Credentials::new(&options.access_key, &options.secret_key, None, None, "lockstep configuration");
    let http = Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(Duration::from_secs(12))
        .operation_timeout(Duration::from_secs(25))
        .build();
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(credentials)
        .region(Region::new(options.region.clone()))
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        // Not every service knows the newer checksums; ours are named explicitly.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .force_path_style(true);
    if !endpoint.is_empty() {
        config = config.endpoint_url(endpoint);
    }
    Client::from_conf(config.build())
}

fn presigning(expires_s: u32) -> Result<PresigningConfig, BlobError> {
    PresigningConfig::expires_in(Duration::from_secs(expires_s.into()))
        .map_err(|error| BlobError::Other(Box::new(error)))
}

fn presigned(request: &PresignedRequest) -> Presigned {
    let headers = request.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Presigned { url: request.uri().to_owned(), headers }
}

fn signed(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// What the service said, or why it said nothing.
fn said<E: ProvideErrorMetadata>(error: &SdkError<E>, status: Option<u16>) -> String {
    let silence = match error {
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        SdkError::DispatchFailure(failure) => {
            failure.as_connector_error().map_or_else(String::new, |error| innermost(error))
        }
        _ => status.map(|status| format!("status {status}")).unwrap_or_default(),
    };
    let silence = if silence.is_empty() { "no answer" } else { &silence };
    [error.code().unwrap_or(silence), error.message().unwrap_or_default()].join(" ").trim_end().to_owned()
}

/// The first cause of an error: "Connection refused", without the request around it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

/// Says what the service said, without the request: its headers are signed.
fn failed<E>(error: SdkError<E>) -> BlobError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().map(str::to_owned);
    let what = said(&error, status);
    match (code.as_deref(), status) {
        // Of an object nothing is known without its bucket.
        (Some("NoSuchBucket"), _) => BlobError::Unavailable(what.into()),
        (Some("NoSuchKey" | "NotFound" | "InvalidRange"), _) | (_, Some(404 | 416)) => BlobError::Missing,
        (Some("NoSuchUpload" | "InvalidPart" | "InvalidPartOrder" | "EntityTooSmall"), _) => {
            BlobError::Missing
        }
        (Some("XMinioStorageFull" | "InsufficientStorage" | "QuotaExceeded"), _) | (_, Some(507)) => {
            BlobError::Full(what.into())
        }
        (Some("RequestTimeTooSkewed"), _) => {
            BlobError::Unavailable(format!("{what}: see the clocks of this machine and of the store").into())
        }
        _ if is_refusal(code.as_deref(), status) => {
            let advice = "see s3_access_key, s3_secret_key, s3_region, and what the key may do in the bucket";
            BlobError::Unavailable(format!("{what}: {advice}").into())
        }
        // It is there: what ails it, it says itself. Some services answer so when their disk is full.
        (_, Some(500..=599)) => {
            BlobError::Unavailable(format!("{what}: see the store's own log, and whether it has room").into())
        }
        (_, None | Some(429)) => {
            BlobError::Unavailable(format!("{what}: see whether the service runs, and s3_endpoint").into())
        }
        _ => BlobError::Other(what.into()),
    }
}

/// Whether the service says that these keys, or this way to it, are not the right ones (any more): an operator mends
/// that, and what was asked works then.
fn is_refusal(code: Option<&str>, status: Option<u16>) -> bool {
    let of_the_way = ["AuthorizationHeaderMalformed", "ExpiredToken", "InvalidToken"];
    matches!(status, Some(301 | 307 | 401 | 403)) || code.is_some_and(|code| of_the_way.contains(&code))
}

/// The same about an upload in parts: some services say of one that is gone that it is not ours.
fn no_upload<E>(error: SdkError<E>) -> BlobError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    if error.code() == Some("AccessDenied") { BlobError::Missing } else { failed(error) }
}

#[async_trait]
impl BlobStore for S3Blobs {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BlobError> {
        check_key(key)?;
        let put = self.client.put_object().bucket(&self.bucket).key(key);
        let put = put.checksum_sha256(STANDARD.encode(sha256(&bytes)));
        put.body(ByteStream::from(bytes)).send().await.map(drop).map_err(failed)
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<(), BlobError> {
        check_key(key)?;
        let length = std::fs::metadata(file).map_err(|error| BlobError::Unavailable(Box::new(error)))?.len();
        let body = ByteStream::from_path(file).await;
        let body = body.map_err(|error| BlobError::Unavailable(Box::new(error)))?;
        let put = self.client.put_object().bucket(&self.bucket).key(key).content_length(signed(length));
        // A hundred megabytes take longer than the usual request, and a service that hangs is not waited for as long.
        let patience = patience(length);
        let patient = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(patience)
            .operation_timeout(patience)
            .build();
        let patient = aws_sdk_s3::config::Config::builder().timeout_config(patient);
        let put = put.body(body).customize().config_override(patient);
        put.send().await.map(drop).map_err(failed)
    }

    async fn get(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, BlobError> {
        check_key(key)?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let range = format!("bytes={offset}-{}", offset + length - 1);
        let got = self.client.get_object().bucket(&self.bucket).key(key).range(range).send().await;
        let body = got.map_err(failed)?.body.collect().await;
        let bytes = body.map_err(|error| BlobError::Unavailable(Box::new(error)))?.into_bytes();
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(BlobError::Missing) }
    }

    async fn length(&self, key: &str) -> Result<u64, BlobError> {
        check_key(key)?;
        let head = self.client.head_object().bucket(&self.bucket).key(key).send().await.map_err(failed)?;
        u64::try_from(head.content_length().unwrap_or(-1)).map_err(|_| BlobError::Missing)
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        check_key(key)?;
        match self.client.delete_object().bucket(&self.bucket).key(key).send().await.map_err(failed) {
            Ok(_) | Err(BlobError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, BlobError> {
        let limit = i32::try_from(limit).unwrap_or(1000).min(1000);
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).max_keys(limit);
        let list = list.set_start_after(after.map(str::to_owned)).send().await.map_err(failed)?;
        let listed = list.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let length = object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
            Some(Listed { key: object.key?, length })
        });
        Ok(listed.collect())
    }

    fn is_reached_by_clients(&self) -> bool {
        self.public.is_some()
    }

    async fn presign_put(
        &self,
        key: &str,
        length: u64,
        sha256: &[u8; 32],
        expires_s: u32,
    ) -> Result<Option<Presigned>, BlobError> {
        check_key(key)?;
        let Some(client) = &self.public else { return Ok(None) };
        let put = client.put_object().bucket(&self.bucket).key(key).content_length(signed(length));
        let put = put.checksum_sha256(STANDARD.encode(sha256)).presigned(presigning(expires_s)?);
        Ok(Some(presigned(&put.await.map_err(failed)?)))
    }

    async fn start_parts(
        &self,
        key: &str,
        lengths: &[u64],
        expires_s: u32,
    ) -> Result<Option<Parts>, BlobError> {
        check_key(key)?;
        let Some(client) = &self.public else { return Ok(None) };
        let begun = self.client.create_multipart_upload().bucket(&self.bucket).key(key).send().await;
        let upload = begun.map_err(failed)?.upload_id.ok_or(BlobError::Missing)?;
        let mut parts = Vec::with_capacity(lengths.len());
        for (number, length) in (1..).zip(lengths) {
            let part = client.upload_part().bucket(&self.bucket).key(key).upload_id(&upload);
            let part = part.part_number(number).content_length(signed(*length));
            parts.push(presigned(&part.presigned(presigning(expires_s)?).await.map_err(failed)?));
        }
        Ok(Some(Parts { upload, parts }))
    }

    async fn finish_parts(&self, key: &str, upload: &str, tags: &[String]) -> Result<(), BlobError> {
        check_key(key)?;
        let parts = (1..)
            .zip(tags)
            .map(|(number, tag)| CompletedPart::builder().part_number(number).e_tag(tag).build());
        let whole = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let finish = self.client.complete_multipart_upload().bucket(&self.bucket).key(key);
        let finish = finish.upload_id(upload).multipart_upload(whole).send().await;
        finish.map(drop).map_err(no_upload)
    }

    async fn abort_parts(&self, key: &str, upload: &str) -> Result<(), BlobError> {
        check_key(key)?;
        let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload);
        match abort.send().await.map_err(no_upload) {
            Ok(_) | Err(BlobError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn ready(&self) -> Result<(), BlobError> {
        let answer = self.client.head_bucket().bucket(&self.bucket).send().await;
        match answer.map(drop).map_err(failed) {
            Err(BlobError::Missing) => Err(BlobError::Other(
                format!("there is no bucket {}: make it, or name another one with blobs", self.bucket).into(),
            )),
            // Its keys are taken, and there is a store: what it refuses is the bucket's name.
            Err(BlobError::Other(cause)) => {
                Err(BlobError::Other(format!("{cause}: see the name in blobs, and s3_region").into()))
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_waited_for_as_long_as_its_bytes_may_take_and_a_short_one_not_long() {
        assert_eq!(patience(0), Duration::from_secs(20));
        assert_eq!(patience(100_000), Duration::from_secs(20));
        assert_eq!(patience(10 * 1024 * 1024), Duration::from_secs(40));
        assert_eq!(patience(100 * 1024 * 1024), Duration::from_secs(220));
        assert_eq!(patience(u64::MAX), LONG);
    }
}
