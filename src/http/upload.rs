//! Reading a multipart upload part by part, within bounds of memory and time.

use super::error::ApiError;
use super::extract::DRAIN;
use crate::analysis::View;
use crate::coach::{CoachError, FrameEntry, Upload, UploadDetails, UploadError};
use crate::config::UploadLimits;
use crate::consent::Consent;
use crate::session::FrameNumber;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{Deserialize, IntoDeserializer};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long the next bytes of a body may be awaited.
const IDLE: Duration = Duration::from_secs(30);
/// How long a whole upload may take, however steadily it comes. Well under the age at which the sweep takes
/// frames without a record for left behind.
const LONGEST: Duration = Duration::from_mins(30);
/// Longest text of `user_notes`, in characters.
pub(super) const MAX_NOTES: usize = 2000;
/// Longest text of `title`, in characters.
pub(super) const MAX_TITLE: usize = 200;
/// Under this many bytes a piece of a part is worth copying at once.
const SMALL_PIECE: usize = 4096;
/// Longest of any text part, in bytes.
const MAX_TEXT_BYTES: u64 = 256 * 1024;

/// Bounds the bytes of all uploads under way, and of frames that are read. Each upload takes its whole announced
/// length, at the door, so that none has to stop half-way for want of memory.
#[derive(Debug, Clone)]
pub struct UploadGate {
    kib: Arc<Semaphore>,
    all_kib: u64,
    max_request_bytes: u64,
}

impl UploadGate {
    /// A gate with room for `limits.memory_bytes`.
    pub fn new(limits: &UploadLimits) -> Self {
        let kib = usize::try_from(limits.memory_bytes.div_ceil(1024)).unwrap_or(usize::MAX);
        Self {
            kib: Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS))),
            all_kib: limits.memory_bytes.div_ceil(1024),
            max_request_bytes: limits.max_request_bytes,
        }
    }

    /// Takes room for a request; one that does not announce its length takes the most that it may have.
    pub(super) fn enter(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, ApiError> {
        let bytes = announced(headers).unwrap_or(self.max_request_bytes);
        if self.max_request_bytes < bytes {
            return Err(ApiError::RequestTooLarge { max_bytes: self.max_request_bytes });
        }
        self.take(bytes)
    }

    /// Takes room for a request that is one frame.
    pub(super) fn enter_frame(
        &self,
        headers: &HeaderMap,
        number: FrameNumber,
        max_bytes: u64,
    ) -> Result<OwnedSemaphorePermit, ApiError> {
        let announced = announced(headers).unwrap_or(max_bytes);
        if max_bytes < announced {
            let number = number.get();
            return Err(CoachError::from(UploadError::FrameTooLarge { number, max_bytes }).into());
        }
        self.take(announced)
    }

    /// Takes room for so many bytes; what is more than there is room for at all takes all of it.
    pub(super) fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit, ApiError> {
        let kib = bytes.div_ceil(1024).min(self.all_kib);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        Arc::clone(&self.kib).try_acquire_many_owned(kib).map_err(|_full| ApiError::TooManyUploads)
    }
}

/// The length that a request announces, in bytes.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a whole upload: every frame is handed on as soon as its part is complete. On a refusal, what was
/// stored is removed and the rest of the body is read away before the answer goes out.
pub(super) async fn receive(
    upload: &mut Upload,
    request: Request,
    limits: &UploadLimits,
    digest: Option<&mut PartsDigest>,
) -> Result<UploadDetails, ApiError> {
    let Ok(mut parts) = Multipart::from_request(request, &()).await else {
        return Err(ApiError::NotMultipart);
    };
    let received = tokio::time::timeout(LONGEST, read_parts(upload, &mut parts, limits, digest))
        .await
        .unwrap_or(Err(ApiError::SlowUpload(LONGEST)));
    if received.is_err() {
        // A client that is still sending when the connection closes may never see the answer. How the
        // draining ends makes no difference.
        let _drained = tokio::time::timeout(DRAIN, drain(&mut parts)).await;
    }
    received
}

async fn read_parts(
    upload: &mut Upload,
    parts: &mut Multipart,
    limits: &UploadLimits,
    mut digest: Option<&mut PartsDigest>,
) -> Result<UploadDetails, ApiError> {
    let mut details = UploadDetails::default();
    let mut texts = BTreeSet::new();
    while let Some(field) = within_idle(parts.next_field(), limits).await? {
        let name = field.name().unwrap_or_default();
        if name != "frames" && !texts.insert(name.to_owned()) {
            return Err(invalid(&format!("/{name}"), format!("there is more than one {name}; send one")));
        }
        match name {
            "frames" => {
                let bytes = read_frame(field, upload.received() + 1, limits).await?;
                if let Some(digest) = &mut digest {
                    digest.add("frames", &bytes);
                }
                upload.add_frame(bytes).await?;
            }
            "manifest" => {
                upload.add_manifest(parse_manifest(&read_text(field, limits, &mut digest).await?)?)?;
            }
            "stroke_type" => {
                let text = read_text(field, limits, &mut digest).await?;
                details.stroke_type = text.parse().map_err(|detail| invalid("/stroke_type", detail))?;
            }
            "view" => details.view = Some(parse_view(&read_text(field, limits, &mut digest).await?)?),
            "user_notes" => {
                let text = read_text(field, limits, &mut digest).await?;
                details.user_notes = bounded(&text, MAX_NOTES, "/user_notes")?;
            }
            "title" => {
                let text = read_text(field, limits, &mut digest).await?;
                details.title = bounded(&text, MAX_TITLE, "/title")?;
            }
            "consent" => {
                details.consent = Some(parse_consent(&read_text(field, limits, &mut digest).await?)?);
            }
            "retention_days" => {
                details.retention_days = Some(parse_days(&read_text(field, limits, &mut digest).await?)?);
            }
            _ => return Err(unknown_part(&field)),
        }
    }
    Ok(details)
}

/// What tells an upload from others: the names and the SHA-256 of its parts, in order.
#[derive(Debug, Default)]
pub(super) struct PartsDigest(Sha256);

impl PartsDigest {
    fn add(&mut self, name: &str, content: &[u8]) {
        self.add_digest(name, Sha256::digest(content).as_slice());
    }

    fn add_digest(&mut self, name: &str, sha256: &[u8]) {
        // Digests have one length, so the parts of no two uploads run into one another alike.
        self.0.update(Sha256::digest(name));
        self.0.update(sha256);
    }

    /// The fingerprint in hex.
    pub(super) fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// Reads an upload that was done before, keeping nothing of it; its fingerprint. The limit of a
/// request bounds it as it does any other.
pub(super) async fn read_away(request: Request, limits: &UploadLimits) -> Result<String, ApiError> {
    let Ok(mut parts) = Multipart::from_request(request, &()).await else {
        return Err(ApiError::NotMultipart);
    };
    let read = async {
        let mut digest = PartsDigest::default();
        while let Some(mut field) = within_idle(parts.next_field(), limits).await? {
            let name = field.name().unwrap_or_default().to_owned();
            let mut content = Sha256::new();
            while let Some(piece) = within_idle(field.chunk(), limits).await? {
                content.update(&piece);
            }
            digest.add_digest(&name, content.finalize().as_slice());
        }
        Ok(digest.finish())
    };
    tokio::time::timeout(LONGEST, read).await.unwrap_or(Err(ApiError::SlowUpload(LONGEST)))
}

async fn read_frame(field: Field<'_>, number: u16, limits: &UploadLimits) -> Result<Bytes, ApiError> {
    let max_bytes = limits.max_frame_bytes;
    let frame = read_part(field, max_bytes, limits).await?;
    let too_large = || CoachError::from(UploadError::FrameTooLarge { number, max_bytes });
    Ok(frame.ok_or_else(too_large)?.into())
}

async fn read_text(
    field: Field<'_>,
    limits: &UploadLimits,
    digest: &mut Option<&mut PartsDigest>,
) -> Result<String, ApiError> {
    let name = field.name().unwrap_or_default().to_owned();
    let text = read_part(field, MAX_TEXT_BYTES, limits).await?;
    let text = text.ok_or_else(|| invalid("/", format!("{name} has more than {MAX_TEXT_BYTES} bytes")))?;
    if let Some(digest) = digest {
        digest.add(&name, &text);
    }
    String::from_utf8(text).map_err(|_not_utf8| invalid("/", format!("{name} is not UTF-8")))
}

/// The bytes of a part; `None` where there are more than `max_bytes`. They are kept as they came until the part
/// is complete and then joined once, so that they are copied no oftener than that, into no more memory than
/// they need. Only small pieces are joined at once: there can be many of them, and each would take more room
/// than its bytes.
async fn read_part(
    mut field: Field<'_>,
    max_bytes: u64,
    limits: &UploadLimits,
) -> Result<Option<Vec<u8>>, ApiError> {
    let (mut pieces, mut small) = (Vec::new(), BytesMut::new());
    let mut size = 0;
    while let Some(piece) = within_idle(field.chunk(), limits).await? {
        size += piece.len() as u64;
        if max_bytes < size {
            return Ok(None);
        }
        if piece.len() < SMALL_PIECE {
            small.extend_from_slice(&piece);
        } else {
            pieces.push(small.split().freeze());
            pieces.push(piece);
        }
    }
    pieces.push(small.freeze());
    Ok(Some(pieces.concat()))
}

async fn drain(parts: &mut Multipart) -> Result<(), MultipartError> {
    while let Some(mut field) = parts.next_field().await? {
        while field.chunk().await?.is_some() {}
    }
    Ok(())
}

async fn within_idle<T>(
    next: impl Future<Output = Result<T, MultipartError>>,
    limits: &UploadLimits,
) -> Result<T, ApiError> {
    let Ok(next) = tokio::time::timeout(IDLE, next).await else { return Err(ApiError::SlowBody(IDLE)) };
    next.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::RequestTooLarge { max_bytes: limits.max_request_bytes },
        _ => ApiError::MalformedMultipart(error.body_text()),
    })
}

fn parse_manifest(text: &str) -> Result<Vec<FrameEntry>, ApiError> {
    serde_json::from_str(text).map_err(|error| invalid("/manifest", format!("manifest: {error}")))
}

fn parse_consent(text: &str) -> Result<Consent, ApiError> {
    serde_json::from_str(text).map_err(|error| invalid("/consent", format!("consent: {error}")))
}

fn parse_days(text: &str) -> Result<u32, ApiError> {
    let detail = || "retention_days is a whole number of days".to_owned();
    text.trim().parse().map_err(|_no_number| invalid("/retention_days", detail()))
}

fn parse_view(text: &str) -> Result<View, ApiError> {
    let view: StrDeserializer<'_, ValueError> = text.into_deserializer();
    View::deserialize(view).map_err(|error| invalid("/view", format!("view: {error}")))
}

/// A text without surrounding space; `None` when nothing is left.
pub(super) fn bounded(text: &str, max: usize, pointer: &str) -> Result<Option<String>, ApiError> {
    if max < text.chars().count() {
        let name = pointer.trim_start_matches('/');
        return Err(invalid(pointer, format!("{name} has more than {max} characters; make it shorter")));
    }
    let text = text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn unknown_part(field: &Field<'_>) -> ApiError {
    let name: String = field.name().unwrap_or_default().chars().take(40).collect();
    let known = "frames, stroke_type, user_notes, manifest, view, title, consent and retention_days";
    invalid("/", format!("there is no part named {name:?}; the parts are {known}"))
}

pub(super) fn invalid(pointer: &str, detail: String) -> ApiError {
    ApiError::InvalidParameter { pointer: pointer.to_owned(), detail }
}
