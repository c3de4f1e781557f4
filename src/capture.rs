//! The capture check: what the camera and the choice of frames leave to be judged.
//!
//! Runs before a model is paid, for every model; its warnings are part of every result, and where no model
//! looks they are all of it. Every frame is decoded for real, so a picture that is damaged inside is found
//! here. One decoded frame is in memory at a time.

use crate::analysis::Warning;
use crate::session::FrameNumber;
use bytes::Bytes;
use image::{GrayImage, ImageReader};
use std::io::Cursor;
use thiserror::Error;

/// Longer side of the gray picture that is measured; details finer than this do not help a coach.
const MEASURED_SIDE: u32 = 512;
/// Cells on a side of the small picture by which frames are told apart.
const CELLS: u32 = 32;
/// A cell that differs by fewer levels of 255 is the same; noise of a still camera stays below.
const SAME_CELL: u8 = 4;
/// Variance of the Laplacian below which a picture is blurred, whatever its neighbors are like.
const BLURRED: f64 = 25.0;
/// A frame with less than this share of the median sharpness is blurred beside its neighbors.
const BLURRED_BESIDE_OTHERS: f64 = 0.3;
/// Mean brightness, from 0 to 1, below which a frame is dark.
const DARK: f64 = 0.15;
/// Share of nearly white pixels above which a frame is overexposed.
const OVEREXPOSED: f64 = 0.35;
/// Gray levels from which a pixel counts as nearly white.
const NEARLY_WHITE: u8 = 245;
/// Shorter side in pixels below which hands and feet are hard to see.
const LOW_RESOLUTION: u32 = 480;
/// Frames a second below which the timing of a stroke cycle of about 1.4 s cannot be judged.
const MIN_FRAMES_PER_SECOND: f64 = 6.0;
/// Fewer frames than this rarely show a whole stroke cycle.
const FEW_FRAMES: usize = 6;

/// A frame to be checked.
#[derive(Debug, Clone)]
pub struct CaptureFrame {
    /// Its number in the session.
    pub number: FrameNumber,
    /// Its time in the clip in milliseconds, when known.
    pub timestamp_ms: Option<u64>,
    /// The file.
    pub jpeg: Bytes,
}

/// What the check found.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureReport {
    /// The measures of each frame, in order.
    pub frames: Vec<FrameMeasures>,
    /// Frames a second, by the median gap between timestamps; `None` without usable timestamps.
    pub frames_per_second: Option<f64>,
    /// What limits an analysis, for the swimmer.
    pub warnings: Vec<Warning>,
    /// How to film next time.
    pub advice: Vec<String>,
}

/// The measures of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameMeasures {
    /// Which frame.
    pub number: FrameNumber,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Variance of the Laplacian of the gray picture at 512 pixels.
    pub sharpness: f64,
    /// Mean brightness from 0 to 1.
    pub brightness: f64,
    /// Share of nearly white pixels from 0 to 1.
    pub white: f64,
    /// The frame before, when this one shows nothing new.
    pub repeats: Option<FrameNumber>,
}

/// A frame that cannot be decoded.
#[derive(Debug, Error)]
#[error("frame {number} cannot be decoded")]
pub struct UndecodableFrame {
    /// Which frame.
    pub number: FrameNumber,
    /// What the decoder says.
    #[source]
    pub source: image::ImageError,
}

/// Checks all frames of a session. Takes milliseconds a frame: not for an async thread.
pub fn check(frames: &[CaptureFrame]) -> Result<CaptureReport, UndecodableFrame> {
    let mut measured: Vec<FrameMeasures> = Vec::with_capacity(frames.len());
    let mut before: Option<(FrameNumber, GrayImage)> = None;
    for frame in frames {
        let gray = decode(frame)?;
        let small = image::imageops::thumbnail(&gray, CELLS, CELLS);
        let repeats = before.filter(|(_, it)| shows_the_same(it, &small)).map(|(number, _)| number);
        measured.push(measure(frame.number, &gray, repeats));
        before = Some((frame.number, small));
    }
    let times: Option<Vec<u64>> = frames.iter().map(|it| it.timestamp_ms).collect();
    let frames_per_second = times.as_deref().and_then(frames_per_second);
    let mut report =
        CaptureReport { frames: measured, frames_per_second, warnings: Vec::new(), advice: Vec::new() };
    report.judge_pictures();
    report.judge_times(times.as_deref());
    Ok(report)
}

fn decode(frame: &CaptureFrame) -> Result<GrayImage, UndecodableFrame> {
    let reader = ImageReader::with_format(Cursor::new(&frame.jpeg), image::ImageFormat::Jpeg);
    let picture = reader.decode().map_err(|source| UndecodableFrame { number: frame.number, source })?;
    Ok(picture.into_luma8())
}

fn measure(number: FrameNumber, gray: &GrayImage, repeats: Option<FrameNumber>) -> FrameMeasures {
    let (width, height) = gray.dimensions();
    let factor = f64::from(MEASURED_SIDE) / f64::from(width.max(height));
    let scaled = match factor < 1.0 {
        true => image::imageops::thumbnail(gray, scale(width, factor), scale(height, factor)),
        false => gray.clone(),
    };
    let pixels = f64::from(scaled.width()) * f64::from(scaled.height());
    let sum: u64 = scaled.as_raw().iter().map(|it| u64::from(*it)).sum();
    let white = scaled.as_raw().iter().filter(|it| NEARLY_WHITE <= **it).count();
    FrameMeasures {
        number,
        width,
        height,
        sharpness: laplacian_variance(&scaled),
        brightness: lossy(sum) / pixels / 255.0,
        white: lossy(white as u64) / pixels,
        repeats,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a side of a picture, times at most one"
)]
fn scale(side: u32, factor: f64) -> u32 {
    ((f64::from(side) * factor).round() as u32).max(3)
}

#[expect(clippy::cast_precision_loss, reason = "sums over at most 512×512 pixels are far below 2^53")]
fn lossy(sum: u64) -> f64 {
    sum as f64
}

/// How much neighboring pixels differ: low in a blurred picture.
fn laplacian_variance(gray: &GrayImage) -> f64 {
    let width = gray.width() as usize;
    let rows: Vec<&[u8]> = gray.as_raw().chunks_exact(width).collect();
    let (mut count, mut sum, mut squares) = (0_u64, 0_i64, 0_i64);
    for three in rows.windows(3) {
        let [above, row, below] = three else { continue };
        for ((around, up), down) in row.windows(3).zip(above.iter().skip(1)).zip(below.iter().skip(1)) {
            let [left, here, right] = around else { continue };
            let value = i64::from(*left) + i64::from(*right) + i64::from(*up) + i64::from(*down)
                - 4 * i64::from(*here);
            count += 1;
            sum += value;
            squares += value * value;
        }
    }
    if count == 0 {
        return 0.0;
    }
    let mean = lossy(sum.unsigned_abs()) / lossy(count);
    lossy(squares.unsigned_abs()) / lossy(count) - mean * mean
}

/// Whether no part of the picture changed: even a swimmer far away changes some cell.
fn shows_the_same(one: &GrayImage, other: &GrayImage) -> bool {
    one.as_raw().iter().zip(other.as_raw()).all(|(a, b)| a.abs_diff(*b) < SAME_CELL)
}

/// By the median gap, so that a few wide frames beside a dense burst do not hide the burst.
fn frames_per_second(times: &[u64]) -> Option<f64> {
    let mut gaps: Vec<u64> = times
        .windows(2)
        .map(|it| match it {
            [a, b] => b.saturating_sub(*a),
            _ => 0,
        })
        .collect();
    if gaps.is_empty() || gaps.contains(&0) {
        return None;
    }
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).map(|median| 1000.0 / lossy(*median))
}

impl CaptureReport {
    fn judge_pictures(&mut self) {
        let mut sharpness: Vec<f64> = self.frames.iter().map(|it| it.sharpness).collect();
        sharpness.sort_unstable_by(f64::total_cmp);
        let median = sharpness.get(sharpness.len() / 2).copied().unwrap_or_default();
        self.warn_about(
            "blurred",
            "These frames are blurred, so hands and feet are hard to judge in them.",
            "Hold the camera still or rest it on something, wipe the lens, and use a short exposure (a sports or action mode).",
            |it| it.sharpness < BLURRED || it.sharpness < BLURRED_BESIDE_OTHERS * median,
        );
        self.warn_about(
            "dark",
            "These frames are dark.",
            "Film in more light, with the light behind the camera.",
            |it| it.brightness < DARK,
        );
        self.warn_about(
            "overexposed",
            "Large parts of these frames are white.",
            "Film with the sun or the windows behind the camera, and lower the exposure.",
            |it| OVEREXPOSED < it.white,
        );
        self.warn_about(
            "low_resolution",
            "These frames have few pixels, so small movements cannot be seen.",
            "Film so that the swimmer fills at least half of the picture, at 1280×720 or more.",
            |it| it.width.min(it.height) < LOW_RESOLUTION,
        );
        self.warn_about(
            "near_duplicates",
            "These frames show the same as the ones before them; they cost without telling more.",
            "Choose frames that are spread over one or two stroke cycles.",
            |it| it.repeats.is_some(),
        );
        if self.frames.len() < FEW_FRAMES {
            self.warn(
                "few_frames",
                "There are few frames, so a whole stroke cycle may not be shown.",
                "Send 10 to 25 frames of one or two stroke cycles.",
                Vec::new(),
            );
        }
    }

    fn judge_times(&mut self, times: Option<&[u64]>) {
        const SEND_TIMES: &str = "Send every frame's time in the clip with the upload.";
        match (times, self.frames_per_second) {
            (None, _) => self.warn(
                "timestamps_missing",
                "Frames came without their time in the clip, so stroke rate and cycle time cannot be computed.",
                SEND_TIMES,
                Vec::new(),
            ),
            (Some(times), None) if 1 < times.len() => self.warn(
                "timestamps_not_increasing",
                "The times of the frames do not increase from frame to frame, so nothing is computed from them.",
                SEND_TIMES,
                Vec::new(),
            ),
            (Some(_), Some(rate)) if rate < MIN_FRAMES_PER_SECOND => self.warn(
                "too_few_frames_per_second",
                &format!("There are {rate:.1} frames a second, which is too few to judge timing."),
                "Send a dense burst: one or two stroke cycles at 8 to 15 frames a second, and a few wide frames.",
                Vec::new(),
            ),
            (Some(_), _) => {}
        }
    }

    fn warn_about(
        &mut self,
        code: &str,
        detail: &str,
        advice: &str,
        is_bad: impl Fn(&FrameMeasures) -> bool,
    ) {
        let frames: Vec<FrameNumber> =
            self.frames.iter().filter(|it| is_bad(it)).map(|it| it.number).collect();
        if !frames.is_empty() {
            self.warn(code, detail, advice, frames);
        }
    }

    fn warn(&mut self, code: &str, detail: &str, advice: &str, frames: Vec<FrameNumber>) {
        self.warnings.push(Warning { code: code.to_owned(), detail: detail.to_owned(), frames });
        if !self.advice.iter().any(|it| it == advice) {
            self.advice.push(advice.to_owned());
        }
    }
}
