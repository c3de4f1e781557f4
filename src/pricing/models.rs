//! What models cost, by the token.

use super::PriceError;
use super::check::{Check, parse_toml};
use crate::analysis::{MicroUsd, Usage};
use chrono::NaiveDate;
use serde::Deserialize;
use std::collections::BTreeMap;

const CLAUDE: &str = include_str!("../../prices/claude.toml");

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
            let rates = checked_rates(
                &mut check,
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
                rates: checked_rates(
                    &mut check,
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

/// Rates out of the texts of input, the two ways to write to the cache, reading from it, and output.
fn checked_rates(check: &mut Check, of: &str, [input, short, long, read, output]: [&String; 5]) -> Rates {
    let mut price = |name, text| check.price(&format!("{of}: {name}"), text);
    let rates = Rates {
        input: price("input", input),
        cache_write_5m: price("cache_write_5m", short),
        cache_write_1h: price("cache_write_1h", long),
        cache_read: price("cache_read", read),
        output: price("output", output),
    };
    let in_order = [rates.cache_read, rates.input, rates.cache_write_5m, rates.cache_write_1h];
    // A price that is none is told already.
    if !in_order.contains(&0) && !in_order.is_sorted() {
        check.problem(format!(
            "{of}: cache_read, input, cache_write_5m and cache_write_1h must be no less than the one before"
        ));
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(id: &str) -> ModelPrices {
        PriceList::embedded().unwrap().model(id).unwrap()
    }

    #[test]
    fn the_built_in_prices_are_whole_and_have_a_date() {
        assert_eq!(prices("claude-sonnet-5-5").as_of().to_string(), "2026-11-23");
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
