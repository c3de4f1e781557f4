//! No input makes the door or the check panic, and whatever the door lets in keeps its promise.

use crate::support::pictures;
use crate::support::random::cases;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use swimcoach::capture::{CaptureFrame, check};
use swimcoach::jpeg::{Admitted, Jpeg, JpegLimits, admit};
use swimcoach::session::FrameNumber;

/// Small pictures come in too, so that mutated ones are decoded quickly.
fn limits() -> JpegLimits {
    JpegLimits { max_pixels: 100_000, min_short_side: 1, ..JpegLimits::default() }
}

fn pass(bytes: Vec<u8>) -> Option<Jpeg> {
    match admit(Bytes::from(bytes), &limits()).ok()? {
        Admitted::Ready(jpeg) => Some(jpeg),
        Admitted::Turned(turned) => turned.upright().ok(),
    }
}

/// Whatever came in comes in again as it is, and checking it ends in a report or an error.
fn keeps_its_promise(jpeg: &Jpeg) {
    let again = admit(jpeg.bytes.clone(), &limits()).unwrap();
    let Admitted::Ready(again) = again else {
        panic!("a frame was not upright");
    };
    assert_eq!(again.bytes.as_ptr(), jpeg.bytes.as_ptr());
    assert_eq!((again.width, again.height), (jpeg.width, jpeg.height));
    let _ = check(&[CaptureFrame {
        number: FrameNumber::new(1).unwrap(),
        timestamp_ms: None,
        jpeg: jpeg.bytes.clone(),
    }]);
}

fn seeds() -> Vec<Vec<u8>> {
    let files = [
        pictures::jpeg(64, 48, 1),
        pictures::progressive(64, 48, 1),
        pictures::grey(64, 48, 1),
        pictures::with_restarts(64, 48, 1),
    ];
    let with_metadata = files
        .iter()
        .flat_map(|it| [pictures::with_gps_everywhere(it, 1), pictures::with_gps_everywhere(it, 5)]);
    files.iter().cloned().chain(with_metadata).collect()
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let signed = [&[0xff, 0xd8, 0xff][..], &bytes].concat();

        prop_assert!(pass(bytes).is_none());
        prop_assert!(pass(signed).is_none());
    }

    #[test]
    fn arbitrary_segments_never_panic(
        segments in prop::collection::vec(
            (0xc0_u8.., prop::collection::vec(any::<u8>(), 0..40)), 0..12
        ),
    ) {
        let file = pictures::insert_segments(&pictures::jpeg(32, 32, 1), &segments);

        if let Some(jpeg) = pass(file) {
            keeps_its_promise(&jpeg);
        }
    }
}

#[test]
fn mutated_pictures_never_panic() {
    let seeds = seeds();
    let edits = prop::collection::vec((any::<Index>(), any::<u8>()), 0..6);
    let strategy = (any::<Index>(), edits, any::<Index>(), any::<bool>());
    let mut runner = prop::test_runner::TestRunner::new(cases(3000));

    runner
        .run(&strategy, |(seed, edits, length, is_cut)| {
            let mut file = seed.get(&seeds).clone();
            for (at, byte) in edits {
                let at = at.index(file.len());
                file[at] = byte;
            }
            if is_cut {
                file.truncate(length.index(file.len()));
            }
            if let Some(jpeg) = pass(file) {
                keeps_its_promise(&jpeg);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn mutated_headers_never_panic() {
    let seeds = seeds();
    let strategy = (any::<Index>(), any::<Index>(), any::<u8>());
    let mut runner = prop::test_runner::TestRunner::new(cases(3000));

    runner
        .run(&strategy, |(seed, at, byte)| {
            let mut file = seed.get(&seeds).clone();
            // Mutations of entropy-coded data only change pixels, so this one keeps to what comes before.
            let headers = pictures::position(&file, 0xda) + 12;
            file[at.index(headers)] = byte;
            if let Some(jpeg) = pass(file) {
                keeps_its_promise(&jpeg);
            }
            Ok(())
        })
        .unwrap();
}
