//! What happens to every request: its id, its problem body, its log line, and who may call from a browser.

use super::auth::{API_KEY, SESSION_TOKEN, USER_ID};
use super::error::{Problem, REQUEST_ID};
use super::events::LAST_EVENT_ID;
use super::idempotency::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED};
use super::limits;
use crate::config::AllowedOrigin;
use axum::Json;
use axum::extract::{MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::time::{Duration, Instant};
use tower_http::cors::{AllowOrigin, CorsLayer};
use uuid::Uuid;

/// Gives the request its id, writes out a problem where the answer is one, and logs one line.
pub(super) async fn observe(mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
    let asked = Asked {
        start: Instant::now(),
        request_id: request_id(request.headers()),
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        route: route.to_owned(),
        is_answered: false,
    };

    let named = Named { request_id: asked.request_id.clone(), path: asked.path.clone() };
    request.extensions_mut().insert(named);
    let response = next.run(request).await;
    let (mut response, cause) = write_problem(response, &asked.request_id, &asked.path);
    if let Ok(value) = HeaderValue::from_str(&asked.request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    asked.answered(response.status(), cause);
    response
}

/// A request as its problems and the log name it, for an answer in the midst of which something goes wrong.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) request_id: String,
    pub(super) path: String,
}

/// What a log line says about a request. Dropped before it was answered, it logs that the client went away.
struct Asked {
    start: Instant,
    request_id: String,
    method: Method,
    path: String,
    route: String,
    is_answered: bool,
}

impl Asked {
    fn answered(mut self, status: StatusCode, cause: Option<String>) {
        self.is_answered = true;
        let Self { request_id, method, path, route, .. } = &self;
        let (status, duration_ms) = (status.as_u16(), self.duration_ms());
        match cause {
            Some(cause) => tracing::error!(
                request_id, %method, route, path, status, duration_ms, cause, "{method} {path} {status}"
            ),
            None => {
                tracing::info!(request_id, %method, route, path, status, duration_ms, "{method} {path} {status}");
            }
        }
    }

    fn duration_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let Self { request_id, method, path, route, .. } = &*self;
        let duration_ms = self.duration_ms();
        tracing::info!(
            request_id, %method, route, path, duration_ms, "{method} {path} was left by its client"
        );
    }
}

/// Who may call from a browser, and what their scripts may read.
pub(super) fn cors(origins: &[AllowedOrigin]) -> CorsLayer {
    const EXPOSED: [HeaderName; 12] = [
        header::ACCEPT_RANGES,
        header::CONTENT_RANGE,
        header::ETAG,
        header::LINK,
        header::LOCATION,
        limits::LIMIT,
        limits::POLICY,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
        IDEMPOTENCY_REPLAYED,
        REQUEST_ID,
        SESSION_TOKEN,
    ];
    let origins = origins.to_vec();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin: &HeaderValue, _: &Parts| {
            origins.iter().any(|it| it.allows(origin))
        }))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            header::IF_RANGE,
            header::RANGE,
            IDEMPOTENCY_KEY,
            LAST_EVENT_ID,
            API_KEY,
            USER_ID,
            // The first version's front end sends it, and browsers ask whether they may. Nobody reads it here.
            HeaderName::from_static("x-user-email"),
            SESSION_TOKEN,
            REQUEST_ID,
        ])
        .expose_headers(EXPOSED)
        .max_age(Duration::from_hours(2))
}

/// The id that the client or a proxy gave the request, where it is fit for a log line; otherwise a new one.
fn request_id(headers: &HeaderMap) -> String {
    let is_fit = |it: &&str| {
        (1..=64).contains(&it.len())
            && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
    };
    let given = headers.get(REQUEST_ID).and_then(|it| it.to_str().ok()).filter(is_fit);
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Gives a refusal its body, whoever made it; returns what exactly happened, for the log.
fn write_problem(mut response: Response, request_id: &str, path: &str) -> (Response, Option<String>) {
    let status = response.status();
    let problem = response.extensions_mut().remove::<Problem>();
    let is_refusal = status.is_client_error() || status.is_server_error();
    // An answer with a body of ours, such as that of a service that is not ready, says what it has to say.
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|it| it == "application/json");
    let problem = match problem {
        Some(problem) => problem,
        None if is_refusal && !is_json => Problem::of_status(status),
        None => return (response, None),
    };
    let cause = problem.cause.clone().or_else(|| {
        (status == StatusCode::INTERNAL_SERVER_ERROR).then(|| "a library answered without a cause".to_owned())
    });
    let body = problem.body(request_id.to_owned(), path.to_owned());
    let mut written = (status, Json(body)).into_response();
    let kept = response.headers().iter().filter(|(name, _)| {
        **name != header::CONTENT_LENGTH
            && **name != header::CONTENT_TYPE
            && **name != header::TRANSFER_ENCODING
    });
    for (name, value) in kept {
        written.headers_mut().append(name, value.clone());
    }
    written.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(super::error::PROBLEM_JSON));
    (written, cause)
}
