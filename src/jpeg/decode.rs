//! Decoding for real, and strictly.
//!
//! The decoder of the `image` crate fills in what is missing from a damaged picture and reports success,
//! which is right for a viewer and wrong for a check. So the decoder underneath it is asked directly, in
//! its strict mode; it can also leave the colors undecoded, which halves the time where only brightness
//! counts.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// How many scans a progressive picture may have. Encoders make about ten; each costs a pass over the
/// whole picture, so a small file with thousands of them would keep a processor busy for minutes.
pub(super) const MAX_SCANS: u32 = 100;

/// What is to be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colors {
    /// Grey for a grey picture, else red, green and blue.
    AsStored,
    /// Brightness only.
    Grey,
}

/// A decoded picture, row by row from the top.
#[derive(Debug)]
pub(crate) struct Pixels {
    /// Width in pixels, at least 1.
    pub(crate) width: u32,
    /// Height in pixels, at least 1.
    pub(crate) height: u32,
    /// Samples a pixel: 1 for grey, 3 for red, green and blue.
    pub(crate) channels: u8,
    /// `width * height * channels` samples.
    pub(crate) samples: Vec<u8>,
}

/// Decodes a JPEG of at most `max_pixels`; the error says, for the log, what is wrong with it.
pub(crate) fn decode(jpeg: &[u8], colors: Colors, max_pixels: u64) -> Result<Pixels, String> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(MAX_SCANS as usize);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(jpeg), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("no headers")?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if width == 0 || height == 0 {
        return Err("no pixels".to_owned());
    }
    if max_pixels < u64::from(width) * u64::from(height) {
        return Err(format!("{width}×{height} pixels are too many"));
    }

    let stored = decoder.input_colorspace().ok_or("no color space")?;
    let grey = stored == ColorSpace::Luma || (colors == Colors::Grey && stored == ColorSpace::YCbCr);
    let output = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    let samples = decoder.decode().map_err(|error| error.to_string())?;
    let mut pixels = Pixels { width, height, channels: if grey { 1 } else { 3 }, samples };
    if colors == Colors::Grey && !grey {
        pixels = to_grey(&pixels);
    }
    Ok(pixels)
}

/// The brightness of a picture that is stored as red, green and blue, with the weights of ITU-R BT.601
/// that JPEG uses itself, in 256ths.
fn to_grey(pixels: &Pixels) -> Pixels {
    let (rgb, _) = pixels.samples.as_chunks::<3>();
    let samples = rgb
        .iter()
        .map(|[red, green, blue]| {
            let sum = 77 * u32::from(*red) + 150 * u32::from(*green) + 29 * u32::from(*blue);
            u8::try_from(sum >> 8).unwrap_or(u8::MAX)
        })
        .collect();
    Pixels { channels: 1, samples, ..*pixels }
}
