//! Frames that come one by one, through this service or straight into storage.
//!
//! A frame is stored first, where there is none of its number, and recorded then, which is its commit point. A crash
//! between the two leaves a frame that nobody knows: the same bytes again are recorded, others are refused, and it goes
//! with its session.

use super::privacy::Terms;
use super::{Coach, CoachError, UploadDetails, UploadError, door, now};
use crate::analysis::{MicroUsd, Usage};
use crate::jpeg::Jpeg;
use crate::ledger::{Charge, ChargeId, ChargeKind, StorageUse};
use crate::metadata::{AddedFrames, SessionRecord};
use crate::session::{Frame, FrameNumber, Owner, Session, SessionId};
use crate::storage::{
    Download, ExpectedFrame, FrameMetadata, FramePath, NewFrame, Pending, PresignedPut, StoredFrame,
};
use crate::upstream;
use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

/// How long a URL reads a frame.
const READ_TTL: Duration = Duration::from_mins(5);
/// How long a request may be sent that puts a frame into storage.
const WRITE_TTL: Duration = Duration::from_mins(15);

/// A frame as it comes.
#[derive(Debug)]
pub struct SentFrame {
    /// The file.
    pub bytes: Bytes,
    /// Its time in the clip, in milliseconds.
    pub timestamp_ms: Option<u64>,
    /// SHA-256 of the file in hex, where the sender says so.
    pub sha256: Option<String>,
}

/// A frame that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFrame {
    /// The frame.
    pub frame: Frame,
    /// Whether it was not there before.
    pub is_new: bool,
}

/// A frame that a client says to have put into storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectFrame {
    /// Which frame.
    pub number: FrameNumber,
    /// Its time in the clip, in milliseconds.
    pub timestamp_ms: Option<u64>,
}

/// What became of a frame that a client put into storage.
#[derive(Debug)]
pub struct Completed {
    /// Which frame.
    pub number: FrameNumber,
    /// The frame, or why it is none.
    pub outcome: Result<Frame, CoachError>,
}

impl Coach {
    /// Makes a session without frames, to put frames into; under this id where there is one, and once.
    pub async fn create_session(
        &self,
        owner: &Owner,
        details: UploadDetails,
        id: Option<SessionId>,
    ) -> Result<Session, CoachError> {
        if let Some(id) = id
            && let Some(record) = self.sessions.session(owner, id).await?
        {
            return Ok(record.session);
        }
        let created_at = now();
        let Terms { consent, expires_at } = self.terms(&details, created_at)?;
        let session = Session {
            id: id.unwrap_or_else(SessionId::new),
            owner: owner.clone(),
            created_at,
            stroke_type: details.stroke_type,
            user_notes: details.user_notes,
            title: details.title,
            view: details.view,
            frames: Vec::new(),
            consent,
            expires_at,
        };
        self.has_room(owner, 1, 0).await?;
        self.sessions.create_session(&session).await?;
        // Others may have come at the same time: whoever sees that it is too much undoes its own.
        if let Err(refusal) = self.has_room(owner, 0, 0).await {
            self.sessions.delete_session(owner, session.id).await?;
            return Err(refusal);
        }
        Ok(session)
    }

    /// Keeps a frame of a session. The same frame again is kept already; another one under its number is refused.
    /// `room` is held for as long as the frame is in memory.
    pub async fn put_frame(
        &self,
        owner: &Owner,
        id: SessionId,
        number: FrameNumber,
        sent: SentFrame,
        room: OwnedSemaphorePermit,
    ) -> Result<KeptFrame, CoachError> {
        self.check_number(number)?;
        self.has_room(owner, 0, sent.bytes.len() as u64).await?;
        let record = self.own(owner, id).await?;
        // A client that hangs up must not part the frame from its record.
        let coach = self.clone();
        let kept = self.jobs.finish(async move {
            let kept = coach.keep_frame(&record, number, sent).await;
            drop(room);
            kept
        });
        kept.await?
    }

    async fn keep_frame(
        &self,
        record: &SessionRecord,
        number: FrameNumber,
        sent: SentFrame,
    ) -> Result<KeptFrame, CoachError> {
        if let Some(sha256) = &sent.sha256
            && !sha256.eq_ignore_ascii_case(&hex::encode(Sha256::digest(&sent.bytes)))
        {
            return Err(UploadError::DigestMismatch { number: number.get() }.into());
        }
        let stored = self.store_frame(record, number, sent.bytes, sent.timestamp_ms).await?;
        if !stored.is_new {
            return Ok(stored);
        }
        let (owner, id) = (&record.session.owner, record.session.id);
        match self.sessions.add_frames(owner, id, std::slice::from_ref(&stored.frame)).await? {
            AddedFrames::Added { taken } => match taken.into_iter().next() {
                None => Ok(stored),
                Some(other) => the_same(&stored.frame, other).map(|frame| KeptFrame { frame, is_new: false }),
            },
            AddedFrames::Closed => Err(CoachError::Closed(id)),
            AddedFrames::NoSession => Err(self.left_without_session(id).await),
        }
    }

    /// Has a frame pass the door and stores it, unless it is kept already. It does not count before it is recorded.
    async fn store_frame(
        &self,
        record: &SessionRecord,
        number: FrameNumber,
        bytes: Bytes,
        timestamp_ms: Option<u64>,
    ) -> Result<KeptFrame, CoachError> {
        let session = &record.session;
        let known = session.frames.iter().find(|it| it.number == number);
        if known.is_none() && !record.analyses.is_empty() {
            return Err(CoachError::Closed(session.id));
        }
        let path = FramePath::new(session.id, number);
        let jpeg = self.upright(number, door::admit(number, bytes)?).await?;
        if let Some(frame) = known {
            let is_same =
                self.is_stored(&stored_as(session.id, frame), &Fingerprint::of(&jpeg.bytes)).await?;
            return if is_same {
                Ok(KeptFrame { frame: frame.clone(), is_new: false })
            } else {
                Err(CoachError::FrameExists(number))
            };
        }
        self.moderate(&path, &jpeg).await?;
        let Jpeg { bytes, width, height } = jpeg;
        let fingerprint = Fingerprint::of(&bytes);
        let stored = self.storage.upload_new_frame(&path, bytes, &FrameMetadata { width, height }).await?;
        let stored = match stored {
            NewFrame::Stored(stored) => stored,
            // It may be this very frame, from a try that broke off before it was recorded.
            NewFrame::Exists(stored) if self.is_stored(&stored, &fingerprint).await? => stored,
            NewFrame::Exists(_) => return Err(CoachError::FrameExists(number)),
        };
        let StoredFrame { size_bytes, etag, .. } = stored;
        let frame = Frame { number, size_bytes, width, height, timestamp_ms, etag };
        Ok(KeptFrame { frame, is_new: true })
    }

    /// Whether a stored frame has these bytes.
    async fn is_stored(&self, stored: &StoredFrame, wanted: &Fingerprint) -> Result<bool, CoachError> {
        if stored.size_bytes != wanted.size_bytes {
            return Ok(false);
        }
        match self.storage.download_frame(stored).await? {
            Download::Frame(bytes) => Ok(Fingerprint::of(&bytes) == *wanted),
            Download::Changed | Download::Missing => Err(CoachError::FrameLost(stored.path.number)),
        }
    }

    /// The frames of a session, in order of their numbers.
    pub async fn frames(&self, owner: &Owner, id: SessionId) -> Result<Vec<Frame>, CoachError> {
        Ok(self.own(owner, id).await?.session.frames)
    }

    /// What the record says of a frame.
    pub async fn frame(
        &self,
        owner: &Owner,
        id: SessionId,
        number: FrameNumber,
    ) -> Result<Frame, CoachError> {
        let frames = self.frames(owner, id).await?;
        frames.into_iter().find(|it| it.number == number).ok_or(CoachError::NoSuchFrame(number))
    }

    /// The bytes of a frame, as the record says that they were stored.
    pub async fn frame_bytes(&self, id: SessionId, frame: &Frame) -> Result<Bytes, CoachError> {
        match self.storage.download_frame(&stored_as(id, frame)).await? {
            Download::Frame(bytes) => Ok(bytes),
            Download::Changed | Download::Missing => Err(CoachError::FrameLost(frame.number)),
        }
    }

    /// A URL for each frame that gives its bytes to whoever holds it, for a few minutes.
    pub async fn frame_urls(&self, id: SessionId, frames: &[Frame]) -> Result<Vec<Url>, CoachError> {
        let urls = frames
            .iter()
            .map(async |it| self.storage.presigned_get(&FramePath::new(id, it.number), READ_TTL).await);
        Ok(future::try_join_all(urls).await?)
    }

    /// A request for each of these frames that puts it straight into storage, where it waits until
    /// [`Coach::complete_direct`] has it pass the door.
    pub async fn begin_direct(
        &self,
        owner: &Owner,
        id: SessionId,
        announced: &[(FrameNumber, ExpectedFrame)],
    ) -> Result<Vec<(FrameNumber, PresignedPut)>, CoachError> {
        let record = self.own(owner, id).await?;
        if !record.analyses.is_empty() {
            return Err(CoachError::Closed(id));
        }
        let max_bytes = self.uploads.max_frame_bytes;
        for (number, expected) in announced {
            self.check_number(*number)?;
            if max_bytes < expected.size_bytes {
                return Err(UploadError::FrameTooLarge { number: number.get(), max_bytes }.into());
            }
            if record.session.frames.iter().any(|it| it.number == *number) {
                return Err(CoachError::FrameExists(*number));
            }
        }
        self.has_room(owner, 0, announced.iter().map(|(_, it)| it.size_bytes).sum()).await?;
        let requests = announced.iter().map(async |(number, expected)| {
            let path = FramePath::new(id, *number);
            let request = self.storage.presigned_put(&path, expected, WRITE_TTL).await?;
            Ok::<_, CoachError>((*number, request))
        });
        future::try_join_all(requests).await
    }

    /// Has frames that a client put into storage pass the door, and keeps those that do: the ones that are named, or
    /// else all that wait. `room` is held for as long as frames are in memory, `at_once` of them at one time.
    ///
    /// What was decided of a frame stays so, whatever fails after it; then the whole can be asked for again.
    pub async fn complete_direct(
        &self,
        owner: &Owner,
        id: SessionId,
        named: Vec<DirectFrame>,
        at_once: usize,
        room: OwnedSemaphorePermit,
    ) -> Result<Vec<Completed>, CoachError> {
        let record = self.own(owner, id).await?;
        let coach = self.clone();
        let completed = self.jobs.finish(async move {
            let completed = coach.complete(record, named, at_once).await;
            drop(room);
            completed
        });
        completed.await?
    }

    async fn complete(
        &self,
        record: SessionRecord,
        named: Vec<DirectFrame>,
        at_once: usize,
    ) -> Result<Vec<Completed>, CoachError> {
        let id = record.session.id;
        let waiting = self.storage.list_pending(id).await?;
        let waiting: BTreeMap<FrameNumber, u64> =
            waiting.into_iter().map(|it| (it.path.number, it.size_bytes)).collect();
        let wanted = if named.is_empty() {
            waiting.keys().map(|it| DirectFrame { number: *it, timestamp_ms: None }).collect()
        } else {
            named
        };
        let sizes = wanted.iter().filter_map(|it| waiting.get(&it.number));
        self.has_room(&record.session.owner, 0, sizes.sum()).await?;
        self.charge_direct(&record.session, &waiting);

        let stored = stream::iter(wanted).map(|it| {
            let (record, size_bytes) = (&record, waiting.get(&it.number).copied());
            async move { (it.number, self.store_direct(record, it, size_bytes).await) }
        });
        let stored: Vec<_> = stored.buffered(at_once).collect().await;
        let (mut completed, failure) = decided(stored);
        self.record_direct(&record.session, &mut completed).await?;
        let removals = completed.iter().filter(|it| waiting.contains_key(&it.0)).map(|it| {
            let path = FramePath::new(id, it.0);
            async move { self.storage.remove_pending(&path).await }
        });
        future::try_join_all(removals).await?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        let outcome = |it: Decided| it.map(|kept| kept.frame);
        Ok(completed.into_iter().map(|(number, it)| Completed { number, outcome: outcome(it) }).collect())
    }

    /// Has one frame that waits pass the door.
    async fn store_direct(
        &self,
        record: &SessionRecord,
        DirectFrame { number, timestamp_ms }: DirectFrame,
        waiting: Option<u64>,
    ) -> Result<KeptFrame, CoachError> {
        self.check_number(number)?;
        let max_bytes = self.uploads.max_frame_bytes;
        let too_large = || UploadError::FrameTooLarge { number: number.get(), max_bytes };
        let pending = match waiting {
            None => Pending::Missing,
            Some(size) if max_bytes < size => return Err(too_large().into()),
            Some(_) => {
                self.storage.download_pending(&FramePath::new(record.session.id, number), max_bytes).await?
            }
        };
        match pending {
            Pending::Bytes(bytes) => self.store_frame(record, number, bytes, timestamp_ms).await,
            Pending::TooLarge(_) => Err(too_large().into()),
            // It may be kept already, and the answer that said so was lost.
            Pending::Missing => match record.session.frames.iter().find(|it| it.number == number) {
                Some(frame) => Ok(KeptFrame { frame: frame.clone(), is_new: false }),
                None => Err(CoachError::NotPut(number)),
            },
        }
    }

    /// Records the frames among these that are new.
    async fn record_direct(
        &self,
        session: &Session,
        decided: &mut [(FrameNumber, Decided)],
    ) -> Result<(), CoachError> {
        let new = decided.iter().filter_map(|(_, it)| it.as_ref().ok());
        let new: Vec<Frame> = new.filter(|it| it.is_new).map(|it| it.frame.clone()).collect();
        if new.is_empty() {
            return Ok(());
        }
        let taken = match self.sessions.add_frames(&session.owner, session.id, &new).await? {
            AddedFrames::Added { taken } => taken,
            AddedFrames::Closed => {
                for (_, it) in decided.iter_mut().filter(|(_, it)| it.as_ref().is_ok_and(|it| it.is_new)) {
                    *it = Err(CoachError::Closed(session.id));
                }
                return Ok(());
            }
            AddedFrames::NoSession => return Err(self.left_without_session(session.id).await),
        };
        for other in taken {
            let place = decided.iter_mut().find(|(number, _)| *number == other.number);
            if let Some((_, it)) = place
                && let Ok(kept) = it
            {
                *it = the_same(&kept.frame, other).map(|frame| KeptFrame { frame, is_new: false });
            }
        }
        Ok(())
    }

    /// Charges for what direct uploads take of storage beyond their frames: one listing here, the write of each frame
    /// that waits, which its client sent, and one read of each.
    fn charge_direct(&self, session: &Session, waiting: &BTreeMap<FrameNumber, u64>) {
        let n_frames = waiting.len() as u64;
        let charge = Charge {
            id: ChargeId::new(),
            owner: session.owner.clone(),
            kind: ChargeKind::Upload,
            model: None,
            at: now(),
            is_settled: true,
            amount: MicroUsd::default(),
            usage: Usage::default(),
            storage: StorageUse { frames: 0, bytes: 0, class_a: 1 + n_frames, class_b: n_frames },
        };
        let coach = self.clone();
        self.jobs.finish(async move { coach.settle_charge(&charge).await });
    }

    /// The session was deleted while a frame of it came: what came after the deletion is removed as well.
    async fn left_without_session(&self, id: SessionId) -> CoachError {
        // Another may own it meanwhile.
        let removed = async {
            if self.sessions.existing_sessions(&[id]).await?.is_empty() {
                self.remove_stored(id).await?;
            }
            Ok::<_, upstream::UpstreamError>(())
        };
        if let Err(error) = removed.await {
            let causes = upstream::chain(&error);
            tracing::warn!(session.id = %id, causes, "left frames of the deleted session {id}; `swimcoach sweep` removes them");
        }
        CoachError::NoSuchSession(id)
    }

    fn check_number(&self, number: FrameNumber) -> Result<(), UploadError> {
        let max = self.uploads.max_frames;
        if number.get() <= max {
            Ok(())
        } else {
            Err(UploadError::NumberTooLarge { number: number.get(), max })
        }
    }
}

/// What became of a frame, which is not to be decided again.
type Decided = Result<KeptFrame, CoachError>;

/// The frames of which something is decided, and what broke off the others.
fn decided(
    stored: Vec<(FrameNumber, Result<KeptFrame, CoachError>)>,
) -> (Vec<(FrameNumber, Decided)>, Option<CoachError>) {
    let mut failure = None;
    let mut decided = Vec::new();
    for (number, outcome) in stored {
        match outcome {
            Err(error) if !error.is_about_frame() => failure = failure.or(Some(error)),
            outcome => decided.push((number, outcome)),
        }
    }
    (decided, failure)
}

/// What tells the bytes of a frame from all others.
#[derive(PartialEq, Eq)]
struct Fingerprint {
    size_bytes: u64,
    sha256: [u8; 32],
}

impl Fingerprint {
    fn of(bytes: &Bytes) -> Self {
        Self { size_bytes: bytes.len() as u64, sha256: Sha256::digest(bytes).into() }
    }
}

/// The frame that is recorded under a number, if it is the one that is stored there.
fn the_same(stored: &Frame, recorded: Frame) -> Result<Frame, CoachError> {
    if (&recorded.etag, recorded.size_bytes) == (&stored.etag, stored.size_bytes) {
        Ok(recorded)
    } else {
        Err(CoachError::FrameExists(recorded.number))
    }
}

/// A recorded frame as storage knows it.
fn stored_as(session: SessionId, frame: &Frame) -> StoredFrame {
    StoredFrame {
        path: FramePath::new(session, frame.number),
        size_bytes: frame.size_bytes,
        etag: frame.etag.clone(),
    }
}
