//! What comes in, what does not, and what whoever sent it is told.

use super::{admit_default, pictures, pixels, stored};
use bytes::Bytes;
use swimcoach::jpeg::{Admitted, JpegLimits, admit};

fn refusal(file: Vec<u8>) -> (&'static str, String) {
    let error = admit_default(file).unwrap_err();
    (error.code(), error.to_string())
}

/// The file with the code of its first marker `from` changed.
fn with_marker(mut file: Vec<u8>, from: u8, to: u8) -> Vec<u8> {
    let at = pictures::position(&file, from);
    file[at + 1] = to;
    file
}

/// The file with every segment of a kind made a comment.
fn without(file: &[u8], marker: u8) -> Vec<u8> {
    let mut file = file.to_vec();
    while let Some(at) = file.windows(2).position(|it| it == [0xff, marker]) {
        file[at + 1] = 0xfe;
    }
    file
}

#[test]
fn a_clean_frame_comes_in_as_the_very_bytes_that_arrived() {
    for file in [
        pictures::jpeg(640, 480, 1),
        pictures::progressive(640, 480, 1),
        pictures::grey(640, 480, 1),
        pictures::with_restarts(640, 480, 1),
    ] {
        let bytes = Bytes::from(file);
        let Admitted::Ready(jpeg) = admit(bytes.clone(), &JpegLimits::default()).unwrap() else {
            panic!("an upright frame was to be turned");
        };

        assert_eq!((jpeg.width, jpeg.height), (640, 480));
        assert_eq!(jpeg.bytes, bytes);
        assert_eq!(jpeg.bytes.as_ptr(), bytes.as_ptr());
    }
}

#[test]
fn a_file_that_is_no_jpeg_is_named_for_what_it_looks_like() {
    for (file, looks_like) in [
        (pictures::png(), "it looks like a PNG picture"),
        (b"not a picture".to_vec(), "it looks like a text file"),
        (Vec::new(), "it looks like an empty file"),
        (b"\0\0\0\x18ftypheic\0\0\0\0".to_vec(), "it looks like a HEIC picture"),
    ] {
        let (code, text) = refusal(file);

        assert_eq!(code, "frame_not_jpeg");
        assert!(text.contains(looks_like), "{text}");
        assert!(text.ends_with("save the picture as JPEG and send that"), "{text}");
    }
}

#[test]
fn a_frame_cut_anywhere_is_truncated() {
    let whole = pictures::jpeg(320, 240, 1);
    for length in (1..whole.len()).step_by(97).chain([2, 3, whole.len() - 2, whole.len() - 1]) {
        let (code, _) = refusal(whole[..length].to_vec());

        assert_eq!(code, "frame_truncated", "cut to {length} bytes");
    }
    assert_eq!(refusal(pictures::truncated(320, 240)).0, "frame_truncated");
}

#[test]
fn a_picture_without_all_its_scans_is_truncated() {
    let mut file = pictures::progressive(320, 240, 1);
    let scan = pictures::position(&file, 0xda);
    file.truncate(scan);
    file.extend([0xff, 0xd9]);

    assert_eq!(refusal(file).0, "frame_truncated");
}

#[test]
fn a_picture_that_is_too_large_is_refused_by_its_header() {
    let (code, text) = refusal(pictures::with_header_size(30_000, 30_000));
    assert_eq!(code, "frame_too_large");
    assert!(text.starts_with("the picture is 30000×30000 pixels"), "{text}");

    // 6500×6500 is within the sides but beyond the pixels.
    assert_eq!(refusal(pictures::with_header_size(6500, 6500)).0, "frame_too_large");
    assert_eq!(refusal(pictures::with_header_size(8001, 300)).0, "frame_too_large");
}

#[test]
fn a_picture_that_is_too_small_is_refused() {
    let (code, text) = refusal(pictures::jpeg(1, 1, 1));
    assert_eq!(code, "frame_too_small");
    assert!(text.contains("at least 200"), "{text}");

    assert_eq!(refusal(pictures::jpeg(640, 199, 1)).0, "frame_too_small");
    assert_eq!(stored(pictures::jpeg(640, 200, 1)).height, 200);
}

#[test]
fn kinds_of_jpeg_that_are_not_decoded_are_refused_by_name() {
    let baseline = pictures::jpeg(320, 240, 1);
    let frame_header = pictures::position(&baseline, 0xc0);
    let mut twelve_bits = baseline.clone();
    twelve_bits[frame_header + 4] = 12;
    let mut four_colors = baseline.clone();
    four_colors[frame_header + 9] = 4;
    let rgb = b"Adobe\0\x64\0\0\0\0\0".to_vec();
    for (file, reason) in [
        (with_marker(baseline.clone(), 0xc0, 0xc9), "arithmetic"),
        (with_marker(baseline.clone(), 0xc0, 0xc3), "lossless"),
        (with_marker(baseline.clone(), 0xc0, 0xc5), "hierarchical"),
        (without(&baseline, 0xc4), "ordinary"),
        (without(&baseline, 0xdb), "tables"),
        (with_marker(baseline.clone(), 0xc4, 0xdc), "how high"),
        (pictures::with_header_size(320, 0), "how high"),
        (twelve_bits, "12 bits"),
        (four_colors, "CMYK"),
        (pictures::insert_segments(&baseline, &[(0xee, rgb)]), "RGB"),
    ] {
        let error = admit_default(file).unwrap_err();

        assert_eq!(error.code(), "frame_unsupported", "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_picture_within_the_picture_is_damage() {
    let mut file = pictures::jpeg(320, 240, 1);
    let middle = file.len() / 2;
    file.splice(middle..middle, pictures::jpeg(200, 200, 2));

    assert_eq!(refusal(file).0, "frame_damaged");
}

#[test]
fn fill_bytes_and_strays_between_segments_do_not_stay() {
    let clean = pictures::jpeg(320, 240, 1);
    let tables = pictures::position(&clean, 0xdb);
    let end = clean.len() - 2;
    let mut file = clean[..tables].to_vec();
    file.extend(b"a stray note");
    file.extend([0xff; 5]);
    file.extend(&clean[tables..end]);
    file.extend([0xff; 3]);
    file.extend(&clean[end..]);

    assert_eq!(stored(file).bytes, clean);
}

#[test]
fn every_orientation_lands_upright() {
    // Where the corners of an upright picture lie in a stored one is what each orientation means; the
    // lists name the stored corner that is shown top left, top right, bottom left and bottom right.
    let [red, green, blue, grey] = [[220, 30, 30], [30, 220, 30], [30, 30, 220], [128; 3]];
    for (orientation, shown) in [
        (1, [red, green, blue, grey]),
        (2, [green, red, grey, blue]),
        (3, [grey, blue, green, red]),
        (4, [blue, grey, red, green]),
        (5, [red, blue, green, grey]),
        (6, [blue, red, grey, green]),
        (7, [grey, green, blue, red]),
        (8, [green, grey, red, blue]),
    ] {
        let file = pictures::with_exif_orientation(&pictures::corners(640, 320), orientation);
        let jpeg = stored(file);

        let size = if orientation < 5 { (640, 320) } else { (320, 640) };
        assert_eq!((jpeg.width, jpeg.height), size, "orientation {orientation}");
        let picture = pixels(&jpeg.bytes);
        assert_eq!(picture.dimensions(), size);
        let (right, bottom) = (size.0 - 40, size.1 - 40);
        for ((x, y), color) in [(40, 40), (right, 40), (40, bottom), (right, bottom)].into_iter().zip(shown) {
            let pixel = picture.get_pixel(x, y).0;
            let is_close = pixel.iter().zip(color).all(|(a, b)| a.abs_diff(b) < 12);
            assert!(is_close, "orientation {orientation} at {x},{y}: {pixel:?}");
        }
    }
}

#[test]
fn a_turned_frame_would_come_in_again_unchanged() {
    for file in [pictures::jpeg(640, 480, 1), pictures::grey(640, 480, 1)] {
        let file = pictures::with_gps_everywhere(&file, 6);
        let turned = stored(file);
        assert_eq!((turned.width, turned.height), (480, 640));

        let again = stored(turned.bytes.to_vec());

        assert_eq!(again, turned);
    }
}

#[test]
fn a_turned_frame_that_is_damaged_inside_is_refused_and_not_filled_in() {
    let file = pictures::with_exif_orientation(&pictures::damaged_inside(640, 480), 6);
    let Admitted::Turned(turned) = admit_default(file).unwrap() else {
        panic!("the frame was to be turned");
    };

    assert_eq!(turned.upright().unwrap_err().code(), "frame_damaged");
}
