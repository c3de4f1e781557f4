//! A frame at the size at which it is sent.

use super::{Colors, JpegError, decode, picture, side, unencodable};
use bytes::Bytes;
use image::imageops::FilterType;
use jpeg_encoder::{Encoder, SamplingFactor};

/// The quality of a scaled frame, in the middle of the 80 to 90 that pictures for the model should have.
const QUALITY: u8 = 85;

/// The frame in another size, in pixels, which keeps its shape when `width` and `height` do.
///
/// The frame is upright and within the limits, since it came in by [`super::admit`]. The same bytes and size give
/// the same bytes on processors of one kind, so that the prompt cache holds. It takes tenths of a second for a large
/// frame and up to about 22 bytes of memory a pixel, so it belongs on a blocking thread and under a bound.
pub fn scaled(jpeg: &Bytes, width: u32, height: u32) -> Result<Bytes, JpegError> {
    let pixels = decode(jpeg, Colors::AsStored, u64::MAX).map_err(JpegError::Damaged)?;
    let (large, color) = picture(pixels)?;
    let small = large.resize_exact(width, height, FilterType::Lanczos3);
    drop(large);

    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.encode(small.as_bytes(), side(width)?, side(height)?, color).map_err(unencodable)?;
    Ok(file.into())
}
