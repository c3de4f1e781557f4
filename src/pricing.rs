//! Prices: what is paid for, since when, and what a request came to.
//!
//! The data lies in `prices/` as files with a date and a source; they are built in and checked as a whole. All
//! figures are whole numbers of nano-USD. A price that is not known is an error and never zero.

use crate::analysis::{MicroUsd, Usage};
use chrono::NaiveDate;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use thiserror::Error;

const CLAUDE: &str = include_str!("../prices/claude.toml");
const R2: &str = include_str!("../prices/r2.toml");

/// What each model costs.
///
/// # Invariant
/// Of one model's prices none is zero, and to read from the cache costs no more than to read afresh, that no more
/// than to write for five minutes, and that no more than to write for an hour. So what is priced as written for
/// an hour is priced at the most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceList {
    as_of: NaiveDate,
    models: BTreeMap<String, (Rates, Option<LongPrompt>)>,
}

/// What one model costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelPrices {
    as_of: NaiveDate,
    rates: Rates,
    long_prompt: Option<LongPrompt>,
}

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

/// All that is wrong with a file of prices.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct PriceError {
    /// One sentence for each problem.
    pub problems: Vec<String>,
}

impl Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

/// What one token costs, in nano-USD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rates {
    input: u64,
    cache_write_5m: u64,
    cache_write_1h: u64,
    cache_read: u64,
    output: u64,
}

/// What a token costs in a request that reads many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LongPrompt {
    /// The most tokens that are read at the other prices.
    above_tokens: u64,
    rates: Rates,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    as_of: String,
    source: String,
    model: Vec<ModelEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelEntry {
    id: String,
    input: String,
    cache_write_5m: String,
    cache_write_1h: String,
    cache_read: String,
    output: String,
    #[serde(default)]
    long_prompt: Option<LongPromptEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongPromptEntry {
    above_tokens: u64,
    input: String,
    cache_write_5m: String,
    cache_write_1h: String,
    cache_read: String,
    output: String,
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

impl PriceList {
    /// The prices that were built in.
    pub fn embedded() -> Result<Self, PriceError> {
        Self::parse(CLAUDE)
    }

    /// The prices of a file in the shape of `prices/claude.toml`.
    ///
    /// ```
    /// use swimcoach::pricing::PriceList;
    ///
    /// let error = PriceList::parse("as_of = 'today'\nsource = ''\nmodel = []").unwrap_err();
    /// assert_eq!(error.problems.len(), 3);
    /// ```
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        let file: PriceFile = parse_toml(text)?;
        let mut check = Check::default();
        let as_of = check.origin(&file.as_of, &file.source);
        if file.model.is_empty() {
            check.problem("there is no [[model]]".to_owned());
        }
        let mut models = BTreeMap::new();
        for entry in file.model {
            let rates = check.rates(
                &entry.id,
                [
                    &entry.input,
                    &entry.cache_write_5m,
                    &entry.cache_write_1h,
                    &entry.cache_read,
                    &entry.output,
                ],
            );
            let long_prompt = entry.long_prompt.map(|it| LongPrompt {
                above_tokens: it.above_tokens,
                rates: check.rates(
                    &format!("{}, long_prompt", entry.id),
                    [&it.input, &it.cache_write_5m, &it.cache_write_1h, &it.cache_read, &it.output],
                ),
            });
            if models.insert(entry.id.clone(), (rates, long_prompt)).is_some() {
                check.problem(format!("{} is there twice", entry.id));
            }
        }
        check.done(Self { as_of, models })
    }

    /// The prices of a model; `None` when they are not known.
    pub fn model(&self, id: &str) -> Option<ModelPrices> {
        let (rates, long_prompt) = *self.models.get(id)?;
        Some(ModelPrices { as_of: self.as_of, rates, long_prompt })
    }
}

impl ModelPrices {
    /// The day of which the prices are.
    pub fn as_of(&self) -> NaiveDate {
        self.as_of
    }

    /// What one request came to, rounded up to a micro-USD.
    ///
    /// Tokens that were written to the cache for a time that is not told are priced as for an hour.
    ///
    /// ```
    /// use swimcoach::analysis::{MicroUsd, Usage};
    /// use swimcoach::pricing::PriceList;
    ///
    /// let sonnet = PriceList::embedded()?.model("claude-sonnet-5-5").unwrap();
    /// let usage = Usage { input_tokens: 1, output_tokens: 1000, ..Usage::default() };
    /// assert_eq!(sonnet.cost(&usage), MicroUsd(10_002));
    /// # Ok::<(), swimcoach::pricing::PriceError>(())
    /// ```
    pub fn cost(&self, usage: &Usage) -> MicroUsd {
        let read = usage
            .input_tokens
            .saturating_add(usage.cache_creation_input_tokens)
            .saturating_add(usage.cache_read_input_tokens);
        let rates = match self.long_prompt {
            Some(it) if it.above_tokens < read => it.rates,
            _ => self.rates,
        };
        let short = usage.cache_creation_5m_input_tokens.min(usage.cache_creation_input_tokens);
        let long = usage.cache_creation_input_tokens - short;
        let parts = [
            (usage.input_tokens, rates.input),
            (short, rates.cache_write_5m),
            (long, rates.cache_write_1h),
            (usage.cache_read_input_tokens, rates.cache_read),
            (usage.output_tokens, rates.output),
        ];
        let nano =
            parts.iter().fold(0_u64, |sum, (tokens, rate)| sum.saturating_add(tokens.saturating_mul(*rate)));
        MicroUsd(nano.div_ceil(1000))
    }
}

impl StoragePrices {
    /// The prices that were built in.
    pub fn embedded() -> Result<Self, PriceError> {
        let file: StorageFile = parse_toml(R2)?;
        let mut check = Check::default();
        let prices = Self {
            as_of: check.origin(&file.as_of, &file.source),
            // Three digits more make nano-USD of what is given for a million, and nine of what is given for one.
            storage_gb_month: check.price("storage_gb_month", &file.storage_gb_month) * 1_000_000,
            class_a: check.price("class_a_million", &file.class_a_million),
            class_b: check.price("class_b_million", &file.class_b_million),
            free: file.free,
        };
        check.done(prices)
    }
}

/// Gathers what is wrong with a file.
#[derive(Default)]
struct Check {
    problems: Vec<String>,
}

impl Check {
    fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn done<T>(self, value: T) -> Result<T, PriceError> {
        if self.problems.is_empty() { Ok(value) } else { Err(PriceError { problems: self.problems }) }
    }

    fn origin(&mut self, as_of: &str, source: &str) -> NaiveDate {
        if source.trim().is_empty() {
            self.problem("source is empty: it says where the prices stand".to_owned());
        }
        as_of.parse().unwrap_or_else(|_no_date| {
            self.problem(format!("as_of is {as_of:?} and must be a date like 2026-11-23"));
            NaiveDate::MIN
        })
    }

    /// Rates out of the texts of input, the two ways to write to the cache, reading from it, and output.
    fn rates(&mut self, of: &str, [input, short, long, read, output]: [&String; 5]) -> Rates {
        let n_problems = self.problems.len();
        let mut price = |name, text| self.price(&format!("{of}: {name}"), text);
        let rates = Rates {
            input: price("input", input),
            cache_write_5m: price("cache_write_5m", short),
            cache_write_1h: price("cache_write_1h", long),
            cache_read: price("cache_read", read),
            output: price("output", output),
        };
        let in_order =
            [rates.cache_read, rates.input, rates.cache_write_5m, rates.cache_write_1h].is_sorted();
        if n_problems == self.problems.len() && !in_order {
            self.problem(format!(
                "{of}: cache_read, input, cache_write_5m and cache_write_1h must be no less than the one before"
            ));
        }
        rates
    }

    /// Thousandths of a USD, which for a price of a million are nano-USD for one.
    fn price(&mut self, name: &str, text: &str) -> u64 {
        match thousandths(text) {
            Some(price) if 0 < price => price,
            _ => {
                self.problem(format!(
                    "{name} is {text:?} and must be USD above zero like \"0.25\", with three decimals at most"
                ));
                0
            }
        }
    }
}

/// A decimal as a whole number of thousandths, when it is one.
fn thousandths(text: &str) -> Option<u64> {
    /// No price is higher than a million USD.
    const MAX_DIGITS: usize = 6;
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |it: &str, max| (1..=max).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_digit());
    if !is_number(whole, MAX_DIGITS) || !is_number(decimals, 3) {
        return None;
    }
    format!("{whole}{decimals:0<3}").parse().ok()
}

fn parse_toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, PriceError> {
    toml::from_str(text).map_err(|error| PriceError { problems: vec![error.to_string().trim().to_owned()] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(id: &str) -> ModelPrices {
        PriceList::embedded().unwrap().model(id).unwrap()
    }

    #[test]
    fn the_built_in_prices_are_whole_and_have_a_date() {
        let storage = StoragePrices::embedded().unwrap();

        assert_eq!(prices("claude-sonnet-5-5").as_of().to_string(), "2026-11-23");
        assert_eq!((storage.storage_gb_month, storage.class_a, storage.class_b), (15_000_000, 4500, 360));
        assert_eq!(storage.free.class_a, 1_000_000);
    }

    #[test]
    fn every_kind_of_token_has_its_own_price() {
        let usage = Usage {
            requests: 1,
            input_tokens: 1_000_000,
            cache_creation_input_tokens: 3_000_000,
            cache_creation_5m_input_tokens: 1_000_000,
            cache_creation_1h_input_tokens: 2_000_000,
            cache_read_input_tokens: 4_000_000,
            output_tokens: 5_000_000,
            cost: None,
        };

        assert_eq!(
            prices("claude-opus-5-5").cost(&usage),
            MicroUsd(4_000_000 + 5_000_000 + 16_000_000 + 800_000 + 100_000_000)
        );
    }

    #[test]
    fn tokens_that_were_written_for_a_time_that_is_not_told_cost_as_for_an_hour() {
        let usage = Usage { cache_creation_input_tokens: 1_000_000, ..Usage::default() };

        assert_eq!(prices("claude-sonnet-5-5").cost(&usage), MicroUsd(4_000_000));
    }

    #[test]
    fn what_is_less_than_a_micro_usd_is_rounded_up() {
        let haiku = prices("claude-haiku-5-5");
        let reads = |tokens| haiku.cost(&Usage { cache_read_input_tokens: tokens, ..Usage::default() });

        assert_eq!(
            (reads(0), reads(1), reads(100), reads(101)),
            (MicroUsd(0), MicroUsd(1), MicroUsd(1), MicroUsd(2))
        );
    }

    #[test]
    fn a_prompt_above_the_mark_costs_its_own_prices_throughout() {
        let haiku = prices("claude-haiku-5-5");
        let of = |input, cached| Usage {
            input_tokens: input,
            cache_read_input_tokens: cached,
            output_tokens: 1000,
            ..Usage::default()
        };

        assert_eq!(haiku.cost(&of(60_000, 40_000)), MicroUsd(6000 + 400 + 500));
        assert_eq!(haiku.cost(&of(60_001, 40_000)), MicroUsd(30_001 + 2000 + 2500));
    }

    #[test]
    fn a_model_without_a_price_has_none() {
        assert_eq!(PriceList::embedded().unwrap().model("claude-of-tomorrow"), None);
    }

    #[test]
    fn everything_that_is_wrong_with_a_file_is_told() {
        let twice = CLAUDE.replace("claude-opus-5-5", "claude-sonnet-5-5").replace("2026-11-23", "soon");
        let wrong = twice.replacen("\"12.50\"", "\"-12.5\"", 1).replacen("\"0.20\"", "\"0\"", 1);

        let problems = PriceList::parse(&wrong).unwrap_err().problems;

        assert_eq!(problems.len(), 4, "{problems:#?}");
        for (problem, word) in problems.iter().zip(["as_of", "-12.5", "cache_read", "twice"]) {
            assert!(problem.contains(word), "{problem}");
        }
    }

    #[test]
    fn a_price_is_a_decimal_and_nothing_else() {
        for text in
            ["", "0", "0.000", "1e3", "+1", " 1", "1.", ".5", "0.1234", "1,5", "NaN", "99999999999999999999"]
        {
            let file = CLAUDE.replacen("\"10\"", &format!("{text:?}"), 1);

            assert_eq!(PriceList::parse(&file).unwrap_err().problems.len(), 1, "{text:?}");
        }
    }

    #[test]
    fn prices_of_the_cache_that_are_out_of_order_are_told() {
        let file = CLAUDE.replacen("\"12.50\"", "\"0.5\"", 1);

        let problems = PriceList::parse(&file).unwrap_err().problems;

        assert!(problems[0].contains("no less than"), "{problems:?}");
    }
}
