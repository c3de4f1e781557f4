//! Where frames are kept: the trait, the object keys, and what an object carries.
//!
//! [`r2::R2StorageClient`] keeps them in Cloudflare R2 or anything that speaks S3,
//! [`mock::MockStorageClient`] in memory. No object key is made outside this file.

pub mod r2;
pub mod mock;

use crate::session::{FrameNumber, SessionId};
use crate::upstream::UpstreamError;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::fmt::{self, Debug};
use std::time::Duration;
use url::Url;

/// The content type of every object.
pub const CONTENT_TYPE: &str = "image/jpeg";

/// The longest life of a presigned URL that S3 and R2 allow.
pub const MAX_PRESIGN_TTL: Duration = Duration::from_hours(7 * 24);

/// Keeps the frames of sessions.
///
/// # Contract
/// - An upload that is acknowledged is readable byte for byte, by any replica, at once. A download never
///   passes other bytes off as the ones that were stored, however alike they are.
/// - An upload replaces what was there, unless it says otherwise; the same upload twice is the same as once.
/// - What clients put straight into storage is pending: it lies apart from frames, which were all checked, and is no
///   frame until it was checked as well.
/// - Absence is no error: downloading what is not there gives [`Download::Missing`], listing gives nothing,
///   deleting counts zero.
/// - Listing and deleting see every object of the session, however many pages that takes, and no object
///   of another.
/// - A deletion that did not remove everything is an error, and can be repeated.
/// - Every call ends, in success or failure, within a bounded time.
/// - No image byte and no presigned URL is logged or put into an error.
#[async_trait]
pub trait StorageClient: Debug + Send + Sync {
    /// Stores one frame with its content type and metadata; returns how storage knows it.
    async fn upload_frame(
        &self,
        path: &FramePath,
        jpeg: Bytes,
        metadata: &FrameMetadata,
    ) -> Result<StoredFrame, UpstreamError>;

    /// Stores one frame where there is none of its path; what is there is left as it is. The very same frame again may
    /// be either, since an answer may be lost.
    async fn upload_new_frame(
        &self,
        path: &FramePath,
        jpeg: Bytes,
        metadata: &FrameMetadata,
    ) -> Result<NewFrame, UpstreamError>;

    /// The bytes of one frame, which is told by what its upload returned. Never reads more than its size.
    async fn download_frame(&self, frame: &StoredFrame) -> Result<Download, UpstreamError>;

    /// Every stored frame of a session, by number.
    async fn list_frames(&self, session: SessionId) -> Result<Vec<StoredFrame>, UpstreamError>;

    /// Up to 1000 ids of sessions that have objects, in ascending order, all greater than `after`.
    async fn list_sessions(&self, after: Option<SessionId>) -> Result<Vec<SessionId>, UpstreamError>;

    /// Removes every frame of a session and says how much that was.
    async fn delete_frames(&self, session: SessionId) -> Result<DeletedFrames, UpstreamError>;

    /// A URL that gives the frame's bytes to whoever holds it, for `ttl` (1 s to [`MAX_PRESIGN_TTL`]).
    async fn presigned_get(&self, path: &FramePath, ttl: Duration) -> Result<Url, UpstreamError>;

    /// A request that makes exactly the expected frame pending, once, for whoever sends it within `ttl`.
    ///
    /// Length, type and `If-None-Match: *` are signed: a PUT of another length or type is refused, and a
    /// second PUT does not replace the first.
    async fn presigned_put(
        &self,
        path: &FramePath,
        expect: &ExpectedFrame,
        ttl: Duration,
    ) -> Result<PresignedPut, UpstreamError>;

    /// What is pending of a session, by number.
    async fn list_pending(&self, session: SessionId) -> Result<Vec<StoredFrame>, UpstreamError>;

    /// The bytes that are pending for a frame, if they are at most `max_bytes`. Never reads more than that.
    async fn download_pending(&self, path: &FramePath, max_bytes: u64) -> Result<Pending, UpstreamError>;

    /// Removes what is pending for a frame, if anything is.
    async fn remove_pending(&self, path: &FramePath) -> Result<(), UpstreamError>;

    /// Removes everything that is pending of a session, whatever it is called, and says how much that was.
    async fn delete_pending(&self, session: SessionId) -> Result<DeletedFrames, UpstreamError>;

    /// Up to 1000 ids of sessions of which something is pending, in ascending order, all greater than `after`.
    async fn list_pending_sessions(&self, after: Option<SessionId>) -> Result<Vec<SessionId>, UpstreamError>;

    /// Whether frames can be kept now, by one cheap read.
    async fn check(&self) -> Result<(), UpstreamError>;
}

/// Where a frame lies: `frames/{session_id}/{frame_number:04}.jpg`.
///
/// ```
/// use swimcoach::session::{FrameNumber, SessionId};
/// use swimcoach::storage::FramePath;
///
/// let session: SessionId = "0193a5b0-7c1e-7000-8000-000000000001".parse().unwrap();
/// let path = FramePath::new(session, FrameNumber::new(7).unwrap());
/// assert_eq!(path.to_string(), "frames/0193a5b0-7c1e-7000-8000-000000000001/0007.jpg");
/// assert_eq!(FramePath::parse(&path.to_string()), Some(path));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FramePath {
    /// Whose frame it is.
    pub session: SessionId,
    /// Which of its frames.
    pub number: FrameNumber,
}

impl FramePath {
    /// What the keys of all frames begin with.
    pub const ROOT: &str = "frames/";

    /// What the keys of all pending objects begin with.
    pub const PENDING_ROOT: &str = "pending/";

    /// The path of a frame.
    pub fn new(session: SessionId, number: FrameNumber) -> Self {
        Self { session, number }
    }

    /// What the keys of all frames of a session begin with, and those of no other.
    pub fn prefix(session: SessionId) -> String {
        prefix_in(Self::ROOT, session)
    }

    /// What the keys of everything begin with that is pending of a session, and those of no other.
    pub fn pending_prefix(session: SessionId) -> String {
        prefix_in(Self::PENDING_ROOT, session)
    }

    /// The key under which bytes are pending for the frame.
    pub fn pending_key(&self) -> String {
        self.key_in(Self::PENDING_ROOT)
    }

    /// The path of the frame that a key spells, if it spells one.
    pub fn parse(key: &str) -> Option<Self> {
        Self::parse_in(Self::ROOT, key)
    }

    /// The path of the frame for which bytes are pending under a key, if it spells one.
    pub fn parse_pending(key: &str) -> Option<Self> {
        Self::parse_in(Self::PENDING_ROOT, key)
    }

    fn key_in(self, root: &str) -> String {
        format!("{root}{}/{:04}.jpg", self.session, self.number.get())
    }

    fn parse_in(root: &str, key: &str) -> Option<Self> {
        let (session, file) = key.strip_prefix(root)?.split_once('/')?;
        let digits = file.strip_suffix(".jpg").filter(|it| it.len() == 4)?;
        let path = Self::new(session.parse().ok()?, FrameNumber::new(digits.parse().ok()?)?);
        (path.key_in(root) == key).then_some(path)
    }
}

fn prefix_in(root: &str, session: SessionId) -> String {
    format!("{root}{session}/")
}

impl fmt::Display for FramePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key_in(Self::ROOT))
    }
}

/// What an object carries beside its bytes, as `x-amz-meta-*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameMetadata {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl FrameMetadata {
    /// The names and values as they are stored: `session-id`, `frame-number`, `width`, `height`.
    pub fn entries(&self, path: &FramePath) -> [(&'static str, String); 4] {
        [
            ("session-id", path.session.to_string()),
            ("frame-number", path.number.to_string()),
            ("width", self.width.to_string()),
            ("height", self.height.to_string()),
        ]
    }
}

/// A frame as storage knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFrame {
    /// Where it lies.
    pub path: FramePath,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its entity tag, without quotes. Equal bytes have equal tags within one storage.
    pub etag: String,
}

/// What became of a wish to store a frame where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewFrame {
    /// It is stored.
    Stored(StoredFrame),
    /// Something is there already, as storage knows it; it may be the very same bytes.
    Exists(StoredFrame),
}

/// What is pending for a frame.
#[derive(Clone, PartialEq, Eq)]
pub enum Pending {
    /// These bytes.
    Bytes(Bytes),
    /// More than may be: so many bytes.
    TooLarge(u64),
    /// Nothing.
    Missing,
}

/// Without the picture, which no log may hold.
impl Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::TooLarge(size) => write!(f, "TooLarge({size} bytes)"),
            Self::Missing => f.write_str("Missing"),
        }
    }
}

/// What lies under the key of a frame that was stored.
#[derive(Clone, PartialEq, Eq)]
pub enum Download {
    /// The frame.
    Frame(Bytes),
    /// Something else.
    Changed,
    /// Nothing.
    Missing,
}

/// Without the picture, which no log may hold.
impl Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(jpeg) => write!(f, "Frame({} bytes)", jpeg.len()),
            Self::Changed => f.write_str("Changed"),
            Self::Missing => f.write_str("Missing"),
        }
    }
}

/// How much a deletion removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeletedFrames {
    /// Number of objects.
    pub frames: u64,
    /// Their sizes in bytes, added up.
    pub bytes: u64,
}

/// What a presigned PUT must bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedFrame {
    /// Exact size of the JPEG in bytes.
    pub size_bytes: u64,
}

/// A request that makes one frame pending, to be sent by whoever has the bytes.
#[derive(Clone)]
pub struct PresignedPut {
    /// Where to PUT.
    pub url: Url,
    /// Headers that must be sent exactly so.
    pub headers: Vec<(String, String)>,
    /// When it stops working.
    pub expires_at: DateTime<Utc>,
}

impl Debug for PresignedPut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is a credential.
        f.debug_struct("PresignedPut").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_any_other_spelling_is_no_frame_path() {
        let good = "frames/0193a5b0-7c1e-7000-8000-000000000001/0007.jpg";
        assert!(FramePath::parse(good).is_some());
        for key in [
            "frames/0193a5b0-7c1e-7000-8000-000000000001/7.jpg",
            "frames/0193a5b0-7c1e-7000-8000-000000000001/+007.jpg",
            "frames/0193a5b0-7c1e-7000-8000-000000000001/0000.jpg",
            "frames/0193a5b0-7c1e-7000-8000-000000000001/00007.jpg",
            "frames/0193A5B0-7C1E-7000-8000-000000000001/0007.jpg",
            "frames/0193a5b07c1e70008000000000000001/0007.jpg",
            "frames/../0007.jpg",
            "videos/0193a5b0-7c1e-7000-8000-000000000001/0007.jpg",
        ] {
            assert_eq!(FramePath::parse(key), None, "{key}");
            let pending = key.replace("frames/", "pending/");
            assert_eq!(FramePath::parse_pending(&pending), None, "{pending}");
        }
    }

    #[test]
    fn what_is_pending_is_no_frame_and_a_frame_is_not_pending() {
        let path: FramePath =
            FramePath::parse("frames/0193a5b0-7c1e-7000-8000-000000000001/0007.jpg").unwrap();

        assert_eq!(path.pending_key(), "pending/0193a5b0-7c1e-7000-8000-000000000001/0007.jpg");
        assert_eq!(FramePath::parse_pending(&path.pending_key()), Some(path));
        assert_eq!(FramePath::parse(&path.pending_key()), None);
        assert_eq!(FramePath::parse_pending(&path.to_string()), None);
    }
}
