//! What is taken off a frame, and what is not.

use super::{admit_default, pictures, pixels, stored};
use crate::support::pictures::SECRETS;
use swimcoach::jpeg::Admitted;

fn holds(file: &[u8], text: &str) -> bool {
    file.windows(text.len()).any(|it| it == text.as_bytes())
}

#[test]
fn nothing_private_passes_the_door_and_no_pixel_changes() {
    for clean in [
        pictures::jpeg(640, 480, 1),
        pictures::progressive(640, 480, 1),
        pictures::grey(640, 480, 1),
        pictures::with_restarts(640, 480, 1),
    ] {
        let file = pictures::with_gps_everywhere(&clean, 1);
        assert!(SECRETS.iter().all(|it| holds(&file, it)));

        let jpeg = stored(file.clone());

        for secret in SECRETS {
            assert!(!holds(&jpeg.bytes, secret), "{secret} was kept");
        }
        assert!(pixels(&jpeg.bytes) == pixels(&file));
        assert!(pixels(&jpeg.bytes) == pixels(&clean));
        assert!(jpeg.bytes.ends_with(&[0xff, 0xd9]));
        assert_eq!(stored(jpeg.bytes.to_vec()), jpeg, "a second time changes nothing");
    }
}

#[test]
fn nothing_private_passes_in_a_turned_frame() {
    let jpeg = stored(pictures::with_gps_everywhere(&pictures::jpeg(640, 480, 1), 8));

    for secret in SECRETS {
        assert!(!holds(&jpeg.bytes, secret), "{secret} was kept");
    }
    assert!(!holds(&jpeg.bytes, "Exif"));
}

#[test]
fn the_color_profile_stays_upright_or_turned() {
    for orientation in [1, 6] {
        let clean = pictures::jpeg(640, 480, 1);
        let jpeg = stored(pictures::with_gps_everywhere(&clean, orientation));

        assert!(holds(&jpeg.bytes, "ICC_PROFILE\0\x01\x01kept-profile"));
    }
}

#[test]
fn the_jfif_header_stays_without_its_thumbnail() {
    let jpeg = stored(pictures::with_gps_everywhere(&pictures::jpeg(640, 480, 1), 1));

    let header = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x02\0\0\x01\0\x01\0\0\xff";
    assert!(jpeg.bytes.starts_with(header));
}

#[test]
fn adobes_color_transform_stays_and_anything_longer_does_not() {
    let clean = pictures::jpeg(640, 480, 1);
    let transform = b"Adobe\0\x64\0\0\0\0\x01".to_vec();
    let file = pictures::insert_segments(&clean, &[(0xee, transform.clone())]);
    assert_eq!(stored(file.clone()).bytes, file);

    let longer = [transform, b" and a note".to_vec()].concat();
    let file = pictures::insert_segments(&clean, &[(0xee, longer)]);
    assert_eq!(stored(file).bytes, clean);
}

#[test]
fn comments_between_scans_do_not_stay() {
    let clean = pictures::progressive(640, 480, 1);
    let is_scan = |it: &[u8]| it == [0xff, 0xda];
    let last_scan = clean.windows(2).rposition(is_scan).unwrap();
    let mut file = clean.clone();
    file.splice(last_scan..last_scan, *b"\xff\xfe\0\x0ca secret\0\0");

    assert_eq!(stored(file).bytes, clean);
}

#[test]
fn the_first_exif_segment_decides_how_a_frame_is_turned() {
    let upright_first =
        pictures::with_exif_orientation(&pictures::with_exif_orientation(&pictures::jpeg(640, 480, 1), 6), 1);

    assert!(matches!(admit_default(upright_first).unwrap(), Admitted::Ready(_)));
}

#[test]
fn exif_that_makes_no_sense_means_upright() {
    let clean = pictures::jpeg(640, 480, 1);
    for payload in [&b"Exif\0"[..], b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0XX"] {
        let file = pictures::insert_segments(&clean, &[(0xe1, payload.to_vec())]);

        assert_eq!(stored(file).bytes, clean);
    }
    let nonsense = pictures::with_exif_orientation(&clean, 9);
    assert_eq!(stored(nonsense).bytes, clean);
}
