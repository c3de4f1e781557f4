//! An upload: frames are stored while later ones still arrive; all of them count or none.

use super::privacy::Terms;
use super::{Coach, CoachError, RequestLease, door, now};
use crate::analysis::View;
use crate::consent::Consent;
use crate::jpeg::{Admitted, JpegError};
use crate::session::{Frame, FrameNumber, Owner, Session, SessionId, Stroke};
use crate::storage::{FrameMetadata, FramePath, StoredFrame};
use crate::upstream::UpstreamError;
use bytes::Bytes;
use futures_util::poll;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;
use thiserror::Error;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

/// The latest time in a clip, in milliseconds: a day.
pub const MAX_TIMESTAMP_MS: u64 = 86_400_000;

/// Frames of one upload that are on their way to storage at one time.
const FRAMES_IN_FLIGHT: usize = 8;

/// An upload under way. Dropped before it is committed, it removes what it stored.
#[derive(Debug)]
pub struct Upload {
    coach: Coach,
    owner: Owner,
    session: SessionId,
    received: u16,
    /// What the manifest announces, by frame, once it came.
    announced: Option<BTreeMap<FrameNumber, FrameEntry>>,
    stored: Vec<(StoredFrame, FrameMetadata)>,
    storing: JoinSet<Result<(StoredFrame, FrameMetadata), CoachError>>,
    /// Whether the record was tried to be written, so that it may exist.
    record_tried: bool,
    /// Whether there is nothing to undo any more: the record is written, or the undoing has begun.
    settled: bool,
    /// The memory that the frames may take, given back once none is in memory any more.
    room: Option<OwnedSemaphorePermit>,
    /// The request with an idempotency key that asks for it.
    request: Option<Arc<RequestLease>>,
}

/// What an upload says beside its frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadDetails {
    /// The declared stroke.
    pub stroke_type: Stroke,
    /// What the swimmer asks or says.
    pub user_notes: Option<String>,
    /// A name for the session.
    pub title: Option<String>,
    /// The declared view.
    pub view: Option<View>,
    /// What was agreed to about the pictures.
    pub consent: Option<Consent>,
    /// For how many days the session is kept; as long as such a session may be when absent.
    pub retention_days: Option<u32>,
}

/// What the manifest says about one frame.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameEntry {
    /// Which frame, counted from 1 in the order of the parts.
    pub number: FrameNumber,
    /// Its time in the clip, in milliseconds.
    #[serde(default)]
    pub timestamp_ms: Option<u64>,
    /// SHA-256 of its part, in hex.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// Why an upload is refused.
#[derive(Debug, Error)]
pub enum UploadError {
    /// A frame is no picture that we take.
    #[error("frame {number}: {source}")]
    Frame {
        /// Which frame, from 1.
        number: u16,
        /// What is wrong with it.
        #[source]
        source: JpegError,
    },
    /// A frame has too many bytes.
    #[error(
        "frame {number}: it has more than {max_bytes} bytes; make it smaller, 1280 pixels on the longer side are plenty"
    )]
    FrameTooLarge {
        /// Which frame, from 1.
        number: u16,
        /// The limit.
        max_bytes: u64,
    },
    /// A frame's bytes are not those that were announced.
    #[error(
        "frame {number}: its SHA-256 is not the one that was announced; it changed on the way, send it again"
    )]
    DigestMismatch {
        /// Which frame, from 1.
        number: u16,
    },
    /// Whoever moderates does not let the frame in.
    #[error("frame {number} is not taken{}; leave it out, or send another", because(.reason.as_deref()))]
    Refused {
        /// Which frame, from 1.
        number: u16,
        /// Why, where it was said.
        reason: Option<String>,
    },
    /// There is nothing to look at.
    #[error("the upload has no frames; send at least one JPEG as a part named frames")]
    NoFrames,
    /// There are more frames than one upload may have.
    #[error("the upload has more than {max} frames; send fewer, one or two stroke cycles are best")]
    TooManyFrames {
        /// The limit.
        max: u16,
    },
    /// A frame has a number that no frame of a session may have.
    #[error("frame {number}: a session has at most {max} frames, which are numbered from 1")]
    NumberTooLarge {
        /// Which frame.
        number: u16,
        /// The limit.
        max: u16,
    },
    /// The manifest does not fit the frames.
    #[error("manifest: {0}")]
    Manifest(String),
}

fn because(reason: Option<&str>) -> String {
    reason.map(|it| format!(": {it}")).unwrap_or_default()
}

impl Upload {
    pub(super) fn begin(
        coach: Coach,
        owner: Owner,
        room: OwnedSemaphorePermit,
        request: Option<Arc<RequestLease>>,
    ) -> Self {
        Self {
            coach,
            owner,
            session: request.as_ref().map_or_else(SessionId::new, |it| it.id().into()),
            received: 0,
            announced: None,
            stored: Vec::new(),
            storing: JoinSet::new(),
            record_tried: false,
            settled: false,
            room: Some(room),
            request,
        }
    }

    /// How many frames came so far.
    pub fn received(&self) -> u16 {
        self.received
    }

    /// Takes the manifest. Where it announces digests it must come before the frames.
    pub fn add_manifest(&mut self, entries: Vec<FrameEntry>) -> Result<(), CoachError> {
        let refuse = |problem: String| Err(UploadError::Manifest(problem).into());
        if self.announced.is_some() {
            return refuse("there is more than one; send one".to_owned());
        }
        let mut announced = BTreeMap::new();
        for entry in entries {
            let number = entry.number;
            let hex = |it: &String| it.len() == 64 && it.bytes().all(|it| it.is_ascii_hexdigit());
            if entry.sha256.as_ref().is_some_and(|it| !hex(it)) {
                return refuse(format!("sha256 of frame {number} is not 64 hexadecimal digits"));
            }
            if entry.sha256.is_some() && 0 < self.received {
                return refuse("it announces SHA-256 digests, so it must come before the frames".to_owned());
            }
            if entry.timestamp_ms.is_some_and(|it| MAX_TIMESTAMP_MS < it) {
                return refuse(format!(
                    "timestamp_ms of frame {number} is more than a day; it is a time in the clip"
                ));
            }
            if announced.insert(number, entry).is_some() {
                return refuse(format!("frame {number} is there twice"));
            }
        }
        self.announced = Some(announced);
        Ok(())
    }

    /// Takes the next frame: checks it, and starts to store it. Waits while too many are on their way.
    pub async fn add_frame(&mut self, bytes: Bytes) -> Result<(), CoachError> {
        let limits = self.coach.uploads;
        if limits.max_frames <= self.received {
            return Err(UploadError::TooManyFrames { max: limits.max_frames }.into());
        }
        self.received += 1;
        let count = self.received;
        let Some(number) = FrameNumber::new(count.into()) else {
            return Err(UploadError::TooManyFrames { max: FrameNumber::LAST.get() }.into());
        };
        if let Some(sha256) = self.announced(number).and_then(|it| it.sha256.as_ref())
            && !sha256.eq_ignore_ascii_case(&hex_sha256(&bytes))
        {
            return Err(UploadError::DigestMismatch { number: count }.into());
        }
        let admitted = door::admit(number, bytes)?;

        while FRAMES_IN_FLIGHT <= self.storing.len() {
            self.one_stored().await?;
        }
        let path = FramePath::new(self.session, number);
        let mut storing = Box::pin(store(self.coach.clone(), path, admitted));
        // What is done at once, as with storage in memory, is not worth a task.
        match poll!(&mut storing) {
            Poll::Ready(stored) => self.stored.push(stored?),
            Poll::Pending => {
                self.storing.spawn(storing);
            }
        }
        Ok(())
    }

    /// Waits until every frame is stored, then writes the record. From here on the caller may go away: the
    /// session is written whole, or nothing of it is left.
    pub async fn commit(mut self, details: UploadDetails) -> Result<Session, CoachError> {
        let jobs = self.coach.jobs.clone();
        let committed = jobs.finish(async move {
            let committed = self.write(details).await;
            if committed.is_err() {
                self.undo().await;
            }
            committed
        });
        committed.await?
    }

    /// Removes what was stored, and returns when that is done or was tried.
    pub async fn abort(mut self) {
        let jobs = self.coach.jobs.clone();
        // A task, so that it is finished even when the caller goes away meanwhile.
        let undone = jobs.finish(async move { self.undo().await });
        if let Err(error) = undone.await {
            tracing::error!(%error, "undoing an upload broke off");
        }
    }

    fn announced(&self, number: FrameNumber) -> Option<&FrameEntry> {
        self.announced.as_ref()?.get(&number)
    }

    /// Waits for one of the frames on their way.
    async fn one_stored(&mut self) -> Result<(), CoachError> {
        if let Some(stored) = self.storing.join_next().await {
            self.stored.push(stored??);
        }
        Ok(())
    }

    async fn write(&mut self, details: UploadDetails) -> Result<Session, CoachError> {
        if self.received == 0 {
            return Err(UploadError::NoFrames.into());
        }
        let mut announced = self.announced.iter().flat_map(BTreeMap::keys);
        if let Some(number) = announced.find(|it| self.received < it.get()) {
            let problem = format!("frame {number} is in it, but only {} frames came", self.received);
            return Err(UploadError::Manifest(problem).into());
        }
        while !self.storing.is_empty() {
            self.one_stored().await?;
        }
        let created_at = now();
        let Terms { consent, expires_at } = self.coach.terms(&details, created_at)?;
        let session = Session {
            id: self.session,
            owner: self.owner.clone(),
            created_at,
            stroke_type: details.stroke_type,
            user_notes: details.user_notes,
            title: details.title,
            view: details.view,
            frames: self.frames(),
            consent,
            expires_at,
        };
        self.record_tried = true;
        self.coach.sessions.create_session(&session).await?;
        // Others may have come at the same time: whoever sees that it is too much undoes its own.
        self.coach.has_room(&self.owner, 0, 0).await?;
        self.settled = true;
        Ok(session)
    }

    fn frames(&self) -> Vec<Frame> {
        let mut frames: Vec<Frame> = self
            .stored
            .iter()
            .map(|(stored, metadata)| Frame {
                number: stored.path.number,
                size_bytes: stored.size_bytes,
                width: metadata.width,
                height: metadata.height,
                timestamp_ms: self.announced(stored.path.number).and_then(|it| it.timestamp_ms),
                etag: stored.etag.clone(),
            })
            .collect();
        frames.sort_unstable_by_key(|it| it.number);
        frames
    }

    async fn undo(&mut self) {
        self.leftovers().remove().await;
    }

    /// What there is to undo; it is given out once.
    fn leftovers(&mut self) -> Leftovers {
        self.settled = true;
        Leftovers {
            coach: self.coach.clone(),
            owner: self.owner.clone(),
            session: self.session,
            has_frames: 0 < self.received,
            may_have_record: self.record_tried,
            storing: std::mem::take(&mut self.storing),
            request: self.request.take(),
            _room: self.room.take(),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.settled {
            let leftovers = self.leftovers();
            self.coach.jobs.finish(leftovers.remove());
        }
    }
}

/// What an upload that came to nothing leaves to be removed.
struct Leftovers {
    coach: Coach,
    owner: Owner,
    session: SessionId,
    has_frames: bool,
    may_have_record: bool,
    storing: JoinSet<Result<(StoredFrame, FrameMetadata), CoachError>>,
    request: Option<Arc<RequestLease>>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Leftovers {
    /// Leaves nothing behind, or says in the log what it left for the sweep.
    async fn remove(mut self) {
        // A frame still on its way would arrive after the deletion, so all of them are awaited.
        while let Some(stored) = self.storing.join_next().await {
            drop(stored);
        }
        let Some(request) = self.request.take() else {
            self.remove_all().await;
            return;
        };
        // What whoever took the request over may have made is not this one's to remove.
        if !request.unfix().await {
            return;
        }
        if self.remove_all().await {
            request.forget().await;
        } else {
            // Whoever repeats the request removes what is left.
            request.give_back().await;
        }
    }

    /// Removes everything; says whether it is gone.
    async fn remove_all(&self) -> bool {
        !self.has_frames || self.coach.undo_upload(&self.owner, self.session, self.may_have_record).await
    }
}

impl Coach {
    /// Removes what an upload left that failed or broke off; says whether it is gone.
    pub(super) async fn undo_upload(&self, owner: &Owner, session: SessionId, may_have_record: bool) -> bool {
        // The record goes first: an insert that failed may have happened, and a record without frames
        // would promise what is gone.
        let removed: Result<(), UpstreamError> = async {
            if may_have_record {
                self.sessions.delete_session(owner, session).await?;
            }
            self.storage.delete_frames(session).await?;
            Ok(())
        }
        .await;
        if let Err(error) = &removed {
            tracing::warn!(
                session.id = %session, %error, cause = %error.source,
                "left parts of the failed upload {session} behind; `swimcoach sweep` removes them",
            );
        }
        removed.is_ok()
    }
}

/// Has a frame pass the door and stores it.
async fn store(
    coach: Coach,
    path: FramePath,
    admitted: Admitted,
) -> Result<(StoredFrame, FrameMetadata), CoachError> {
    let jpeg = coach.let_pass(&path, admitted).await?;
    let metadata = FrameMetadata { width: jpeg.width, height: jpeg.height };
    let stored = coach.storage.upload_frame(&path, jpeg.bytes, &metadata).await?;
    Ok((stored, metadata))
}

fn hex_sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
