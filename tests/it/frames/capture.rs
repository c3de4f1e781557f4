//! The capture check on whole sets of frames.

use super::pictures;
use bytes::Bytes;
use swimcoach::capture::{CaptureFrame, CaptureReport, check};
use swimcoach::session::FrameNumber;

/// Frames at 10 a second, numbered from 1.
fn frames(files: Vec<Vec<u8>>) -> Vec<CaptureFrame> {
    let frame = |(number, file): (u32, Vec<u8>)| CaptureFrame {
        number: FrameNumber::new(number).unwrap(),
        timestamp_ms: Some(u64::from(number) * 100),
        jpeg: Bytes::from(file),
    };
    (1..).zip(files).map(frame).collect()
}

fn good(n_frames: u32) -> Vec<Vec<u8>> {
    (1..=n_frames).map(|it| pictures::jpeg(640, 480, it)).collect()
}

/// The report's warnings as code and frame numbers.
fn warnings(report: &CaptureReport) -> Vec<(&str, Vec<u16>)> {
    let numbers = |it: &[FrameNumber]| it.iter().map(|it| it.get()).collect();
    let warnings = report.warnings.iter();
    warnings.map(|it| (it.code.as_str(), numbers(&it.frames))).collect()
}

#[test]
fn good_frames_give_figures_and_nothing_to_complain_of() {
    let report = check(&frames(good(8))).unwrap();

    assert_eq!(warnings(&report), []);
    assert_eq!(report.advice, Vec::<String>::new());
    assert_eq!(report.frames_per_second, Some(10.0));
    assert_eq!(report.frames.len(), 8);
    for (number, frame) in (1..).zip(&report.frames) {
        assert_eq!(frame.number.get(), number);
        assert_eq!((frame.width, frame.height), (640, 480));
        assert!(100.0 < frame.sharpness, "{frame:?}");
        assert!((0.2..0.8).contains(&frame.brightness), "{frame:?}");
    }
}

#[test]
fn each_bad_frame_is_named_for_what_is_wrong_with_it() {
    let mut files = good(12);
    files[1] = pictures::blurred(640, 480);
    files[3] = pictures::dark(640, 480, 4);
    files[5] = pictures::overexposed(640, 480, 6);
    files[7] = files[6].clone();
    files[8] = files[6].clone();
    files[10] = pictures::jpeg(480, 320, 11);

    let report = check(&frames(files)).unwrap();

    assert_eq!(
        warnings(&report),
        [
            ("sizes_differ", vec![11]),
            ("low_resolution", vec![11]),
            ("blurred", vec![2, 4]),
            ("dark", vec![4]),
            ("overexposed", vec![6]),
            ("near_duplicates", vec![8, 9]),
        ]
    );
    let repeated: Vec<_> = report.frames.iter().filter_map(|it| it.repeats).collect();
    assert_eq!(repeated, [FrameNumber::new(7).unwrap(); 2]);
    let details: Vec<_> = report.warnings.iter().map(|it| it.detail.as_str()).collect();
    assert_eq!(details[2], "Frames 2 and 4 are blurred.");
    assert_eq!(details[5], "Frames 8 and 9 only repeat earlier frames.");
    assert_eq!(report.advice.len(), 6);
}

#[test]
fn what_is_wrong_with_all_frames_is_said_of_all() {
    let files = (1..=6).map(|it| pictures::dark(640, 480, it)).collect();

    let report = check(&frames(files)).unwrap();

    let dark = report.warnings.iter().find(|it| it.code == "dark").unwrap();
    assert_eq!(dark.frames, []);
    assert_eq!(dark.detail, "All frames are too dark to see detail.");
}

#[test]
fn a_frame_that_lost_its_focus_stands_out_among_sharp_ones() {
    let mut files = good(6);
    let whole = image::load_from_memory(&files[2]).unwrap();
    let soft = whole.fast_blur(2.0).to_rgb8();
    files[2].clear();
    jpeg_encoder::Encoder::new(&mut files[2], 90)
        .encode(soft.as_raw(), 640, 480, jpeg_encoder::ColorType::Rgb)
        .unwrap();

    let report = check(&frames(files)).unwrap();

    assert_eq!(warnings(&report), [("blurred", vec![3])]);
}

#[test]
fn a_standing_clip_encoded_anew_for_each_frame_is_still_one_picture() {
    let again = image::load_from_memory(&pictures::jpeg(640, 480, 1)).unwrap();
    let mut files = good(1);
    for quality in [95, 85, 75, 65, 60] {
        let mut file = Vec::new();
        jpeg_encoder::Encoder::new(&mut file, quality)
            .encode(again.as_bytes(), 640, 480, jpeg_encoder::ColorType::Rgb)
            .unwrap();
        files.push(file);
    }

    let report = check(&frames(files)).unwrap();

    assert_eq!(warnings(&report), [("near_duplicates", vec![2, 3, 4, 5, 6])]);
}

#[test]
fn a_frame_that_is_damaged_inside_is_found_before_a_model_is_paid() {
    for damaged in [
        pictures::damaged_inside(640, 480),
        pictures::truncated(640, 480),
        pictures::with_header_size(30_000, 30_000),
        pictures::png(),
        Vec::new(),
    ] {
        let mut files = good(6);
        files[3] = damaged;

        let error = check(&frames(files)).unwrap_err();

        assert_eq!(error.number.get(), 4);
        assert!(error.to_string().starts_with("frame 4 is damaged"));
        assert!(!error.reason.is_empty());
    }
}

#[test]
fn every_kind_of_frame_that_the_door_lets_in_is_measured_alike() {
    let files = vec![
        pictures::jpeg(640, 480, 1),
        pictures::progressive(640, 480, 1),
        pictures::grey(640, 480, 1),
        pictures::with_restarts(640, 480, 1),
    ];

    let report = check(&frames(files)).unwrap();

    let first = report.frames[0];
    for frame in &report.frames[1..] {
        assert_eq!(frame.repeats, Some(first.number), "{frame:?}");
        assert!((frame.brightness - first.brightness).abs() < 0.01);
    }
}

#[test]
fn the_same_frames_give_the_same_report() {
    let files = frames(good(4));

    assert_eq!(check(&files), check(&files));
}

#[test]
fn no_frames_are_too_few() {
    let report = check(&[]).unwrap();

    assert_eq!(warnings(&report), [("few_frames", vec![])]);
}
