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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_time_is_read_exactly_in_both_forms(
            seconds in DateTime::<Utc>::MIN_UTC.timestamp()..=DateTime::<Utc>::MAX_UTC.timestamp(),
            nanoseconds in 0_u32..1_000_000_000,
            offset in 0..2880,
        ) {
            let time = DateTime::from_timestamp(seconds, nanoseconds).unwrap();
            let total = i128::from(seconds) * NANOSECONDS_PER_SECOND + i128::from(nanoseconds);
            let sign = if total < 0 { "-" } else { "" };
            let (whole, decimals) =
                (total.abs() / NANOSECONDS_PER_SECOND, total.abs() % NANOSECONDS_PER_SECOND);
            let cell = format!("{sign}{whole}.{decimals:09}");
            prop_assert_eq!(timestamp(&cell), Some(time), "{}", &cell);
            prop_assert_eq!(timestamp(&format!("{cell} {offset}")), Some(time));
            if NANOSECONDS_FROM < total.abs() {
                prop_assert_eq!(timestamp(&total.to_string()), Some(time));
            }
        }

        #[test]
        fn every_day_is_read(days in NaiveDate::MIN.to_epoch_days()..=NaiveDate::MAX.to_epoch_days()) {
            prop_assert_eq!(date(&days.to_string()), NaiveDate::from_epoch_days(days));
        }

        #[test]
        fn what_is_no_time_is_refused_and_never_breaks(cell in "[-+0-9. a-z]{0,45}") {
            let (number, _) = cell.split_once(' ').unwrap_or((&cell, ""));
            let plain = number.strip_prefix(['-', '+']).unwrap_or(number);
            let is_number = plain.split('.').all(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()));
            prop_assert!(timestamp(&cell).is_none() || is_number, "{}", cell);
        }
    }
}
