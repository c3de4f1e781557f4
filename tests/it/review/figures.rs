//! Stroke rate and cycle time, from the frames' own times.

use super::*;
use swimcoach::analysis::Metric;

/// Entries of the right hand in these frames.
pub(super) fn entries(frames: impl IntoIterator<Item = i64>) -> Vec<ModelEvent> {
    events(CycleEvent::HandEntry, EventSide::Right, frames)
}

fn events(event: CycleEvent, side: EventSide, frames: impl IntoIterator<Item = i64>) -> Vec<ModelEvent> {
    frames.into_iter().map(|frame| ModelEvent { event, side, frame }).collect()
}

fn measured(cycles: Vec<ModelEvent>, frames: &[SentFrame]) -> PublishedAnalysis {
    published_of(&ModelAnalysis { cycles, ..silent() }, frames)
}

fn measured_in(stroke: ObservedStroke, cycles: Vec<ModelEvent>) -> PublishedAnalysis {
    let mut answer = ModelAnalysis { cycles, ..silent() };
    answer.stroke.observed = stroke;
    published(&answer)
}

fn metric<'a>(published: &'a PublishedAnalysis, name: &str) -> &'a Metric {
    published.metrics.iter().find(|it| it.name == name).unwrap()
}

/// The cycle time and its error in milliseconds.
fn cycle_time(published: &PublishedAnalysis) -> (f64, f64) {
    let time = metric(published, "cycle_time");
    (time.value, time.uncertainty)
}

#[test]
fn rate_and_cycle_time_come_from_the_times_of_the_frames_with_an_error_of_one_frame_gap() {
    let published = measured(entries([2, 13]), &fifteen_frames());

    let time = metric(&published, "cycle_time");
    assert_eq!((time.value, time.uncertainty, time.unit.as_str(), time.cycles), (1100.0, 100.0, "ms", 1));
    assert_eq!(time.frames, [number(2), number(13)]);
    let rate = metric(&published, "stroke_rate");
    assert_eq!((rate.value, rate.uncertainty, rate.unit.as_str()), (54.5, 5.0, "cycles/min"));
    assert_eq!(rate.method, "right hand entry in frames 2, 13");
    assert_eq!(published.capture.frames_per_cycle, Some(11.0));
    assert_eq!(published.dropped.unused_event, 0);
}

#[test]
fn more_cycles_share_the_error() {
    let frames = frames_at((0..31).map(|it| Some(it * 100)));

    let published = measured(entries([1, 11, 21, 31]), &frames);

    let time = metric(&published, "cycle_time");
    assert_eq!((time.value, time.uncertainty, time.cycles), (1000.0, 33.3, 3));
}

#[test]
fn without_times_there_is_no_figure_and_a_warning_says_so() {
    let published = measured(entries([2, 13]), &frames_at([None; 15]));

    assert!(published.metrics.is_empty());
    assert_eq!(published.capture.frames_per_cycle, None);
    assert!(warned_of(&published, "timestamps_missing"));
    assert_eq!(published.dropped.unused_event, 2);
}

#[test]
fn one_missing_time_is_enough_to_say_nothing() {
    let mut frames = fifteen_frames();
    frames[6].timestamp_ms = None;

    assert!(measured(entries([2, 13]), &frames).metrics.is_empty());
}

#[test]
fn times_that_repeat_or_run_backward_give_no_figure_and_a_warning_says_so() {
    for time in [500, 400, 0] {
        let mut frames = fifteen_frames();
        frames[6].timestamp_ms = Some(time);

        let published = measured(entries([2, 13]), &frames);

        assert!(published.metrics.is_empty());
        assert!(warned_of(&published, "timestamps_not_increasing"));
    }
}

#[test]
fn of_uneven_gaps_those_beside_the_first_and_the_last_event_make_the_error() {
    // Two dense bursts with a second between them: what lies between does not move the ends.
    let burst = |from: u64| (0..8).map(move |it| Some(from + it * 50));
    let between = measured(entries([2, 10]), &frames_at(burst(0).chain(burst(1350))));
    let beside = measured(entries([2, 9]), &frames_at(burst(0).chain(burst(1350))));

    assert_eq!(cycle_time(&between), (1350.0, 50.0));
    assert_eq!(cycle_time(&beside), (1300.0, 1000.0));
}

#[test]
fn one_event_is_no_cycle() {
    let published = measured(entries([2]), &fifteen_frames());

    assert!(published.metrics.is_empty());
    assert_eq!(published.dropped.unused_event, 1);
}

#[test]
fn the_same_event_twice_in_one_frame_is_one() {
    let published = measured(entries([2, 2, 13, 13]), &fifteen_frames());

    assert_eq!(metric(&published, "stroke_rate").cycles, 1);
    assert_eq!(published.dropped.unused_event, 2);
}

#[test]
fn a_cycle_that_no_swimmer_swims_gives_no_figure() {
    let too_fast = measured(entries([2, 6]), &fifteen_frames());
    let too_slow = measured(entries([1, 15]), &frames_at((0..15).map(|it| Some(it * 400))));

    assert!(too_fast.metrics.is_empty() && too_slow.metrics.is_empty());
}

#[test]
fn an_event_that_was_missed_gives_no_figure_rather_than_a_wrong_one() {
    let frames = frames_at((0..37).map(|it| Some(it * 100)));

    let missed = measured(entries([1, 13, 37]), &frames);
    let uneven_by_a_frame = measured(entries([1, 13, 26]), &frames);

    assert!(missed.metrics.is_empty());
    assert_eq!(cycle_time(&uneven_by_a_frame), (1250.0, 50.0));
}

#[test]
fn hands_that_alternate_are_not_counted_as_one() {
    let both = || events(CycleEvent::HandEntry, EventSide::Both, [1, 7, 13]);

    assert!(measured_in(ObservedStroke::Freestyle, both()).metrics.is_empty());
    assert!(measured_in(ObservedStroke::Backstroke, both()).metrics.is_empty());
    assert_eq!(measured_in(ObservedStroke::Butterfly, both()).metrics.len(), 2);
    assert_eq!(measured_in(ObservedStroke::Breaststroke, both()).metrics.len(), 2);
}

#[test]
fn left_and_right_are_never_mixed_into_one_series() {
    let mut alternating = entries([1, 13]);
    alternating.extend(events(CycleEvent::HandEntry, EventSide::Left, [7]));

    let published = measured(alternating, &fifteen_frames());

    assert_eq!(cycle_time(&published), (1200.0, 100.0));
    assert_eq!(published.dropped.unused_event, 1);
}

#[test]
fn events_that_do_not_come_once_a_cycle_give_no_figure() {
    for event in [CycleEvent::BreathStart, CycleEvent::KickDownbeat, CycleEvent::HandsTouchWall] {
        assert!(measured(events(event, EventSide::Right, [1, 13]), &fifteen_frames()).metrics.is_empty());
    }
    let feet = || events(CycleEvent::HeelsHighest, EventSide::Both, [1, 13]);
    assert!(measured_in(ObservedStroke::Freestyle, feet()).metrics.is_empty());
    assert_eq!(measured_in(ObservedStroke::Breaststroke, feet()).metrics.len(), 2);
}

#[test]
fn a_rate_over_several_strokes_means_nothing() {
    assert!(measured_in(ObservedStroke::Medley, entries([1, 13])).metrics.is_empty());
}

#[test]
fn an_event_of_an_unclear_side_or_in_a_frame_that_was_never_sent_gives_no_figure() {
    let unclear = events(CycleEvent::HandEntry, EventSide::Unclear, [1, 13]);

    assert!(measured(unclear, &fifteen_frames()).metrics.is_empty());
    assert!(measured(entries([1, 16, -3]), &fifteen_frames()).metrics.is_empty());
}
