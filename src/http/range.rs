//! Which bytes a `Range` header asks for.
//!
//! RFC 9110, section 14: one range of bytes is served, anything else that is well formed or not is as if it had not been
//! asked for. The parser of the headers crate leaves out a last part that is longer than the whole, which the RFC serves.

use std::ops::Range;

/// What is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ranged {
    /// Everything.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Nothing, since the range has none of the bytes.
    Unsatisfiable,
}

/// What the value of a `Range` header asks for of `size` bytes.
pub(super) fn ranged(value: &str, size: u64) -> Ranged {
    let Some((unit, set)) = value.split_once('=') else { return Ranged::Whole };
    // More than one range would have to be answered in parts.
    let Some((first, last)) = set.trim().split_once('-').filter(|_| !set.contains(',')) else {
        return Ranged::Whole;
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Ranged::Whole;
    }
    match (position(first), position(last)) {
        (Some(first), Some(last)) if last < first => Ranged::Whole,
        (Some(first), _) if size <= first && (last.is_empty() || position(last).is_some()) => {
            Ranged::Unsatisfiable
        }
        (Some(first), Some(last)) => Ranged::Part(first..last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => Ranged::Part(first..size),
        (None, Some(0)) if first.is_empty() => Ranged::Unsatisfiable,
        (None, Some(_)) if first.is_empty() && size == 0 => Ranged::Unsatisfiable,
        (None, Some(length)) if first.is_empty() => Ranged::Part(size.saturating_sub(length)..size),
        _ => Ranged::Whole,
    }
}

/// A whole number of digits only. One that is too large for any size is as large as can be.
fn position(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_served_as_far_as_there_are_bytes() {
        for (value, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-9", 0..10),
            ("bytes=3-5", 3..6),
            ("bytes=3-", 3..10),
            ("bytes=9-", 9..10),
            ("bytes=3-999999999999999999999999", 3..10),
            ("bytes=-1", 9..10),
            ("bytes=-10", 0..10),
            ("bytes=-11", 0..10),
            ("bytes=-99999999999999999999999", 0..10),
            ("BYTES= 3-5 ", 3..6),
        ] {
            assert_eq!(ranged(value, 10), Ranged::Part(expected), "{value}");
        }
    }

    #[test]
    fn a_range_behind_the_end_has_no_bytes() {
        for value in ["bytes=10-", "bytes=10-11", "bytes=99999999999999999999999-", "bytes=-0"] {
            assert_eq!(ranged(value, 10), Ranged::Unsatisfiable, "{value}");
        }
        assert_eq!(ranged("bytes=-5", 0), Ranged::Unsatisfiable);
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_not_asked_for() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-3",
            "bytes=0-1,3-4",
            "bytes=a-b",
            "bytes=+1-3",
            "bytes=1-x",
            "bytes=x-1",
            "bytes=-x",
            "bytes=10-x",
            "frames=0-1",
            "bytes = 0-1",
            "bytes=1 - 3",
            "bytes=0x1-3",
        ] {
            assert_eq!(ranged(value, 10), Ranged::Whole, "{value}");
        }
    }
}
