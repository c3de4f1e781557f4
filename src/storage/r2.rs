//! Frames in Cloudflare R2, or anything else that speaks S3.
//!
//! R2 differs from S3 in what it accepts, so the client sends the least: region `auto`, path style, no
//! checksum headers and no chunked signatures (the body's SHA-256 is part of the signature). The SDK's own
//! retries are off, since they know neither R2's 429 nor bodies that break off; [`crate::upstream::retry`]
//! does both. Sources: developers.cloudflare.com/r2/api/s3.

mod deletion;
mod error;
mod lifecycle;
mod listing;
mod presign;

pub use lifecycle::Lifecycle;

use self::error::failure;
use super::{
    CONTENT_TYPE, DeletedFrames, Download, ExpectedFrame, FrameMetadata, FramePath, NewFrame, Pending,
    PresignedPut, StorageClient, StoredFrame,
};
use crate::metrics::{OperationClass, StorageMetrics};
use crate::session::SessionId;
use crate::upstream::{RetryPolicy, Service, UpstreamError, UpstreamErrorKind, retry};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider,
};
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::tls;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::time::Duration;
use tokio::sync::Semaphore;
use url::Url;

/// How long an idle connection is kept. Shorter than what is usual on the other side, so that a request
/// rarely meets a connection that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Where R2 is and how it is asked.
#[derive(Debug, Clone)]
pub struct R2Settings {
    /// `https://<account>.r2.cloudflarestorage.com`, or another S3 server; it may have a path.
    pub endpoint: Url,
    /// The bucket's name.
    pub bucket: String,
    /// The id of the access key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: SecretString,
    /// How patiently it is asked.
    pub limits: R2Limits,
}

/// How patiently and how busily R2 is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct R2Limits {
    /// For a connection to come about.
    pub connect_timeout: Duration,
    /// For one try, from the request's first byte to the body's last: the SDK's own default is none, and a
    /// server that is silent or lets a body drip would be waited for forever.
    pub attempt_timeout: Duration,
    /// For one call of [`StorageClient`] with all its requests, retries and waits.
    pub call_timeout: Duration,
    /// Requests in flight at one time; R2 answers bursts with 429.
    pub max_in_flight: usize,
    /// How often a request is tried.
    pub retry: RetryPolicy,
}

impl Default for R2Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            // A frame is at most a few MiB; what takes longer than this is stuck.
            attempt_timeout: Duration::from_secs(15),
            // One request takes at most 45 s: the last wait ends within 30 s, and 15 s are left for the last try.
            call_timeout: Duration::from_mins(2),
            max_in_flight: 64,
            retry: RetryPolicy {
                attempts: 4,
                base_delay: Duration::from_millis(200),
                max_delay: Duration::from_secs(4),
                deadline: Duration::from_secs(30),
            },
        }
    }
}

/// Keeps frames in a bucket.
pub struct R2StorageClient {
    client: Client,
    bucket: String,
    limits: R2Limits,
    in_flight: Semaphore,
    metrics: StorageMetrics,
}

impl R2StorageClient {
    /// A client for the bucket, which counts its requests; nothing is asked yet.
    pub fn connect(settings: &R2Settings, metrics: StorageMetrics) -> Self {
        let limits = &settings.limits;
        let credentials = Credentials::new(
            &settings.access_key_id,
            settings.secret_access_key.expose_secret(),
            None,
            None,
            "settings",
        );
        // The SDK's other limits end before the body is read, so `ask` sets the rest.
        let timeouts = TimeoutConfig::builder().connect_timeout(limits.connect_timeout).build();
        let http = aws_smithy_http_client::Builder::new()
            .pool_idle_timeout(POOL_IDLE)
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
            .build_https();
        // Built from the settings alone: no profile, no instance metadata, no AWS_* variable changes it.
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("auto"))
            .endpoint_url(with_slash(&settings.endpoint))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .http_client(http)
            .build();
        Self {
            client: Client::from_conf(Builder::from(&shared).force_path_style(true).build()),
            bucket: settings.bucket.clone(),
            limits: *limits,
            in_flight: Semaphore::new(limits.max_in_flight),
            metrics,
        }
    }

    /// One request with its retries; the wait between tries takes no place among those in flight.
    async fn ask<T, Fut>(
        &self,
        operation: &'static str,
        request: impl Fn() -> Fut,
    ) -> Result<T, UpstreamError>
    where
        Fut: Future<Output = Result<T, UpstreamError>>,
    {
        retry(&self.limits.retry, || async {
            // The semaphore is never closed; were it, requests would go on without its bound.
            let _place = self.in_flight.acquire().await;
            self.once(operation, request()).await
        })
        .await
    }

    /// One try of a request, which is counted. Every request of ours passes here, and the SDK makes none by itself.
    fn once<T>(
        &self,
        operation: &'static str,
        request: impl Future<Output = Result<T, UpstreamError>>,
    ) -> impl Future<Output = Result<T, UpstreamError>> {
        self.metrics.count(class(operation), operation);
        // The SDK's futures take 30 KiB; boxed, a thousand deletions that wait for a place are small.
        within(self.limits.attempt_timeout, operation, Box::pin(request))
    }

    /// A whole call: its requests, their retries, and the waits for a place and between tries.
    async fn call<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        within(self.limits.call_timeout, operation, work).await
    }

    async fn put(
        &self,
        path: &FramePath,
        jpeg: Bytes,
        metadata: &FrameMetadata,
    ) -> Result<String, UpstreamError> {
        let sent = self.put_request(path, jpeg, *metadata).send().await;
        let stored = sent.map_err(|it| failure("PutObject", &it))?;
        entity_tag("PutObject", stored.e_tag())
    }

    /// The entity tag of the frame once it is stored; `None` where something is there already.
    async fn put_new(
        &self,
        path: &FramePath,
        jpeg: Bytes,
        metadata: &FrameMetadata,
    ) -> Result<Option<String>, UpstreamError> {
        let sent = self.put_request(path, jpeg, *metadata).if_none_match("*").send().await;
        match sent {
            Err(error) if error.raw_response().is_some_and(|it| it.status().as_u16() == 412) => Ok(None),
            Err(error) => Err(failure("PutObject", &error)),
            Ok(stored) => entity_tag("PutObject", stored.e_tag()).map(Some),
        }
    }

    fn put_request(&self, path: &FramePath, jpeg: Bytes, metadata: FrameMetadata) -> PutObjectFluentBuilder {
        let metadata = metadata.entries(path).map(|(name, value)| (name.to_owned(), value));
        let request = self.client.put_object().bucket(&self.bucket).key(path.to_string());
        let request = request.content_type(CONTENT_TYPE).set_metadata(Some(HashMap::from(metadata)));
        // Bytes and not a stream: the SDK then signs their SHA-256, and the server checks it.
        request.body(ByteStream::from(jpeg))
    }

    /// The frame that is there, as storage knows it. One that has gone since it was met is as good as a failure.
    async fn head(&self, path: &FramePath) -> Result<StoredFrame, UpstreamError> {
        let sent = self.client.head_object().bucket(&self.bucket).key(path.to_string()).send().await;
        let object = match sent {
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => {
                let why = "what was there a moment ago is gone";
                return Err(UpstreamError::new(
                    Service::Storage,
                    "HeadObject",
                    UpstreamErrorKind::Unavailable,
                    why,
                ));
            }
            sent => sent.map_err(|it| failure("HeadObject", &it))?,
        };
        let etag = entity_tag("HeadObject", object.e_tag())?;
        Ok(StoredFrame { path: *path, size_bytes: length("HeadObject", object.content_length)?, etag })
    }

    async fn get(&self, frame: &StoredFrame) -> Result<Download, UpstreamError> {
        let Some(object) = self.open(frame.path.to_string()).await? else { return Ok(Download::Missing) };
        let etag = entity_tag("GetObject", object.e_tag())?;
        let size_bytes = length("GetObject", object.content_length)?;
        // Before the body is read, so that something huge under the key takes no memory.
        if etag != frame.etag || size_bytes != frame.size_bytes {
            return Ok(Download::Changed);
        }
        read_whole(object.body, size_bytes).await.map(Download::Frame)
    }

    async fn get_pending(&self, path: &FramePath, max_bytes: u64) -> Result<Pending, UpstreamError> {
        let Some(object) = self.open(path.pending_key()).await? else { return Ok(Pending::Missing) };
        let size_bytes = length("GetObject", object.content_length)?;
        if max_bytes < size_bytes {
            return Ok(Pending::TooLarge(size_bytes));
        }
        read_whole(object.body, size_bytes).await.map(Pending::Bytes)
    }

    /// An object whose body is not read yet; `None` where there is none.
    async fn open(&self, key: String) -> Result<Option<GetObjectOutput>, UpstreamError> {
        let sent = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        match sent {
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => Ok(None),
            sent => sent.map(Some).map_err(|it| failure("GetObject", &it)),
        }
    }
}

/// The body of an object of that size.
async fn read_whole(body: ByteStream, size_bytes: u64) -> Result<Bytes, UpstreamError> {
    let broken =
        |why: String| UpstreamError::new(Service::Storage, "GetObject", UpstreamErrorKind::Unavailable, why);
    let body = body.collect().await.map_err(|error| broken(format!("the body broke off: {error}")))?;
    let bytes = body.into_bytes();
    if bytes.len() as u64 != size_bytes {
        return Err(broken("the body is shorter than announced".to_owned()));
    }
    Ok(bytes)
}

impl Debug for R2StorageClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("R2StorageClient").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

#[async_trait]
impl StorageClient for R2StorageClient {
    async fn upload_frame(
        &self,
        path: &FramePath,
        jpeg: Bytes,
        metadata: &FrameMetadata,
    ) -> Result<StoredFrame, UpstreamError> {
        let size_bytes = jpeg.len() as u64;
        let put = self.ask("PutObject", || self.put(path, jpeg.clone(), metadata));
        let etag = self.call("PutObject", put).await?;
        Ok(StoredFrame { path: *path, size_bytes, etag })
    }

    async fn upload_new_frame(
        &self,
        path: &FramePath,
        jpeg: Bytes,
        metadata: &FrameMetadata,
    ) -> Result<NewFrame, UpstreamError> {
        let size_bytes = jpeg.len() as u64;
        let put = async {
            match self.ask("PutObject", || self.put_new(path, jpeg.clone(), metadata)).await? {
                Some(etag) => Ok(NewFrame::Stored(StoredFrame { path: *path, size_bytes, etag })),
                // It may be this very frame, stored by a try whose answer was lost.
                None => self.ask("HeadObject", || self.head(path)).await.map(NewFrame::Exists),
            }
        };
        self.call("PutObject", put).await
    }

    async fn download_frame(&self, frame: &StoredFrame) -> Result<Download, UpstreamError> {
        self.call("GetObject", self.ask("GetObject", || self.get(frame))).await
    }

    async fn list_frames(&self, session: SessionId) -> Result<Vec<StoredFrame>, UpstreamError> {
        let frames = self.frames_under(FramePath::prefix(session), FramePath::parse);
        self.call("ListObjectsV2", frames).await
    }

    async fn list_sessions(&self, after: Option<SessionId>) -> Result<Vec<SessionId>, UpstreamError> {
        self.call("ListObjectsV2", self.sessions_after(FramePath::ROOT, after)).await
    }

    async fn delete_frames(&self, session: SessionId) -> Result<DeletedFrames, UpstreamError> {
        self.call("DeleteObjects", self.delete_all_under(FramePath::prefix(session))).await
    }

    async fn list_pending(&self, session: SessionId) -> Result<Vec<StoredFrame>, UpstreamError> {
        let pending = self.frames_under(FramePath::pending_prefix(session), FramePath::parse_pending);
        self.call("ListObjectsV2", pending).await
    }

    async fn download_pending(&self, path: &FramePath, max_bytes: u64) -> Result<Pending, UpstreamError> {
        self.call("GetObject", self.ask("GetObject", || self.get_pending(path, max_bytes))).await
    }

    async fn remove_pending(&self, path: &FramePath) -> Result<(), UpstreamError> {
        let key = path.pending_key();
        self.call("DeleteObject", self.ask("DeleteObject", || self.delete_one(&key))).await
    }

    async fn delete_pending(&self, session: SessionId) -> Result<DeletedFrames, UpstreamError> {
        self.call("DeleteObjects", self.delete_all_under(FramePath::pending_prefix(session))).await
    }

    async fn list_pending_sessions(&self, after: Option<SessionId>) -> Result<Vec<SessionId>, UpstreamError> {
        self.call("ListObjectsV2", self.sessions_after(FramePath::PENDING_ROOT, after)).await
    }

    async fn presigned_get(&self, path: &FramePath, ttl: Duration) -> Result<Url, UpstreamError> {
        self.presign_get(path, ttl).await
    }

    async fn presigned_put(
        &self,
        path: &FramePath,
        expect: &ExpectedFrame,
        ttl: Duration,
    ) -> Result<PresignedPut, UpstreamError> {
        self.presign_put(path, expect, ttl).await
    }

    async fn check(&self) -> Result<(), UpstreamError> {
        let head = async || {
            let sent = self.client.head_bucket().bucket(&self.bucket).send().await;
            sent.map(|_found| ()).map_err(|it| failure("HeadBucket", &it))
        };
        // It takes no place: behind uploads it would tell how busy the service is, not whether R2 answers.
        let checked = retry(&self.limits.retry, || self.once("HeadBucket", head()));
        self.call("HeadBucket", checked).await
    }
}

/// What Cloudflare bills an operation as: developers.cloudflare.com/r2/pricing.
fn class(operation: &str) -> OperationClass {
    match operation {
        "PutObject" | "ListObjectsV2" | "PutBucketLifecycleConfiguration" => OperationClass::A,
        "GetObject" | "HeadObject" | "HeadBucket" | "GetBucketLifecycleConfiguration" => OperationClass::B,
        "DeleteObject" => OperationClass::Free,
        // DeleteObjects is in none of the lists.
        _ => OperationClass::Unpublished,
    }
}

/// Work that fails with a timeout once it took this long.
async fn within<T>(
    limit: Duration,
    operation: &'static str,
    work: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_late| {
        let why = format!("not done within {limit:?}");
        Err(UpstreamError::new(Service::Storage, operation, UpstreamErrorKind::Timeout, why))
    })
}

/// An entity tag without its quotes. Everything that speaks S3 gives one.
fn entity_tag(operation: &'static str, etag: Option<&str>) -> Result<String, UpstreamError> {
    let etag = etag.map(|it| it.trim_matches('"').to_owned()).filter(|it| !it.is_empty());
    etag.ok_or_else(|| not_understood(operation, "an object without an entity tag"))
}

/// The length of an object in bytes.
fn length(operation: &'static str, length: Option<i64>) -> Result<u64, UpstreamError> {
    let length = length.and_then(|it| u64::try_from(it).ok());
    length.ok_or_else(|| not_understood(operation, "an object without a length"))
}

fn not_understood(operation: &'static str, why: &'static str) -> UpstreamError {
    UpstreamError::new(Service::Storage, operation, UpstreamErrorKind::InvalidResponse, why)
}

/// The endpoint with a slash at its end: without one the SDK glues the bucket to a path, silently.
fn with_slash(endpoint: &Url) -> String {
    format!("{}/", endpoint.as_str().trim_end_matches('/'))
}
