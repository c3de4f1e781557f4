//! Frames at the size at which they are sent.

use super::*;
use swimcoach::jpeg::scaled;

/// How far two pictures differ in a channel on average, from 0 to 255.
fn difference(one: &RgbImage, other: &RgbImage) -> f64 {
    let sum: u64 = one.iter().zip(other.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    f64::from(u32::try_from(sum).unwrap()) / f64::from(u32::try_from(one.len()).unwrap())
}

#[test]
fn a_scaled_frame_has_the_size_and_shows_the_same() {
    for file in [pictures::jpeg(640, 360, 1), pictures::progressive(640, 360, 1), pictures::grey(640, 360, 1)]
    {
        let frame = stored(file);

        let small = scaled(&frame.bytes, 320, 180).unwrap();

        let expected =
            image::imageops::resize(&pixels(&frame.bytes), 320, 180, image::imageops::FilterType::Triangle);
        let shown = pixels(&small);
        assert_eq!(shown.dimensions(), (320, 180));
        assert!(difference(&shown, &expected) < 8.0, "{}", difference(&shown, &expected));
        assert!(small.len() < frame.bytes.len());
    }
}

#[test]
fn the_same_frame_is_scaled_to_the_same_bytes_so_that_the_cache_holds() {
    let frame = stored(pictures::jpeg(640, 360, 2));

    assert_eq!(scaled(&frame.bytes, 500, 281).unwrap(), scaled(&frame.bytes, 500, 281).unwrap());
}

#[test]
fn a_frame_that_was_turned_at_the_door_is_upright_when_it_is_scaled() {
    let turned = stored(pictures::with_exif_orientation(&pictures::corners(480, 320), 6));
    assert_eq!((turned.width, turned.height), (320, 480));

    let small = scaled(&turned.bytes, 240, 360).unwrap();

    let expected =
        image::imageops::resize(&pixels(&turned.bytes), 240, 360, image::imageops::FilterType::Triangle);
    assert!(difference(&pixels(&small), &expected) < 8.0);
}

#[test]
fn a_scaled_frame_passes_the_door_as_it_is() {
    let frame = stored(pictures::jpeg(641, 359, 3));

    let small = scaled(&frame.bytes, 401, 225).unwrap();

    let again = stored(small.to_vec());
    assert_eq!((again.width, again.height, &again.bytes), (401, 225, &small));
}

#[test]
fn a_frame_that_is_damaged_inside_is_an_error_and_no_grey_picture() {
    let damaged = pictures::damaged_inside(640, 480);

    assert!(matches!(scaled(&damaged.into(), 320, 240), Err(JpegError::Damaged(_))));
}
