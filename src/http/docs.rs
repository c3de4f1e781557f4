//! The description of the API, made from the types, and a page to read it on.

use super::error::PROBLEM_JSON;
use super::{analysis, chat, events, health, sessions, usage};
use axum::Router;
use utoipa::openapi::{Content, OpenApi as OpenApiDocument, Ref, Response};
use utoipa::{Modify, OpenApi};
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
        analysis::estimate,
        analysis::cancel,
        sessions::list,
        sessions::show,
        sessions::delete,
        events::listen,
        chat::ask,
        usage::show,
        health::live,
        health::ready,
    ),
    modifiers(&Panics),
    tags(
        (name = "analysis", description = "Upload frames and have them looked at."),
        (name = "sessions", description = "Read, follow, talk about and delete what is there."),
        (name = "usage", description = "What was used in a month, and what may be."),
        (name = "health", description = "For operators and load balancers."),
    ),
)]
struct ApiDescription;

/// Every route can panic, and then answers in the same way.
struct Panics;

impl Modify for Panics {
    fn modify(&self, api: &mut OpenApiDocument) {
        let problem = Content::builder().schema(Some(Ref::from_schema_name("ProblemBody"))).build();
        let panicked = Response::builder()
            .description("something broke inside the service")
            .content(PROBLEM_JSON, problem)
            .build();
        for path in api.paths.paths.values_mut() {
            let operations = [&mut path.get, &mut path.post, &mut path.put, &mut path.delete];
            for operation in operations.into_iter().flatten() {
                operation.responses.responses.insert("500".to_owned(), panicked.clone().into());
            }
        }
    }
}

/// The description of the API as it is served at `/openapi.json`.
pub fn openapi() -> OpenApiDocument {
    ApiDescription::openapi()
}

/// `/openapi.json`, and `/docs` with its script from this binary.
pub(super) fn pages() -> Router {
    SwaggerUi::new("/docs").url("/openapi.json", openapi()).into()
}
