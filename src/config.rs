//! Every setting: where it comes from, what it means, and what is wrong with it.
//!
//! Settings are read once, through a function from name to value, and become types that are right.
//! All problems are reported together. Nothing falls back: an in-memory storage, an embedded database or
//! the mock model runs only where it was asked for. `.env.template` names every setting; a test holds it
//! to what is read here.

use crate::session::FrameNumber;
use crate::storage::r2::{R2Limits, R2Settings};
use crate::vision::claude::ClaudeSettings;
use axum::http::HeaderValue;
use secrecy::SecretString;
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;
use url::Url;

const MIB: u64 = 1 << 20;

/// Everything the service is told from outside.
#[derive(Debug)]
pub struct Settings {
    /// Where and for whom it listens.
    pub server: ServerSettings,
    /// Where frames are kept.
    pub storage: StorageSettings,
    /// Where records are kept.
    pub records: RecordSettings,
    /// What looks at frames.
    pub model: ModelSettings,
    /// How much one upload, and all of them together, may bring.
    pub uploads: UploadLimits,
    /// How many analyses run and wait.
    pub jobs: JobLimits,
    /// What is logged.
    pub log: LogSettings,
}

/// Where and for whom the service listens.
#[derive(Debug)]
pub struct ServerSettings {
    /// The address to bind.
    pub host: IpAddr,
    /// The port to bind; 0 lets the system choose.
    pub port: u16,
    /// Under which URL browsers reach the service, for URLs that the mock storage gives out. When absent
    /// it is the address that was bound.
    pub public_url: Option<Url>,
    /// Which pages of other origins may call it.
    pub cors: Vec<AllowedOrigin>,
    /// How long the service goes on accepting requests after SIGTERM, not ready, so that load balancers notice.
    pub drain_delay: Duration,
    /// How long running uploads and analyses may go on after SIGTERM.
    pub shutdown_timeout: Duration,
}

/// Where frames are kept.
#[expect(clippy::large_enum_variant, reason = "made once at start")]
#[derive(Debug)]
pub enum StorageSettings {
    /// In memory.
    Mock,
    /// In R2 or anything else that speaks S3.
    R2(R2Settings),
}

/// Where records are kept.
#[derive(Debug, PartialEq, Eq)]
pub enum RecordSettings {
    /// In an embedded database in memory.
    InMemory,
    /// In an embedded database in this file.
    File(PathBuf),
}

/// What looks at frames.
#[expect(clippy::large_enum_variant, reason = "made once at start")]
#[derive(Debug)]
pub enum ModelSettings {
    /// Nobody; the capture check alone.
    Mock,
    /// Claude.
    Claude(ClaudeSettings),
}

/// How much one upload, and all of them together, may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// Frames in one upload.
    pub max_frames: u16,
    /// Bytes of one frame.
    pub max_frame_bytes: u64,
    /// Bytes of one request.
    pub max_request_bytes: u64,
    /// Bytes of all uploads that are under way at one time.
    pub memory_bytes: u64,
    /// Bytes that the in-memory storage keeps.
    pub mock_storage_bytes: u64,
}

/// How many analyses run and wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLimits {
    /// Analyses that run at one time.
    pub max_running: usize,
    /// Analyses that wait for their turn.
    pub max_waiting: usize,
    /// How long after its last sign of life an analysis counts as interrupted.
    pub stale_after: Duration,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or directives such as `info,swimcoach=debug`.
    pub level: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// All that is wrong with the settings.
#[derive(Debug, Error)]
pub struct SettingsError {
    /// One sentence for each problem; each names its setting.
    pub problems: Vec<String>,
}

impl Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the settings do not make sense:")?;
        self.problems.iter().try_for_each(|it| writeln!(f, "  - {it}"))
    }
}

impl Settings {
    /// Reads all settings through `lookup`, a function from name to value. An empty value counts as none.
    ///
    /// ```
    /// use swimcoach::config::{Settings, StorageSettings};
    ///
    /// let settings = Settings::load(&|name| match name {
    ///     "R2_MOCK_MODE" | "SNOWFLAKE_MOCK_MODE" | "ANTHROPIC_MOCK_MODE" => Some("true".to_owned()),
    ///     _ => None,
    /// })?;
    /// assert!(matches!(settings.storage, StorageSettings::Mock));
    ///
    /// let error = Settings::load(&|_| None).unwrap_err();
    /// assert!(error.to_string().contains("R2_BUCKET_NAME"));
    /// assert!(error.to_string().contains("ANTHROPIC_API_KEY"));
    /// # Ok::<(), swimcoach::config::SettingsError>(())
    /// ```
    pub fn load(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader { lookup, problems: Vec::new() };
        let server = reader.server();
        let storage = reader.storage();
        let records = reader.records();
        let model = reader.model();
        let uploads = reader.uploads();
        let jobs = reader.jobs();
        let log = reader.log();
        match (storage, records, model) {
            (Some(storage), Some(records), Some(model)) if reader.problems.is_empty() => {
                Ok(Self { server, storage, records, model, uploads, jobs, log })
            }
            _ => Err(SettingsError { problems: reader.problems }),
        }
    }

    /// The settings of `swimcoach demo`: everything in memory, no model, loopback only.
    pub fn demo() -> Result<Self, SettingsError> {
        Self::load(&|name| match name {
            "R2_MOCK_MODE" | "SNOWFLAKE_MOCK_MODE" | "ANTHROPIC_MOCK_MODE" => Some("true".to_owned()),
            _ => None,
        })
    }
}

/// An origin whose pages may call the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Exactly this origin, such as `https://coach.example`.
    Exact(String),
    /// A Cloudflare Pages project, such as `my-app.pages.dev`, with its previews one label below it.
    PagesProject(String),
}

impl AllowedOrigin {
    /// Whether a browser's `Origin` header is this one.
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        match self {
            Self::Exact(exact) => origin == exact,
            Self::PagesProject(project) => {
                let Some(host) = origin.strip_prefix("https://") else { return false };
                let preview = host.strip_suffix(project.as_str()).and_then(|it| it.strip_suffix('.'));
                host == project || preview.is_some_and(is_dns_label)
            }
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('*') {
            let project = text.strip_prefix("https://*.");
            let project = project.filter(|it| it.strip_suffix(".pages.dev").is_some_and(is_dns_label));
            return project.map(|it| Self::PagesProject(it.to_owned())).ok_or_else(|| {
                format!(
                    "{text:?} is too wide: a pattern must name one Pages project, like https://*.my-app.pages.dev"
                )
            });
        }
        let exact =
            Url::parse(text).ok().filter(|it| it.has_host() && it.origin().ascii_serialization() == text);
        match exact {
            Some(_) => Ok(Self::Exact(text.to_owned())),
            None => {
                Err(format!("{text:?} is no origin: write scheme, host and port, like https://coach.example"))
            }
        }
    }
}

fn is_dns_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
}

/// Reads settings and gathers what is wrong with them.
struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn server(&mut self) -> ServerSettings {
        let host = self.parsed("HOST", "an IP address").unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        if !host.is_loopback() && !self.flag("ALLOW_UNAUTHENTICATED") {
            self.problem(format!(
                "HOST={host} can be reached from other machines and this version has no sign-in: anybody could see \
                 every swimmer. Keep HOST=127.0.0.1, or set ALLOW_UNAUTHENTICATED=true where something in front \
                 of the service lets in only whom you trust"
            ));
        }
        let origins = self.text("CORS_ORIGINS").unwrap_or_default();
        let cors = origins.split(',').map(str::trim).filter(|it| !it.is_empty()).filter_map(|it| {
            it.parse().map_err(|problem: String| self.problem(format!("CORS_ORIGINS: {problem}"))).ok()
        });
        let cors = cors.collect();
        ServerSettings {
            host,
            port: self.parsed("PORT", "a port number").unwrap_or(8000),
            public_url: self.parsed("PUBLIC_URL", "a URL like https://coach.example"),
            cors,
            drain_delay: Duration::from_secs(self.number("SHUTDOWN_DRAIN_SECONDS", 0, 0..=300)),
            shutdown_timeout: Duration::from_secs(self.number("SHUTDOWN_TIMEOUT_SECONDS", 30, 1..=3600)),
        }
    }

    fn storage(&mut self) -> Option<StorageSettings> {
        let mock = self.flag("R2_MOCK_MODE");
        let account: Option<String> = self.text("R2_ACCOUNT_ID");
        let endpoint: Option<Url> =
            self.parsed("R2_ENDPOINT", "a URL like https://<account>.r2.cloudflarestorage.com");
        let access_key_id = self.text("R2_ACCESS_KEY_ID");
        let secret_access_key = self.text("R2_SECRET_ACCESS_KEY");
        let bucket = self.text("R2_BUCKET_NAME");
        let max_in_flight = self.number("R2_MAX_IN_FLIGHT", 64, 1..=1024);
        if mock {
            return Some(StorageSettings::Mock);
        }
        let or = "or set R2_MOCK_MODE=true to keep frames in memory";
        let endpoint = match (endpoint, account) {
            (Some(endpoint), _) => Some(endpoint),
            (None, Some(account)) => self.account_endpoint(&account),
            (None, None) if self.text("R2_ENDPOINT").is_some() => None, // reported above
            (None, None) => {
                self.missing("R2_ACCOUNT_ID", "the account's id, or R2_ENDPOINT for another S3 server", or)
            }
        };
        let access_key_id =
            access_key_id.or_else(|| self.missing("R2_ACCESS_KEY_ID", "the access key's id", or));
        let secret =
            secret_access_key.or_else(|| self.missing("R2_SECRET_ACCESS_KEY", "the access key's secret", or));
        let bucket = bucket.or_else(|| self.missing("R2_BUCKET_NAME", "the bucket's name", or));
        Some(StorageSettings::R2(R2Settings {
            endpoint: endpoint?,
            bucket: bucket?,
            access_key_id: access_key_id?,
            secret_access_key: SecretString::from(secret?),
            limits: R2Limits { max_in_flight, ..R2Limits::default() },
        }))
    }

    fn account_endpoint(&mut self, account: &str) -> Option<Url> {
        if account.len() != 32 || !account.bytes().all(|it| it.is_ascii_hexdigit()) {
            self.problem(
                "R2_ACCOUNT_ID is no account id: 32 hexadecimal digits, shown in the Cloudflare dashboard on the R2 \
                 page"
                .to_owned(),
            );
            return None;
        }
        Url::parse(&format!("https://{account}.r2.cloudflarestorage.com")).ok()
    }

    fn records(&mut self) -> Option<RecordSettings> {
        let mock = self.flag("SNOWFLAKE_MOCK_MODE");
        let Some(url) = self.text("DATABASE_URL") else {
            return if mock {
                Some(RecordSettings::InMemory)
            } else {
                self.missing(
                "DATABASE_URL",
                "where records are kept, like sqlite://swimcoach.db",
                "or set SNOWFLAKE_MOCK_MODE=true to keep them in memory; this version does not speak to Snowflake",
            )
            };
        };
        match url.strip_prefix("sqlite:").map(|it| it.strip_prefix("//").unwrap_or(it)) {
            Some(":memory:") => Some(RecordSettings::InMemory),
            Some(path) if !path.is_empty() && !path.contains('?') => {
                Some(RecordSettings::File(PathBuf::from(path)))
            }
            _ => {
                self.problem(
                    "DATABASE_URL must be sqlite:// and a file, like sqlite://swimcoach.db".to_owned(),
                );
                None
            }
        }
    }

    fn model(&mut self) -> Option<ModelSettings> {
        let mock = self.flag("ANTHROPIC_MOCK_MODE");
        let api_key = self.text("ANTHROPIC_API_KEY");
        let mut settings = ClaudeSettings::new(SecretString::from(api_key.clone().unwrap_or_default()));
        if let Some(model) = self.text("ANTHROPIC_MODEL") {
            settings.model = model;
        }
        settings.max_tokens = self.number("ANTHROPIC_MAX_TOKENS", settings.max_tokens, 1024..=128_000);
        if let Some(base_url) =
            self.parsed::<Url>("ANTHROPIC_BASE_URL", "a URL like https://api.anthropic.com")
        {
            settings.base_url = base_url;
        }
        if mock {
            return Some(ModelSettings::Mock);
        }
        if settings.base_url.scheme() != "https" && !is_loopback(&settings.base_url) {
            self.problem(
                "ANTHROPIC_BASE_URL must be https: the key and the pictures would travel in clear".to_owned(),
            );
        }
        if api_key.is_none() {
            return self.missing(
                "ANTHROPIC_API_KEY",
                "a key of the Claude console",
                "or set ANTHROPIC_MOCK_MODE=true to run without a model",
            );
        }
        Some(ModelSettings::Claude(settings))
    }

    fn uploads(&mut self) -> UploadLimits {
        let max_frames = self.number("MAX_FRAMES_PER_UPLOAD", 60, 1..=FrameNumber::LAST.get());
        let max_frame_bytes = MIB * self.number("MAX_FRAME_SIZE_MB", 5, 1..=7);
        let max_request_bytes = MIB * self.number("MAX_UPLOAD_SIZE_MB", 64, 1..=1024);
        let memory_bytes = MIB * self.number("UPLOAD_MEMORY_MB", 256, 1..=65_536);
        let mock_storage_bytes = MIB * self.number("MOCK_STORAGE_MB", 1024, 1..=65_536);
        if memory_bytes < max_request_bytes {
            self.problem(
                "UPLOAD_MEMORY_MB must be at least MAX_UPLOAD_SIZE_MB, or the largest upload never fits"
                    .to_owned(),
            );
        }
        UploadLimits { max_frames, max_frame_bytes, max_request_bytes, memory_bytes, mock_storage_bytes }
    }

    fn jobs(&mut self) -> JobLimits {
        JobLimits {
            max_running: self.number("MAX_RUNNING_ANALYSES", 4, 1..=256),
            max_waiting: self.number("MAX_WAITING_ANALYSES", 32, 0..=10_000),
            stale_after: Duration::from_mins(self.number("STALE_JOB_THRESHOLD_MINUTES", 3, 1..=1440)),
        }
    }

    fn log(&mut self) -> LogSettings {
        let level = self.text("LOG_LEVEL").unwrap_or_else(|| "info".to_owned()).to_lowercase();
        if let Err(error) = level.parse::<tracing_subscriber::filter::Targets>() {
            self.problem(format!("LOG_LEVEL is no level (error, warn, info, debug, trace): {error}"));
        }
        let format = self.text("LOG_FORMAT");
        let json = match format.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(_) => {
                self.problem("LOG_FORMAT is text or json".to_owned());
                false
            }
        };
        LogSettings { level, json }
    }

    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|it| it.trim().to_owned()).filter(|it| !it.is_empty())
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.text(name).map(|it| it.to_lowercase()).as_deref() {
            None | Some("false" | "0" | "no") => false,
            Some("true" | "1" | "yes") => true,
            Some(_) => {
                self.problem(format!("{name} is true or false"));
                false
            }
        }
    }

    fn parsed<T: FromStr>(&mut self, name: &str, shape: &str) -> Option<T> {
        let text = self.text(name)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.problem(format!("{name} must be {shape}"));
        }
        value
    }

    fn number<T: FromStr + PartialOrd + Display + Copy>(
        &mut self,
        name: &str,
        default: T,
        range: std::ops::RangeInclusive<T>,
    ) -> T {
        let shape = format!("a whole number from {} to {}", range.start(), range.end());
        let Some(value) = self.parsed(name, &shape) else { return default };
        if range.contains(&value) {
            return value;
        }
        self.problem(format!("{name} must be {shape}"));
        default
    }

    fn missing<T>(&mut self, name: &str, what: &str, or: &str) -> Option<T> {
        self.problem(format!("{name} is not set: it is {what}; {or}"));
        None
    }

    fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
