//! What a service of the operator's says of a picture before it counts as stored.
//!
//! It is asked over HTTP about every frame that passed the door, on whatever way the frame came. A frame is let in only
//! where the answer says so: silence and anything that is not understood keep it out.

use crate::session::{FrameNumber, SessionId};
use crate::storage::{CONTENT_TYPE, FramePath};
use crate::upstream::{self, RetryPolicy, Service, UpstreamError, UpstreamErrorKind, retry};
use bytes::Bytes;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::fmt::{self, Debug};
use std::time::Duration;
use tokio::sync::Semaphore;
use url::Url;

/// What the service is asked, in the words of the log.
const OPERATION: &str = "moderate";
/// The most of an answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// The most of a reason that is passed on, in characters.
const MAX_REASON: usize = 200;

/// Where a service is that looks at frames before they are stored.
#[derive(Debug, Clone)]
pub struct ModerationSettings {
    /// Where frames are posted.
    pub url: Url,
    /// What it knows us by, sent as `Authorization: Bearer`.
    pub token: Option<SecretString>,
    /// How patiently it is asked.
    pub limits: ModerationLimits,
}

/// How patiently and how busily the service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModerationLimits {
    /// For one try, from the request's first byte to the answer's last.
    pub attempt_timeout: Duration,
    /// For one frame, with all tries and waits.
    pub call_timeout: Duration,
    /// Frames that are looked at at one time.
    pub max_in_flight: usize,
    /// How often a frame is tried.
    pub retry: RetryPolicy,
}

impl Default for ModerationLimits {
    fn default() -> Self {
        Self {
            attempt_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
            max_in_flight: 8,
            retry: RetryPolicy {
                attempts: 3,
                base_delay: Duration::from_millis(200),
                max_delay: Duration::from_secs(2),
                deadline: Duration::from_secs(20),
            },
        }
    }
}

/// What the service says of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be stored.
    Allowed,
    /// It may not be, and perhaps why.
    Refused(Option<String>),
}

/// Asks a service about frames.
pub struct Moderation {
    http: Client,
    settings: ModerationSettings,
    in_flight: Semaphore,
}

/// The answer as it is written. What else it says is the service's own affair.
#[derive(Debug, Deserialize)]
struct Answer {
    allow: bool,
    #[serde(default)]
    reason: Option<String>,
}

impl Moderation {
    /// A client of the service; nothing is asked yet.
    pub fn connect(settings: &ModerationSettings) -> Result<Self, UpstreamError> {
        let http = Client::builder()
            .user_agent(concat!("swimcoach/", env!("CARGO_PKG_VERSION")))
            // Pictures and the token go where the operator said, and nowhere else.
            .redirect(Policy::none())
            .build()
            .map_err(|error| failed(UpstreamErrorKind::Rejected, error))?;
        let in_flight = Semaphore::new(settings.limits.max_in_flight);
        Ok(Self { http, settings: settings.clone(), in_flight })
    }

    /// What the service says of a frame that is about to be stored.
    pub async fn judge(&self, path: &FramePath, jpeg: &Bytes) -> Result<Verdict, UpstreamError> {
        let limits = &self.settings.limits;
        let judged = retry(&limits.retry, || async {
            // The semaphore is never closed; were it, the service would be asked without its bound.
            let _place = self.in_flight.acquire().await;
            within(limits.attempt_timeout, self.ask(path, jpeg.clone())).await
        });
        within(limits.call_timeout, judged).await
    }

    /// Whether the service gives a verdict, whichever, on a grey picture.
    pub async fn check(&self) -> Result<(), UpstreamError> {
        let grey = grey_picture().map_err(|error| failed(UpstreamErrorKind::Rejected, error))?;
        let path = FramePath::new(SessionId::new(), FrameNumber::FIRST);
        self.judge(&path, &grey).await.map(drop)
    }

    async fn ask(&self, path: &FramePath, jpeg: Bytes) -> Result<Verdict, UpstreamError> {
        let request = self
            .http
            .post(self.settings.url.clone())
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .header("x-session-id", path.session.to_string())
            .header("x-frame-number", path.number.to_string());
        let request = match &self.settings.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let response = request.body(jpeg).send().await.map_err(transport)?;
        if response.status() != StatusCode::OK {
            return Err(refusal(&response));
        }
        let answer = read(response).await?;
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|error| failed(UpstreamErrorKind::InvalidResponse, error))?;
        Ok(if answer.allow {
            Verdict::Allowed
        } else {
            Verdict::Refused(answer.reason.as_deref().and_then(presentable))
        })
    }
}

impl Debug for Moderation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may be a private one.
        f.debug_struct("Moderation").finish_non_exhaustive()
    }
}

/// A status that is no verdict.
fn refusal(response: &Response) -> UpstreamError {
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|it| it.to_str().ok());
    let retry_after = retry_after.and_then(upstream::seconds);
    let kind = match response.status().as_u16() {
        401 | 403 => UpstreamErrorKind::Unauthorized,
        404 => UpstreamErrorKind::NotFound,
        429 => UpstreamErrorKind::RateLimited { retry_after },
        503 if retry_after.is_some() => UpstreamErrorKind::RateLimited { retry_after },
        408 | 500..=599 => UpstreamErrorKind::Unavailable,
        _ => UpstreamErrorKind::InvalidResponse,
    };
    failed(kind, format!("status {}", response.status().as_u16()))
}

async fn read(mut response: Response) -> Result<Vec<u8>, UpstreamError> {
    let mut answer = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(transport)? {
        if MAX_ANSWER_BYTES < answer.len() + piece.len() {
            let why = format!("an answer of more than {MAX_ANSWER_BYTES} bytes");
            return Err(failed(UpstreamErrorKind::InvalidResponse, why));
        }
        answer.extend_from_slice(&piece);
    }
    Ok(answer)
}

/// A reason as it may be shown: one short line, `None` when nothing is left of it.
fn presentable(reason: &str) -> Option<String> {
    let printable = reason.chars().map(|it| if it.is_control() { ' ' } else { it });
    let short: String = printable.take(MAX_REASON).collect();
    let short = short.trim();
    (!short.is_empty()).then(|| short.to_owned())
}

fn grey_picture() -> Result<Bytes, jpeg_encoder::EncodingError> {
    const SIDE: u16 = 200;
    let mut file = Vec::new();
    let pixels = vec![128; usize::from(SIDE) * usize::from(SIDE)];
    jpeg_encoder::Encoder::new(&mut file, 90).encode(&pixels, SIDE, SIDE, jpeg_encoder::ColorType::Luma)?;
    Ok(file.into())
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_late| Err(failed(UpstreamErrorKind::Timeout, format!("not done within {limit:?}"))))
}

fn transport(error: reqwest::Error) -> UpstreamError {
    upstream::transport(Service::Moderation, OPERATION, error)
}

fn failed(
    kind: UpstreamErrorKind,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> UpstreamError {
    UpstreamError::new(Service::Moderation, OPERATION, kind, source)
}
