//! What follows from the measurements of all frames: warnings, and advice for the next time.

use super::times::Times;
use super::{CaptureFrame, CaptureReport, FrameCapture};
use crate::analysis::Warning;
use crate::session::FrameNumber;

/// The least number of frames that can show the parts of one stroke cycle: entry, catch, pull, push,
/// exit and recovery.
const FEW_FRAMES: usize = 6;

/// The least short side in pixels. Below it a swimmer who takes up a third of the picture's width has
/// hands of a few pixels.
const LOW_RESOLUTION: u32 = 400;

/// Sharpness below which a picture is blurred whatever else was filmed. Crisp pictures have hundreds and
/// more; water alone, in focus, stays above this by its ripples.
const BLURRED: f64 = 30.0;

/// Share of the session's median sharpness below which a frame is blurred in comparison: moving the
/// camera or a wrong focus takes away more than the change of scene between frames of one clip.
const BLURRED_SHARE: f64 = 0.35;

/// The least number of frames whose median is worth comparing with.
const MEDIAN_FRAMES: usize = 5;

/// Mean brightness under which a picture is dark. Pools under water lie around 0.3.
const DARK: f64 = 0.15;

/// Share of black pixels above which a picture is dark, however bright the rest: against the light, the
/// swimmer is a silhouette.
const DARK_SHARE: f64 = 0.6;

/// Share of white pixels above which detail is lost where it may matter: glare on water covers less.
const BRIGHT_SHARE: f64 = 0.25;

/// How many frames a sentence names before it counts the rest.
const NAMED_FRAMES: usize = 8;

/// The report on frames that were measured.
pub(super) fn report(frames: &[CaptureFrame], captures: Vec<FrameCapture>) -> CaptureReport {
    let times = Times::of(frames);
    let mut findings = Findings::default();
    findings.number_of_frames(frames.len());
    findings.timing(&times);
    findings.sizes(&captures);
    findings.sharpness(&captures);
    findings.exposure(&captures);
    findings.repetitions(&captures);
    CaptureReport {
        frames: captures,
        frames_per_second: times.frames_per_second(),
        warnings: findings.warnings,
        advice: findings.advice,
    }
}

#[derive(Default)]
struct Findings {
    warnings: Vec<Warning>,
    advice: Vec<String>,
}

impl Findings {
    fn warn(&mut self, code: &str, detail: String, frames: Vec<FrameNumber>) {
        self.warnings.push(Warning { code: code.to_owned(), detail, frames });
    }

    /// Gives a piece of advice, once.
    fn advise(&mut self, sentence: &str) {
        if !self.advice.iter().any(|it| it == sentence) {
            self.advice.push(sentence.to_owned());
        }
    }

    fn number_of_frames(&mut self, n_frames: usize) {
        if FEW_FRAMES <= n_frames {
            return;
        }
        let count = match n_frames {
            0 => "There is no frame, which".to_owned(),
            1 => "There is only 1 frame, which".to_owned(),
            _ => format!("There are only {n_frames} frames, which"),
        };
        let detail = format!("{count} cannot show a whole stroke cycle.");
        self.warn("few_frames", detail, Vec::new());
        self.advise("Send the frames of one or two whole stroke cycles, 8 to 15 for each second.");
    }

    fn timing(&mut self, times: &Times) {
        if !times.without.is_empty() {
            let (who, frames) = subject(&times.without, times.n_frames, "has", "have");
            let detail = format!("{who} no time in the clip, so stroke rate and timing cannot be computed.");
            self.warn("timestamps_missing", detail, frames);
            self.advise("Send each frame's time in the clip along with it.");
        }
        if !times.not_after_the_one_before.is_empty() {
            let frames = times.not_after_the_one_before.clone();
            let (who, _) = subject(&frames, usize::MAX, "is", "are");
            let detail = format!(
                "{who} not later than the frame before by the times given, so stroke rate and timing cannot be computed."
            );
            self.warn("timestamps_not_increasing", detail, frames);
            self.advise("Send the frames in the order in which they were filmed, each with its own time.");
        }
        if times.are_uneven() {
            let detail = "The frames are unevenly spaced in time, so movements between them may be missed.";
            self.warn("uneven_spacing", detail.to_owned(), Vec::new());
            self.advise("Take the frames of a stroke cycle at even intervals.");
        }
        if let Some(rate) = times.rate_too_low_for_timing() {
            let detail = format!(
                "There are about {rate:.1} frames a second, too few to judge how movements fit together in time."
            );
            self.warn("too_few_frames_per_second", detail, Vec::new());
            self.advise("Take 8 to 15 frames a second over one or two stroke cycles, rather than a few from the whole length.");
        }
    }

    fn sizes(&mut self, captures: &[FrameCapture]) {
        let size = |it: &FrameCapture| (it.width, it.height);
        let n_alike = |wanted| captures.iter().filter(|it| size(it) == wanted).count();
        // Of several sizes that are equally common, the first one is the usual one.
        let usual = captures.iter().rev().map(size).max_by_key(|it| n_alike(*it));
        let others = numbers(captures, |it| Some(size(it)) != usual);
        if let (Some((width, height)), false) = (usual, others.is_empty()) {
            let (who, frames) = subject(&others, usize::MAX, "is", "are");
            let detail = format!("{who} not {width}×{height} pixels like the others.");
            self.warn("sizes_differ", detail, frames);
            self.advise("Take all frames from one clip, without cropping or turning the phone.");
        }

        let small = numbers(captures, |it| it.width.min(it.height) < LOW_RESOLUTION);
        if !small.is_empty() {
            let (who, frames) = subject(&small, captures.len(), "is", "are");
            let detail = format!(
                "{who} less than {LOW_RESOLUTION} pixels on the shorter side, so hands and feet can hardly be made out."
            );
            self.warn("low_resolution", detail, frames);
            self.advise("Film in 720p or more, and send frames of about 1280×720 pixels.");
        }
    }

    fn sharpness(&mut self, captures: &[FrameCapture]) {
        let median = median_sharpness(captures);
        let is_blurred = |it: &FrameCapture| {
            let sharpness = it.sharpness;
            sharpness < BLURRED || median.is_some_and(|median| sharpness < median * BLURRED_SHARE)
        };
        let blurred = numbers(captures, is_blurred);
        if !blurred.is_empty() {
            let (who, frames) = subject(&blurred, captures.len(), "is", "are");
            self.warn("blurred", format!("{who} blurred."), frames);
            self.advise("Hold the camera still or rest it on something, lock the focus on the swimmer, and wipe the lens.");
        }
    }

    fn exposure(&mut self, captures: &[FrameCapture]) {
        let is_dark = |it: &FrameCapture| it.brightness < DARK || DARK_SHARE < it.dark_share;
        let dark = numbers(captures, is_dark);
        if !dark.is_empty() {
            let (who, frames) = subject(&dark, captures.len(), "is", "are");
            self.warn("dark", format!("{who} too dark to see detail."), frames);
            self.advise("Film with the light behind the camera, and in more light.");
        }
        let bright = numbers(captures, |it| BRIGHT_SHARE < it.bright_share);
        if !bright.is_empty() {
            let (who, frames) = subject(&bright, captures.len(), "is", "are");
            let detail = format!("{who} overexposed: large parts are plain white.");
            self.warn("overexposed", detail, frames);
            self.advise("Keep the sun and its reflections out of the picture, and lower the exposure.");
        }
    }

    fn repetitions(&mut self, captures: &[FrameCapture]) {
        let repeated = numbers(captures, |it| it.repeats.is_some());
        if !repeated.is_empty() {
            let (who, frames) =
                subject(&repeated, usize::MAX, "only repeats an earlier frame", "only repeat earlier frames");
            self.warn("near_duplicates", format!("{who}."), frames);
            self.advise(
                "Take each frame at a moment of its own; let the clip run on while the swimmer moves.",
            );
        }
    }
}

fn numbers(captures: &[FrameCapture], is_meant: impl Fn(&FrameCapture) -> bool) -> Vec<FrameNumber> {
    let meant = captures.iter().filter(|it| is_meant(it));
    meant.map(|it| it.number).collect()
}

fn median_sharpness(captures: &[FrameCapture]) -> Option<f64> {
    if captures.len() < MEDIAN_FRAMES {
        return None;
    }
    let mut values: Vec<f64> = captures.iter().map(|it| it.sharpness).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The beginning of a sentence about some frames, and the list for its warning, which is empty when it is
/// about all `n_all` of them: "All frames are", "Frame 3 is", "Frames 1, 3 and 7 are".
fn subject(frames: &[FrameNumber], n_all: usize, singular: &str, plural: &str) -> (String, Vec<FrameNumber>) {
    if frames.len() == n_all && 1 < n_all {
        return (format!("All frames {plural}"), Vec::new());
    }
    let named: Vec<String> = frames.iter().map(ToString::to_string).collect();
    let sentence = match named.as_slice() {
        [one] => format!("Frame {one} {singular}"),
        [first @ .., last] if named.len() <= NAMED_FRAMES => {
            format!("Frames {} and {last} {plural}", first.join(", "))
        }
        _ => {
            let first = named.get(..NAMED_FRAMES).unwrap_or_default();
            let n_more = named.len() - first.len();
            format!("Frames {} and {n_more} more {plural}", first.join(", "))
        }
    };
    (sentence, frames.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn number(n: usize) -> FrameNumber {
        FrameNumber::new(u32::try_from(n).unwrap()).unwrap()
    }

    fn at(times: &[Option<u64>]) -> CaptureReport {
        let frame = |(index, timestamp_ms): (usize, &Option<u64>)| CaptureFrame {
            number: number(index + 1),
            timestamp_ms: *timestamp_ms,
            jpeg: Bytes::new(),
        };
        let frames: Vec<_> = times.iter().enumerate().map(frame).collect();
        report(&frames, Vec::new())
    }

    fn codes(report: &CaptureReport) -> Vec<&str> {
        report.warnings.iter().map(|it| it.code.as_str()).collect()
    }

    #[test]
    fn even_times_give_a_rate_and_no_warning() {
        for (gap, rate) in [(100, 10.0), (167, 6.0)] {
            let report = at(&(0..10).map(|it| Some(it * gap)).collect::<Vec<_>>());

            assert!((report.frames_per_second.unwrap() - rate).abs() < 0.02);
            assert_eq!(codes(&report), Vec::<&str>::new(), "{gap}");
        }
    }

    #[test]
    fn bursts_with_wide_frames_between_them_are_even_enough() {
        let times = [0, 2000, 4000, 4100, 4200, 4300, 4400, 4500, 4600, 6600];
        let report = at(&times.map(Some));

        assert_eq!(report.frames_per_second, Some(10.0));
        assert_eq!(codes(&report), Vec::<&str>::new());
    }

    #[test]
    fn two_frames_a_second_are_too_few_for_timing() {
        let report = at(&(0..10).map(|it| Some(it * 500)).collect::<Vec<_>>());

        assert_eq!(codes(&report), ["too_few_frames_per_second"]);
        assert!(report.warnings[0].detail.contains("2.0 frames a second"));
        assert_eq!(report.advice.len(), 1);
    }

    #[test]
    fn times_all_over_the_place_are_uneven() {
        let report = at(&[0, 10, 100, 130, 260, 270, 310, 700].map(Some));

        assert_eq!(codes(&report), ["uneven_spacing"]);
    }

    #[test]
    fn missing_equal_and_backward_times_are_named_and_give_no_rate() {
        let all = at(&[None; 6]);
        assert_eq!(codes(&all), ["timestamps_missing"]);
        assert_eq!(all.warnings[0].frames, []);
        assert!(all.warnings[0].detail.starts_with("All frames have no"));

        let some = at(&[Some(0), None, Some(200), Some(200), Some(300), Some(250)]);
        assert_eq!(codes(&some), ["timestamps_missing", "timestamps_not_increasing"]);
        assert_eq!(some.warnings[0].frames, [number(2)]);
        assert_eq!(some.warnings[1].frames, [number(4), number(6)]);
        assert_eq!(some.frames_per_second, None);
    }

    #[test]
    fn a_time_at_the_end_of_the_range_is_a_number_like_others() {
        let report = at(&[Some(0), Some(u64::MAX)]);

        assert_eq!(codes(&report), ["few_frames", "too_few_frames_per_second"]);
    }

    #[test]
    fn a_sentence_names_frames_as_people_do() {
        let first = |n| (1..=n).map(number).collect::<Vec<_>>();

        assert_eq!(subject(&first(1), 1, "is", "are").0, "Frame 1 is");
        assert_eq!(subject(&first(2), 3, "is", "are").0, "Frames 1 and 2 are");
        assert_eq!(subject(&first(3), 3, "is", "are").0, "All frames are");
        assert_eq!(subject(&first(20), 30, "is", "are").0, "Frames 1, 2, 3, 4, 5, 6, 7, 8 and 12 more are");
    }
}
