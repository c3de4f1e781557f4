//! Frames at the door and in the capture check, from the library's public face.

mod capture;
mod door;
mod metadata;
mod scaled;

use crate::support::pictures;
use bytes::Bytes;
use image::RgbImage;
use swimcoach::jpeg::{Admitted, Jpeg, JpegError, JpegLimits, admit};

fn admit_default(file: Vec<u8>) -> Result<Admitted, JpegError> {
    admit(Bytes::from(file), &JpegLimits::default())
}

/// The frame as it would be stored: as it comes from the door, or turned.
fn stored(file: Vec<u8>) -> Jpeg {
    match admit_default(file).unwrap() {
        Admitted::Ready(jpeg) => jpeg,
        Admitted::Turned(turned) => turned.upright().unwrap(),
    }
}

/// The pixels of a file, read by another decoder's settings than the product's.
fn pixels(file: &[u8]) -> RgbImage {
    image::load_from_memory(file).unwrap().to_rgb8()
}
