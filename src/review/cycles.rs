//! Stroke rate and cycle time, from the frames in which the model sees the same event again.
//!
//! The model does no arithmetic: it names frames, and the times are the frames' own. An event lies somewhere
//! within one frame gap, so that gap over the measured span is the error.
//!
//! A series counts only where its cycles are alike: where one is much longer than another an event was
//! missed, and the mean of them would be a rate that nobody swam.

use super::SentFrame;
use super::model::{CycleEvent, EventSide, ModelEvent};
use crate::analysis::{Metric, ObservedStroke};
use crate::session::FrameNumber;
use std::collections::{BTreeMap, BTreeSet};

/// A cycle shorter or longer than this is no stroke cycle; an event was missed or misread.
const PLAUSIBLE_MS: std::ops::RangeInclusive<f64> = 500.0..=5000.0;

/// How much longer than the shortest cycle of a series the longest may be, beside what the gaps between frames
/// leave open. A missed event makes it twice as long.
const UNLIKE: f64 = 1.5;

/// What the events tell.
#[derive(Debug, Default)]
pub(super) struct Cycles {
    pub(super) metrics: Vec<Metric>,
    pub(super) frames_per_cycle: Option<f64>,
    /// Events that no figure came from.
    pub(super) unused_events: u32,
}

/// The same event of the same side, in order of time.
struct Series {
    event: CycleEvent,
    side: EventSide,
    frames: Vec<(FrameNumber, u64)>,
}

impl Cycles {
    /// No figure from any event.
    pub(super) fn unused(events: &[ModelEvent]) -> Self {
        Self { unused_events: u32::try_from(events.len()).unwrap_or(u32::MAX), ..Self::default() }
    }

    /// Measures the longest series of events; none without usable times.
    pub(super) fn measure(
        events: &[ModelEvent],
        stroke: ObservedStroke,
        sent: &BTreeMap<i64, SentFrame>,
    ) -> Self {
        let nothing = Self::unused(events);
        let all = nothing.unused_events;
        let Some(times) = increasing_times(sent) else { return nothing };
        let series = series(events, stroke, sent);
        // Hand entries are seen best; among others the longest counts.
        let best = series
            .iter()
            .filter(|it| it.is_plausible(it.gap_ms(&times)))
            .max_by_key(|it| (it.event == CycleEvent::HandEntry, it.frames.len()));
        let Some(best) = best else { return nothing };

        let used = u32::try_from(best.frames.len()).unwrap_or(u32::MAX);
        let n_cycles = used.saturating_sub(1);
        let cycle_ms = best.cycle_ms();
        // The whole span is off by one gap at most, each cycle by its share.
        let cycle_error = best.gap_ms(&times) / f64::from(n_cycles);
        let rate = 60_000.0 / cycle_ms;
        let metric = |name: &str, value: f64, uncertainty: f64, unit: &str| Metric {
            name: name.to_owned(),
            value: tenth(value),
            uncertainty: tenth(uncertainty),
            unit: unit.to_owned(),
            cycles: n_cycles,
            method: best.in_words(),
            frames: best.frames.iter().map(|it| it.0).collect(),
        };
        Self {
            metrics: vec![
                metric("stroke_rate", rate, rate * cycle_error / cycle_ms, "cycles/min"),
                metric("cycle_time", cycle_ms, cycle_error, "ms"),
            ],
            frames_per_cycle: Some(tenth(best.frames_between(sent) / f64::from(n_cycles))),
            unused_events: all.saturating_sub(used),
        }
    }
}

impl Series {
    fn span_ms(&self) -> f64 {
        match (self.frames.first(), self.frames.last()) {
            (Some(first), Some(last)) => milliseconds(last.1.saturating_sub(first.1)),
            _ => 0.0,
        }
    }

    fn cycle_ms(&self) -> f64 {
        let n_cycles = u32::try_from(self.frames.len().saturating_sub(1)).unwrap_or(u32::MAX);
        if n_cycles == 0 { 0.0 } else { self.span_ms() / f64::from(n_cycles) }
    }

    /// The widest gap beside the first or the last frame: events between them do not move the span.
    fn gap_ms(&self, times: &[(FrameNumber, u64)]) -> f64 {
        let ends = [self.frames.first(), self.frames.last()].into_iter().flatten();
        let gaps = ends.flat_map(|end| {
            times.windows(2).filter_map(move |it| match it {
                [a, b] if a.0 == end.0 || b.0 == end.0 => Some(b.1 - a.1),
                _ => None,
            })
        });
        milliseconds(gaps.max().unwrap_or_default())
    }

    /// Whether every cycle, and not only their mean, is one, and they are alike.
    fn is_plausible(&self, gap_ms: f64) -> bool {
        let cycles = self.frames.windows(2).filter_map(|it| match it {
            [a, b] => Some(milliseconds(b.1.saturating_sub(a.1))),
            _ => None,
        });
        let (shortest, longest) =
            cycles.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), it| (low.min(it), high.max(it)));
        2 <= self.frames.len()
            && PLAUSIBLE_MS.contains(&shortest)
            && PLAUSIBLE_MS.contains(&longest)
            && longest <= UNLIKE * shortest + 2.0 * gap_ms
    }

    fn frames_between(&self, sent: &BTreeMap<i64, SentFrame>) -> f64 {
        let (Some(first), Some(last)) = (self.frames.first(), self.frames.last()) else { return 0.0 };
        let between = sent.values().filter(|it| first.0 < it.number && it.number <= last.0).count();
        f64::from(u32::try_from(between).unwrap_or(u32::MAX))
    }

    fn in_words(&self) -> String {
        let frames: Vec<String> = self.frames.iter().map(|it| it.0.to_string()).collect();
        format!("{} {} in frames {}", side_in_words(self.side), event_in_words(self.event), frames.join(", "))
    }
}

/// Every event that bounds a cycle in a frame that was sent, by event and side.
fn series(events: &[ModelEvent], stroke: ObservedStroke, sent: &BTreeMap<i64, SentFrame>) -> Vec<Series> {
    let mut found: BTreeMap<(CycleEvent, EventSide), BTreeSet<(FrameNumber, u64)>> = BTreeMap::new();
    for event in events.iter().filter(|it| bounds_a_cycle(**it, stroke)) {
        if let Some(SentFrame { number, timestamp_ms: Some(at) }) = sent.get(&event.frame) {
            found.entry((event.event, event.side)).or_default().insert((*number, *at));
        }
    }
    let series = found.into_iter().map(|((event, side), frames)| Series {
        event,
        side,
        frames: frames.into_iter().collect(),
    });
    series.collect()
}

/// Whether an event comes once in every cycle of the stroke, so that two of them bound one.
fn bounds_a_cycle(event: ModelEvent, stroke: ObservedStroke) -> bool {
    use ObservedStroke as S;
    match event.event {
        // From left to right is half a cycle where the arms alternate, so there "both" says nothing.
        CycleEvent::HandEntry
        | CycleEvent::CatchStart
        | CycleEvent::HandUnderShoulder
        | CycleEvent::HandExit => match (stroke, event.side) {
            (S::Medley, _) | (_, EventSide::Unclear) => false,
            (_, EventSide::Left | EventSide::Right) => true,
            (_, EventSide::Both) => matches!(stroke, S::Breaststroke | S::Butterfly),
        },
        CycleEvent::HeelsHighest | CycleEvent::FeetTogether => {
            stroke == S::Breaststroke && event.side != EventSide::Unclear
        }
        // Breaths are skipped, kicks come several times in a cycle, walls and blocks once in a length.
        CycleEvent::BreathStart
        | CycleEvent::BreathEnd
        | CycleEvent::KickDownbeat
        | CycleEvent::GlideStart
        | CycleEvent::FeetLeaveWall
        | CycleEvent::HandsTouchWall
        | CycleEvent::FeetLeaveBlock
        | CycleEvent::HeadBreaksSurface => false,
    }
}

/// Every frame with its time; `None` where a time is missing or time does not increase.
fn increasing_times(sent: &BTreeMap<i64, SentFrame>) -> Option<Vec<(FrameNumber, u64)>> {
    let times: Vec<(FrameNumber, u64)> =
        sent.values().map(|it| Some((it.number, it.timestamp_ms?))).collect::<Option<_>>()?;
    times.is_sorted_by(|a, b| a.1 < b.1).then_some(times)
}

#[expect(clippy::cast_precision_loss, reason = "a clip is shorter than 2^53 milliseconds")]
fn milliseconds(ms: u64) -> f64 {
    ms as f64
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn side_in_words(side: EventSide) -> &'static str {
    match side {
        EventSide::Left => "left",
        EventSide::Right => "right",
        EventSide::Both => "both",
        EventSide::Unclear => "either",
    }
}

fn event_in_words(event: CycleEvent) -> &'static str {
    match event {
        CycleEvent::HandEntry => "hand entry",
        CycleEvent::CatchStart => "start of the catch",
        CycleEvent::HandUnderShoulder => "hand under the shoulder",
        CycleEvent::HandExit => "hand exit",
        CycleEvent::BreathStart => "start of the breath",
        CycleEvent::BreathEnd => "end of the breath",
        CycleEvent::KickDownbeat => "downbeat of the kick",
        CycleEvent::HeelsHighest => "heels highest",
        CycleEvent::FeetTogether => "feet together",
        CycleEvent::GlideStart => "start of the glide",
        CycleEvent::FeetLeaveWall => "feet leaving the wall",
        CycleEvent::HandsTouchWall => "hands touching the wall",
        CycleEvent::FeetLeaveBlock => "feet leaving the block",
        CycleEvent::HeadBreaksSurface => "head breaking the surface",
    }
}
