//! The page: the files of `web/`, which are built in, and what it is told of the service.
//!
//! A debug build reads the files when they are asked for, so that a change is there after a reload.

use super::edge::PageFile;
use super::error::{self, ApiError};
use crate::coach::Coach;
use crate::config::{ModelSettings, Settings, StorageSettings};
use crate::consent::Subject;
use crate::jpeg::JpegLimits;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use axum_extra::headers::{ETag, HeaderMapExt, IfNoneMatch};
use rust_embed::{EmbeddedFile, RustEmbed};
use serde::Serialize;
use std::sync::Arc;
use tower_http::compression::CompressionLayer;
use url::Url;
use utoipa::ToSchema;
use xxhash_rust::xxh3::xxh3_64;

/// The file that is shown at `/`.
const INDEX: &str = "index.html";
/// What is no part of something else: the page, and the workers, each of which keeps to the policy that it came with.
const BY_THEMSELVES: [&str; 3] = [INDEX, "sw.js", "clip/encoder.js"];
/// A copy may be kept, and is asked about each time: a new version is there at once.
const CACHE: HeaderValue = HeaderValue::from_static("no-cache");
/// The page films, where it is asked to.
const FEATURES: HeaderValue = HeaderValue::from_static("camera=(self), geolocation=(), microphone=()");

#[derive(RustEmbed)]
#[folder = "web/"]
struct Files;

/// What the page is told of the service, before anybody signs in.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct PageConfig {
    version: &'static str,
    sign_in: SignIn,
    limits: FrameLimits,
    uploads: Uploads,
    consent: ConsentTerms,
    model: Model,
}

/// How people sign in.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct SignIn {
    /// Whether they must.
    required: bool,
    /// Whether API keys count.
    keys: bool,
    /// Whether sessions may be made without signing in.
    anonymous: bool,
    /// The provider that the page may send people to.
    openid: Option<OpenId>,
}

/// A provider, and the client that the page is there.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct OpenId {
    issuer: String,
    client_id: String,
    scope: String,
}

/// What frames must be.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct FrameLimits {
    max_frames: u16,
    max_frame_bytes: u64,
    max_request_bytes: u64,
    /// Pixels on the shorter side.
    min_side: u32,
}

/// How frames come here.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Uploads {
    /// Whether the bucket takes them from browsers.
    direct: bool,
}

/// What must be agreed to.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ConsentTerms {
    /// Whose pictures an upload counts as that does not say; it is refused when null.
    when_unsaid: Option<Subject>,
    /// Whether frames are shown to a model that another company runs.
    third_party_ai: bool,
    retention_days: RetentionDays,
}

/// For how many days sessions are kept at the most.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct RetentionDays {
    adult: u32,
    minor: u32,
}

/// What looks at frames.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Model {
    name: String,
    /// Whether nothing does.
    is_mock: bool,
}

impl PageConfig {
    pub(super) fn new(settings: &Settings, coach: &Coach) -> Self {
        let access = &settings.access;
        let openid =
            access.oidc.as_ref().zip(settings.page.openid.as_ref()).map(|(provider, client)| OpenId {
                issuer: provider.issuer.clone(),
                client_id: client.id.clone(),
                scope: client.scope.clone(),
            });
        let uploads = &settings.uploads;
        let privacy = &settings.privacy;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            sign_in: SignIn {
                required: access.signs_in(),
                keys: access.api_keys,
                anonymous: access.anonymous,
                openid,
            },
            limits: FrameLimits {
                max_frames: uploads.max_frames,
                max_frame_bytes: uploads.max_frame_bytes,
                max_request_bytes: uploads.max_request_bytes,
                min_side: JpegLimits::default().min_short_side,
            },
            uploads: Uploads { direct: settings.page.direct_uploads },
            consent: ConsentTerms {
                when_unsaid: privacy.unsaid.as_ref().map(|it| it.subject),
                third_party_ai: coach.has_third_party_model(),
                retention_days: RetentionDays {
                    adult: privacy.days(Subject::Adult),
                    minor: privacy.days(Subject::Under13),
                },
            },
            model: Model {
                name: coach.model().to_owned(),
                is_mock: matches!(settings.model, ModelSettings::Mock),
            },
        }
    }
}

/// What the page may load: its own files and pictures that it made, and where it may send: here, to the bucket and to
/// the provider that signs people in, where there are such.
fn policy(settings: &Settings) -> HeaderValue {
    let bucket = match &settings.storage {
        StorageSettings::R2(r2) if settings.page.direct_uploads => Some(r2.endpoint.clone()),
        _ => None,
    };
    let provider = settings.access.oidc.as_ref().filter(|_| settings.page.openid.is_some());
    let provider = provider.and_then(|it| Url::parse(&it.issuer).ok());
    let others = [bucket, provider].into_iter().flatten().map(|it| it.origin().ascii_serialization());
    let connect: Vec<String> = ["'self'".to_owned()].into_iter().chain(others).collect();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; \
         connect-src {}; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        connect.join(" "),
    );
    // An origin in ASCII can stand in a header.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// What the page is told of the service: how people sign in, what frames must be, and what must be agreed to.
#[utoipa::path(get, path = "/config.json", tag = "page", responses((status = 200, body = PageConfig)))]
pub(super) async fn config(State(config): State<Arc<PageConfig>>) -> Json<PageConfig> {
    Json(PageConfig::clone(&config))
}

/// `/` and the files that it is made of.
pub(super) fn pages(settings: &Settings) -> Router {
    let policy = policy(settings);
    let mut pages = Router::new();
    for path in Files::iter() {
        let route = if path == INDEX { "/".to_owned() } else { format!("/{path}") };
        let policy = policy.clone();
        let show = async move |headers: HeaderMap| match Files::get(&path) {
            Some(file) => answer(&path, file, &headers, policy),
            None => ApiError::NotFound.into_response(),
        };
        pages = pages.route(&route, get(show));
    }
    pages.method_not_allowed_fallback(error::method_not_allowed).layer(CompressionLayer::new())
}

fn answer(path: &str, file: EmbeddedFile, headers: &HeaderMap, policy: HeaderValue) -> Response {
    // With the policy, since a browser that is told that it knows a file keeps the one that the file came with. And
    // weak, since the same file may be sent compressed.
    let digest = xxh3_64(&[&file.metadata.sha256_hash()[..], policy.as_bytes()].concat());
    let etag = format!("W/\"{digest:016x}\"").parse::<ETag>().ok();
    let known = headers.typed_get::<IfNoneMatch>();
    let is_known = etag.as_ref().zip(known).is_some_and(|(etag, known)| !known.precondition_passes(etag));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, content_type(path))], file.data).into_response()
    };
    let head = response.headers_mut();
    head.insert(header::CACHE_CONTROL, CACHE);
    if let Some(etag) = etag {
        head.typed_insert(etag);
    }
    if BY_THEMSELVES.contains(&path) {
        head.insert(header::CONTENT_SECURITY_POLICY, policy);
        head.insert(HeaderName::from_static("permissions-policy"), FEATURES);
    } else {
        response.extensions_mut().insert(PageFile);
    }
    response
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}
