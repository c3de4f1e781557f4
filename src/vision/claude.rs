//! Claude, over the Messages API: labelled frames in, an answer of a fixed JSON shape out, streamed.
//!
//! Sources: platform.claude.com, Messages, Vision, Structured outputs, Streaming, Prompt caching and
//! Errors, for API version 2026-10-21.

mod body;
mod error;
mod estimate;
mod events;
mod model;
mod stream;

use self::body::{Body, Segment};
use self::estimate::Tokens;
use self::model::Model;
use self::stream::Message;
use super::prompt::Prompt;
use super::{Answer, Asking, Estimate, Look, Talk, VisionClient, VisionError, VisionErrorKind};
use crate::analysis::{MicroUsd, PublishedAnalysis, Usage};
use crate::catalog::Catalog;
use crate::pricing::{ModelPrices, PriceList};
use crate::review::{ModelAnalysis, ModelNotesAnswer, ModelReply};
use crate::upstream::{RetryPolicy, Service, UpstreamError, UpstreamErrorKind, retry};
use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::fmt::{self, Debug};
use std::sync::Mutex;
use std::time::Duration;
use url::Url;

/// The version of the API that this client is written for.
const API_VERSION: &str = "2026-10-21";
/// What is free to ask takes no longer than this.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a request, less a margin.
const MAX_REQUEST_BYTES: u64 = 31 << 20;
/// The most bytes of one picture in base64.
const MAX_IMAGE_BYTES: usize = 10 << 20;
/// Above this many pictures each may have only [`MANY_IMAGES_SIDE`] pixels a side.
const MANY_IMAGES: usize = 20;
/// See [`MANY_IMAGES`].
const MANY_IMAGES_SIDE: u32 = 2000;

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

    /// Asks until there is a whole message; what broken tries were billed is added to its usage.
    async fn ask(&self, body: &Body) -> Result<(String, Usage), VisionError> {
        let spent = Mutex::new(Usage::default());
        let asked = retry(&self.retry, || async {
            let mut usage = Usage::default();
            let message = self.try_once(body, &mut usage).await;
            // By the prices of one request, since those of a long prompt differ.
            usage.cost = Some(self.prices.cost(&usage));
            *spent.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += usage;
            message
        });
        let message = asked.await.flatten();
        let usage = *spent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let failed = |kind| VisionError { kind, usage };
        match message {
            Err(error) if error.kind == UpstreamErrorKind::TooLarge => {
                Err(failed(VisionErrorKind::TooLarge("together they have too many bytes".to_owned())))
            }
            Err(error) => Err(failed(error.into())),
            Ok(message) => match message.stop_reason.as_deref() {
                Some("end_turn") if message.text.trim().is_empty() => {
                    Err(failed(VisionErrorKind::Malformed("an empty answer".to_owned())))
                }
                Some("end_turn") => Ok((message.text, usage)),
                Some("refusal") => {
                    Err(failed(VisionErrorKind::Refused { category: message.refusal_category }))
                }
                Some("max_tokens" | "model_context_window_exceeded") => Err(failed(VisionErrorKind::CutOff)),
                other => Err(failed(VisionErrorKind::Malformed(format!("an unknown stop reason {other:?}")))),
            },
        }
    }

    /// One try. What may be tried again is the outer error, what may not the inner one.
    async fn try_once(
        &self,
        body: &Body,
        usage: &mut Usage,
    ) -> Result<Result<Message, UpstreamError>, UpstreamError> {
        let request = self.http.post(format!("{}/v1/messages", self.base_url));
        let request =
            request.header(CONTENT_TYPE, "application/json").body(reqwest::Body::wrap(body.clone()));
        let response = request.send().await.map_err(|it| error::transport("POST /v1/messages", it))?;
        match error::refused("POST /v1/messages", response).await {
            Ok(response) => stream::read(response, usage).await.map(Ok),
            Err(refusal) if refusal.is_final => Ok(Err(refusal.error)),
            Err(refusal) => Err(refusal.error),
        }
    }

    fn look_tokens(&self, look: &Look) -> Tokens {
        let model = Model::by_id(&self.model);
        let frames = look
            .frames
            .iter()
            .map(|it| estimate::text(&Prompt::label(it)) + model.image_tokens(it.width, it.height));
        Tokens {
            for_an_hour: estimate::text(self.prompt.system()) + frames.sum::<u64>(),
            after: estimate::text(&self.prompt.question(look))
                + estimate::schema(self.prompt.analysis_schema()),
            answer: self.max_tokens.into(),
        }
    }

    fn notes_tokens(&self, notes: &str) -> Tokens {
        let notes = Value::from(notes).to_string();
        Tokens {
            for_an_hour: estimate::text(self.prompt.notes_system()),
            after: estimate::text(&notes)
                + estimate::schema(self.prompt.notes_schema())
                + estimate::published(self.max_tokens.into()),
            answer: self.max_tokens.into(),
        }
    }

    /// The request around the blocks of its one user message; `cache` marks what follow-ups will read again.
    fn request(&self, system: &str, blocks: Vec<Segment>, schema: &Value, effort: &str) -> Body {
        let mut output = json!({"format": {"type": "json_schema", "schema": schema}});
        let mut head = json!({
            "model": self.model,
            "max_tokens": self.max_tokens,
            "stream": true,
            "cache_control": {"type": "ephemeral"},
            "system": [{"type": "text", "text": system, "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        });
        if Model::by_id(&self.model).is_adaptive {
            head["thinking"] = json!({"type": "adaptive"});
            output["effort"] = json!(effort);
        }
        head["output_config"] = output;
        let mut head = head.to_string();
        head.pop(); // the brace that closes the object; the messages come before it
        head.push_str(r#","messages":[{"role":"user","content":["#);
        let mut segments = vec![Segment::json(head)];
        segments.extend(blocks);
        segments.push(Segment::json("]}]}".to_owned()));
        Body::new(segments)
    }

    /// Label, picture, label, picture … and the question last.
    fn look_blocks(&self, look: &Look) -> Vec<Segment> {
        let mut blocks = Vec::with_capacity(look.frames.len() * 3 + 1);
        for (index, frame) in look.frames.iter().enumerate() {
            let label = json!({"type": "text", "text": Prompt::label(frame)});
            // The last picture is marked for an hour, so that follow-ups read all pictures from the cache.
            let mark = if index + 1 == look.frames.len() {
                r#","cache_control":{"type":"ephemeral","ttl":"1h"}"#
            } else {
                ""
            };
            blocks.push(Segment::json(format!(
                r#"{label},{{"type":"image"{mark},"source":{{"type":"base64","media_type":"image/jpeg","data":""#
            )));
            blocks.push(Segment::base64(frame.jpeg.clone()));
            blocks.push(Segment::json(r#""}},"#.to_owned()));
        }
        let question = json!({"type": "text", "text": self.prompt.question(look)});
        blocks.push(Segment::json(question.to_string()));
        blocks
    }
}

impl Debug for ClaudeVision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaudeVision").field("model", &self.model).finish_non_exhaustive()
    }
}

#[async_trait]
impl VisionClient for ClaudeVision {
    async fn look(&self, look: &Look, _asking: &Asking) -> Result<Answer<ModelAnalysis>, VisionError> {
        let too_large = |why| VisionError { kind: VisionErrorKind::TooLarge(why), usage: Usage::default() };
        check_frames(look, Model::by_id(&self.model)).map_err(too_large)?;
        let body = self.request(
            self.prompt.system(),
            self.look_blocks(look),
            self.prompt.analysis_schema(),
            "medium",
        );
        if MAX_REQUEST_BYTES < body.len() {
            return Err(too_large(format!(
                "they are {} MB, and the model takes 32 MB at once",
                body.len() >> 20
            )));
        }
        let (text, usage) = self.ask(&body).await?;
        match ModelAnalysis::parse(&text) {
            Ok(value) => Ok(Answer { value, usage }),
            Err(why) => Err(VisionError { kind: VisionErrorKind::Malformed(why), usage }),
        }
    }

    async fn answer_notes(
        &self,
        notes: &str,
        analysis: &PublishedAnalysis,
        _asking: &Asking,
    ) -> Result<Answer<ModelNotesAnswer>, VisionError> {
        let question = json!({"type": "text", "text": self.prompt.notes_question(notes, analysis)});
        let blocks = vec![Segment::json(question.to_string())];
        let body = self.request(self.prompt.notes_system(), blocks, self.prompt.notes_schema(), "low");
        let (text, usage) = self.ask(&body).await?;
        match ModelNotesAnswer::parse(&text) {
            Ok(value) => Ok(Answer { value, usage }),
            Err(why) => Err(VisionError { kind: VisionErrorKind::Malformed(why), usage }),
        }
    }

    async fn follow_up(&self, _talk: &Talk, _asking: &Asking) -> Result<Answer<ModelReply>, VisionError> {
        Err(VisionError { kind: VisionErrorKind::CutOff, usage: Usage::default() })
    }

    fn estimate_follow_up(&self, talk: &Talk) -> Estimate {
        self.estimate(&talk.look, None, 1)
    }

    fn sent_size(&self, width: u32, height: u32, _n_frames: usize) -> (u32, u32) {
        (width, height)
    }

    fn estimate(&self, look: &Look, notes: Option<&str>, _samples: u8) -> Estimate {
        let passes = [Some(self.look_tokens(look)), notes.map(|it| self.notes_tokens(it))];
        let none = Estimate {
            requests: 0,
            input_tokens: 0,
            output_tokens: 0,
            cost: MicroUsd(0),
            prices_as_of: Some(self.prices.as_of()),
        };
        passes.iter().flatten().map(Tokens::usage).fold(none, |sum, usage| Estimate {
            requests: sum.requests + usage.requests,
            input_tokens: sum.input_tokens + usage.cache_creation_input_tokens,
            output_tokens: sum.output_tokens + usage.output_tokens,
            cost: sum.cost + self.prices.cost(&usage),
            ..sum
        })
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn prompt_version(&self) -> &str {
        self.prompt.version()
    }

    async fn check(&self) -> Result<(), UpstreamError> {
        const WHAT: &str = "GET /v1/models";
        let request =
            self.http.get(format!("{}/v1/models/{}", self.base_url, self.model)).timeout(CHECK_TIMEOUT);
        let response = request.send().await.map_err(|it| error::transport(WHAT, it))?;
        error::refused(WHAT, response).await.map(drop).map_err(|it| it.error)
    }
}

/// What the API would refuse after megabytes were sent.
fn check_frames(look: &Look, model: Model) -> Result<(), String> {
    if model.max_images < look.frames.len() {
        let (frames, most) = (look.frames.len(), model.max_images);
        return Err(format!("there are {frames} of them, and the model takes {most}"));
    }
    for frame in &look.frames {
        let number = frame.number;
        if MAX_IMAGE_BYTES < frame.jpeg.len().div_ceil(3) * 4 {
            return Err(format!("frame {number} has more than {} MB", (MAX_IMAGE_BYTES / 4 * 3) >> 20));
        }
        if MANY_IMAGES < look.frames.len() && MANY_IMAGES_SIDE < frame.width.max(frame.height) {
            return Err(format!(
                "frame {number} is {}×{} pixels, and among more than {MANY_IMAGES} frames each may have \
                 {MANY_IMAGES_SIDE} a side",
                frame.width, frame.height
            ));
        }
    }
    Ok(())
}
