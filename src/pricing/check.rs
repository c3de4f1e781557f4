//! Reading a file of prices, and everything that is wrong with it.

use super::PriceError;
use chrono::NaiveDate;
use serde::de::DeserializeOwned;

/// Gathers what is wrong with a file.
#[derive(Default)]
pub(super) struct Check {
    problems: Vec<String>,
}

impl Check {
    /// Notes a problem, one sentence.
    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// The value, unless there was a problem.
    pub(super) fn done<T>(self, value: T) -> Result<T, PriceError> {
        if self.problems.is_empty() { Ok(value) } else { Err(PriceError { problems: self.problems }) }
    }

    /// The day of which a file is, which must also say where its prices stand.
    pub(super) fn origin(&mut self, as_of: &str, source: &str) -> NaiveDate {
        if source.trim().is_empty() {
            self.problem("source is empty: it says where the prices stand".to_owned());
        }
        as_of.parse().unwrap_or_else(|_no_date| {
            self.problem(format!("as_of is {as_of:?} and must be a date like 2026-11-23"));
            NaiveDate::MIN
        })
    }

    /// A price above zero in thousandths of a USD, which for what is given for a million are nano-USD for one.
    pub(super) fn price(&mut self, name: &str, text: &str) -> u64 {
        let price = thousandths(text).filter(|it| 0 < *it);
        price.unwrap_or_else(|| self.no_price(name, text, "USD above zero"))
    }

    /// The same where what is asked for may cost nothing.
    pub(super) fn price_or_zero(&mut self, name: &str, text: &str) -> u64 {
        thousandths(text).unwrap_or_else(|| self.no_price(name, text, "USD"))
    }

    fn no_price(&mut self, name: &str, text: &str, what: &str) -> u64 {
        self.problem(format!(
            "{name} is {text:?} and must be {what} like \"0.25\", with three decimals at most"
        ));
        0
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

/// A file of this shape.
pub(super) fn parse_toml<T: DeserializeOwned>(text: &str) -> Result<T, PriceError> {
    toml::from_str(text).map_err(|error| PriceError { problems: vec![error.to_string().trim().to_owned()] })
}
