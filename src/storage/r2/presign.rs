//! Requests that are signed here and sent by somebody else.

use super::R2StorageClient;
use super::error::failure;
use crate::storage::{CONTENT_TYPE, ExpectedFrame, FramePath, MAX_PRESIGN_TTL, PresignedPut};
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use chrono::{TimeDelta, Utc};
use std::time::Duration;
use url::Url;

impl R2StorageClient {
    pub(super) async fn presign_get(&self, path: &FramePath, ttl: Duration) -> Result<Url, UpstreamError> {
        let request = self.client.get_object().bucket(&self.bucket).key(path.to_string());
        let signed = request.presigned(lifetime(ttl)?).await;
        url_of(&signed.map_err(|it| failure("presign GetObject", &it))?)
    }

    pub(super) async fn presign_put(
        &self,
        path: &FramePath,
        expect: &ExpectedFrame,
        ttl: Duration,
    ) -> Result<PresignedPut, UpstreamError> {
        let length = i64::try_from(expect.size_bytes).map_err(|error| rejected(error.to_string()))?;
        let lifetime = lifetime(ttl)?;
        let expires_at = Utc::now() + TimeDelta::from_std(ttl).unwrap_or_default();
        let request = self.client.put_object().bucket(&self.bucket).key(path.pending_key());
        let request = request.content_length(length).content_type(CONTENT_TYPE).if_none_match("*");
        let signed = request.presigned(lifetime).await.map_err(|it| failure("presign PutObject", &it))?;
        let headers = signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(PresignedPut { url: url_of(&signed)?, headers: headers.collect(), expires_at })
    }
}

fn lifetime(ttl: Duration) -> Result<PresigningConfig, UpstreamError> {
    if !(Duration::from_secs(1)..=MAX_PRESIGN_TTL).contains(&ttl) {
        return Err(rejected("a presigned URL lives from 1 second to 7 days".to_owned()));
    }
    PresigningConfig::expires_in(ttl).map_err(|error| rejected(error.to_string()))
}

fn url_of(signed: &PresignedRequest) -> Result<Url, UpstreamError> {
    Url::parse(signed.uri()).map_err(|error| rejected(format!("the SDK made no URL: {error}")))
}

fn rejected(why: String) -> UpstreamError {
    UpstreamError::new(Service::Storage, "presign", UpstreamErrorKind::Rejected, why)
}
