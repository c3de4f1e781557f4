//! What the model is shown of a session: its frames as they were acknowledged, at the size at which they are sent.

use super::words::{AnalysisError, failure};
use super::{Coach, CoachError};
use crate::capture::{self, CaptureFrame, CaptureReport};
use crate::jpeg;
use crate::session::{Frame, FrameNumber, Session, SessionId, Stroke};
use crate::storage::{Download, FramePath, StoredFrame};
use crate::vision::{Look, LookFrame};
use bytes::Bytes;
use futures_util::future::try_join_all;
use sha2::{Digest, Sha256};

/// A frame with its bytes as storage keeps them.
pub(super) type Fetched<'a> = (&'a Frame, Bytes);

impl Coach {
    /// What the camera got right and wrong in the frames of a session, found out as an analysis does. No model is asked
    /// and nothing is paid.
    pub async fn check_frames(&self, id: SessionId, frames: &[Frame]) -> Result<CaptureReport, CoachError> {
        if frames.is_empty() {
            return Err(CoachError::NoFrames(id));
        }
        let fetched = self.fetch(id, frames.iter()).await.map_err(not_checked)?;
        self.check_capture(&fetched).await.map_err(not_checked)
    }

    /// Exactly what an analysis was shown that left these frames out: the same bytes each time.
    pub(super) async fn prepare_look(
        &self,
        session: &Session,
        stroke: Stroke,
        left_out: &[FrameNumber],
    ) -> Result<Look, AnalysisError> {
        let wanted = session.frames.iter().filter(|it| !left_out.contains(&it.number));
        let fetched = self.fetch(session.id, wanted).await?;
        self.sized(session, stroke, fetched).await
    }

    /// Frames of the session as they were acknowledged, or an error: never silently fewer.
    pub(super) async fn fetch<'a>(
        &self,
        session: SessionId,
        frames: impl Iterator<Item = &'a Frame>,
    ) -> Result<Vec<Fetched<'a>>, AnalysisError> {
        // Storage bounds how many requests are in flight.
        try_join_all(frames.map(|frame| async move {
            let stored = StoredFrame {
                path: FramePath::new(session, frame.number),
                size_bytes: frame.size_bytes,
                etag: frame.etag.clone(),
            };
            match self.storage.download_frame(&stored).await? {
                Download::Frame(jpeg) => Ok((frame, jpeg)),
                Download::Changed => Err(AnalysisError::FrameChanged(frame.number)),
                Download::Missing => Err(AnalysisError::FrameMissing(frame.number)),
            }
        }))
        .await
    }

    /// Decodes every frame before anything is paid for.
    pub(super) async fn check_capture(
        &self,
        fetched: &[Fetched<'_>],
    ) -> Result<CaptureReport, AnalysisError> {
        let frames: Vec<CaptureFrame> = fetched
            .iter()
            .map(|(frame, jpeg)| CaptureFrame {
                number: frame.number,
                timestamp_ms: frame.timestamp_ms,
                jpeg: jpeg.clone(),
            })
            .collect();
        let checked = self.with_pixels(move || capture::check(&frames));
        Ok(checked.await.map_err(AnalysisError::Task)??)
    }

    /// SHA-256, in hex, of the frames' own digests in order.
    pub(super) async fn digest(&self, fetched: &[Fetched<'_>]) -> Result<String, AnalysisError> {
        let jpegs: Vec<Bytes> = fetched.iter().map(|(_, jpeg)| jpeg.clone()).collect();
        let digested = self.with_pixels(move || {
            let digests: Vec<_> = jpegs.iter().map(Sha256::digest).collect();
            hex::encode(Sha256::digest(digests.concat()))
        });
        digested.await.map_err(AnalysisError::Task)
    }

    /// The look at these frames. A frame of which the model sees no more at a smaller size is sent at that.
    pub(super) async fn sized(
        &self,
        session: &Session,
        stroke: Stroke,
        fetched: Vec<Fetched<'_>>,
    ) -> Result<Look, AnalysisError> {
        // Whatever came before, no picture goes on from here without it.
        self.may_be_shown(session).map_err(|_nobody_agreed| AnalysisError::NoConsent)?;
        let n_frames = fetched.len();
        let frames = try_join_all(fetched.into_iter().map(|it| self.sized_frame(it, n_frames))).await?;
        Ok(Look { stroke, view: session.view, frames })
    }

    async fn sized_frame(
        &self,
        (frame, jpeg): Fetched<'_>,
        n_frames: usize,
    ) -> Result<LookFrame, AnalysisError> {
        let (width, height) = self.vision.sent_size(frame.width, frame.height, n_frames);
        if (width, height) == (frame.width, frame.height) {
            return Ok(look_frame(frame, jpeg));
        }
        let scaled = self.with_pixels(move || jpeg::scaled(&jpeg, width, height));
        let jpeg = scaled
            .await
            .map_err(AnalysisError::Task)?
            .map_err(|source| AnalysisError::Unscalable { number: frame.number, source })?;
        Ok(LookFrame { width, height, ..look_frame(frame, jpeg) })
    }
}

/// Why frames were not checked, as their caller is told.
fn not_checked(error: AnalysisError) -> CoachError {
    match error {
        AnalysisError::Download(error) => error.into(),
        AnalysisError::Task(error) => error,
        error => CoachError::NotChecked(failure(&error, false)),
    }
}

/// What would be shown of all frames of a session, without their pictures, to tell what it takes.
pub(super) fn unseen_look(session: &Session, stroke: Stroke) -> Look {
    let frames = session.frames.iter().map(|it| look_frame(it, Bytes::new())).collect();
    Look { stroke, view: session.view, frames }
}

fn look_frame(frame: &Frame, jpeg: Bytes) -> LookFrame {
    LookFrame {
        number: frame.number,
        timestamp_ms: frame.timestamp_ms,
        width: frame.width,
        height: frame.height,
        jpeg,
    }
}
