//! The walk from marker to marker: whether the file is one whole JPEG, and which of its bytes to keep.
//!
//! The walk is linear in the length of the file, holds a few ranges and copies nothing. Segments are as in
//! ITU-T T.81, annex B; the names of markers are those of its table B.1.

use super::decode::MAX_SCANS;
use super::kept::{JFIF_PAYLOAD, Kept};
use super::{JpegError, JpegLimits, exif, sniff};
use std::ops::Range;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DHT: u8 = 0xc4;
const DRI: u8 = 0xdd;
const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;
const APP14: u8 = 0xee;

/// The payload of Adobe's segment: signature, version, two flags, and the color transform last.
const ADOBE_PAYLOAD: usize = 12;

/// What a file is, by its markers.
#[derive(Debug)]
pub(super) struct Scanned {
    /// Width in pixels, as stored.
    pub(super) width: u32,
    /// Height in pixels, as stored.
    pub(super) height: u32,
    /// What EXIF says, from 1 to 8.
    pub(super) orientation: Option<u8>,
    /// The payloads of the color profile's segments.
    pub(super) profile: Vec<Range<usize>>,
    /// The bytes to keep.
    pub(super) kept: Kept,
}

/// Walks through a file.
pub(super) fn scan(bytes: &[u8], limits: &JpegLimits) -> Result<Scanned, JpegError> {
    let signature = [0xff, SOI, 0xff];
    if !bytes.starts_with(&signature) {
        let is_cut_short = !bytes.is_empty() && signature.starts_with(bytes);
        return Err(if is_cut_short {
            JpegError::Truncated
        } else {
            JpegError::NotJpeg(sniff::describe(bytes))
        });
    }
    let mut walk = Walk::new(bytes, limits);
    walk.kept.keep(0..2);
    let mut at = 2;
    loop {
        let marker = next_marker(bytes, at).ok_or(JpegError::Truncated)?;
        at = match marker.code {
            EOI => {
                walk.kept.keep(marker.start..marker.end);
                return walk.finish();
            }
            SOI => return damaged("a picture begins inside the picture"),
            0x02..=0xbf => return damaged("a reserved marker"),
            // Markers without a segment that mean nothing here: TEM and a restart outside of a scan.
            0x01 | 0xd0..=0xd7 => marker.end,
            _ => walk.segment(&marker)?,
        };
    }
}

/// A marker and where it lies: from its last `FF` to after its code.
struct Marker {
    code: u8,
    /// Where the `FF`s begin; more than one are fill bytes.
    fill: usize,
    start: usize,
    end: usize,
}

/// The next marker from `at` on. Skips stuffed zeros, fill bytes and whatever is no marker.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<Marker> {
    loop {
        let fill = at + memchr::memchr(0xff, bytes.get(at..)?)?;
        let mut end = fill + 1;
        while *bytes.get(end)? == 0xff {
            end += 1;
        }
        match *bytes.get(end)? {
            0 => at = end + 1,
            code => {
                return Some(Marker { code, fill, start: end - 1, end: end + 1 });
            }
        }
    }
}

fn damaged<T>(reason: &str) -> Result<T, JpegError> {
    Err(JpegError::Damaged(reason.to_owned()))
}

fn short_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What was found so far.
#[expect(clippy::struct_excessive_bools, reason = "each says of one kind of segment whether it was there")]
struct Walk<'a> {
    bytes: &'a [u8],
    limits: &'a JpegLimits,
    kept: Kept,
    frame: Option<FrameHeader>,
    has_jfif: bool,
    has_quantization: bool,
    has_huffman: bool,
    adobe_transform: Option<u8>,
    has_exif: bool,
    orientation: Option<u8>,
    profile: Vec<Range<usize>>,
    n_scans: u32,
    /// The components that no scan has brought yet, by their ids.
    missing: Vec<u8>,
}

struct FrameHeader {
    width: u32,
    height: u32,
    components: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8], limits: &'a JpegLimits) -> Self {
        Self {
            bytes,
            limits,
            kept: Kept::default(),
            frame: None,
            has_jfif: false,
            has_quantization: false,
            has_huffman: false,
            adobe_transform: None,
            has_exif: false,
            orientation: None,
            profile: Vec::new(),
            n_scans: 0,
            missing: Vec::new(),
        }
    }

    fn finish(self) -> Result<Scanned, JpegError> {
        let Some(frame) = self.frame else {
            return damaged("no picture");
        };
        if self.n_scans == 0 || !self.missing.is_empty() {
            return Err(JpegError::Truncated);
        }
        Ok(Scanned {
            width: frame.width,
            height: frame.height,
            orientation: self.orientation,
            profile: self.profile,
            kept: self.kept,
        })
    }

    /// Reads a segment, keeps it or not, and says where the walk goes on.
    fn segment(&mut self, marker: &Marker) -> Result<usize, JpegError> {
        let length = short_at(self.bytes, marker.end).ok_or(JpegError::Truncated)?;
        let end = marker.end + usize::from(length);
        if length < 2 {
            return damaged("a segment shorter than its own length");
        }
        let payload_range = marker.end + 2..end;
        let payload = self.bytes.get(payload_range.clone()).ok_or(JpegError::Truncated)?;
        let segment = marker.start..end;
        // What comes after the first scan cannot change how that is decoded, so it is not needed.
        let is_header = self.n_scans == 0;
        match marker.code {
            0xc0..=0xc2 => {
                self.frame_header(payload)?;
                self.kept.keep(segment);
            }
            SOS => {
                self.scan_header(payload)?;
                let data_end = scan_data_end(self.bytes, end)?;
                self.kept.keep(marker.start..data_end);
                return Ok(data_end);
            }
            DQT | DHT | DRI => {
                self.has_quantization |= marker.code == DQT;
                self.has_huffman |= marker.code == DHT;
                self.kept.keep(segment);
            }
            APP0 if is_header => self.app0(segment, payload),
            APP1 if is_header => self.app1(payload),
            APP2 if is_header && payload.starts_with(b"ICC_PROFILE\0") => {
                self.profile.push(payload_range);
                self.kept.keep(segment);
            }
            APP14 if is_header => self.app14(&segment, payload),
            APP0..=0xfe => {}
            code => return Err(JpegError::Unsupported(unsupported(code))),
        }
        Ok(end)
    }

    /// Keeps the first JFIF header, without its thumbnail. JFXX segments hold nothing but thumbnails.
    fn app0(&mut self, segment: Range<usize>, payload: &[u8]) {
        if self.has_jfif || !payload.starts_with(b"JFIF\0") {
            return;
        }
        let Some(header) = payload.first_chunk::<JFIF_PAYLOAD>() else {
            return;
        };
        self.has_jfif = true;
        if payload.len() == JFIF_PAYLOAD && header.ends_with(&[0, 0]) {
            self.kept.keep(segment);
            return;
        }
        self.kept.keep_jfif(header);
    }

    /// Reads the orientation. The first EXIF segment counts, even when it says nothing.
    fn app1(&mut self, payload: &[u8]) {
        // The signature is `Exif`, a zero and a byte of padding, which not all writers set to zero.
        let Some(tiff) = payload.strip_prefix(b"Exif\0").and_then(|it| it.get(1..)) else {
            return;
        };
        if !self.has_exif {
            self.has_exif = true;
            self.orientation = exif::orientation(tiff);
        }
    }

    /// Keeps Adobe's color transform where it says something about the colors.
    fn app14(&mut self, segment: &Range<usize>, payload: &[u8]) {
        let Some(transform) = payload.strip_prefix(b"Adobe").and_then(|it| it.get(ADOBE_PAYLOAD - 6)) else {
            return;
        };
        let is_grey = (self.frame.as_ref()).is_some_and(|it| it.components.len() == 1);
        // More than the twelve bytes is nothing that Adobe defines, and could be anything.
        if is_grey || payload.len() != ADOBE_PAYLOAD || 2 < *transform {
            return;
        }
        self.adobe_transform = Some(*transform);
        self.kept.keep(segment.clone());
    }

    fn frame_header(&mut self, payload: &[u8]) -> Result<(), JpegError> {
        if self.frame.is_some() {
            return damaged("two frame headers");
        }
        let (Some(&precision), Some(height), Some(width), Some(&n_components)) = (
            payload.first(),
            short_at(payload, 1).map(u32::from),
            short_at(payload, 3).map(u32::from),
            payload.get(5),
        ) else {
            return damaged("a frame header that is too short");
        };
        match (precision, n_components) {
            (8, 1 | 3) => {}
            (8, 4) => return Err(JpegError::Unsupported("has CMYK colors, made for print")),
            (8, _) => return Err(JpegError::Unsupported("has an unusual number of colors")),
            (12, _) => return Err(JpegError::Unsupported("has 12 bits a color")),
            _ => return Err(JpegError::Unsupported("does not have 8 bits a color")),
        }
        let (specifications, rest) = payload.get(6..).unwrap_or_default().as_chunks::<3>();
        if specifications.len() != usize::from(n_components) || !rest.is_empty() {
            return damaged("a frame header of the wrong length");
        }
        let is_sampling = |it: u8| (1..=4).contains(&(it >> 4)) && (1..=4).contains(&(it & 15));
        if !specifications.iter().all(|[_, it, _]| is_sampling(*it)) {
            return damaged("an impossible sampling factor");
        }
        self.check_size(width, height)?;
        let components: Vec<u8> = specifications.iter().map(|[id, ..]| *id).collect();
        self.missing.clone_from(&components);
        self.frame = Some(FrameHeader { width, height, components });
        Ok(())
    }

    fn check_size(&self, width: u32, height: u32) -> Result<(), JpegError> {
        let limits = *self.limits;
        if height == 0 {
            return Err(JpegError::Unsupported("does not say how high it is"));
        }
        if width == 0 {
            return damaged("a width of 0");
        }
        let pixels = u64::from(width) * u64::from(height);
        if limits.max_side < width.max(height) || limits.max_pixels < pixels {
            return Err(JpegError::TooLarge { width, height, limits });
        }
        if width.min(height) < limits.min_short_side {
            return Err(JpegError::TooSmall { width, height, limits });
        }
        Ok(())
    }

    fn scan_header(&mut self, payload: &[u8]) -> Result<(), JpegError> {
        let Some(frame) = &self.frame else {
            return damaged("a scan before the frame header");
        };
        if !self.has_quantization || !self.has_huffman {
            return Err(JpegError::Unsupported("was cut out of a video without its tables"));
        }
        if self.adobe_transform == Some(0) && frame.components.len() == 3 {
            return Err(JpegError::Unsupported("has RGB instead of YCbCr colors"));
        }
        let (specifications, rest) = payload.get(1..).unwrap_or_default().as_chunks::<2>();
        let n_components = payload.first().map_or(0, |it| usize::from(*it));
        // The last three bytes, of which the chunks took two, say which coefficients the scan brings.
        if n_components == 0 || specifications.len() != n_components + 1 || rest.len() != 1 {
            return damaged("a scan header of the wrong length");
        }
        for [id, _] in specifications.iter().take(n_components) {
            if !frame.components.contains(id) {
                return damaged("a scan of an unknown component");
            }
            self.missing.retain(|it| it != id);
        }
        self.n_scans += 1;
        if MAX_SCANS < self.n_scans {
            return Err(JpegError::Unsupported("has too many scans"));
        }
        Ok(())
    }
}

/// Where the entropy-coded data that begins at `start` ends: before the marker that is no restart, and
/// before that marker's fill bytes.
fn scan_data_end(bytes: &[u8], start: usize) -> Result<usize, JpegError> {
    let mut at = start;
    let end = loop {
        let marker = next_marker(bytes, at).ok_or(JpegError::Truncated)?;
        match marker.code {
            0xd0..=0xd7 => at = marker.end,
            _ => break marker.fill,
        }
    };
    if end == start {
        return damaged("a scan without data");
    }
    Ok(end)
}

/// What makes a segment's JPEG one that is not decoded here.
fn unsupported(code: u8) -> &'static str {
    match code {
        0xc9..=0xcc => "is arithmetic coded",
        0xcd..=0xcf => "is arithmetic coded and hierarchical",
        0xc3 => "is lossless",
        0xc5..=0xc7 | 0xde | 0xdf => "is hierarchical",
        0xdc => "says only at its end how high it is",
        _ => "uses an extension",
    }
}
