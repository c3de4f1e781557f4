//! How often requests may come: from each address, before it is known who sends them, and of each caller.
//!
//! A limit is kept in each process by itself. Where addresses or callers are more than can be remembered, all others
//! share one limit, so that memory is bounded and nobody is let in unlimited.

use super::AppState;
use super::error::ApiError;
use crate::access::Caller;
use crate::config::RateSettings;
use crate::session::Owner;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Addresses or callers that are remembered at one time.
const MAX_KEYS: usize = 100_000;
/// How many share the limit of all that are not.
const OTHERS: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
/// How often those that came long ago are forgotten, at the most.
const FORGET_EVERY: Duration = Duration::from_secs(5);
/// The time for which limits are told.
const WINDOW: Duration = Duration::from_mins(1);

pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(super) const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address at the other end of a connection, in the extensions of its requests.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub IpAddr);

/// The limits of one process. Clones count together.
#[derive(Debug, Clone)]
pub struct RateLimits {
    addresses: Option<Arc<Limiter<Option<IpAddr>>>>,
    callers: Option<Arc<Limiter<Owner>>>,
    trusted_proxies: u8,
}

impl RateLimits {
    /// Limits of which nothing was used yet.
    pub fn new(settings: &RateSettings) -> Self {
        Self {
            addresses: settings.per_address.map(|it| Arc::new(Limiter::new("address", it))),
            callers: settings.per_caller.map(|it| Arc::new(Limiter::new("caller", it))),
            trusted_proxies: settings.trusted_proxies,
        }
    }
}

/// Lets a request pass where its address has not sent too many. What comes from this machine while nobody signs in is
/// its owner's.
pub(super) async fn by_address(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<PeerAddress>().map(|it| it.0);
    let address = client(peer, request.headers(), app.limits.trusted_proxies);
    let is_at_home = !app.identity.signs_in() && address.is_some_and(|it| it.to_canonical().is_loopback());
    match &app.limits.addresses {
        Some(limiter) if !is_at_home => limiter.pass(address.map(network), request, next).await,
        _ => next.run(request).await,
    }
}

/// Lets a request pass where its caller has not sent too many.
pub(super) async fn by_caller(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let owner = request.extensions().get::<Caller>().map(|it| it.owner.clone());
    match (&app.limits.callers, owner) {
        (Some(limiter), Some(owner)) if app.identity.signs_in() => limiter.pass(owner, request, next).await,
        _ => next.run(request).await,
    }
}

/// The address of the client: that of the other end, or what the outermost of the trusted proxies says it was for it. A
/// client can write what it likes into the header, to the left of what the proxies add.
fn client(peer: Option<IpAddr>, headers: &HeaderMap, trusted_proxies: u8) -> Option<IpAddr> {
    let Some(behind) = usize::from(trusted_proxies).checked_sub(1) else { return peer };
    // A line that cannot be read counts as an address that cannot.
    let lines = headers.get_all(FORWARDED_FOR).iter().map(|it| it.to_str().unwrap_or_default());
    let lines: Vec<&str> = lines.collect();
    let joined = lines.join(",");
    let said = joined.split(',').rev().nth(behind).and_then(|it| it.trim().parse().ok());
    // Whoever is not told apart shares the limit of the proxy.
    said.or(peer)
}

/// What counts as one address: an IPv4 address, or an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(it) => Ipv6Addr::from_bits(it.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

type Keyed<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>;
type Shared = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// A limit of each key.
struct Limiter<K: Hash + Eq + Clone> {
    name: &'static str,
    quota: NonZeroU32,
    keyed: Keyed<K>,
    /// Of all keys that are not remembered.
    others: Shared,
    started: Instant,
    /// When those that came long ago were forgotten last, in seconds since `started`; 0 for never.
    forgotten_at: AtomicU64,
}

impl<K: Hash + Eq + Clone> Debug for Limiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("name", &self.name)
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    fn new(name: &'static str, quota: NonZeroU32) -> Self {
        let of_others = quota.saturating_mul(OTHERS);
        Self {
            name,
            quota,
            keyed: RateLimiter::dashmap(Quota::per_minute(quota)).with_middleware(),
            others: RateLimiter::direct(Quota::per_minute(of_others)).with_middleware(),
            started: Instant::now(),
            forgotten_at: AtomicU64::new(0),
        }
    }

    async fn pass(&self, key: K, request: Request, next: Next) -> Response {
        let (mut response, left, wait) = match self.take(&key) {
            Ok(left) => (next.run(request).await, left, Duration::ZERO),
            Err(wait) => {
                super::extract::drain(request).await;
                (ApiError::TooOften { wait }.into_response(), 0, wait)
            }
        };
        let (q, w) = (self.quota, WINDOW.as_secs());
        // How long it takes until all of it may be used again.
        let used = f64::from(self.quota.get() - left.min(self.quota.get()));
        let full = used * WINDOW.as_secs_f64() / f64::from(self.quota.get());
        let t = full.max(wait.as_secs_f64()).ceil();
        let name = self.name;
        for (header, value) in
            [(POLICY, format!("\"{name}\";q={q};w={w}")), (LIMIT, format!("\"{name}\";r={left};t={t:.0}"))]
        {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(header, value);
            }
        }
        response
    }

    /// Takes one of what a key has; how much is left, or how long to wait.
    fn take(&self, key: &K) -> Result<u32, Duration> {
        if MAX_KEYS <= self.keyed.len() {
            self.forget();
        }
        let now = DefaultClock::default().now();
        if MAX_KEYS <= self.keyed.len() {
            let taken = self.others.check();
            return taken.map(|it| it.remaining_burst_capacity()).map_err(|it| it.wait_time_from(now));
        }
        let taken = self.keyed.check_key(key);
        taken.map(|it| it.remaining_burst_capacity()).map_err(|it| it.wait_time_from(now))
    }

    /// Forgets the keys that have all of their limit again, unless that was done a moment ago.
    fn forget(&self) {
        let now = self.started.elapsed().as_secs();
        let last = self.forgotten_at.load(Ordering::Relaxed);
        let is_due = last == 0 || last + FORGET_EVERY.as_secs() <= now;
        let exchange =
            |it: &AtomicU64| it.compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed);
        if is_due && exchange(&self.forgotten_at).is_ok() {
            self.keyed.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|it| (FORWARDED_FOR, HeaderValue::from_str(it).unwrap())).collect()
    }

    #[test]
    fn the_address_is_what_the_outermost_trusted_proxy_says_and_never_what_the_client_wrote() {
        let ip = |it: &str| it.parse::<IpAddr>().unwrap();
        let peer = Some(ip("10.0.0.9"));
        for (proxies, lines, expected) in [
            (0, vec!["1.1.1.1"], "10.0.0.9"),
            (1, vec!["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            (1, vec!["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
            (2, vec!["6.6.6.6, 1.1.1.1, 10.0.0.8"], "1.1.1.1"),
            (2, vec!["1.1.1.1"], "10.0.0.9"),
            (1, vec!["1.1.1.1, nobody"], "10.0.0.9"),
            (1, vec![], "10.0.0.9"),
            (1, vec!["2001:db8::1"], "2001:db8::1"),
        ] {
            assert_eq!(client(peer, &headers(&lines), proxies), Some(ip(expected)), "{proxies} {lines:?}");
        }
        let mut unreadable = headers(&["6.6.6.6"]);
        unreadable.append(FORWARDED_FOR, HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(client(peer, &unreadable, 1), peer);
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(network(ip("::ffff:1.2.3.4")), ip("1.2.3.4"));
    }

    #[test]
    fn each_key_has_its_own_limit_and_is_told_how_long_to_wait() {
        let limiter = Limiter::new("caller", NonZeroU32::new(3).unwrap());

        let left: Vec<_> = (0..3).map(|_| limiter.take(&"a").unwrap()).collect();
        let wait = limiter.take(&"a").unwrap_err();

        assert_eq!(left, [2, 1, 0]);
        assert!(Duration::ZERO < wait && wait <= Duration::from_secs(20), "{wait:?}");
        assert_eq!(limiter.take(&"b"), Ok(2));
    }
}
