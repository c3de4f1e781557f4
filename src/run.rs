//! From settings to a running service: builds the parts, listens, and stops in order.

mod connections;

use crate::catalog::{Catalog, CatalogError};
use crate::coach::Coach;
use crate::config::{ModelSettings, RecordSettings, Settings, StorageSettings};
use crate::http::{self, AppState, Readiness, UploadGate};
use crate::metadata::SessionStore;
use crate::metadata::snowflake::SnowflakeSessionStore;
use crate::metadata::sqlite::SqliteSessionStore;
use crate::storage::StorageClient;
use crate::storage::mock::MockStorageClient;
use crate::storage::r2::R2StorageClient;
use crate::upstream::UpstreamError;
use crate::vision::VisionClient;
use crate::vision::claude::ClaudeVision;
use crate::vision::mock::MockVision;
use std::net::SocketAddr;
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// The parts that settings choose.
#[derive(Debug)]
pub struct Parts {
    /// Where frames are kept.
    pub storage: Arc<dyn StorageClient>,
    /// The same, where it is the in-memory one.
    pub mock_storage: Option<Arc<MockStorageClient>>,
    /// Where records are kept.
    pub sessions: Arc<dyn SessionStore>,
    /// What looks at frames.
    pub vision: Arc<dyn VisionClient>,
    /// The catalogue.
    pub catalog: Arc<Catalog>,
}

/// Why the service does not run.
#[derive(Debug, Error)]
pub enum RunError {
    /// The port is taken, or the address is not one of this machine.
    #[error("cannot listen on {address}; is HOST an address of this machine and PORT free?")]
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
    /// No URL can be made of the address.
    #[error("PUBLIC_URL is needed: no URL can be made of {0}")]
    PublicUrl(SocketAddr),
}

impl Parts {
    /// Builds what the settings choose; `address` is where the service listens.
    pub async fn build(settings: &Settings, address: SocketAddr) -> Result<Self, RunError> {
        let catalog = Arc::new(Catalog::embedded()?);
        let mut mock_storage = None;
        let storage: Arc<dyn StorageClient> = match &settings.storage {
            StorageSettings::Mock => {
                let url = public_url(settings, address)?;
                let mock = Arc::new(MockStorageClient::new(url, settings.uploads.mock_storage_bytes));
                mock_storage = Some(Arc::<MockStorageClient>::clone(&mock));
                mock
            }
            StorageSettings::R2(r2) => Arc::new(R2StorageClient::connect(r2)),
        };
        let sessions: Arc<dyn SessionStore> = match &settings.records {
            RecordSettings::InMemory => Arc::new(SqliteSessionStore::in_memory()?),
            RecordSettings::File(path) => Arc::new(SqliteSessionStore::open(path).await?),
            RecordSettings::Snowflake(snowflake) => Arc::new(SnowflakeSessionStore::connect(snowflake)?),
        };
        let vision: Arc<dyn VisionClient> = match &settings.model {
            ModelSettings::Mock => Arc::new(MockVision::new()),
            ModelSettings::Claude(claude) => Arc::new(ClaudeVision::new(claude, &catalog)?),
        };
        Ok(Self { storage, mock_storage, sessions, vision, catalog })
    }

    /// The verbs over these parts.
    pub fn coach(&self, settings: &Settings) -> Coach {
        Coach::new(
            Arc::clone(&self.storage),
            Arc::clone(&self.sessions),
            Arc::clone(&self.vision),
            Arc::clone(&self.catalog),
            settings.uploads,
            settings.jobs,
        )
    }
}

/// Opens the port that the settings name.
pub async fn listen(settings: &Settings) -> Result<TcpListener, RunError> {
    let address = SocketAddr::new(settings.server.host, settings.server.port);
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
}

/// Serves until `stop` is cancelled, then stops in order: readiness fails first, after `drain_delay` new
/// connections are refused, running uploads and analyses may go on for `shutdown_timeout`, and what still runs
/// then is cut or recorded as interrupted.
pub async fn serve(
    listener: TcpListener,
    parts: Parts,
    settings: &Settings,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let coach = parts.coach(settings);
    let readiness = Arc::new(Readiness::default());
    let state = AppState {
        coach: coach.clone(),
        uploads: UploadGate::new(&settings.uploads),
        readiness: Arc::clone(&readiness),
        mock_storage: parts.mock_storage,
    };
    let app = http::router(state, &settings.server.cors);
    let draining = CancellationToken::new();
    let connections = tokio::spawn(connections::serve(listener, app, draining.clone()));
    let connections = AbortOnDropHandle::new(connections);

    stop.cancelled().await;
    tracing::info!("stopping: no longer ready, running requests may finish");
    readiness.stop();
    tokio::time::sleep(settings.server.drain_delay).await;
    draining.cancel();
    let deadline = Instant::now() + settings.server.shutdown_timeout;
    if tokio::time::timeout_at(deadline, connections).await.is_err() {
        tracing::warn!(
            "connections were still open after {:?} and are cut",
            settings.server.shutdown_timeout
        );
    }
    if !coach.shut_down(deadline.saturating_duration_since(Instant::now())).await {
        tracing::error!("work in the background did not end; what it was doing may be incomplete");
    }
    tracing::info!("stopped");
    Ok(())
}

fn public_url(settings: &Settings, address: SocketAddr) -> Result<Url, RunError> {
    match &settings.server.public_url {
        Some(url) => Ok(url.clone()),
        None => Url::parse(&format!("http://{address}")).map_err(|_no_url| RunError::PublicUrl(address)),
    }
}
