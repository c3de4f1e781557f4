//! Frames in memory, chosen by `R2_MOCK_MODE=true`: an ordinary implementation, bounded, and gone at the end.
//!
//! Its presigned URLs are served by the service itself, under `/_mock/storage/`. They are signed with a key
//! of this process and expire, as R2's do.

use super::{
    CONTENT_TYPE, DeletedFrames, Download, ExpectedFrame, FrameMetadata, FramePath, MAX_PRESIGN_TTL,
    NewFrame, Pending, PresignedPut, StorageClient, StoredFrame,
};
use crate::session::{FrameNumber, SessionId};
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;
use url::Url;
use xxhash_rust::xxh3::xxh3_128;

/// Sessions on one page, as with S3.
const PAGE: usize = 1000;

/// Keeps frames in memory.
pub struct MockStorageClient {
    public_url: Url,
    capacity_bytes: u64,
    signing_key: [u8; 64],
    /// What time it is, by which URLs expire.
    clock: Box<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    frames: Objects,
    pending: Objects,
    /// Of both together.
    bytes: u64,
}

type Objects = BTreeMap<FramePath, Object>;

/// Which of the two.
type Area = fn(&mut Kept) -> &mut Objects;

const FRAMES: Area = |it| &mut it.frames;
const PENDING: Area = |it| &mut it.pending;

struct Object {
    jpeg: Bytes,
    etag: String,
    metadata: Option<FrameMetadata>,
}

/// Why a presigned request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RedeemError {
    /// The URL was not made here, or something that it signs was changed.
    #[error(
        "the URL's signature does not fit the request; ask for a new URL and send the request exactly as it says"
    )]
    SignatureMismatch,
    /// Its time is over.
    #[error("the URL has expired; ask for a new one")]
    Expired,
    /// There is no such object.
    #[error("there is no such frame")]
    NotFound,
    /// The object is there already, and the URL writes once.
    #[error("the frame is there already; a presigned upload does not replace it")]
    AlreadyExists,
    /// The storage is full.
    #[error("the in-memory storage is full; delete sessions or restart the service")]
    Full,
}

/// What a client sends with a presigned PUT.
#[derive(Clone)]
pub struct PresentedPut<'a> {
    /// Its `Content-Type`.
    pub content_type: Option<&'a str>,
    /// Its `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// Its body.
    pub jpeg: Bytes,
}

/// Without the picture, which no log may hold.
impl Debug for PresentedPut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedPut({} bytes)", self.jpeg.len())
    }
}

impl MockStorageClient {
    /// An empty storage for at most `capacity_bytes`. Its URLs begin with `public_url`, under which the
    /// service itself is reached.
    pub fn new(public_url: Url, capacity_bytes: u64) -> Self {
        let clock = Box::new(Utc::now);
        Self { public_url, capacity_bytes, signing_key: rand::random(), clock, kept: Mutex::default() }
    }

    /// The same storage, whose URLs expire by another clock than the machine's.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), ..self }
    }

    /// The keys of all objects, in order, those of pending ones last.
    pub fn keys(&self) -> Vec<String> {
        let kept = self.kept();
        let frames = kept.frames.keys().map(FramePath::to_string);
        frames.chain(kept.pending.keys().map(FramePath::pending_key)).collect()
    }

    /// What a frame carries beside its bytes.
    pub fn metadata(&self, path: &FramePath) -> Option<FrameMetadata> {
        self.kept().frames.get(path).and_then(|it| it.metadata)
    }

    /// The bytes and entity tag behind a presigned GET. `query` is the URL's.
    pub fn redeem_get(&self, key: &str, query: &str) -> Result<(Bytes, String), RedeemError> {
        let path = FramePath::parse(key).ok_or(RedeemError::SignatureMismatch)?;
        self.verify("GET", key, query, None)?;
        let kept = self.kept();
        let object = kept.frames.get(&path).ok_or(RedeemError::NotFound)?;
        Ok((object.jpeg.clone(), object.etag.clone()))
    }

    /// Keeps what a presigned PUT brings as pending, unless something is. `query` is the URL's.
    pub fn redeem_put(
        &self,
        key: &str,
        query: &str,
        put: PresentedPut<'_>,
    ) -> Result<StoredFrame, RedeemError> {
        if put.content_type != Some(CONTENT_TYPE) || put.if_none_match != Some("*") {
            return Err(RedeemError::SignatureMismatch);
        }
        let path = FramePath::parse_pending(key).ok_or(RedeemError::SignatureMismatch)?;
        self.verify("PUT", key, query, Some(put.jpeg.len() as u64))?;
        let mut kept = self.kept();
        if kept.pending.contains_key(&path) {
            return Err(RedeemError::AlreadyExists);
        }
        kept.put(PENDING, path, put.jpeg, None, self.capacity_bytes).ok_or(RedeemError::Full)
    }

    fn verify(&self, method: &str, key: &str, query: &str, length: Option<u64>) -> Result<(), RedeemError> {
        let value =
            |name: &str| url::form_urlencoded::parse(query.as_bytes()).find(|it| it.0 == name).map(|it| it.1);
        let expires: i64 =
            value("expires").and_then(|it| it.parse().ok()).ok_or(RedeemError::SignatureMismatch)?;
        let signature = value("signature")
            .and_then(|it| hex::decode(it.as_bytes()).ok())
            .ok_or(RedeemError::SignatureMismatch)?;
        let signed = self.sign(method, key, expires, length).verify_slice(&signature);
        if signed.is_err() {
            return Err(RedeemError::SignatureMismatch);
        }
        match DateTime::from_timestamp(expires, 0) {
            Some(until) if (self.clock)() <= until => Ok(()),
            _ => Err(RedeemError::Expired),
        }
    }

    fn sign(&self, method: &str, key: &str, expires: i64, length: Option<u64>) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.signing_key.into());
        let length = length.map_or_else(String::new, |it| it.to_string());
        mac.update(format!("{method}\n{key}\n{expires}\n{length}").as_bytes());
        mac
    }

    fn presign(
        &self,
        method: &'static str,
        key: &str,
        ttl: Duration,
        length: Option<u64>,
    ) -> Result<(Url, DateTime<Utc>), UpstreamError> {
        let rejected =
            |why: String| UpstreamError::new(Service::Storage, "presign", UpstreamErrorKind::Rejected, why);
        if !(Duration::from_secs(1)..=MAX_PRESIGN_TTL).contains(&ttl) {
            return Err(rejected("a presigned URL lives from 1 second to 7 days".to_owned()));
        }
        let expires_at = (self.clock)() + TimeDelta::from_std(ttl).unwrap_or_default();
        let expires = expires_at.timestamp();
        let signature = self.sign(method, key, expires, length).finalize().into_bytes();
        let relative = format!("_mock/storage/{key}?expires={expires}&signature={}", hex::encode(signature));
        let mut base = self.public_url.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let url = base.join(&relative).map_err(|error| rejected(format!("PUBLIC_URL: {error}")))?;
        Ok((url, expires_at))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every change is one step, so a panic elsewhere leaves the objects whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for MockStorageClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockStorageClient")
            .field("capacity_bytes", &self.capacity_bytes)
            .finish_non_exhaustive()
    }
}

impl Kept {
    /// Stores an object; `None` when there is no room for it.
    fn put(
        &mut self,
        area: Area,
        path: FramePath,
        jpeg: Bytes,
        metadata: Option<FrameMetadata>,
        capacity: u64,
    ) -> Option<StoredFrame> {
        let size_bytes = jpeg.len() as u64;
        let replaced = area(self).get(&path).map_or(0, |it| it.jpeg.len() as u64);
        let bytes = self.bytes - replaced + size_bytes;
        if capacity < bytes {
            return None;
        }
        // Equal bytes must have equal tags; nobody is kept out by them, so speed is all that counts.
        let etag = format!("{:032x}", xxh3_128(&jpeg));
        self.bytes = bytes;
        area(self).insert(path, Object { jpeg, etag: etag.clone(), metadata });
        Some(StoredFrame { path, size_bytes, etag })
    }

    fn remove(&mut self, area: Area, path: &FramePath) {
        let removed = area(self).remove(path);
        self.bytes -= removed.map_or(0, |it| it.jpeg.len() as u64);
    }

    /// Removes everything of a session.
    fn remove_all(&mut self, area: Area, session: SessionId) -> DeletedFrames {
        let mut deleted = DeletedFrames::default();
        for gone in of_session(area(self), session) {
            self.remove(area, &gone.path);
            deleted.frames += 1;
            deleted.bytes += gone.size_bytes;
        }
        deleted
    }
}

fn of_session(objects: &Objects, session: SessionId) -> Vec<StoredFrame> {
    let range = FramePath::new(session, FrameNumber::FIRST)..=FramePath::new(session, FrameNumber::LAST);
    objects.range(range).map(|(path, object)| object.stored(*path)).collect()
}

/// A page of the sessions that have objects.
fn sessions_after(objects: &Objects, after: Option<SessionId>) -> Vec<SessionId> {
    let sessions = objects.keys().map(|it| it.session);
    let mut sessions: Vec<SessionId> = sessions.filter(|it| after.is_none_or(|after| after < *it)).collect();
    sessions.dedup();
    sessions.truncate(PAGE);
    sessions
}

impl Object {
    fn stored(&self, path: FramePath) -> StoredFrame {
        StoredFrame { path, size_bytes: self.jpeg.len() as u64, etag: self.etag.clone() }
    }
}

fn full(operation: &'static str) -> UpstreamError {
    UpstreamError::new(Service::Storage, operation, UpstreamErrorKind::Exhausted, RedeemError::Full)
}

#[async_trait]
impl StorageClient for MockStorageClient {
    async fn upload_frame(
        &self,
        path: &FramePath,
        jpeg: Bytes,
        metadata: &FrameMetadata,
    ) -> Result<StoredFrame, UpstreamError> {
        let stored = self.kept().put(FRAMES, *path, jpeg, Some(*metadata), self.capacity_bytes);
        stored.ok_or_else(|| full("upload_frame"))
    }

    async fn upload_new_frame(
        &self,
        path: &FramePath,
        jpeg: Bytes,
        metadata: &FrameMetadata,
    ) -> Result<NewFrame, UpstreamError> {
        let mut kept = self.kept();
        if let Some(object) = kept.frames.get(path) {
            return Ok(NewFrame::Exists(object.stored(*path)));
        }
        let stored = kept.put(FRAMES, *path, jpeg, Some(*metadata), self.capacity_bytes);
        stored.map(NewFrame::Stored).ok_or_else(|| full("upload_new_frame"))
    }

    async fn download_frame(&self, frame: &StoredFrame) -> Result<Download, UpstreamError> {
        Ok(match self.kept().frames.get(&frame.path) {
            Some(object) if object.etag == frame.etag => Download::Frame(object.jpeg.clone()),
            Some(_) => Download::Changed,
            None => Download::Missing,
        })
    }

    async fn list_frames(&self, session: SessionId) -> Result<Vec<StoredFrame>, UpstreamError> {
        Ok(of_session(&self.kept().frames, session))
    }

    async fn list_sessions(&self, after: Option<SessionId>) -> Result<Vec<SessionId>, UpstreamError> {
        Ok(sessions_after(&self.kept().frames, after))
    }

    async fn delete_frames(&self, session: SessionId) -> Result<DeletedFrames, UpstreamError> {
        Ok(self.kept().remove_all(FRAMES, session))
    }

    async fn list_pending(&self, session: SessionId) -> Result<Vec<StoredFrame>, UpstreamError> {
        Ok(of_session(&self.kept().pending, session))
    }

    async fn download_pending(&self, path: &FramePath, max_bytes: u64) -> Result<Pending, UpstreamError> {
        let kept = self.kept();
        let Some(object) = kept.pending.get(path) else { return Ok(Pending::Missing) };
        let size_bytes = object.jpeg.len() as u64;
        if max_bytes < size_bytes {
            return Ok(Pending::TooLarge(size_bytes));
        }
        Ok(Pending::Bytes(object.jpeg.clone()))
    }

    async fn remove_pending(&self, path: &FramePath) -> Result<(), UpstreamError> {
        self.kept().remove(PENDING, path);
        Ok(())
    }

    async fn delete_pending(&self, session: SessionId) -> Result<DeletedFrames, UpstreamError> {
        Ok(self.kept().remove_all(PENDING, session))
    }

    async fn list_pending_sessions(&self, after: Option<SessionId>) -> Result<Vec<SessionId>, UpstreamError> {
        Ok(sessions_after(&self.kept().pending, after))
    }

    async fn presigned_get(&self, path: &FramePath, ttl: Duration) -> Result<Url, UpstreamError> {
        Ok(self.presign("GET", &path.to_string(), ttl, None)?.0)
    }

    async fn presigned_put(
        &self,
        path: &FramePath,
        expect: &ExpectedFrame,
        ttl: Duration,
    ) -> Result<PresignedPut, UpstreamError> {
        let (url, expires_at) = self.presign("PUT", &path.pending_key(), ttl, Some(expect.size_bytes))?;
        let headers = [
            ("content-length", expect.size_bytes.to_string()),
            ("content-type", CONTENT_TYPE.to_owned()),
            ("if-none-match", "*".to_owned()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Ok(PresignedPut { url, headers, expires_at })
    }

    async fn check(&self) -> Result<(), UpstreamError> {
        Ok(())
    }
}
