//! What storage costs, by the month.

use super::PriceError;
use super::check::{Check, parse_toml};
use crate::analysis::MicroUsd;
use crate::ledger::StorageUse;
use chrono::NaiveDate;
use serde::Deserialize;

const R2: &str = include_str!("../../prices/r2.toml");

/// Bytes in a gigabyte.
const GB: u64 = 1_000_000_000;
/// Operations are paid for by the million.
const MILLION: u64 = 1_000_000;

/// What storage costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoragePrices {
    /// The day of which the prices are.
    pub as_of: NaiveDate,
    /// A gigabyte kept for a month, in nano-USD.
    pub storage_gb_month: u64,
    /// One write or listing, in nano-USD.
    pub class_a: u64,
    /// One read, in nano-USD.
    pub class_b: u64,
    /// What a month has free of charge.
    pub free: FreeStorage,
}

/// What a month has free of charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreeStorage {
    /// Gigabytes kept for the month.
    pub storage_gb_month: u64,
    /// Writes and listings.
    pub class_a: u64,
    /// Reads.
    pub class_b: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StorageFile {
    as_of: String,
    source: String,
    storage_gb_month: String,
    class_a_million: String,
    class_b_million: String,
    free: FreeStorage,
}

impl StoragePrices {
    /// The prices that were built in.
    pub fn embedded() -> Result<Self, PriceError> {
        Self::parse(R2)
    }

    /// The prices of a file in the shape of `prices/r2.toml`. A price may be zero, as where the server is one's own.
    ///
    /// ```
    /// use swimcoach::pricing::StoragePrices;
    ///
    /// let of_our_own = StoragePrices::parse(
    ///     r#"
    ///     as_of = "2026-11-23"
    ///     source = "our own server"
    ///     storage_gb_month = "0.01"
    ///     class_a_million = "0"
    ///     class_b_million = "0"
    ///     free = { storage_gb_month = 0, class_a = 0, class_b = 0 }
    ///     "#,
    /// )?;
    /// assert_eq!(of_our_own.storage_gb_month, 10_000_000);
    /// # Ok::<(), swimcoach::pricing::PriceError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        let file: StorageFile = parse_toml(text)?;
        let mut check = Check::default();
        let prices = Self {
            as_of: check.origin(&file.as_of, &file.source),
            // Three digits more make nano-USD of what is given for a million, and nine of what is given for one.
            storage_gb_month: check.price_or_zero("storage_gb_month", &file.storage_gb_month) * MILLION,
            class_a: check.price_or_zero("class_a_million", &file.class_a_million),
            class_b: check.price_or_zero("class_b_million", &file.class_b_million),
            free: file.free,
        };
        check.done(prices)
    }

    /// What a month costs beyond what is free: its operations, and so many bytes kept for the whole of it.
    ///
    /// As Cloudflare bills it, what is not free is rounded up to whole gigabytes (of 10⁹ bytes) and whole millions
    /// of operations, each class by itself. Cloudflare does so once for an account; a month of a part of it is
    /// reckoned as if it were all.
    ///
    /// ```
    /// use swimcoach::analysis::MicroUsd;
    /// use swimcoach::ledger::StorageUse;
    /// use swimcoach::pricing::StoragePrices;
    ///
    /// let r2 = StoragePrices::embedded()?;
    /// let used = StorageUse { class_a: 1_000_001, class_b: 150_000, ..StorageUse::default() };
    /// assert_eq!(r2.cost(&used, 10_000_000_001), MicroUsd(4_500_000 + 15_000));
    /// # Ok::<(), swimcoach::pricing::PriceError>(())
    /// ```
    pub fn cost(&self, used: &StorageUse, kept_bytes: u64) -> MicroUsd {
        let free_bytes = self.free.storage_gb_month.saturating_mul(GB);
        let lines = [
            (kept_bytes, free_bytes, GB, self.storage_gb_month),
            (used.class_a, self.free.class_a, MILLION, self.class_a.saturating_mul(MILLION)),
            (used.class_b, self.free.class_b, MILLION, self.class_b.saturating_mul(MILLION)),
        ];
        let nano = lines.iter().fold(0_u64, |sum, (used, free, unit, price)| {
            sum.saturating_add(used.saturating_sub(*free).div_ceil(*unit).saturating_mul(*price))
        });
        MicroUsd(nano.div_ceil(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r2() -> StoragePrices {
        StoragePrices::embedded().unwrap()
    }

    #[test]
    fn the_built_in_prices_are_those_of_the_file() {
        assert_eq!((r2().storage_gb_month, r2().class_a, r2().class_b), (15_000_000, 4500, 360));
        assert_eq!(r2().free, FreeStorage { storage_gb_month: 10, class_a: MILLION, class_b: 10 * MILLION });
    }

    #[test]
    fn a_month_within_what_is_free_costs_nothing() {
        let used = StorageUse { class_a: MILLION, class_b: 10 * MILLION, ..StorageUse::default() };

        assert_eq!(r2().cost(&used, 10 * GB), MicroUsd(0));
    }

    #[test]
    fn what_is_not_free_is_paid_for_by_whole_units_each_by_itself() {
        let of = |class_a, class_b, bytes| {
            r2().cost(&StorageUse { class_a, class_b, ..StorageUse::default() }, bytes).0
        };

        assert_eq!(of(0, 0, 10 * GB + 1), 15_000);
        assert_eq!(of(0, 0, 12 * GB), 30_000);
        assert_eq!(of(MILLION + 1, 0, 0), 4_500_000);
        assert_eq!(of(3 * MILLION, 0, 0), 9_000_000);
        assert_eq!(of(0, 10 * MILLION + 1, 0), 360_000);
        assert_eq!(of(MILLION + 1, 10 * MILLION + 1, 10 * GB + 1), 4_875_000);
    }

    #[test]
    fn no_amount_is_too_much_to_reckon() {
        let used = StorageUse { class_a: u64::MAX, class_b: u64::MAX, ..StorageUse::default() };

        assert_eq!(r2().cost(&used, u64::MAX), MicroUsd(u64::MAX.div_ceil(1000)));
    }

    #[test]
    fn everything_that_is_wrong_with_a_file_is_told() {
        let wrong = R2
            .replace("2026-11-23", "soon")
            .replace("\"0.015\"", "\"\"")
            .replace("\"4.50\"", "\"-4.5\"")
            .replace("\"0.36\"", "\"0.3601\"");

        let problems = StoragePrices::parse(&wrong).unwrap_err().problems;

        assert_eq!(problems.len(), 4, "{problems:#?}");
        for (problem, word) in problems.iter().zip(["as_of", "storage_gb_month", "-4.5", "0.3601"]) {
            assert!(problem.contains(word), "{problem}");
        }
    }

    #[test]
    fn a_price_that_is_not_there_is_an_error_and_not_zero() {
        let without: String =
            R2.lines().filter(|it| !it.starts_with("class_b_million")).flat_map(|it| [it, "\n"]).collect();

        let problems = StoragePrices::parse(&without).unwrap_err().problems;

        assert!(problems[0].contains("class_b_million"), "{problems:?}");
    }
}
