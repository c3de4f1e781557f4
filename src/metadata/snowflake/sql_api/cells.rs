//! How a cell is read: every one is text, whatever its column's type.
//!
//! Units differ from those of values that are bound: a date is in days and a time in seconds with nine
//! decimals. Nothing is read through floating point, which loses microseconds at today's times.

use chrono::{DateTime, NaiveDate, Utc};

/// Above this, whole seconds would lie in the year three million: they are nanoseconds.
const NANOSECONDS_FROM: i128 = 100_000_000_000_000;
const NANOSECONDS_PER_SECOND: i128 = 1_000_000_000;

/// `"1616173619.000000000"`; with a time zone `"1616173619.000000000 960"`, where the second number is for
/// display only. An older form, whole nanoseconds, is still documented in places.
pub(super) fn timestamp(cell: &str) -> Option<DateTime<Utc>> {
    let (number, _offset) = cell.split_once(' ').unwrap_or((cell, ""));
    let nanoseconds = match number.split_once('.') {
        Some((seconds, fraction)) => fixed_point(seconds, fraction)?,
        None => match number.parse::<i128>().ok()? {
            it if NANOSECONDS_FROM < it.abs() => it,
            it => it.checked_mul(NANOSECONDS_PER_SECOND)?,
        },
    };
    let seconds = i64::try_from(nanoseconds.div_euclid(NANOSECONDS_PER_SECOND)).ok()?;
    let subsecond = u32::try_from(nanoseconds.rem_euclid(NANOSECONDS_PER_SECOND)).ok()?;
    DateTime::from_timestamp(seconds, subsecond)
}

/// Seconds and their decimals in nanoseconds; the sign stands before both.
fn fixed_point(seconds: &str, fraction: &str) -> Option<i128> {
    let digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    if !digits(fraction) || 9 < fraction.len() {
        return None;
    }
    let decimals: i128 = format!("{fraction:0<9}").parse().ok()?;
    let whole = seconds.parse::<i128>().ok()?.checked_mul(NANOSECONDS_PER_SECOND)?;
    Some(if seconds.starts_with('-') { whole - decimals } else { whole + decimals })
}

/// `"18262"`, days since the epoch.
pub(super) fn date(cell: &str) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(cell.parse().ok()?)
}

/// `"true"`, in any case.
pub(super) fn boolean(cell: &str) -> Option<bool> {
    match cell {
        _ if cell.eq_ignore_ascii_case("true") => Some(true),
        _ if cell.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}
