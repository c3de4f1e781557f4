//! The in-memory storage with two handles: inspect and break.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::faults::Faults;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use swimcoach::session::{FrameNumber, SessionId};
use swimcoach::storage::mock::MockStorageClient;
use swimcoach::storage::{
    DeletedFrames, Download, ExpectedFrame, FrameMetadata, FramePath, NewFrame, Pending, PresignedPut,
    StorageClient, StoredFrame,
};
use swimcoach::upstream::{Service, UpstreamError};
use url::Url;

/// Keeps frames in memory and breaks when told to.
#[derive(Debug)]
pub(crate) struct FaultyStorage {
    pub(crate) inner: Arc<MockStorageClient>,
    pub(crate) faults: Faults,
    /// Frames whose objects are gone.
    gone: Mutex<HashSet<FramePath>>,
    /// By which presigned URLs expire.
    clock: Arc<Mutex<DateTime<Utc>>>,
}

impl FaultyStorage {
    pub(crate) fn new(public_url: Url, capacity_bytes: u64) -> Self {
        let clock = Arc::new(Mutex::new(Utc::now().trunc_subsecs(0)));
        let shown = Arc::clone(&clock);
        let inner = MockStorageClient::new(public_url, capacity_bytes);
        let inner = Arc::new(inner.with_clock(move || *shown.lock().unwrap()));
        Self { inner, faults: Faults::new(Service::Storage), gone: Mutex::default(), clock }
    }

    /// Lets this much time pass for presigned URLs, which otherwise stands still.
    pub(crate) fn pass(&self, time: Duration) {
        *self.clock.lock().unwrap() += time;
    }

    /// The keys of all objects, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.inner.keys()
    }

    /// Puts something else under the key of a frame; `None` takes the object away.
    pub(crate) async fn replace(&self, session: &str, number: u32, jpeg: Option<Vec<u8>>) {
        let number = FrameNumber::new(number).unwrap();
        let path = FramePath::new(session.parse().unwrap(), number);
        let Some(jpeg) = jpeg else {
            self.gone.lock().unwrap().insert(path);
            return;
        };
        let metadata = FrameMetadata { width: 320, height: 240 };
        self.inner.upload_frame(&path, jpeg.into(), &metadata).await.unwrap();
    }
}

#[async_trait]
impl StorageClient for FaultyStorage {
    async fn upload_frame(
        &self,
        path: &FramePath,
        jpeg: Bytes,
        metadata: &FrameMetadata,
    ) -> Result<StoredFrame, UpstreamError> {
        self.faults.call("upload_frame", self.inner.upload_frame(path, jpeg, metadata)).await
    }

    async fn upload_new_frame(
        &self,
        path: &FramePath,
        jpeg: Bytes,
        metadata: &FrameMetadata,
    ) -> Result<NewFrame, UpstreamError> {
        self.faults.call("upload_new_frame", self.inner.upload_new_frame(path, jpeg, metadata)).await
    }

    async fn download_pending(&self, path: &FramePath, max_bytes: u64) -> Result<Pending, UpstreamError> {
        self.faults.call("download_pending", self.inner.download_pending(path, max_bytes)).await
    }

    async fn list_pending(&self, session: SessionId) -> Result<Vec<StoredFrame>, UpstreamError> {
        self.faults.call("list_pending", self.inner.list_pending(session)).await
    }

    async fn remove_pending(&self, path: &FramePath) -> Result<(), UpstreamError> {
        self.faults.call("remove_pending", self.inner.remove_pending(path)).await
    }

    async fn delete_pending(&self, session: SessionId) -> Result<DeletedFrames, UpstreamError> {
        self.faults.call("delete_pending", self.inner.delete_pending(session)).await
    }

    async fn list_pending_sessions(&self, after: Option<SessionId>) -> Result<Vec<SessionId>, UpstreamError> {
        self.faults.call("list_pending_sessions", self.inner.list_pending_sessions(after)).await
    }

    async fn download_frame(&self, frame: &StoredFrame) -> Result<Download, UpstreamError> {
        if self.gone.lock().unwrap().contains(&frame.path) {
            return Ok(Download::Missing);
        }
        self.faults.call("download_frame", self.inner.download_frame(frame)).await
    }

    async fn list_frames(&self, session: SessionId) -> Result<Vec<StoredFrame>, UpstreamError> {
        self.faults.call("list_frames", self.inner.list_frames(session)).await
    }

    async fn list_sessions(&self, after: Option<SessionId>) -> Result<Vec<SessionId>, UpstreamError> {
        self.faults.call("list_sessions", self.inner.list_sessions(after)).await
    }

    async fn delete_frames(&self, session: SessionId) -> Result<DeletedFrames, UpstreamError> {
        self.faults.call("delete_frames", self.inner.delete_frames(session)).await
    }

    async fn presigned_get(&self, path: &FramePath, ttl: Duration) -> Result<Url, UpstreamError> {
        self.inner.presigned_get(path, ttl).await
    }

    async fn presigned_put(
        &self,
        path: &FramePath,
        expect: &ExpectedFrame,
        ttl: Duration,
    ) -> Result<PresignedPut, UpstreamError> {
        self.inner.presigned_put(path, expect, ttl).await
    }

    async fn check(&self) -> Result<(), UpstreamError> {
        self.faults.call("check", self.inner.check()).await
    }
}
