//! Frames in Cloudflare R2, or anything else that speaks S3.
//!
//! R2 differs from S3 in what it accepts, so the client sends the least: region `auto`, path style, no
//! checksum headers and no chunked signatures (the body's SHA-256 is part of the signature). The SDK's own
//! retries are off, since they know neither R2's 429 nor bodies that break off; [`crate::upstream::retry`]
//! does both. Sources: developers.cloudflare.com/r2/api/s3.

mod error;

use self::error::failure;
use super::{
    CONTENT_TYPE, DeletedFrames, ExpectedFrame, FrameMetadata, FramePath, MAX_PRESIGN_TTL, PresignedPut,
    StorageClient, StoredFrame,
};
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
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_smithy_http_client::tls;
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::time::Duration;
use tokio::sync::Semaphore;
use url::Url;

/// Keys in one `DeleteObjects`, the most that S3 and R2 take. Where a batch fails as a whole, its keys are
/// deleted one by one, so a smaller batch would only cost requests.
const DELETE_BATCH: usize = 1000;
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
    /// For one try: the SDK's own default is none, and a silent server would be waited for forever.
    pub attempt_timeout: Duration,
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
    retry: RetryPolicy,
    in_flight: Semaphore,
}

/// Everything under a prefix, as one page of a listing gives it.
struct Page {
    objects: Vec<(String, u64, String)>,
    next: Option<String>,
}

impl R2StorageClient {
    /// A client for the bucket; nothing is asked yet.
    pub fn connect(settings: &R2Settings) -> Self {
        let limits = &settings.limits;
        let credentials = Credentials::new(
            &settings.access_key_id,
            settings.secret_access_key.expose_secret(),
            None,
            None,
            "settings",
        );
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(limits.connect_timeout)
            .operation_attempt_timeout(limits.attempt_timeout)
            .operation_timeout(limits.attempt_timeout)
            .build();
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
            retry: limits.retry,
            in_flight: Semaphore::new(limits.max_in_flight),
        }
    }

    /// One request with its retries; the wait between tries takes no place among those in flight.
    async fn ask<T, Fut>(&self, request: impl Fn() -> Fut) -> Result<T, UpstreamError>
    where
        Fut: Future<Output = Result<T, UpstreamError>>,
    {
        retry(&self.retry, || async {
            // The semaphore is never closed; were it, requests would go on without its bound.
            let _place = self.in_flight.acquire().await;
            request().await
        })
        .await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, UpstreamError> {
        let sent = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        let object = match sent {
            Ok(object) => object,
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(aws_sdk_s3::operation::get_object::GetObjectError::is_no_such_key) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failure("GetObject", &error)),
        };
        let expected = object.content_length.and_then(|it| usize::try_from(it).ok());
        let broken = |why: String| {
            UpstreamError::new(Service::Storage, "GetObject", UpstreamErrorKind::Unavailable, why)
        };
        let body =
            object.body.collect().await.map_err(|error| broken(format!("the body broke off: {error}")))?;
        let body = body.into_bytes();
        match expected {
            Some(expected) if expected != body.len() => {
                Err(broken("the body is shorter than announced".to_owned()))
            }
            _ => Ok(Some(body)),
        }
    }

    /// One page of the objects under a prefix.
    async fn page(&self, prefix: &str, token: Option<String>) -> Result<Page, UpstreamError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let page =
            request.set_continuation_token(token).send().await.map_err(|it| failure("ListObjectsV2", &it))?;
        let next = page.next_continuation_token.clone();
        if page.is_truncated == Some(true) && next.is_none() {
            // Going on would list the first page again and again; stopping would miss objects.
            let why = "a truncated page without a continuation token";
            return Err(UpstreamError::new(
                Service::Storage,
                "ListObjectsV2",
                UpstreamErrorKind::InvalidResponse,
                why,
            ));
        }
        let objects = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let size = object.size.and_then(|it| u64::try_from(it).ok()).unwrap_or_default();
            Some((object.key?, size, unquoted(object.e_tag.as_deref())))
        });
        Ok(Page { objects: objects.collect(), next: next.filter(|_| page.is_truncated == Some(true)) })
    }

    /// Every object under a prefix.
    async fn list(&self, prefix: &str) -> Result<Vec<(String, u64, String)>, UpstreamError> {
        let mut objects = Vec::new();
        let mut token = None;
        loop {
            let mut page = self.ask(|| self.page(prefix, token.clone())).await?;
            objects.append(&mut page.objects);
            match page.next {
                Some(next) => token = Some(next),
                None => return Ok(objects),
            }
        }
    }

    /// Deletes up to [`DELETE_BATCH`] keys in one request; gives those that were not deleted.
    async fn delete_batch(&self, keys: &[String]) -> Result<Vec<String>, UpstreamError> {
        let rejected =
            |error| UpstreamError::new(Service::Storage, "DeleteObjects", UpstreamErrorKind::Rejected, error);
        let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build());
        let objects = objects.collect::<Result<Vec<_>, _>>().map_err(rejected)?;
        let delete = Delete::builder().set_objects(Some(objects)).build().map_err(rejected)?;
        let request = self.client.delete_objects().bucket(&self.bucket).delete(delete);
        let reply = request.send().await.map_err(|it| failure("DeleteObjects", &it))?;
        // An error for a key comes inside a 200, and the SDK calls that a success.
        Ok(reply.errors.unwrap_or_default().into_iter().filter_map(|it| it.key).collect())
    }

    async fn delete_one(&self, key: &str) -> Result<(), UpstreamError> {
        let request = self.client.delete_object().bucket(&self.bucket).key(key);
        request.send().await.map(|_deleted| ()).map_err(|it| failure("DeleteObject", &it))
    }

    async fn presign(
        &self,
        ttl: Duration,
        make: impl AsyncFnOnce(PresigningConfig) -> Result<PresignedRequest, UpstreamError>,
    ) -> Result<(Url, Vec<(String, String)>), UpstreamError> {
        let rejected =
            |why: String| UpstreamError::new(Service::Storage, "presign", UpstreamErrorKind::Rejected, why);
        if !(Duration::from_secs(1)..=MAX_PRESIGN_TTL).contains(&ttl) {
            return Err(rejected("a presigned URL lives from 1 second to 7 days".to_owned()));
        }
        let config = PresigningConfig::expires_in(ttl).map_err(|error| rejected(error.to_string()))?;
        let request = make(config).await?;
        let url =
            Url::parse(request.uri()).map_err(|error| rejected(format!("the SDK made no URL: {error}")))?;
        let headers = request.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok((url, headers))
    }
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
        let entries = metadata.entries(path).map(|(name, value)| (name.to_owned(), value));
        let entries = HashMap::from(entries);
        let etag = self
            .ask(|| async {
                let request = self.client.put_object().bucket(&self.bucket).key(path.to_string());
                let request = request.content_type(CONTENT_TYPE).set_metadata(Some(entries.clone()));
                // Bytes and not a stream: the SDK then signs their SHA-256, and the server checks it.
                let sent = request.body(ByteStream::from(jpeg.clone())).send().await;
                let stored = sent.map_err(|it| failure("PutObject", &it))?;
                Ok(unquoted(stored.e_tag()))
            })
            .await?;
        Ok(StoredFrame { path: *path, size_bytes, etag })
    }

    async fn download_frame(&self, path: &FramePath) -> Result<Option<Bytes>, UpstreamError> {
        let key = path.to_string();
        self.ask(|| self.get(&key)).await
    }

    async fn list_frames(&self, session: SessionId) -> Result<Vec<StoredFrame>, UpstreamError> {
        let objects = self.list(&FramePath::prefix(session)).await?;
        let frames = objects.into_iter().filter_map(|(key, size_bytes, etag)| {
            Some(StoredFrame { path: FramePath::parse(&key)?, size_bytes, etag })
        });
        Ok(frames.collect())
    }

    async fn list_sessions(&self, after: Option<SessionId>) -> Result<Vec<SessionId>, UpstreamError> {
        // A page begins after everything that lies under the last session; `~` sorts after every key's rest.
        let mut start = after.map(|it| format!("{}~", FramePath::prefix(it)));
        loop {
            let page = self
                .ask(|| async {
                    let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(FramePath::ROOT);
                    let request = request.delimiter("/").set_start_after(start.clone());
                    request.send().await.map_err(|it| failure("ListObjectsV2", &it))
                })
                .await?;
            let prefixes: Vec<&str> = page.common_prefixes().iter().filter_map(|it| it.prefix()).collect();
            let id = |it: &&str| it.strip_prefix(FramePath::ROOT)?.strip_suffix('/')?.parse().ok();
            let sessions: Vec<SessionId> =
                prefixes.iter().filter_map(id).filter(|it| Some(*it) != after).collect();
            // A page of nothing but prefixes that are no sessions is not the end.
            match (sessions.is_empty(), page.is_truncated, prefixes.last()) {
                (true, Some(true), Some(last)) => start = Some(format!("{last}~")),
                _ => return Ok(sessions),
            }
        }
    }

    async fn delete_frames(&self, session: SessionId) -> Result<DeletedFrames, UpstreamError> {
        // All that lies under the session's prefix, whatever it is called.
        let objects = self.list(&FramePath::prefix(session)).await?;
        let keys: Vec<String> = objects.iter().map(|it| it.0.clone()).collect();
        for batch in keys.chunks(DELETE_BATCH) {
            let left = match self.ask(|| self.delete_batch(batch)).await {
                Ok(left) => left,
                Err(error) => {
                    tracing::warn!(%error, cause = %error.source, "DeleteObjects failed, deleting key by key");
                    batch.to_vec()
                }
            };
            for key in left {
                self.ask(|| self.delete_one(&key)).await?;
            }
        }
        Ok(DeletedFrames { frames: objects.len() as u64, bytes: objects.iter().map(|it| it.1).sum() })
    }

    async fn presigned_get(&self, path: &FramePath, ttl: Duration) -> Result<Url, UpstreamError> {
        let request = self.client.get_object().bucket(&self.bucket).key(path.to_string());
        let presigned = self.presign(ttl, async |config| {
            request.presigned(config).await.map_err(|it| failure("presign GetObject", &it))
        });
        Ok(presigned.await?.0)
    }

    async fn presigned_put(
        &self,
        path: &FramePath,
        expect: &ExpectedFrame,
        ttl: Duration,
    ) -> Result<PresignedPut, UpstreamError> {
        let length = i64::try_from(expect.size_bytes).map_err(|error| {
            UpstreamError::new(Service::Storage, "presign PutObject", UpstreamErrorKind::Rejected, error)
        })?;
        let request = self.client.put_object().bucket(&self.bucket).key(path.to_string());
        let request = request.content_length(length).content_type(CONTENT_TYPE).if_none_match("*");
        let expires_at = Utc::now() + TimeDelta::from_std(ttl).unwrap_or_default();
        let presigned = self.presign(ttl, async |config| {
            request.presigned(config).await.map_err(|it| failure("presign PutObject", &it))
        });
        let (url, headers) = presigned.await?;
        Ok(PresignedPut { url, headers, expires_at })
    }

    async fn check(&self) -> Result<(), UpstreamError> {
        self.ask(|| async {
            let sent = self.client.head_bucket().bucket(&self.bucket).send().await;
            sent.map(|_found| ()).map_err(|it| failure("HeadBucket", &it))
        })
        .await
    }
}

/// The endpoint with a slash at its end: without one the SDK glues the bucket to a path, silently.
fn with_slash(endpoint: &Url) -> String {
    format!("{}/", endpoint.as_str().trim_end_matches('/'))
}

fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}
