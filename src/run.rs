//! From settings to a running service: builds the parts, listens, and stops in order.

mod connections;
mod records;

pub use self::records::{drain_journal, look_at_journal, open_journal};

use self::records::{JournalUse, Records};
use crate::catalog::{Catalog, CatalogError};
use crate::coach::Coach;
use crate::config::{ModelSettings, Settings, StorageSettings};
use crate::http::{self, AppState, RateLimits, Readiness, UploadGate};
use crate::identity::Identity;
use crate::metadata::SessionStore;
use crate::metadata::journal::JournaledSessionStore;
use crate::metrics::{self, Metrics};
use crate::moderation::Moderation;
use crate::storage::StorageClient;
use crate::storage::mock::MockStorageClient;
use crate::storage::r2::R2StorageClient;
use crate::upstream::UpstreamError;
use crate::vision::VisionClient;
use crate::vision::claude::ClaudeVision;
use crate::vision::mock::MockVision;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// How long a stop waits for writes that are on their way from the journal. They are safe in any case.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(5);

/// The parts that settings choose.
#[derive(Debug)]
pub struct Parts {
    /// Where frames are kept.
    pub storage: Arc<dyn StorageClient>,
    /// The same, where it is the in-memory one.
    pub mock_storage: Option<Arc<MockStorageClient>>,
    /// Where records are kept.
    pub sessions: Arc<dyn SessionStore>,
    /// The journal before the store of records, where there is one.
    pub journal: Option<Arc<JournaledSessionStore>>,
    /// Who sends a request.
    pub identity: Identity,
    /// What looks at frames.
    pub vision: Arc<dyn VisionClient>,
    /// What looks at frames before they are stored, where anything does.
    pub moderation: Option<Arc<Moderation>>,
    /// The catalogue.
    pub catalog: Arc<Catalog>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Why the service does not run.
#[derive(Debug, Error)]
pub enum RunError {
    /// The port is taken, or the address is not one of this machine.
    #[error(
        "cannot listen on {address}; is HOST (or METRICS_ADDR) an address of this machine and PORT free?"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The catalogue that was built in is broken.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A part could not be built.
    #[error(transparent)]
    Part(#[from] UpstreamError),
    /// This machine trusts nobody.
    #[error(
        "this machine has no root certificates to check the bucket's against; install them (ca-certificates), or name a \
         file of them in SSL_CERT_FILE"
    )]
    NoRoots,
    /// No URL can be made of the address.
    #[error("PUBLIC_URL is needed: no URL can be made of {0}")]
    PublicUrl(SocketAddr),
}

impl Parts {
    /// Builds what the settings choose, for the one process that serves; `address` is where it listens.
    pub async fn build(settings: &Settings, address: SocketAddr) -> Result<Self, RunError> {
        Self::build_with(settings, address, JournalUse::Drain).await
    }

    /// The same for a process that works beside the service and leaves the journal of records to it.
    pub async fn build_beside(settings: &Settings) -> Result<Self, RunError> {
        let address = (settings.server.host, settings.server.port).into();
        Self::build_with(settings, address, JournalUse::Look).await
    }

    async fn build_with(
        settings: &Settings,
        address: SocketAddr,
        journal_use: JournalUse,
    ) -> Result<Self, RunError> {
        let catalog = Arc::new(Catalog::embedded()?);
        let metrics = Arc::new(Metrics::default());
        let mut mock_storage = None;
        let storage: Arc<dyn StorageClient> = match &settings.storage {
            StorageSettings::Mock => {
                let url = public_url(settings, address)?;
                let mock = Arc::new(MockStorageClient::new(url, settings.uploads.mock_storage_bytes));
                mock_storage = Some(Arc::<MockStorageClient>::clone(&mock));
                mock
            }
            StorageSettings::R2(r2) => {
                there_are_roots()?;
                Arc::new(R2StorageClient::connect(r2, metrics.storage()))
            }
        };
        let Records { sessions, journal } = Records::build(settings, journal_use, &metrics).await?;
        let vision: Arc<dyn VisionClient> = match &settings.model {
            ModelSettings::Mock => Arc::new(MockVision::new()),
            ModelSettings::Claude(claude) => Arc::new(ClaudeVision::new(claude, &catalog)?),
        };
        let identity = Identity::new(&settings.access, Arc::clone(&sessions))?;
        let moderation = settings.moderation.as_ref().map(Moderation::connect).transpose()?.map(Arc::new);
        Ok(Self { storage, mock_storage, sessions, journal, identity, vision, moderation, catalog, metrics })
    }

    /// The verbs over these parts.
    pub fn coach(&self, settings: &Settings) -> Coach {
        Coach::new(
            Arc::clone(&self.storage),
            Arc::clone(&self.sessions),
            Arc::clone(&self.vision),
            Arc::clone(&self.catalog),
            &settings.limits(),
            self.metrics.analyses(),
        )
        .with_moderation(self.moderation.clone())
    }
}

/// Opens the port that the settings name.
pub async fn listen(settings: &Settings) -> Result<TcpListener, RunError> {
    bind(SocketAddr::new(settings.server.host, settings.server.port)).await
}

async fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
}

/// Serves until `stop` is cancelled, then stops in order: readiness fails first, after `drain_delay` new
/// connections are refused and event streams end, running uploads and analyses may go on for `shutdown_timeout`, and
/// what still runs then is cut; an analysis is given back, so that the next process takes it up.
pub async fn serve(
    listener: TcpListener,
    parts: Parts,
    settings: &Settings,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let coach = parts.coach(settings);
    let readiness = Arc::new(Readiness::default());
    let (draining, cut) = (CancellationToken::new(), CancellationToken::new());
    let state = AppState {
        coach: coach.clone(),
        identity: parts.identity,
        limits: RateLimits::new(&settings.server.rates),
        uploads: UploadGate::new(&settings.uploads),
        readiness: Arc::clone(&readiness),
        storage_prices: settings.storage_prices,
        draining: draining.clone(),
        mock_storage: parts.mock_storage,
    };
    let app = http::router(state, settings);
    let _stop_metrics = serve_metrics(&parts.metrics, settings.server.metrics).await?;
    coach.watch_for_left_behind();
    if let Some(interval) = settings.sweep_interval {
        coach.sweep_in_background(interval);
    }

    let places = connections::places(settings.server.max_connections);
    let connections = connections::serve(listener, app, places, draining.clone(), cut.clone());
    let mut connections = AbortOnDropHandle::new(tokio::spawn(connections));

    stop.cancelled().await;
    tracing::info!("stopping: no longer ready, running requests may finish");
    readiness.stop();
    tokio::time::sleep(settings.server.drain_delay).await;
    draining.cancel();
    coach.begin_no_more();
    let deadline = Instant::now() + settings.server.shutdown_timeout;
    let mut ended = tokio::time::timeout_at(deadline, &mut connections).await;
    if ended.is_err() {
        tracing::warn!(
            "connections were still open after {:?} and are cut",
            settings.server.shutdown_timeout
        );
        cut.cancel();
        // Until the last is gone, since what it leaves to be undone is part of what is waited for next.
        ended = Ok(connections.await);
    }
    if let Ok(Err(error)) = ended {
        tracing::error!(%error, "accepting connections broke off");
    }
    if !coach.shut_down(deadline.saturating_duration_since(Instant::now())).await {
        tracing::error!("work in the background did not end; what it was doing may be incomplete");
    }
    // Last, since what ran until now may have left its end in the journal.
    if let Some(journal) = &parts.journal
        && !journal.shut_down(JOURNAL_PATIENCE).await
    {
        tracing::warn!(
            "a write to the store of records was still on its way; it is sent again after the next start"
        );
    }
    tracing::info!("stopped");
    Ok(())
}

/// Gives metrics out at the address, where there is one, until the result is dropped.
async fn serve_metrics(metrics: &Arc<Metrics>, address: Option<SocketAddr>) -> Result<DropGuard, RunError> {
    let stop = CancellationToken::new();
    if let Some(address) = address {
        let listener = bind(address).await?;
        let address = listener.local_addr().unwrap_or(address);
        tracing::info!(%address, "metrics are given out on http://{address}/metrics");
        let serving = metrics::serve(listener, Arc::clone(metrics), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "metrics are given out no more");
            }
        });
    }
    Ok(stop.drop_guard())
}

/// The bucket that the settings name, where frames are kept in one.
pub fn bucket(settings: &Settings) -> Result<Option<R2StorageClient>, RunError> {
    let StorageSettings::R2(r2) = &settings.storage else { return Ok(None) };
    there_are_roots()?;
    Ok(Some(R2StorageClient::connect(r2, Metrics::default().storage())))
}

/// Asked before the S3 client is built, since that panics in a debug build and otherwise blames the bucket.
fn there_are_roots() -> Result<(), RunError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        tracing::error!(errors = ?found.errors, "no root certificates");
        return Err(RunError::NoRoots);
    }
    Ok(())
}

fn public_url(settings: &Settings, address: SocketAddr) -> Result<Url, RunError> {
    match &settings.server.public_url {
        Some(url) => Ok(url.clone()),
        None => Url::parse(&format!("http://{address}")).map_err(|_no_url| RunError::PublicUrl(address)),
    }
}
