//! HTTP: the one table of routes, the state that handlers share, and the order of the layers.
//!
//! Any behavior is two hops from its path: the line here, the handler in `http/<resource>.rs`, and from
//! there a method of [`Coach`].

mod analysis;
mod auth;
mod catalog;
mod chat;
mod docs;
mod edge;
mod error;
mod events;
mod export;
mod extract;
mod frames;
mod health;
mod idempotency;
mod layers;
mod limits;
mod mock_storage;
mod range;
mod sessions;
mod upload;
mod usage;
mod web;

pub use docs::openapi;
pub use health::Readiness;
pub use limits::{PeerAddress, RateLimits};
pub use upload::UploadGate;

use self::edge::Edge;
use crate::coach::Coach;
use crate::config::Settings;
use crate::identity::Identity;
use crate::pricing::StoragePrices;
use crate::storage::mock::MockStorageClient;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{delete, get, post};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

/// What every handler can reach.
#[derive(Debug, Clone)]
pub struct AppState {
    /// The verbs.
    pub coach: Coach,
    /// Who sends a request.
    pub identity: Identity,
    /// How often requests may come.
    pub limits: RateLimits,
    /// Bounds the memory of uploads under way.
    pub uploads: UploadGate,
    /// Whether the service should be sent requests.
    pub readiness: Arc<Readiness>,
    /// What storage costs, to set what was used of it against what is free.
    pub storage_prices: StoragePrices,
    /// Cancelled when the service drains connections: streams that would not end by themselves end then.
    pub draining: CancellationToken,
    /// The in-memory storage where it is the one in use, so that its presigned URLs can be served.
    pub mock_storage: Option<Arc<MockStorageClient>>,
}

/// The whole face of the service.
pub fn router(state: AppState, settings: &Settings) -> Router {
    let max_request_bytes =
        usize::try_from(state.coach.upload_limits().max_request_bytes).unwrap_or(usize::MAX);
    // Around what creates or pays: the same request twice is done once. An upload sees to that itself.
    let once = middleware::from_fn_with_state(state.clone(), idempotency::once);
    let server = &settings.server;
    let edge = Edge::new(server.public_url.as_ref(), server.any_host);
    let page = Arc::new(web::PageConfig::new(settings, &state.coach));
    let api = Router::new()
        // What the front end calls.
        .route("/api/v1/analysis/upload", post(analysis::upload))
        .route("/api/v1/analysis/{id}/analyze", post(analysis::analyze).route_layer(once.clone()))
        .route(
            "/api/v1/sessions",
            get(sessions::list).merge(post(frames::create_session).route_layer(once.clone())),
        )
        .route(
            "/api/v1/sessions/",
            get(sessions::list).merge(post(frames::create_session).route_layer(once.clone())),
        )
        .route("/api/v1/sessions/{id}", get(sessions::show).patch(sessions::amend).delete(sessions::delete))
        .route("/api/v1/sessions/{id}/check", post(analysis::check))
        .route("/api/v1/sessions/{id}/estimate", post(analysis::estimate))
        .route("/api/v1/sessions/{id}/events", get(events::listen))
        .route("/api/v1/sessions/{id}/cancel", post(analysis::cancel))
        .route("/api/v1/sessions/{id}/chat", post(chat::ask).route_layer(once.clone()))
        .route("/api/v1/sessions/{id}/claim", post(sessions::claim).route_layer(once.clone()))
        .route("/api/v1/sessions/{id}/frames", get(frames::list))
        .route("/api/v1/sessions/{id}/frames/{number}", get(frames::show).put(frames::put))
        .route("/api/v1/sessions/{id}/uploads", post(frames::begin_direct).route_layer(once.clone()))
        .route("/api/v1/sessions/{id}/uploads/complete", post(frames::complete_direct).route_layer(once))
        .route("/api/v1/catalog", get(catalog::show))
        .route("/api/v1/usage", get(usage::show))
        .route("/api/v1/export", get(export::export))
        .route("/api/v1/data", delete(export::erase))
        .layer(middleware::from_fn_with_state(state.clone(), limits::by_caller))
        .layer(middleware::from_fn_with_state(state.clone(), auth::identify))
        .layer(middleware::from_fn_with_state(state.clone(), limits::by_address));
    let mut table = api
        // What operators and load balancers call.
        .route("/health", get(health::live))
        .route("/health/ready", get(health::ready))
        // What the page is told.
        .route("/config.json", get(web::config).with_state(page));
    if state.mock_storage.is_some() {
        // What presigned URLs of the in-memory storage point at.
        table = table.route("/_mock/storage/{*key}", get(mock_storage::download).put(mock_storage::upload));
    }
    table
        .with_state(state.clone())
        // What developers open: /docs and /openapi.json.
        .merge(docs::pages())
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        // The first layer is the innermost: a panic is caught, reaches pages of other origins too, becomes a
        // problem with the request's id, and is logged.
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(DefaultBodyLimit::max(max_request_bytes))
        .layer(middleware::from_fn_with_state((state, edge.clone()), edge::check_host))
        .layer(layers::cors(&server.cors))
        // What people open: /. Pages of other origins have no use for its files.
        .merge(web::pages(settings))
        .layer(middleware::from_fn(layers::observe))
        .layer(middleware::from_fn_with_state(edge, edge::guard))
}
