//! Every setting: where it comes from, what it means, and what is wrong with it.
//!
//! Settings are read once, through a function from name to value, and become types that are right.
//! All problems are reported together. Nothing falls back: an in-memory storage, an embedded database or
//! the mock model runs only where it was asked for. `.env.template` names every setting; a test holds it
//! to what is read here.

mod access;
mod limits;
mod moderation;
mod origin;
mod page;
mod privacy;
mod reader;
mod records;

pub use self::limits::{Quotas, RateSettings};
pub use self::origin::AllowedOrigin;
pub use self::page::{OpenIdClient, PageSettings};
pub use self::privacy::PrivacySettings;
pub use self::records::{JournalSettings, RecordSettings};

use self::reader::{MICRO, MILLI, Reader, is_private};
use crate::analysis::MicroUsd;
use crate::identity::AccessSettings;
use crate::ledger::Budgets;
use crate::moderation::ModerationSettings;
use crate::pricing::{PriceError, PriceList, StoragePrices};
use crate::session::FrameNumber;
use crate::storage::r2::{R2Limits, R2Settings};
use crate::vision::claude::ClaudeSettings;
use secrecy::SecretString;
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
use url::Url;

const MIB: u64 = 1 << 20;

/// Everything the service is told from outside.
#[derive(Debug)]
pub struct Settings {
    /// Where and for whom it listens.
    pub server: ServerSettings,
    /// How callers sign in.
    pub access: AccessSettings,
    /// What the page offers.
    pub page: PageSettings,
    /// Where frames are kept.
    pub storage: StorageSettings,
    /// Where records are kept.
    pub records: RecordSettings,
    /// What of them is kept here until Snowflake has it.
    pub journal: JournalSettings,
    /// What storage costs.
    pub storage_prices: StoragePrices,
    /// What looks at frames.
    pub model: ModelSettings,
    /// What looks at frames before they are stored, where anything does.
    pub moderation: Option<ModerationSettings>,
    /// How much one upload, and all of them together, may bring.
    pub uploads: UploadLimits,
    /// On which terms pictures are kept.
    pub privacy: PrivacySettings,
    /// How often what has expired is removed; never when absent.
    pub sweep_interval: Option<Duration>,
    /// How many analyses run and wait.
    pub jobs: JobLimits,
    /// How much may be spent in a month.
    pub budgets: Budgets,
    /// How much each caller may have.
    pub quotas: Quotas,
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
    /// Where metrics are given out; nowhere when absent.
    pub metrics: Option<SocketAddr>,
    /// Which pages of other origins may call it.
    pub cors: Vec<AllowedOrigin>,
    /// How long the service goes on accepting requests after SIGTERM, not ready, so that load balancers notice.
    pub drain_delay: Duration,
    /// How long running uploads and analyses may go on after SIGTERM.
    pub shutdown_timeout: Duration,
    /// How often requests may come.
    pub rates: RateSettings,
    /// Whether requests may name any host although nobody signs in: something in front sees to it.
    pub any_host: bool,
    /// Connections at one time; those that come beyond it wait.
    pub max_connections: usize,
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

/// What bounds the work that is taken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How much one upload, and all of them together, may bring.
    pub uploads: UploadLimits,
    /// On which terms pictures are kept.
    pub privacy: PrivacySettings,
    /// How many analyses run and wait.
    pub jobs: JobLimits,
    /// How much may be spent in a month.
    pub budgets: Budgets,
    /// How much each caller may have.
    pub quotas: Quotas,
}

/// How many analyses run and wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLimits {
    /// Analyses that run at one time.
    pub max_running: usize,
    /// Analyses that wait for their turn.
    pub max_waiting: usize,
    /// Analyses of one caller that run or wait.
    pub max_of_caller: usize,
    /// Whether records are asked in idle times too whether an analysis was left behind. It costs nothing where they
    /// are on this machine, and keeps a warehouse awake where they are not.
    pub scan_when_idle: bool,
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
    /// The file that lines of the audit are appended to; they are among the others when absent.
    pub audit: Option<PathBuf>,
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
        reader.check_secret_files();
        let server = reader.server();
        let storage = reader.storage();
        let records = reader.records();
        let access = reader.access(records.as_ref());
        let page = reader.page();
        let journal = reader.journal();
        let model = reader.model();
        let storage_prices = reader.storage_prices();
        let moderation = reader.moderation();
        let uploads = reader.uploads();
        let privacy = reader.privacy();
        let sweep_interval = reader.sweep_interval();
        let jobs = reader.jobs(records.as_ref());
        let budgets = reader.budgets();
        let quotas = reader.quotas();
        let log = reader.log();
        match (storage, records, storage_prices, model) {
            (Some(storage), Some(records), Some(storage_prices), Some(model))
                if reader.problems.is_empty() =>
            {
                Ok(Self {
                    server,
                    access,
                    page,
                    storage,
                    records,
                    journal,
                    storage_prices,
                    model,
                    moderation,
                    uploads,
                    privacy,
                    sweep_interval,
                    jobs,
                    budgets,
                    quotas,
                    log,
                })
            }
            _ => Err(SettingsError { problems: reader.problems }),
        }
    }

    /// What bounds the work that is taken on.
    pub fn limits(&self) -> Limits {
        Limits {
            uploads: self.uploads,
            privacy: self.privacy.clone(),
            jobs: self.jobs,
            budgets: self.budgets,
            quotas: self.quotas,
        }
    }

    /// The settings of `swimcoach demo`: everything in memory, no model, loopback only. Nothing leaves the machine, so
    /// nobody is asked for consent.
    pub fn demo() -> Result<Self, SettingsError> {
        Self::load(&|name| match name {
            "R2_MOCK_MODE" | "SNOWFLAKE_MOCK_MODE" | "ANTHROPIC_MOCK_MODE" => Some("true".to_owned()),
            "CONSENT_WHEN_UNSAID" => Some("adult".to_owned()),
            _ => None,
        })
    }
}

impl ServerSettings {
    /// Reads these alone, for whoever only wants to find a running service.
    pub fn load(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader { lookup, problems: Vec::new() };
        let server = reader.server();
        if reader.problems.is_empty() { Ok(server) } else { Err(SettingsError { problems: reader.problems }) }
    }

    /// Where this machine reaches the service: the address that it binds, or loopback where it binds them all.
    pub fn local_address(&self) -> SocketAddr {
        let ip = match self.host {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.port)
    }
}

impl Reader<'_> {
    fn server(&mut self) -> ServerSettings {
        let host = self.parsed("HOST", "an IP address").unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        if !host.is_loopback() && !self.flag("ALLOW_UNAUTHENTICATED") && !self.signs_in() {
            self.problem(format!(
                "HOST={host} can be reached from other machines and nobody has to sign in: anybody could see every \
                 swimmer. Set API_KEYS=true or OIDC_ISSUER, keep HOST=127.0.0.1, or set ALLOW_UNAUTHENTICATED=true \
                 where something in front of the service lets in only whom you trust"
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
            metrics: self.parsed("METRICS_ADDR", "an address and a port like 127.0.0.1:9100"),
            cors,
            drain_delay: Duration::from_secs(self.number("SHUTDOWN_DRAIN_SECONDS", 0, 0..=300)),
            shutdown_timeout: Duration::from_secs(self.number("SHUTDOWN_TIMEOUT_SECONDS", 30, 1..=3600)),
            rates: self.rates(),
            any_host: self.flag("ALLOW_UNAUTHENTICATED"),
            max_connections: self.number("MAX_CONNECTIONS", 4096, 16..=65_536),
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
        if let Some(prices) = self.price_file("PRICES_PATH", PriceList::parse) {
            settings.prices = prices;
        }
        if mock {
            return Some(ModelSettings::Mock);
        }
        if settings.prices.model(&settings.model).is_none() {
            self.problem(format!(
                "ANTHROPIC_MODEL={} has no price, and what has none cannot be accounted for: set PRICES_PATH to a file \
                 like prices/claude.toml that has it, or take a model of that file",
                settings.model
            ));
        }
        if !is_private(&settings.base_url) {
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

    fn storage_prices(&mut self) -> Option<StoragePrices> {
        if self.is_set("STORAGE_PRICES_PATH") {
            return self.price_file("STORAGE_PRICES_PATH", StoragePrices::parse);
        }
        StoragePrices::embedded().map_err(|error| self.problem(error.to_string())).ok()
    }

    /// The prices of the file that a setting names, where it is set and right.
    fn price_file<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, PriceError>) -> Option<T> {
        let path = self.text(name)?;
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                self.problem(format!("{name}={path} cannot be read: {error}"));
                return None;
            }
        };
        match parse(&text) {
            Ok(prices) => Some(prices),
            Err(error) => {
                self.problems.extend(error.problems.iter().map(|it| format!("{name}={path}: {it}")));
                None
            }
        }
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

    fn jobs(&mut self, records: Option<&RecordSettings>) -> JobLimits {
        let max_running = self.number("MAX_RUNNING_ANALYSES", 4, 1..=256);
        let max_waiting = self.number("MAX_WAITING_ANALYSES", 32, 0..=10_000);
        let stale_after = self.decimal("STALE_JOB_THRESHOLD_MINUTES", "minutes", 50..=1_440_000, MILLI);
        JobLimits {
            max_running,
            max_waiting,
            max_of_caller: self.number("MAX_ANALYSES_OF_CALLER", max_running + max_waiting, 1..=10_256),
            scan_when_idle: !matches!(records, Some(RecordSettings::Snowflake(_))),
            stale_after: stale_after.map_or(Duration::from_mins(1), |it| Duration::from_millis(60 * it)),
        }
    }

    fn budgets(&mut self) -> Budgets {
        let mut usd = |name| self.decimal(name, "USD", 0..=1_000_000_000_000, MICRO).map(MicroUsd);
        Budgets {
            caller: usd("BUDGET_USD_PER_CALLER_AND_MONTH"),
            service: usd("BUDGET_USD_PER_MONTH"),
            analyses_per_day: self.analyses_per_day(),
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
        LogSettings { level, json, audit: self.text("AUDIT_LOG").map(PathBuf::from) }
    }
}
