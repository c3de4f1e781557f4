//! What limits a result beside what was dropped from it, each once.

use super::{MIN_FRAMES_PER_CYCLE, Review};
use crate::analysis::{ObservedStroke, SwimmerCount, Visible, Warning};
use crate::session::Stroke;

impl Review<'_> {
    pub(super) fn warn_about_swimmers(&mut self) {
        match self.capture.swimmer_count {
            SwimmerCount::Several => self.warn(
                "several_swimmers",
                "Several swimmers can be seen; check that every finding is about the right one.",
            ),
            SwimmerCount::None if self.capture.swimmer_visible == Visible::Yes => self.warn(
                "swimmer_uncertain",
                "It is uncertain whether a swimmer can be seen; check every finding against its frames.",
            ),
            SwimmerCount::One | SwimmerCount::None => {}
        }
    }

    pub(super) fn warn_about_stroke(&mut self) {
        let declared = match self.context.declared {
            Stroke::Freestyle => ObservedStroke::Freestyle,
            Stroke::Backstroke => ObservedStroke::Backstroke,
            Stroke::Breaststroke => ObservedStroke::Breaststroke,
            Stroke::Butterfly => ObservedStroke::Butterfly,
            Stroke::Mixed => return,
        };
        if self.stroke != ObservedStroke::Unknown && self.stroke != declared {
            self.warn(
                "stroke_differs",
                "The stroke in the frames is not the one that was declared; what is seen counts.",
            );
        }
    }

    pub(super) fn warn_about_times(&mut self) {
        if self.sent.values().any(|it| it.timestamp_ms.is_none()) {
            self.warn(
                "timestamps_missing",
                "Frames came without their time in the clip, so stroke rate and cycle time cannot be computed.",
            );
        }
        let times: Vec<u64> = self.sent.values().filter_map(|it| it.timestamp_ms).collect();
        if !times.is_sorted_by(|a, b| a < b) {
            self.warn(
                "timestamps_not_increasing",
                "Frames are not later than the ones before them by the times given, so stroke rate and cycle time \
                 cannot be computed.",
            );
        }
        if self.cycles.frames_per_cycle.is_some_and(|it| it < MIN_FRAMES_PER_CYCLE) {
            self.warn(
                "too_few_frames_per_cycle",
                "A stroke cycle has fewer than six frames, so nothing is said about timing.",
            );
        }
    }

    pub(super) fn warn(&mut self, code: &str, detail: &str) {
        if self.warnings.iter().all(|it| it.code != code) {
            self.warnings.push(Warning {
                code: code.to_owned(),
                detail: detail.to_owned(),
                frames: Vec::new(),
            });
        }
    }
}
