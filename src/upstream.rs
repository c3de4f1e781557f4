//! What can go wrong with anything remote, and the only retry loop.
//!
//! Storage, records and the model fail in the same few ways. A kind exists because somebody branches
//! on it: [`retry`] on whether to try again, `http::error` on what to answer, `doctor` on which setting
//! to name. What exactly happened is in the source, for the log; it never reaches a client.

use std::error::Error;
use std::future::Future;
use std::time::Duration;
use thiserror::Error;
use tokio::time::Instant;

/// A failure of something remote: who, doing what, in which way, and why.
#[derive(Debug, Error)]
#[error("{service}: {operation} failed ({kind})")]
pub struct UpstreamError {
    /// What failed.
    pub service: Service,
    /// What it was asked to do, in its own words: `PutObject`, `POST /v1/messages`, `INSERT`.
    pub operation: &'static str,
    /// In which way.
    pub kind: UpstreamErrorKind,
    /// What exactly happened; for logs only.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl UpstreamError {
    /// A failure of `service` in `operation`.
    pub fn new(
        service: Service,
        operation: &'static str,
        kind: UpstreamErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { service, operation, kind, source: source.into() }
    }
}

/// What the service depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Where frames are kept.
    Storage,
    /// Where records are kept.
    Records,
    /// What looks at frames.
    Model,
    /// Where callers sign in.
    Provider,
    /// What says whether a frame may be stored.
    Moderation,
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Storage => "storage",
            Self::Records => "records",
            Self::Model => "model",
            Self::Provider => "OpenID provider",
            Self::Moderation => "moderation",
        })
    }
}

/// In which way something remote failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UpstreamErrorKind {
    /// It could not be reached, broke off, or says that it is down or overloaded. Passes by itself.
    #[error("unavailable")]
    Unavailable,
    /// It did not answer in time. Passes by itself.
    #[error("timeout")]
    Timeout,
    /// It asks us to slow down, and may say for how long. Passes by itself.
    #[error("rate limited")]
    RateLimited {
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// It knows no such credentials, or they may not do this. A setting must be mended.
    #[error("unauthorized")]
    Unauthorized,
    /// The bucket, model or table named by a setting does not exist. A setting must be mended.
    #[error("not found")]
    NotFound,
    /// A spending limit or a quota is used up. Somebody must raise it.
    #[error("exhausted")]
    Exhausted,
    /// The request is larger than it takes. A smaller one may do.
    #[error("too large")]
    TooLarge,
    /// It refused this request, and would refuse it again.
    #[error("rejected")]
    Rejected,
    /// It answered something that we do not understand.
    #[error("invalid response")]
    InvalidResponse,
}

impl UpstreamErrorKind {
    /// Whether it is this request that is at fault, so that the same one never succeeds. Everything else passes
    /// or is mended by somebody.
    pub fn blames_request(self) -> bool {
        matches!(self, Self::TooLarge | Self::Rejected)
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(self) -> bool {
        match self {
            Self::Unavailable | Self::Timeout | Self::RateLimited { .. } => true,
            Self::Unauthorized
            | Self::NotFound
            | Self::Exhausted
            | Self::TooLarge
            | Self::Rejected
            | Self::InvalidResponse => false,
        }
    }
}

/// How often and how patiently a request is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Number of tries in all, at least one.
    pub attempts: u32,
    /// The wait before the second try; it doubles from there.
    pub base_delay: Duration,
    /// The longest wait that we choose by ourselves.
    pub max_delay: Duration,
    /// No wait begins that would end later than this after the first try began.
    pub deadline: Duration,
}

/// Tries `attempt` until it succeeds, fails for good, or the policy is used up.
///
/// Waits double from try to try, less up to a quarter at random so that clients do not return in step.
/// A wait that the other side asks for is kept even where it is longer than `max_delay`; where it would
/// pass the deadline the failure is returned at once, its `retry_after` intact for the caller to pass on.
pub async fn retry<T, F, Fut>(policy: &RetryPolicy, attempt: F) -> Result<T, UpstreamError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, UpstreamError>>,
{
    retry_while(UpstreamErrorKind::is_transient, policy, attempt).await
}

/// The same as [`retry`], for failures that the caller chooses.
pub(crate) async fn retry_while<T, F, Fut>(
    is_worth_it: fn(UpstreamErrorKind) -> bool,
    policy: &RetryPolicy,
    mut attempt: F,
) -> Result<T, UpstreamError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, UpstreamError>>,
{
    let start = Instant::now();
    let mut tried = 0;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        tried += 1;
        let delay = delay_before_try(policy, tried, error.kind);
        if !is_worth_it(error.kind) || policy.attempts <= tried || policy.deadline < start.elapsed() + delay {
            return Err(error);
        }
        tracing::warn!(
            service = %error.service, operation = error.operation, kind = %error.kind, cause = %error.source, tried,
            delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "{} failed, trying again", error.operation,
        );
        tokio::time::sleep(delay).await;
    }
}

/// How long to wait before the next try, after `tried` tries of which the last failed with `kind`.
pub(crate) fn delay_before_try(policy: &RetryPolicy, tried: u32, kind: UpstreamErrorKind) -> Duration {
    let doubled = policy.base_delay.saturating_mul(2_u32.saturating_pow(tried.saturating_sub(1)));
    let jittered = doubled.min(policy.max_delay).mul_f64(rand::random_range(0.75..=1.0));
    match kind {
        UpstreamErrorKind::RateLimited { retry_after: Some(asked) } => asked.max(jittered),
        _ => jittered,
    }
}

/// A request over HTTP that did not come through, or an answer that broke off.
pub(crate) fn transport(service: Service, operation: &'static str, error: reqwest::Error) -> UpstreamError {
    let kind = match error.is_timeout() {
        true => UpstreamErrorKind::Timeout,
        false if error.is_builder() => UpstreamErrorKind::Rejected,
        false => UpstreamErrorKind::Unavailable,
    };
    // The URL may be an operator's private gateway.
    UpstreamError::new(service, operation, kind, chain(&error.without_url()))
}

/// A time in seconds, whole or not, as `Retry-After` gives it.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.trim().parse().ok()?).ok()
}

/// An error and its causes in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line = format!("{line}: {cause}");
        next = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 3,
        base_delay: Duration::from_millis(100),
        max_delay: Duration::from_secs(1),
        deadline: Duration::from_secs(20),
    };

    fn failure(kind: UpstreamErrorKind) -> UpstreamError {
        UpstreamError::new(Service::Storage, "GetObject", kind, "test")
    }

    async fn tries_until_given_up(policy: &RetryPolicy, kind: UpstreamErrorKind) -> u32 {
        let tries = Cell::new(0);
        let result: Result<(), _> = retry(policy, || {
            tries.set(tries.get() + 1);
            async { Err(failure(kind)) }
        })
        .await;
        assert_eq!(result.unwrap_err().kind, kind);
        tries.get()
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_passes_is_tried_as_often_as_the_policy_says() {
        assert_eq!(tries_until_given_up(&POLICY, UpstreamErrorKind::Unavailable).await, 3);
        assert_eq!(tries_until_given_up(&POLICY, UpstreamErrorKind::Timeout).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_for_good_is_not_tried_again() {
        for kind in [
            UpstreamErrorKind::Unauthorized,
            UpstreamErrorKind::NotFound,
            UpstreamErrorKind::Exhausted,
            UpstreamErrorKind::TooLarge,
            UpstreamErrorKind::Rejected,
            UpstreamErrorKind::InvalidResponse,
        ] {
            assert_eq!(tries_until_given_up(&POLICY, kind).await, 1, "{kind}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_that_the_other_side_asks_for_is_kept() {
        let start = Instant::now();
        let kind = UpstreamErrorKind::RateLimited { retry_after: Some(Duration::from_secs(7)) };

        assert_eq!(tries_until_given_up(&POLICY, kind).await, 3);

        assert_eq!(start.elapsed().as_secs(), 14);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_past_the_deadline_is_not_begun() {
        let start = Instant::now();
        let kind = UpstreamErrorKind::RateLimited { retry_after: Some(Duration::from_mins(1)) };

        assert_eq!(tries_until_given_up(&POLICY, kind).await, 1);

        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
