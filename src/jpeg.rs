//! A frame at the door: whether it is a JPEG that we take, and what of it is kept.
//!
//! The usual way decodes nothing and copies nothing: the segments of the file are walked from marker to
//! marker, what carries metadata (GPS above all) is left out, and a file that carries none is kept as it
//! came. Only a picture that lies on its side is decoded and written anew, see [`TurnedJpeg`].
//!
//! Source of the format: ITU-T T.81 (JPEG), T.871 (JFIF), CIPA DC-008 (EXIF).

use bytes::Bytes;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use std::io::Cursor;
use std::ops::Range;
use thiserror::Error;

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const DNL: u8 = 0xDC;
const APP0: u8 = 0xE0;
const APP1: u8 = 0xE1;
const APP2: u8 = 0xE2;
const APP14: u8 = 0xEE;
const APP15: u8 = 0xEF;
const COM: u8 = 0xFE;

/// Quality of a picture that had to be written anew: no loss that a coach would see.
const TURNED_QUALITY: u8 = 92;

/// Which pictures are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JpegLimits {
    /// Width times height.
    pub max_pixels: u64,
    /// The longer side in pixels; the model takes no more than 8000.
    pub max_side: u32,
    /// The shorter side in pixels; the model sees little below 200.
    pub min_short_side: u32,
}

impl Default for JpegLimits {
    fn default() -> Self {
        Self { max_pixels: 40_000_000, max_side: 8000, min_short_side: 200 }
    }
}

/// A JPEG that is complete, upright and free of metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jpeg {
    /// The file.
    pub bytes: Bytes,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// A frame that was let in.
#[derive(Debug)]
pub enum Admitted {
    /// It can be stored.
    Ready(Jpeg),
    /// It must be turned upright first.
    Turned(TurnedJpeg),
}

/// A JPEG whose EXIF orientation says that it lies on its side, on its head or is mirrored.
#[derive(Debug)]
pub struct TurnedJpeg {
    jpeg: Jpeg,
    orientation: Orientation,
    limits: JpegLimits,
}

/// Why a frame is not taken; what it says is what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JpegError {
    /// The bytes are no JPEG.
    #[error("it is not a JPEG, it looks like {looks_like}; export the frame as JPEG")]
    NotJpeg {
        /// What the bytes look like.
        looks_like: &'static str,
    },
    /// The file ends before the picture does.
    #[error("the JPEG is cut off; send it again")]
    Truncated,
    /// The file contradicts itself.
    #[error("the JPEG is damaged: {0}; export the frame again")]
    Damaged(&'static str),
    /// It is a kind of JPEG that browsers and the model do not show.
    #[error("this kind of JPEG is not supported: {0}; export it as an ordinary 8-bit JPEG")]
    Unsupported(&'static str),
    /// It has too many pixels.
    #[error(
        "it is {width}×{height} pixels, and at most {max_side} a side and {max_pixels} in all are taken; scale it down"
    )]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The limit of a side.
        max_side: u32,
        /// The limit of the product.
        max_pixels: u64,
    },
    /// It has too few pixels to judge anything.
    #[error(
        "it is {width}×{height} pixels, and at least {min_short_side} on the shorter side are needed; send a larger picture"
    )]
    TooSmall {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The limit.
        min_short_side: u32,
    },
}

impl JpegError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJpeg { .. } => "frame_not_jpeg",
            Self::Truncated => "frame_truncated",
            Self::Damaged(_) => "frame_damaged",
            Self::Unsupported(_) => "frame_unsupported",
            Self::TooLarge { .. } => "frame_too_many_pixels",
            Self::TooSmall { .. } => "frame_too_few_pixels",
        }
    }
}

/// Lets a frame in, without its metadata, or says why not. Cheap enough for an async thread: a few
/// microseconds for 100 KB.
pub fn admit(bytes: Bytes, limits: &JpegLimits) -> Result<Admitted, JpegError> {
    let scan = Scan::of(&bytes)?;
    let (width, height) = scan.size.ok_or(JpegError::Damaged("it has no frame header"))?;
    check_size(width, height, limits)?;
    let bytes = scan.without_metadata(bytes);
    let jpeg = Jpeg { bytes, width, height };
    Ok(match scan.orientation {
        None | Some(Orientation::NoTransforms) => Admitted::Ready(jpeg),
        Some(orientation) => Admitted::Turned(TurnedJpeg { jpeg, orientation, limits: *limits }),
    })
}

impl TurnedJpeg {
    /// Decodes the picture, turns it upright and writes it anew, colors as they were. Takes tens of
    /// milliseconds and three bytes of memory a pixel, so never call it on an async thread.
    pub fn upright(self) -> Result<Jpeg, JpegError> {
        let damaged = |_| JpegError::Damaged("it cannot be decoded");
        let mut reader = ImageReader::with_format(Cursor::new(&self.jpeg.bytes), image::ImageFormat::Jpeg);
        let mut limits = Limits::default();
        limits.max_image_width = Some(self.limits.max_side);
        limits.max_image_height = Some(self.limits.max_side);
        limits.max_alloc = Some(self.limits.max_pixels * 4);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(damaged)?;
        let profile = decoder.icc_profile().map_err(damaged)?;
        let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        picture.apply_orientation(self.orientation);
        encode(&picture, profile.as_deref())
    }
}

fn encode(picture: &DynamicImage, profile: Option<&[u8]>) -> Result<Jpeg, JpegError> {
    let unwritable = JpegError::Damaged("it cannot be written anew");
    let (width, height) = (picture.width(), picture.height());
    let (Ok(w), Ok(h)) = (u16::try_from(width), u16::try_from(height)) else { return Err(unwritable) };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, TURNED_QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    if let Some(profile) = profile
        && encoder.add_icc_profile(profile).is_err()
    {
        return Err(unwritable);
    }
    let encoded = match picture {
        DynamicImage::ImageLuma8(gray) => encoder.encode(gray.as_raw(), w, h, ColorType::Luma),
        other => encoder.encode(other.to_rgb8().as_raw(), w, h, ColorType::Rgb),
    };
    match encoded {
        Ok(()) => Ok(Jpeg { bytes: bytes.into(), width, height }),
        Err(_) => Err(unwritable),
    }
}

fn check_size(width: u32, height: u32, limits: &JpegLimits) -> Result<(), JpegError> {
    let &JpegLimits { max_pixels, max_side, min_short_side } = limits;
    if max_side < width.max(height) || max_pixels < u64::from(width) * u64::from(height) {
        return Err(JpegError::TooLarge { width, height, max_side, max_pixels });
    }
    if width.min(height) < min_short_side {
        return Err(JpegError::TooSmall { width, height, min_short_side });
    }
    Ok(())
}

/// What a walk over the segments of a file found.
#[derive(Debug, Default)]
struct Scan {
    /// What is kept, in order.
    kept: Vec<Piece>,
    size: Option<(u32, u32)>,
    orientation: Option<Orientation>,
}

#[derive(Debug)]
enum Piece {
    /// Bytes of the file as they are.
    Copy(Range<usize>),
    /// A JFIF segment without its thumbnail.
    Jfif([u8; 18]),
}

impl Scan {
    fn of(file: &[u8]) -> Result<Self, JpegError> {
        if !file.starts_with(&[0xFF, SOI, 0xFF]) {
            return Err(JpegError::NotJpeg { looks_like: looks_like(file) });
        }
        let mut scan = Self::default();
        scan.keep(0..2);
        let mut at = 2;
        let mut has_data = false;
        loop {
            let start = at;
            let marker = next_marker(file, &mut at)?;
            match marker {
                EOI if !has_data => return Err(JpegError::Damaged("it has no picture data")),
                EOI => {
                    // What follows is another picture, a video, or somebody's notes.
                    scan.keep(start..at);
                    return Ok(scan);
                }
                DNL => return Err(JpegError::Unsupported("its height comes after its data")),
                0x00 | 0x01 | 0xD0..=SOI => return Err(JpegError::Damaged("a marker is where none may be")),
                _ => {}
            }
            let body = segment(file, &mut at)?;
            scan.take_segment(marker, file.get(body.clone()).unwrap_or_default(), start..body.end)?;
            if marker == SOS {
                let data = at..end_of_data(file, at)?;
                at = data.end;
                scan.keep(data);
                has_data = true;
            }
        }
    }

    /// Keeps or leaves out one segment; `whole` is where it lies with its marker and length.
    fn take_segment(&mut self, marker: u8, body: &[u8], whole: Range<usize>) -> Result<(), JpegError> {
        match marker {
            APP0 => {
                // A JFXX extension is nothing but a thumbnail, which may show what was cropped away.
                if let Some(header) = body.strip_prefix(b"JFIF\0").and_then(|it| it.first_chunk::<7>()) {
                    match body.len() {
                        14 => self.keep(whole),
                        _ => self.kept.push(Piece::Jfif(jfif(*header))),
                    }
                }
            }
            APP1 => {
                if let (None, Some(tiff)) = (self.orientation, body.strip_prefix(b"Exif\0\0")) {
                    self.orientation = exif_orientation(tiff);
                }
            }
            // The color profile and Adobe's color transform decide how the pixels look.
            APP2 if body.starts_with(b"ICC_PROFILE\0") => self.keep(whole),
            APP14 if body.starts_with(b"Adobe") => self.keep(whole),
            APP2..=APP15 | COM => {}
            0xC0..=0xC2 => {
                self.take_frame_header(body)?;
                self.keep(whole);
            }
            0xC3 | 0xC5..=0xC7 => return Err(JpegError::Unsupported("lossless or hierarchical")),
            0xC9..=0xCB | 0xCD..=0xCF => return Err(JpegError::Unsupported("arithmetic coding")),
            SOS if self.size.is_none() => {
                return Err(JpegError::Damaged("data comes before the frame header"));
            }
            _ => self.keep(whole),
        }
        Ok(())
    }

    fn take_frame_header(&mut self, body: &[u8]) -> Result<(), JpegError> {
        let Some(&[bits, h1, h0, w1, w0, components]) = body.first_chunk::<6>() else {
            return Err(JpegError::Damaged("its frame header is too short"));
        };
        if self.size.is_some() {
            return Err(JpegError::Damaged("it has two frame headers"));
        }
        if bits != 8 {
            return Err(JpegError::Unsupported("more than 8 bits a color"));
        }
        if !matches!(components, 1 | 3) {
            return Err(JpegError::Unsupported("colors other than gray and RGB"));
        }
        let height = u32::from(u16::from_be_bytes([h1, h0]));
        if height == 0 {
            return Err(JpegError::Unsupported("its height comes after its data"));
        }
        self.size = Some((u32::from(u16::from_be_bytes([w1, w0])), height));
        Ok(())
    }

    fn keep(&mut self, piece: Range<usize>) {
        match self.kept.last_mut() {
            Some(Piece::Copy(last)) if last.end == piece.start => last.end = piece.end,
            _ => self.kept.push(Piece::Copy(piece)),
        }
    }

    /// The file without what was left out: the same buffer where nothing was.
    fn without_metadata(&self, file: Bytes) -> Bytes {
        if let [Piece::Copy(all)] = self.kept.as_slice() {
            return file.slice(all.clone());
        }
        let mut kept = Vec::with_capacity(file.len());
        for piece in &self.kept {
            match piece {
                Piece::Copy(range) => kept.extend_from_slice(file.get(range.clone()).unwrap_or_default()),
                Piece::Jfif(segment) => kept.extend_from_slice(segment),
            }
        }
        kept.into()
    }
}

/// Reads the next marker; any number of fill bytes may come before it.
fn next_marker(file: &[u8], at: &mut usize) -> Result<u8, JpegError> {
    if *file.get(*at).ok_or(JpegError::Truncated)? != 0xFF {
        return Err(JpegError::Damaged("a segment does not end where it says"));
    }
    loop {
        *at += 1;
        match *file.get(*at).ok_or(JpegError::Truncated)? {
            0xFF => {}
            marker => {
                *at += 1;
                return Ok(marker);
            }
        }
    }
}

/// Reads the length of a segment and steps over it; gives where its body lies.
fn segment(file: &[u8], at: &mut usize) -> Result<Range<usize>, JpegError> {
    let length = file.get(*at..).and_then(|it| it.first_chunk::<2>()).ok_or(JpegError::Truncated)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let body = *at + 2..*at + length;
    if length < 2 {
        return Err(JpegError::Damaged("a segment is shorter than its length"));
    }
    if file.len() < body.end {
        return Err(JpegError::Truncated);
    }
    *at = body.end;
    Ok(body)
}

/// Where the coded data that begins at `from` ends: at the first marker that is neither stuffing nor a
/// restart.
fn end_of_data(file: &[u8], from: usize) -> Result<usize, JpegError> {
    let mut at = from;
    loop {
        let rest = file.get(at..).ok_or(JpegError::Truncated)?;
        at += memchr::memchr(0xFF, rest).ok_or(JpegError::Truncated)?;
        match *file.get(at + 1).ok_or(JpegError::Truncated)? {
            0x00 | 0xD0..=0xD7 => at += 2,
            0xFF => at += 1,
            _ => return Ok(at),
        }
    }
}

/// A JFIF segment with the given version and density and no thumbnail.
fn jfif(version_and_density: [u8; 7]) -> [u8; 18] {
    let [major, minor, units, x1, x0, y1, y0] = version_and_density;
    [0xFF, APP0, 0, 16, b'J', b'F', b'I', b'F', 0, major, minor, units, x1, x0, y1, y0, 0, 0]
}

/// The orientation that EXIF gives in its first directory; `None` where it gives none that makes sense.
fn exif_orientation(tiff: &[u8]) -> Option<Orientation> {
    const ORIENTATION: u16 = 0x0112;
    const SHORT: u16 = 3;
    let u16_of: fn([u8; 2]) -> u16;
    let u32_of: fn([u8; 4]) -> u32;
    match tiff.first_chunk::<4>()? {
        b"II*\0" => (u16_of, u32_of) = (u16::from_le_bytes, u32::from_le_bytes),
        b"MM\0*" => (u16_of, u32_of) = (u16::from_be_bytes, u32::from_be_bytes),
        _ => return None,
    }
    let directory = usize::try_from(u32_of(*tiff.get(4..)?.first_chunk()?)).ok()?;
    let entries = tiff.get(directory..)?;
    let count = u16_of(*entries.first_chunk()?);
    let entries = entries.get(2..)?.chunks_exact(12).take(usize::from(count));
    for entry in entries {
        let tag = u16_of(*entry.first_chunk()?);
        let kind = u16_of(*entry.get(2..)?.first_chunk()?);
        if tag == ORIENTATION && kind == SHORT {
            let value = u16_of(*entry.get(8..)?.first_chunk()?);
            return Orientation::from_exif(u8::try_from(value).ok()?);
        }
    }
    None
}

fn looks_like(file: &[u8]) -> &'static str {
    match file {
        [] => "an empty file",
        [0x89, b'P', b'N', b'G', ..] => "a PNG",
        [b'G', b'I', b'F', b'8', ..] => "a GIF",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "a WebP",
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', ..] => "a HEIC picture or a video",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "an AVIF picture or a video",
        [b'%', b'P', b'D', b'F', ..] => "a PDF",
        [0xFF, SOI, ..] => "the first bytes of one, cut off",
        _ if file.iter().take(512).all(|it| it.is_ascii_graphic() || it.is_ascii_whitespace()) => "a text",
        _ => "something else",
    }
}
