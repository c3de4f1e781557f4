//! Pictures made in code, the same on every run: good ones, and each kind of bad one.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// What [`with_gps_everywhere`] hides in each place. None of it may leave the door.
pub(crate) const SECRETS: [&str; 8] = [
    "52.5162N 13.3777E",
    "xmp:GPSLatitude",
    "extended-xmp-note",
    "IPTC-by-Jane-Doe",
    "MPF-second-picture",
    "comment-with-an-address",
    "thumbnail-pixels",
    "after-the-end",
];

/// A textured picture of the size: sharp, evenly lit, and another one for each seed.
pub(crate) fn jpeg(width: u16, height: u16, seed: u32) -> Vec<u8> {
    encode(width, height, false, |x, y| texture(x, y, seed))
}

/// The same picture as [`jpeg`], stored as several progressive scans.
pub(crate) fn progressive(width: u16, height: u16, seed: u32) -> Vec<u8> {
    encode(width, height, true, |x, y| texture(x, y, seed))
}

/// The same picture as [`jpeg`], in grey.
pub(crate) fn grey(width: u16, height: u16, seed: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let brightness = |[red, green, blue]: [u8; 3]| {
        let sum = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
        u8::try_from(sum / 1000).unwrap()
    };
    let levels: Vec<u8> = coordinates(width, height).map(|(x, y)| brightness(texture(x, y, seed))).collect();
    Encoder::new(&mut file, 90).encode(&levels, width, height, ColorType::Luma).unwrap();
    file
}

/// The same picture as [`jpeg`] with a restart marker after every fourth block.
pub(crate) fn with_restarts(width: u16, height: u16, seed: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 90);
    encoder.set_restart_interval(4);
    let pixels = pixels(width, height, |x, y| texture(x, y, seed));
    encoder.encode(&pixels, width, height, ColorType::Rgb).unwrap();
    file
}

/// A picture of soft slopes only, as with a wrong focus.
pub(crate) fn blurred(width: u16, height: u16) -> Vec<u8> {
    encode(width, height, false, |x, y| {
        let slope = |at: u32, length: u16| byte(60 + at * 120 / u32::from(length));
        [slope(x, width), slope(y, height), 128]
    })
}

/// A textured picture with almost no light in it.
pub(crate) fn dark(width: u16, height: u16, seed: u32) -> Vec<u8> {
    encode(width, height, false, |x, y| texture(x, y, seed).map(|it| it / 8))
}

/// A textured picture whose left half is burned out.
pub(crate) fn overexposed(width: u16, height: u16, seed: u32) -> Vec<u8> {
    encode(width, height, false, |x, y| {
        let is_burned = x < u32::from(width) / 2;
        if is_burned { [255; 3] } else { texture(x, y, seed) }
    })
}

/// A picture whose corners differ, so that each way of turning it can be told apart: red top left,
/// green top right, blue bottom left, grey bottom right.
pub(crate) fn corners(width: u16, height: u16) -> Vec<u8> {
    encode(width, height, false, |x, y| match (x < u32::from(width) / 2, y < u32::from(height) / 2) {
        (true, true) => [220, 30, 30],
        (false, true) => [30, 220, 30],
        (true, false) => [30, 30, 220],
        (false, false) => [128; 3],
    })
}

/// The smallest PNG: one grey pixel.
pub(crate) fn png() -> Vec<u8> {
    let header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55";
    let data = b"\0\0\0\nIDATx\x9cc`\0\0\0\x02\0\x01\x48\xaf\xa4\x71\0\0\0\0IEND\xae\x42\x60\x82";
    [&header[..], data].concat()
}

/// A picture that ends in the middle of its data.
pub(crate) fn truncated(width: u16, height: u16) -> Vec<u8> {
    let mut file = jpeg(width, height, 1);
    file.truncate(file.len() / 2);
    file
}

/// A picture whose markers are all there, and whose middle is a run of ones, which is no code of any picture.
pub(crate) fn damaged_inside(width: u16, height: u16) -> Vec<u8> {
    let mut file = jpeg(width, height, 1);
    let middle = file.len() / 2;
    let ones = [0xff, 0x00].repeat(32);
    // A trailing FF before them would make a marker of nothing.
    file[middle - 1] = 0;
    file[middle..middle + ones.len()].copy_from_slice(&ones);
    file[middle + ones.len()] = 0;
    file
}

/// A small file whose header claims the size.
pub(crate) fn with_header_size(width: u16, height: u16) -> Vec<u8> {
    let mut file = jpeg(320, 240, 1);
    let frame_header = position(&file, 0xc0);
    file[frame_header + 5..frame_header + 7].copy_from_slice(&height.to_be_bytes());
    file[frame_header + 7..frame_header + 9].copy_from_slice(&width.to_be_bytes());
    file
}

/// A picture whose EXIF says that it is to be turned, from 1 (not at all) to 8.
pub(crate) fn with_exif_orientation(file: &[u8], orientation: u8) -> Vec<u8> {
    insert_segments(file, &[(0xe1, exif(orientation, ""))])
}

/// A picture with something private in every place that a JPEG has for it.
pub(crate) fn with_gps_everywhere(file: &[u8], orientation: u8) -> Vec<u8> {
    let [gps, xmp, extended, iptc, mpf, comment, thumbnail, trailer] = SECRETS;
    let text = |signature: &str, text: &str| format!("{signature}\0{text}").into_bytes();
    let mut jfif = b"JFIF\0\x01\x02\0\0\x01\0\x01\x01\x06".to_vec();
    jfif.extend(thumbnail.bytes().chain([0; 2]));
    let mut file = insert_segments(
        file,
        &[
            (0xe0, jfif),
            (0xe0, text("JFXX", thumbnail)),
            (0xe1, exif(orientation, gps)),
            (0xe1, exif(3, gps)),
            (0xe1, text("http://ns.adobe.com/xap/1.0/", xmp)),
            // Its text follows a GUID of 32 characters, a length and an offset.
            (0xe1, text("http://ns.adobe.com/xmp/extension/", &format!("{:040}{extended}", 0))),
            (0xe2, text("MPF", mpf)),
            (0xe2, text("ICC_PROFILE", "\x01\x01kept-profile")),
            (0xed, text("Photoshop 3.0", iptc)),
            (0xef, text("anything", comment)),
            (0xfe, comment.as_bytes().to_vec()),
        ],
    );
    // The encoder wrote a JFIF header of its own, which would be the second one.
    let own = file.windows(5).rposition(|it| it == b"JFIF\0").unwrap();
    file.drain(own - 4..own + 14);
    let second = insert_segments(&jpeg(200, 200, 9), &[(0xfe, trailer.as_bytes().to_vec())]);
    file.extend(second);
    file.extend(trailer.bytes());
    file
}

/// The file with segments (marker code and payload) put in after its first marker.
pub(crate) fn insert_segments(file: &[u8], segments: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = file[..2].to_vec();
    for (code, payload) in segments {
        let length = u16::try_from(payload.len() + 2).unwrap();
        out.extend([0xff, *code]);
        out.extend(length.to_be_bytes());
        out.extend(payload);
    }
    out.extend(&file[2..]);
    out
}

/// Where the first marker of that code begins.
pub(crate) fn position(file: &[u8], code: u8) -> usize {
    file.windows(2).position(|it| it == [0xff, code]).unwrap()
}

fn exif(orientation: u8, note: &str) -> Vec<u8> {
    let mut payload = b"Exif\0\0MM\0*\0\0\0\x08\0\x02".to_vec();
    payload.extend(b"\x01\x0f\0\x02\0\0\0\x01X\0\0\0");
    payload.extend(b"\x01\x12\0\x03\0\0\0\x01\0");
    payload.extend([orientation, 0, 0]);
    payload.extend([0; 4]);
    payload.extend(note.bytes());
    payload
}

/// Stripes and speckles over slow waves, which a blur would take away, moved by the seed.
fn texture(x: u32, y: u32, seed: u32) -> [u8; 3] {
    let (u, v) = (x / 4 + seed * 13, y / 4 + seed * 7);
    let speckle = (u.wrapping_mul(0x9e37_79b1) ^ v.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35);
    let stripe = if ((x + 3 * seed) / 24 + y / 24).is_multiple_of(2) { 70 } else { 150 };
    let level = stripe + (speckle >> 26);
    [byte(level / 2), byte(level), byte(level + 20)]
}

fn encode(width: u16, height: u16, progressive: bool, color: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 88);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.set_progressive(progressive);
    encoder.encode(&pixels(width, height, color), width, height, ColorType::Rgb).unwrap();
    file
}

fn pixels(width: u16, height: u16, color: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    coordinates(width, height).flat_map(|(x, y)| color(x, y)).collect()
}

fn coordinates(width: u16, height: u16) -> impl Iterator<Item = (u32, u32)> {
    (0..u32::from(height)).flat_map(move |y| (0..u32::from(width)).map(move |x| (x, y)))
}

fn byte(level: u32) -> u8 {
    u8::try_from(level.min(255)).unwrap()
}
