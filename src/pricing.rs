//! Prices: what is paid for, since when, and what a request or a month came to.
//!
//! The data lies in `prices/` as files with a date and a source; they are built in and checked as a whole. All
//! figures are whole numbers of nano-USD. A price that is not known is an error and never zero.

mod check;
mod models;
mod storage;

pub use models::{ModelPrices, PriceList};
pub use storage::{FreeStorage, StoragePrices};

use std::fmt::{self, Display};
use thiserror::Error;

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
