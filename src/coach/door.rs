//! What every frame passes before it is stored, on whatever way it came.

use super::{Coach, CoachError, UploadError};
use crate::jpeg::{self, Admitted, Jpeg, JpegError, JpegLimits};
use crate::moderation::Verdict;
use crate::session::FrameNumber;
use crate::storage::FramePath;
use bytes::Bytes;
use std::sync::Arc;

/// Checks the bytes of a frame and takes their metadata off.
pub(super) fn admit(number: FrameNumber, bytes: Bytes) -> Result<Admitted, UploadError> {
    let refused = |source| UploadError::Frame { number: number.get(), source };
    jpeg::admit(bytes, &JpegLimits::default()).map_err(refused)
}

impl Coach {
    /// A frame that was let in, upright, with the consent of whoever moderates.
    pub(super) async fn let_pass(&self, path: &FramePath, admitted: Admitted) -> Result<Jpeg, CoachError> {
        let jpeg = self.upright(path.number, admitted).await?;
        self.moderate(path, &jpeg).await?;
        Ok(jpeg)
    }

    /// Turns a frame that lies on its side.
    pub(super) async fn upright(&self, number: FrameNumber, admitted: Admitted) -> Result<Jpeg, CoachError> {
        let number = number.get();
        let turned = match admitted {
            Admitted::Ready(jpeg) => return Ok(jpeg),
            Admitted::Turned(turned) => turned,
        };
        let upright: Result<Jpeg, JpegError> = self.with_pixels(move || turned.upright()).await?;
        let upright = upright.map_err(|source| UploadError::Frame { number, source })?;
        // A turned frame can be larger than the one that came.
        let max_bytes = self.uploads.max_frame_bytes;
        if max_bytes < upright.bytes.len() as u64 {
            return Err(UploadError::FrameTooLarge { number, max_bytes }.into());
        }
        Ok(upright)
    }

    /// Has a frame looked at by whoever moderates, where somebody does.
    pub(super) async fn moderate(&self, path: &FramePath, jpeg: &Jpeg) -> Result<(), CoachError> {
        let Some(moderation) = &self.moderation else { return Ok(()) };
        match moderation.judge(path, &jpeg.bytes).await? {
            Verdict::Allowed => Ok(()),
            Verdict::Refused(reason) => {
                Err(UploadError::Refused { number: path.number.get(), reason }.into())
            }
        }
    }

    /// Runs work on pixels on a thread of its own, a few at a time.
    pub(super) async fn with_pixels<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CoachError> {
        // The semaphore is never closed; were it, the work would run without its bound.
        let permit = Arc::clone(&self.pixels).acquire_owned().await.ok();
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        Ok(done.await?)
    }
}
