//! How often callers may come, and how much each may have.

use super::{MIB, Reader};
use std::num::NonZeroU32;

/// How often requests may come; no limit where absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateSettings {
    /// From each address in a minute; those of one IPv6 network of 64 bits count as one.
    pub per_address: Option<NonZeroU32>,
    /// Of each caller in a minute.
    pub per_caller: Option<NonZeroU32>,
    /// Proxies in front of the service, each of which adds to `X-Forwarded-For`.
    pub trusted_proxies: u8,
}

/// How much each caller may have; no limit where absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Number of sessions.
    pub sessions: Option<u64>,
    /// Bytes of all their frames.
    pub bytes: Option<u64>,
}

impl Reader<'_> {
    pub(super) fn rates(&mut self) -> RateSettings {
        RateSettings {
            per_address: self.rate("RATE_LIMIT_PER_ADDRESS", 1200),
            per_caller: self.rate("RATE_LIMIT_PER_CALLER", 600),
            trusted_proxies: self.number("TRUSTED_PROXIES", 0, 0..=16),
        }
    }

    pub(super) fn quotas(&mut self) -> Quotas {
        Quotas {
            sessions: self.at_most("MAX_SESSIONS_PER_CALLER", 1_000_000_000),
            bytes: self.at_most("MAX_STORED_MB_PER_CALLER", 1_000_000_000).map(|it| it * MIB),
        }
    }

    pub(super) fn analyses_per_day(&mut self) -> Option<u32> {
        self.at_most("ANALYSES_PER_CALLER_AND_DAY", 1_000_000)
    }

    fn rate(&mut self, name: &str, default: u32) -> Option<NonZeroU32> {
        if self.text(name).as_deref() == Some("off") {
            return None;
        }
        NonZeroU32::new(self.number(name, default, 1..=1_000_000))
    }

    /// A limit that there is none of when it is not set.
    fn at_most<T>(&mut self, name: &str, max: T) -> Option<T>
    where
        T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy + From<u8>,
    {
        self.is_set(name).then(|| self.number(name, max, T::from(0)..=max))
    }
}
