//! A frame at the door: what a JPEG must be to come in, and what is taken off it on the way.
//!
//! [`admit`] reads markers and never pixels, so it is cheap enough for the async threads. A frame that is
//! whole, upright and free of metadata passes as the very bytes that arrived; one with metadata is copied
//! without it, its picture data untouched; one that lies on its side waits as a [`TurnedJpeg`] until
//! somebody spends the time to turn it.
//!
//! Nothing that a file declares is believed before it was compared with the file.

mod decode;
mod error;
mod exif;
mod kept;
mod scaled;
mod scan;
mod sniff;

pub use error::JpegError;
pub use scaled::scaled;

pub(crate) use decode::{Colors, Pixels, decode};

use std::fmt;

use bytes::Bytes;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// The quality with which a turned frame is encoded again: what it loses is less than what the model's
/// own scaling takes, and the file stays near its first size.
const TURNED_QUALITY: u8 = 90;

/// How large and how small a picture may be, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JpegLimits {
    /// The most pixels, width times height. What it bounds is the memory of whoever decodes.
    pub max_pixels: u64,
    /// The longest side. The model refuses more than 8000.
    pub max_side: u32,
    /// The least length of the shorter side. Under 200 the model sees too little.
    pub min_short_side: u32,
}

impl Default for JpegLimits {
    fn default() -> Self {
        Self { max_pixels: 40_000_000, max_side: 8000, min_short_side: 200 }
    }
}

/// A frame that may be stored and shown.
///
/// # Invariant
/// Made by [`admit`] or [`TurnedJpeg::upright`], it is one whole JPEG from its first byte to its last,
/// upright, within the limits, and carries nothing but what decoding needs.
#[derive(Clone, PartialEq, Eq)]
pub struct Jpeg {
    /// The file.
    pub bytes: Bytes,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// Without the picture, which no log may hold.
impl fmt::Debug for Jpeg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jpeg({}×{}, {} bytes)", self.width, self.height, self.bytes.len())
    }
}

/// What became of a file at the door.
#[derive(Debug)]
pub enum Admitted {
    /// A frame that is ready.
    Ready(Jpeg),
    /// A frame whose EXIF says that it is to be turned or mirrored.
    Turned(TurnedJpeg),
}

/// A frame without metadata that is not upright yet.
pub struct TurnedJpeg {
    bytes: Bytes,
    orientation: Orientation,
    /// The payloads of the color profile's segments, which the new file takes over.
    profile: Vec<Bytes>,
}

/// Without the picture, which no log may hold.
impl fmt::Debug for TurnedJpeg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TurnedJpeg({:?}, {} bytes)", self.orientation, self.bytes.len())
    }
}

/// Checks a file and takes its metadata off, without decoding it. Costs microseconds.
///
/// What stays: the tables, headers and data of the picture, the JFIF header without its thumbnail, Adobe's
/// color transform and the color profile. What goes: EXIF, XMP, IPTC, comments, previews, every other
/// application segment, stray bytes between segments, and whatever follows the end of the picture.
pub fn admit(bytes: Bytes, limits: &JpegLimits) -> Result<Admitted, JpegError> {
    let scanned = scan::scan(&bytes, limits)?;
    let (width, height) = (scanned.width, scanned.height);
    let orientation =
        scanned.orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
    if orientation == Orientation::NoTransforms {
        let bytes = scanned.kept.assemble(bytes);
        return Ok(Admitted::Ready(Jpeg { bytes, width, height }));
    }
    let profile =
        scanned.profile.iter().filter_map(|it| bytes.get(it.clone()).map(Bytes::copy_from_slice)).collect();
    Ok(Admitted::Turned(TurnedJpeg { bytes: scanned.kept.assemble(bytes), orientation, profile }))
}

impl TurnedJpeg {
    /// Decodes the frame, turns it and encodes it again.
    ///
    /// It takes tens of milliseconds and up to about 12 bytes of memory a pixel, so it belongs on a
    /// blocking thread and under a bound. The new file can be larger than the old one: whoever limits
    /// bytes looks at it once more.
    pub fn upright(self) -> Result<Jpeg, JpegError> {
        // The limits were applied to these very bytes when they came in.
        let pixels = decode(&self.bytes, Colors::AsStored, u64::MAX).map_err(JpegError::Damaged)?;
        drop(self.bytes);
        let (mut picture, color) = picture(pixels)?;
        picture.apply_orientation(self.orientation);

        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, TURNED_QUALITY);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
        for segment in self.profile {
            encoder.add_app_segment(2, segment.to_vec()).map_err(unencodable)?;
        }
        let (width, height) = (picture.width(), picture.height());
        encoder.encode(picture.as_bytes(), side(width)?, side(height)?, color).map_err(unencodable)?;
        Ok(Jpeg { bytes: file.into(), width, height })
    }
}

fn picture(pixels: Pixels) -> Result<(DynamicImage, ColorType), JpegError> {
    let Pixels { width, height, channels, samples } = pixels;
    let picture = if channels == 1 {
        GrayImage::from_raw(width, height, samples).map(|it| (DynamicImage::ImageLuma8(it), ColorType::Luma))
    } else {
        RgbImage::from_raw(width, height, samples).map(|it| (DynamicImage::ImageRgb8(it), ColorType::Rgb))
    };
    picture.ok_or_else(|| JpegError::Damaged("fewer samples than pixels".to_owned()))
}

fn side(pixels: u32) -> Result<u16, JpegError> {
    u16::try_from(pixels).map_err(|error| JpegError::Damaged(error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`, which passes by value")]
fn unencodable(error: jpeg_encoder::EncodingError) -> JpegError {
    JpegError::Damaged(error.to_string())
}
