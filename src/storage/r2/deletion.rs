//! The removal of objects, of which nothing may be counted that did not happen.

use super::R2StorageClient;
use super::error::failure;
use crate::storage::DeletedFrames;
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::future::try_join_all;
use std::collections::HashSet;

/// Keys in one `DeleteObjects`, the most that S3 and R2 take. Where a batch fails as a whole, its keys are
/// deleted one by one, so a smaller batch would only cost requests.
const DELETE_BATCH: usize = 1000;

impl R2StorageClient {
    /// Deletes all that lies under a prefix.
    pub(super) async fn delete_all_under(&self, prefix: String) -> Result<DeletedFrames, UpstreamError> {
        let objects = self.objects_under(prefix).await?;
        let keys: Vec<&str> = objects.iter().map(|it| it.key.as_str()).collect();
        for batch in keys.chunks(DELETE_BATCH) {
            let left = match self.ask("DeleteObjects", || self.delete_batch(batch)).await {
                Ok(left) => left,
                Err(error) => {
                    tracing::warn!(%error, cause = %error.source, "DeleteObjects failed, deleting key by key");
                    batch.to_vec()
                }
            };
            let deletions =
                left.into_iter().map(|key| self.ask("DeleteObject", move || self.delete_one(key)));
            try_join_all(deletions).await?;
        }
        let bytes = objects.iter().map(|it| it.size_bytes).sum();
        Ok(DeletedFrames { frames: objects.len() as u64, bytes })
    }

    /// Deletes up to [`DELETE_BATCH`] keys in one request; gives those that may still be there.
    async fn delete_batch<'a>(&self, keys: &[&'a str]) -> Result<Vec<&'a str>, UpstreamError> {
        let rejected =
            |error| UpstreamError::new(Service::Storage, "DeleteObjects", UpstreamErrorKind::Rejected, error);
        let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(*key).build());
        let objects = objects.collect::<Result<Vec<_>, _>>().map_err(rejected)?;
        let delete = Delete::builder().set_objects(Some(objects)).build().map_err(rejected)?;
        let request = self.client.delete_objects().bucket(&self.bucket).delete(delete);
        let reply = request.send().await.map_err(|it| failure("DeleteObjects", &it))?;
        // An error for a key comes inside a 200, perhaps without the key, and the SDK calls that a success:
        // gone is only what is said to be gone.
        let gone: HashSet<&str> = reply.deleted().iter().filter_map(|it| it.key()).collect();
        Ok(keys.iter().copied().filter(|it| !gone.contains(it)).collect())
    }

    pub(super) async fn delete_one(&self, key: &str) -> Result<(), UpstreamError> {
        let sent = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        match sent {
            // R2 and S3 answer 204 where nothing is, other servers do not.
            Err(error) if error.as_service_error().and_then(|it| it.code()) == Some("NoSuchKey") => Ok(()),
            sent => sent.map(|_deleted| ()).map_err(|it| failure("DeleteObject", &it)),
        }
    }
}
