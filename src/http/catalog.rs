//! What may be said about technique.

use super::AppState;
use super::auth::MayRead;
use super::error::ApiError;
use crate::analysis::Element;
use crate::catalog::{Drill, Fault, Sight};
use crate::session::Stroke;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// It changes with the service only.
const CACHE: &str = "private, max-age=3600";

/// The catalogue.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CatalogReply<'a> {
    /// Changes with every entry; results name it.
    version: &'a str,
    /// To be said wherever the catalogue is shown.
    status: &'a str,
    /// What an upload may say that is swum.
    strokes: &'static [Stroke],
    /// The parts of technique.
    elements: &'static [Element],
    /// What can be seen, and how well from where.
    views: Vec<&'a Sight>,
    /// What can go wrong.
    faults: Vec<&'a Fault>,
    /// What helps.
    drills: Vec<&'a Drill>,
}

/// The catalogue: strokes, elements, faults, drills, and what each view can show.
#[utoipa::path(get, path = "/api/v1/catalog", tag = "catalog", responses((status = 200, body = CatalogReply<'static>)))]
pub(super) async fn show(State(app): State<AppState>, _: MayRead) -> Result<Response, ApiError> {
    let catalog = app.coach.catalog();
    let reply = CatalogReply {
        version: catalog.version(),
        status: catalog.status(),
        strokes: &Stroke::ALL,
        elements: Element::ALL,
        views: catalog.sights().collect(),
        faults: catalog.faults().collect(),
        drills: catalog.drills().collect(),
    };
    Ok(([(header::CACHE_CONTROL, CACHE)], Json(reply)).into_response())
}
