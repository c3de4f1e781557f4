//! Claude, over the Messages API: labelled frames in, an answer of a fixed JSON shape out, streamed.
//!
//! Sources: platform.claude.com, Messages, Vision, Structured outputs, Streaming, Prompt caching and
//! Errors, for API version 2026-10-21.

mod answer;
mod body;
mod error;
mod estimate;
mod events;
mod model;
mod partial;
mod request;
mod stream;
mod telling;

use self::body::Body;
use self::model::Model;
use self::request::Pass;
use self::stream::Message;
use self::telling::Telling;
use super::prompt::Prompt;
use super::{Answer, Asking, Estimate, Look, Talk, VisionClient, VisionError, VisionErrorKind};
use crate::analysis::{MicroUsd, PublishedAnalysis, Usage};
use crate::catalog::Catalog;
use crate::events::Stage;
use crate::pricing::{ModelPrices, PriceList};
use crate::review::{ModelAnalysis, ModelNotesAnswer, ModelReply};
use crate::upstream::{RetryPolicy, Service, UpstreamError, UpstreamErrorKind, retry};
use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use std::fmt::{self, Debug};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use url::Url;

/// The version of the API that this client is written for.
const API_VERSION: &str = "2026-10-21";
/// What is free to ask takes no longer than this.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a request, less a margin.
const MAX_REQUEST_BYTES: u64 = 31 << 20;
/// Bytes of that margin that a conversation may have, so that one about the heaviest look goes on.
const MAX_TALK_BYTES: u64 = 1 << 19;
/// The most bytes of one picture in base64.
const MAX_IMAGE_BYTES: usize = 10 << 20;
/// The most tokens of an answer to a message, thinking included: 150 words are far below.
const MAX_FOLLOW_UP_TOKENS: u32 = 8_000;

/// Whom to ask, and how.
#[derive(Debug, Clone)]
pub struct ClaudeSettings {
    /// `https://api.anthropic.com`, or a gateway before it; it may have a path.
    pub base_url: Url,
    /// The API key.
    pub api_key: SecretString,
    /// The model's id.
    pub model: String,
    /// What models cost; the model must be among them.
    pub prices: PriceList,
    /// The most tokens of an answer, thinking included.
    pub max_tokens: u32,
    /// For a connection to come about.
    pub connect_timeout: Duration,
    /// For the next bytes to come, however long the whole answer takes. Thinking pauses for minutes.
    pub idle_timeout: Duration,
    /// How often a request is tried.
    pub retry: RetryPolicy,
}

impl ClaudeSettings {
    /// The defaults with this key.
    pub fn new(api_key: SecretString) -> Self {
        #[expect(clippy::unwrap_used, reason = "a constant, covered by every test that makes settings")]
        let base_url = Url::parse("https://api.anthropic.com").unwrap();
        #[expect(clippy::unwrap_used, reason = "built in, covered by every test that makes settings")]
        let prices = PriceList::embedded().unwrap();
        Self {
            base_url,
            api_key,
            model: "claude-sonnet-5-5".to_owned(),
            prices,
            max_tokens: 16_000,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(4),
            // Overload lasts minutes: past this the swimmer is told, and asks again.
            retry: RetryPolicy {
                attempts: 4,
                base_delay: Duration::from_secs(1),
                max_delay: Duration::from_secs(20),
                deadline: Duration::from_mins(3),
            },
        }
    }
}

/// Asks Claude.
pub struct ClaudeVision {
    http: reqwest::Client,
    base_url: String,
    model: String,
    prices: ModelPrices,
    max_tokens: u32,
    retry: RetryPolicy,
    prompt: Prompt,
}

impl ClaudeVision {
    /// A client; nothing is asked yet.
    pub fn new(settings: &ClaudeSettings, catalog: &Catalog) -> Result<Self, UpstreamError> {
        let unusable = |what: &'static str| {
            move |error: Box<dyn std::error::Error + Send + Sync>| {
                UpstreamError::new(Service::Model, what, UpstreamErrorKind::Rejected, error)
            }
        };
        let mut key = HeaderValue::from_str(settings.api_key.expose_secret().trim()).map_err(|_bad_key| {
            unusable("reading ANTHROPIC_API_KEY")("it has characters that no key has".into())
        })?;
        key.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (HeaderName::from_static("x-api-key"), key),
            (HeaderName::from_static("anthropic-version"), HeaderValue::from_static(API_VERSION)),
        ]);
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("swimcoach/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.idle_timeout)
            .tcp_keepalive(Duration::from_secs(30))
            // The key must not follow a redirect.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| unusable("building an HTTP client")(error.into()))?;
        let prices = settings.prices.model(&settings.model).ok_or_else(|| {
            unusable("pricing")("the prices of PRICES_PATH have none for ANTHROPIC_MODEL".into())
        })?;
        let prompt =
            Prompt::embedded(catalog).map_err(|error| unusable("reading the prompt")(error.into()))?;
        Ok(Self {
            http,
            base_url: settings.base_url.as_str().trim_end_matches('/').to_owned(),
            model: settings.model.clone(),
            prices,
            max_tokens: settings.max_tokens,
            retry: settings.retry,
            prompt,
        })
    }

    /// Asks until there is a whole message, which `read` makes a value of. What broken tries were billed is added to
    /// its usage. No try begins that could pass the allowance, when one costs `most`.
    async fn ask<T>(
        &self,
        pass: Pass,
        body: &Body,
        most: MicroUsd,
        asking: &Asking,
        read: fn(&str) -> Result<T, String>,
    ) -> Result<Answer<T>, VisionError> {
        let spent = Mutex::new(Usage::default());
        let asked = retry(&self.retry, || async {
            let before = *spent.lock().unwrap_or_else(PoisonError::into_inner);
            if asking.allowance < before.cost.unwrap_or_default() + most {
                return Ok(Err(VisionErrorKind::OverAllowance));
            }
            let mut telling = Telling::begin(asking, pass, before, &self.prices);
            let message = self.try_once(body, &mut telling).await;
            *spent.lock().unwrap_or_else(PoisonError::into_inner) = telling.spent();
            message
        });
        let message = asked.await.map_err(refused).flatten();
        let usage = *spent.lock().unwrap_or_else(PoisonError::into_inner);
        let value =
            message.and_then(text_of).and_then(|text| read(&text).map_err(VisionErrorKind::Malformed));
        match value {
            Ok(value) => Ok(Answer { value, usage }),
            Err(kind) => Err(VisionError { kind, usage }),
        }
    }

    /// One try. What may be tried again is the outer error, what may not the inner one.
    async fn try_once(
        &self,
        body: &Body,
        telling: &mut Telling<'_>,
    ) -> Result<Result<Message, VisionErrorKind>, UpstreamError> {
        let request = self.http.post(format!("{}/v1/messages", self.base_url));
        let request =
            request.header(CONTENT_TYPE, "application/json").body(reqwest::Body::wrap(body.clone()));
        let response = request.send().await.map_err(|it| error::transport("POST /v1/messages", it))?;
        match error::refused("POST /v1/messages", response).await {
            Ok(response) => {
                telling.reached(Stage::Sent);
                stream::read(response, telling).await.map(Ok)
            }
            Err(refusal) if refusal.is_final => Ok(Err(refused(refusal.error))),
            Err(refusal) => Err(refusal.error),
        }
    }
}

/// A request that was not answered.
fn refused(error: UpstreamError) -> VisionErrorKind {
    if error.kind == UpstreamErrorKind::TooLarge {
        return VisionErrorKind::TooLarge("together they have too many bytes".to_owned());
    }
    error.into()
}

/// The text of a message that ended as one should.
fn text_of(message: Message) -> Result<String, VisionErrorKind> {
    match message.stop_reason.as_deref() {
        Some("end_turn") if message.text.trim().is_empty() => {
            Err(VisionErrorKind::Malformed("an empty answer".to_owned()))
        }
        Some("end_turn") => Ok(message.text),
        Some("refusal") => Err(VisionErrorKind::Refused { category: message.refusal_category }),
        Some("max_tokens" | "model_context_window_exceeded") => Err(VisionErrorKind::CutOff),
        other => Err(VisionErrorKind::Malformed(format!("an unknown stop reason {other:?}"))),
    }
}

/// Nothing was sent, so nothing was spent.
fn unsent(kind: VisionErrorKind) -> VisionError {
    VisionError { kind, usage: Usage::default() }
}

impl Debug for ClaudeVision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaudeVision").field("model", &self.model).finish_non_exhaustive()
    }
}

#[async_trait]
impl VisionClient for ClaudeVision {
    async fn look(&self, look: &Look, asking: &Asking) -> Result<Answer<ModelAnalysis>, VisionError> {
        let body = self.look_body(look).map_err(unsent)?;
        let most = self.most(&self.look_tokens(look));
        self.ask(Pass::Look, &body, most, asking, answer::analysis).await
    }

    async fn answer_notes(
        &self,
        notes: &str,
        analysis: &PublishedAnalysis,
        asking: &Asking,
    ) -> Result<Answer<ModelNotesAnswer>, VisionError> {
        let body = self.notes_body(notes, analysis);
        let most = self.most(&self.notes_tokens(notes, Some(analysis)));
        self.ask(Pass::Notes, &body, most, asking, ModelNotesAnswer::parse).await
    }

    async fn follow_up(&self, talk: &Talk, asking: &Asking) -> Result<Answer<ModelReply>, VisionError> {
        let body = self.follow_up_body(talk).map_err(unsent)?;
        let most = self.most(&self.follow_up_tokens(talk));
        self.ask(Pass::FollowUp, &body, most, asking, answer::reply).await
    }

    fn estimate(&self, look: &Look, notes: Option<&str>, samples: u8) -> Estimate {
        let mut requests = vec![self.look_tokens(look); samples.into()];
        requests.extend(notes.map(|it| self.notes_tokens(it, None)));
        self.estimate_of(&requests)
    }

    fn estimate_follow_up(&self, talk: &Talk) -> Estimate {
        self.estimate_of(&[self.follow_up_tokens(talk)])
    }

    fn sent_size(&self, width: u32, height: u32, n_frames: usize) -> (u32, u32) {
        Model::by_id(&self.model).sent_size(width, height, n_frames)
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn prompt_version(&self) -> &str {
        self.prompt.version()
    }

    fn is_third_party(&self) -> bool {
        true
    }

    async fn check(&self) -> Result<(), UpstreamError> {
        const WHAT: &str = "GET /v1/models";
        let request =
            self.http.get(format!("{}/v1/models/{}", self.base_url, self.model)).timeout(CHECK_TIMEOUT);
        let response = request.send().await.map_err(|it| error::transport(WHAT, it))?;
        error::refused(WHAT, response).await.map(drop).map_err(|it| it.error)
    }
}
