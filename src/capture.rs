//! The capture check: whether the frames can serve an analysis, found out before a model is paid.
//!
//! Every frame is decoded for real, one at a time, so that a picture that is damaged inside is noticed
//! here. What is measured of it is in `measure`, what follows from the whole set is in `verdict`. The
//! same frames always give the same report.

mod measure;
mod times;
mod verdict;

use crate::analysis::Warning;
use crate::jpeg::{Colors, decode};
use crate::session::FrameNumber;
use bytes::Bytes;
use measure::Thumbnail;
use std::fmt;

/// The most pixels of a frame that is decoded. It lies above what the door lets in by default and is here
/// only so that no header, however it came into storage, can ask for unbounded memory.
const MAX_PIXELS: u64 = 100_000_000;

/// A frame to be checked.
#[derive(Clone, PartialEq, Eq)]
pub struct CaptureFrame {
    /// Its place in the session.
    pub number: FrameNumber,
    /// Time in the clip in milliseconds, when the uploader knew it.
    pub timestamp_ms: Option<u64>,
    /// The file, upright.
    pub jpeg: Bytes,
}

/// Without the picture, which no log may hold.
impl fmt::Debug for CaptureFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaptureFrame({}, {} bytes)", self.number, self.jpeg.len())
    }
}

/// What the check found.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureReport {
    /// Each frame's figures, in the order in which the frames were given.
    pub frames: Vec<FrameCapture>,
    /// Frames in a second by the median gap between their times; absent when a time is missing or they do
    /// not increase.
    pub frames_per_second: Option<f64>,
    /// What limits an analysis of these frames.
    pub warnings: Vec<Warning>,
    /// How to film next time, in sentences for a swimmer.
    pub advice: Vec<String>,
}

/// What was measured of a frame, on a grey picture of at most 512 pixels on its long side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameCapture {
    /// The frame.
    pub number: FrameNumber,
    /// Width of the frame itself in pixels.
    pub width: u32,
    /// Height of the frame itself in pixels.
    pub height: u32,
    /// Variance of the Laplacian, in squared grey levels of 0 to 255: 0 for a plain area, hundreds and
    /// more for crisp detail.
    pub sharpness: f64,
    /// Mean brightness, from 0 (black) to 1 (white).
    pub brightness: f64,
    /// Share of pixels that are as good as black, from 0 to 1.
    pub dark_share: f64,
    /// Share of pixels that are as good as white, from 0 to 1.
    pub bright_share: f64,
    /// The earlier frame that this one shows again, if it does.
    pub repeats: Option<FrameNumber>,
}

/// A frame that is no whole picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("frame {number} is damaged inside and cannot be shown; upload the clip's frames again")]
pub struct UndecodableFrame {
    /// The frame.
    pub number: FrameNumber,
    /// What the decoder says, for the log.
    pub reason: String,
}

/// Decodes and judges the frames of a session, given in the order in which they were filmed.
///
/// It takes a few milliseconds a frame and the memory of one decoded frame, so it belongs on a blocking
/// thread.
pub fn check(frames: &[CaptureFrame]) -> Result<CaptureReport, UndecodableFrame> {
    let mut captures = Vec::with_capacity(frames.len());
    // The last frame that shows something new. Comparing with it, and not with the neighbor, keeps a slow
    // drift from passing for one long repetition.
    let mut last_new: Option<(FrameNumber, Thumbnail)> = None;
    for frame in frames {
        let (mut capture, thumbnail) = look_at(frame)?;
        match &last_new {
            Some((number, shown)) if shown.shows_the_same_as(&thumbnail) => {
                capture.repeats = Some(*number);
            }
            _ => last_new = Some((frame.number, thumbnail)),
        }
        captures.push(capture);
    }
    Ok(verdict::report(frames, captures))
}

fn look_at(frame: &CaptureFrame) -> Result<(FrameCapture, Thumbnail), UndecodableFrame> {
    let picture = decode(&frame.jpeg, Colors::Grey, MAX_PIXELS)
        .map_err(|reason| UndecodableFrame { number: frame.number, reason })?;
    let grey = measure::Grey::from_pixels(&picture);
    let exposure = grey.exposure();
    let capture = FrameCapture {
        number: frame.number,
        width: picture.width,
        height: picture.height,
        sharpness: grey.sharpness(),
        brightness: exposure.brightness,
        dark_share: exposure.dark_share,
        bright_share: exposure.bright_share,
        repeats: None,
    };
    Ok((capture, grey.thumbnail()))
}
