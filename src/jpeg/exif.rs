//! The one thing that EXIF is asked for: how the picture is to be turned.

/// The tag of the orientation in the first directory.
const ORIENTATION: u16 = 0x0112;

/// The type of a 16-bit number, the only one that the orientation may have.
const SHORT: u16 = 3;

/// Length of a directory entry in bytes.
const ENTRY: usize = 12;

/// The orientation, from 1 (upright) to 8, in the payload of an APP1 segment after its `Exif` signature;
/// `None` when there is none or the data makes no sense.
pub(super) fn orientation(tiff: &[u8]) -> Option<u8> {
    let tiff = match tiff.get(..4)? {
        b"II*\0" => Tiff { bytes: tiff, short: u16::from_le_bytes, long: u32::from_le_bytes },
        b"MM\0*" => Tiff { bytes: tiff, short: u16::from_be_bytes, long: u32::from_be_bytes },
        _ => return None,
    };
    let directory = usize::try_from(tiff.long_at(4)?).ok()?;
    let entries = usize::from(tiff.short_at(directory)?);
    // A count that promises more entries than there are ends with the first that is not there.
    for index in 0..entries {
        let entry = directory.checked_add(2)?.checked_add(index * ENTRY)?;
        if tiff.short_at(entry)? != ORIENTATION {
            continue;
        }
        let is_one_short = tiff.short_at(entry + 2)? == SHORT && tiff.long_at(entry + 4)? == 1;
        return is_one_short
            .then_some(tiff.short_at(entry + 8)?)
            .and_then(|it| u8::try_from(it).ok())
            .filter(|it| (1..=8).contains(it));
    }
    None
}

/// TIFF data in one of its two byte orders.
struct Tiff<'a> {
    bytes: &'a [u8],
    short: fn([u8; 2]) -> u16,
    long: fn([u8; 4]) -> u32,
}

impl Tiff<'_> {
    fn short_at(&self, at: usize) -> Option<u16> {
        Some((self.short)(*self.bytes.get(at..)?.first_chunk()?))
    }

    fn long_at(&self, at: usize) -> Option<u32> {
        Some((self.long)(*self.bytes.get(at..)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn little_endian(directory: u32, count: u16, kind: u16, value: u16) -> Vec<u8> {
        let mut tiff = b"II*\0".to_vec();
        tiff.extend(directory.to_le_bytes());
        tiff.extend(count.to_le_bytes());
        tiff.extend(ORIENTATION.to_le_bytes());
        tiff.extend(kind.to_le_bytes());
        tiff.extend(1u32.to_le_bytes());
        tiff.extend(value.to_le_bytes());
        tiff.extend([0, 0]);
        tiff
    }

    #[test]
    fn both_byte_orders_are_read() {
        let mut big = b"MM\0*\0\0\0\x08\0\x01".to_vec();
        big.extend(b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0");

        assert_eq!(orientation(&big), Some(6));
        assert_eq!(orientation(&little_endian(8, 1, SHORT, 8)), Some(8));
    }

    #[test]
    fn data_that_makes_no_sense_is_no_orientation() {
        for tiff in [
            Vec::new(),
            b"II*\0".to_vec(),
            little_endian(u32::MAX, 1, SHORT, 6),
            little_endian(8, 0, SHORT, 6),
            little_endian(8, 1, 4, 6),
            little_endian(8, 1, SHORT, 0),
            little_endian(8, 1, SHORT, 9),
            little_endian(8, 1, SHORT, 262),
        ] {
            assert_eq!(orientation(&tiff), None, "{tiff:?}");
        }
    }

    #[test]
    fn a_directory_that_promises_too_much_is_read_as_far_as_it_goes() {
        assert_eq!(orientation(&little_endian(8, u16::MAX, SHORT, 3)), Some(3));
    }
}
