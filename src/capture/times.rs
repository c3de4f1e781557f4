//! What the frames' times are worth.

use super::CaptureFrame;
use crate::session::FrameNumber;

/// The longest median gap between frames at which timing can be judged, in milliseconds: 6 frames a
/// second, and a millisecond for rounding. A cycle lasts from 1 to 1.5 s, and with fewer than 6 frames in
/// it the moments that timing compares fall between frames.
const LONGEST_GAP_MS: u64 = 168;

/// Which share of the gaps must lie near the median for it to say anything, in percent. Bursts with wide
/// frames between them keep above this.
const EVEN_SHARE_PERCENT: usize = 50;

/// How far from the median, in percent of it, a gap may lie and count as near. A camera's gaps jitter by
/// about one of its own frames.
const EVEN_TOLERANCE_PERCENT: u64 = 30;

/// What the frames' times are worth.
pub(super) struct Times {
    /// Frames without a time.
    pub(super) without: Vec<FrameNumber>,
    /// Frames whose time is not after that of the one before.
    pub(super) not_after_the_one_before: Vec<FrameNumber>,
    /// Between neighbors, in milliseconds, sorted; empty when one of the lists above is not.
    gaps: Vec<u64>,
    /// All frames, with a time or without.
    pub(super) n_frames: usize,
}

impl Times {
    /// The times of frames in the order in which they were filmed.
    pub(super) fn of(frames: &[CaptureFrame]) -> Self {
        let mut times = Self {
            without: Vec::new(),
            not_after_the_one_before: Vec::new(),
            gaps: Vec::new(),
            n_frames: frames.len(),
        };
        let mut last: Option<u64> = None;
        for frame in frames {
            let Some(time) = frame.timestamp_ms else {
                times.without.push(frame.number);
                continue;
            };
            match last {
                Some(last) if time <= last => times.not_after_the_one_before.push(frame.number),
                Some(last) => times.gaps.push(time - last),
                None => {}
            }
            last = Some(time);
        }
        if !times.without.is_empty() || !times.not_after_the_one_before.is_empty() {
            times.gaps.clear();
        }
        times.gaps.sort_unstable();
        times
    }

    /// The lower median, which is a gap that was measured.
    fn median_gap_ms(&self) -> Option<u64> {
        let last = self.gaps.len().checked_sub(1)?;
        self.gaps.get(last / 2).copied()
    }

    /// Frames in a second by the median gap.
    pub(super) fn frames_per_second(&self) -> Option<f64> {
        // A gap of more than 49 days is as good as one of 49.
        let gap = u32::try_from(self.median_gap_ms()?).unwrap_or(u32::MAX);
        Some(1000.0 / f64::from(gap))
    }

    /// The frames in a second, when they are too few to judge timing.
    pub(super) fn rate_too_low_for_timing(&self) -> Option<f64> {
        let is_too_low = LONGEST_GAP_MS < self.median_gap_ms()?;
        self.frames_per_second().filter(|_| is_too_low)
    }

    /// Whether most gaps are far from the median, so that it says little.
    pub(super) fn are_uneven(&self) -> bool {
        let Some(median) = self.median_gap_ms() else {
            return false;
        };
        let tolerance = u128::from(median) * u128::from(EVEN_TOLERANCE_PERCENT);
        let is_near = |gap: &&u64| u128::from(gap.abs_diff(median)) * 100 <= tolerance;
        let n_near = self.gaps.iter().filter(is_near).count();
        n_near * 100 < self.gaps.len() * EVEN_SHARE_PERCENT
    }
}
