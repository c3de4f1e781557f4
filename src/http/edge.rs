//! What every answer says to browsers, and under which names the service answers.

use super::AppState;
use super::error::ApiError;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;
use url::{Host, Url};

/// What an answer of the API may load and be shown in: nothing.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";
/// What the page of the description may load: its own files. Its library sets styles by itself.
const OWN_FILES: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What every answer says, unless it says something else.
const ALWAYS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];
/// What every answer says besides that a browser might open as a document.
const OPENED: [(HeaderName, &str); 3] = [
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Marks an answer that is a part of the page, such as a style sheet, which is loaded and never opened. The page has
/// many, and on a phone each header counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageFile;

/// How the service is reached from outside.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    /// The host of its public URL.
    public: Option<Arc<str>>,
    /// Whether that is reached by TLS alone.
    is_private: bool,
    /// Whether requests may name any host.
    any_host: bool,
}

impl Edge {
    /// The edge of a service with this public URL.
    pub(super) fn new(public_url: Option<&Url>, any_host: bool) -> Self {
        Self {
            public: public_url.and_then(|it| it.host_str()).map(Arc::from),
            is_private: public_url.is_some_and(|it| it.scheme() == "https"),
            any_host,
        }
    }

    /// Whether a request may name this host where nobody signs in. A page of another origin could otherwise have its own
    /// name lead to this machine, and read everything as if it were the service's page.
    fn answers_under(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let host = authority.host();
        if self.any_host || self.public.as_deref().is_some_and(|it| it.eq_ignore_ascii_case(host)) {
            return true;
        }
        match Host::parse(host) {
            Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Ok(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
            Ok(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
            Err(_) => false,
        }
    }
}

/// Refuses requests that name another host, where nobody signs in.
pub(super) async fn check_host(
    State((app, edge)): State<(AppState, Edge)>,
    request: Request,
    next: Next,
) -> Response {
    let named = request.headers().get(header::HOST).map(|it| it.to_str().unwrap_or_default());
    let named = named.or_else(|| request.uri().authority().map(Authority::as_str));
    // Browsers always name one.
    if app.identity.signs_in() || named.is_none_or(|it| edge.answers_under(it)) {
        return next.run(request).await;
    }
    super::extract::drain(request).await;
    ApiError::WrongHost.into_response()
}

/// Says to browsers what they may do with an answer.
pub(super) async fn guard(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let is_page = request.uri().path().starts_with("/docs");
    let mut response = next.run(request).await;
    let is_opened = response.extensions().get::<PageFile>().is_none();
    let headers = response.headers_mut();
    let policy = if is_page { OWN_FILES } else { NOTHING };
    let transport = edge.is_private.then_some((header::STRICT_TRANSPORT_SECURITY, "max-age=63072000"));
    let opened = OPENED.into_iter().chain([(header::CONTENT_SECURITY_POLICY, policy)]);
    let always = ALWAYS.into_iter().chain(transport).chain(opened.filter(|_| is_opened));
    for (name, value) in always {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_signs_in_a_request_names_this_machine_or_the_public_name() {
        let edge = Edge::new(Some(&"https://coach.example/app".parse().unwrap()), false);

        for own in ["localhost", "localhost:8000", "127.0.0.1:8000", "127.9.9.9", "[::1]:80", "Coach.Example"]
        {
            assert!(edge.answers_under(own), "{own}");
        }
        for other in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "", "a b"]
        {
            assert!(!edge.answers_under(other), "{other}");
            assert!(other.is_empty() || other == "a b" || Edge::new(None, true).answers_under(other));
        }
    }
}
