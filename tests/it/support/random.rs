//! Cases that are random and the same in every run.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// So many cases of a fixed seed, of which no file is kept: a failure prints the smallest input that fails.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5717),
        ..ProptestConfig::default()
    }
}
