//! The description of the API, made from the types, and a page to read it on.

use super::{analysis, health, sessions};
use axum::Router;
use utoipa::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

/// OpenAPI 3.1 of every route.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "SwimCoach",
        description = "Frames of a swimmer's video in, a technique analysis whose every claim cites frames out.",
    ),
    paths(
        analysis::upload,
        analysis::analyze,
        sessions::list,
        sessions::show,
        sessions::delete,
        health::live,
        health::ready,
    ),
    tags(
        (name = "analysis", description = "Upload frames and have them looked at."),
        (name = "sessions", description = "Read and delete what is there."),
        (name = "health", description = "For operators and load balancers."),
    ),
)]
struct ApiDescription;

/// The description of the API as it is served at `/openapi.json`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    ApiDescription::openapi()
}

/// `/openapi.json`, and `/docs` with its script from this binary.
pub(super) fn pages() -> Router {
    SwaggerUi::new("/docs").url("/openapi.json", openapi()).into()
}
