//! Stroke rate and cycle time, from the frames in which the model sees the same event again.
//!
//! The model does no arithmetic: it names frames, and the times are the frames' own. An event lies somewhere
//! within one frame gap, so that gap over the measured span is the error.

use super::SentFrame;
use super::model::{CycleEvent, EventSide, ModelEvent};
use crate::analysis::Metric;
use crate::session::FrameNumber;
use std::collections::{BTreeMap, BTreeSet};

/// A cycle shorter or longer than this is no stroke cycle; an event was missed or misread.
const PLAUSIBLE_MS: std::ops::RangeInclusive<f64> = 500.0..=5000.0;

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
    /// Measures the longest series of events; none without usable times.
    pub(super) fn measure(events: &[ModelEvent], sent: &BTreeMap<i64, SentFrame>) -> Self {
        let all = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let nothing = Self { unused_events: all, ..Self::default() };
        let Some(gap) = frame_gap(sent) else { return nothing };
        let series = series(events, sent);
        // Hand entries are seen best; among others the longest counts.
        let best = series
            .iter()
            .filter(|it| it.is_plausible())
            .max_by_key(|it| (it.event == CycleEvent::HandEntry, it.frames.len()));
        let Some(best) = best else { return nothing };

        let used = u32::try_from(best.frames.len()).unwrap_or(u32::MAX);
        let n_cycles = used.saturating_sub(1);
        let cycle_ms = best.cycle_ms();
        // The whole span is off by one gap at most, each cycle by its share.
        let cycle_error = gap / f64::from(n_cycles);
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

    /// Whether every cycle, and not only their mean, is one.
    fn is_plausible(&self) -> bool {
        let is_cycle = |it: &[(FrameNumber, u64)]| match it {
            [a, b] => PLAUSIBLE_MS.contains(&milliseconds(b.1.saturating_sub(a.1))),
            _ => false,
        };
        2 <= self.frames.len() && self.frames.windows(2).all(is_cycle)
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

/// Every event of a known side in a frame that was sent, by event and side.
fn series(events: &[ModelEvent], sent: &BTreeMap<i64, SentFrame>) -> Vec<Series> {
    let mut found: BTreeMap<(CycleEvent, EventSide), BTreeSet<(FrameNumber, u64)>> = BTreeMap::new();
    for event in events.iter().filter(|it| it.side != EventSide::Unclear && recurs(it.event)) {
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

/// Whether an event comes once in every cycle, so that two of them bound one.
fn recurs(event: CycleEvent) -> bool {
    match event {
        CycleEvent::HandEntry
        | CycleEvent::CatchStart
        | CycleEvent::HandUnderShoulder
        | CycleEvent::HandExit
        | CycleEvent::HeelsHighest
        | CycleEvent::FeetTogether => true,
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

/// The median gap between neighboring frames, so that a few wide frames do not widen that of a dense burst.
/// `None` where a time is missing or time does not increase.
fn frame_gap(sent: &BTreeMap<i64, SentFrame>) -> Option<f64> {
    let times: Vec<u64> = sent.values().map(|it| it.timestamp_ms).collect::<Option<_>>()?;
    let mut gaps: Vec<u64> =
        times.iter().zip(times.iter().skip(1)).map(|(a, b)| b.saturating_sub(*a)).collect();
    gaps.sort_unstable();
    match gaps.first() {
        None | Some(0) => None,
        Some(_) => gaps.get(gaps.len() / 2).map(|it| milliseconds(*it)),
    }
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
