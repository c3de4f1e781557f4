//! The description of the API, made from the types, and a page to read it on.

use super::error::PROBLEM_JSON;
use super::{analysis, chat, events, frames, health, sessions, usage};
use axum::Router;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
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
        frames::create_session,
        frames::put,
        frames::list,
        frames::show,
        frames::begin_direct,
        frames::complete_direct,
        sessions::list,
        sessions::show,
        sessions::delete,
        sessions::claim,
        sessions::amend,
        events::listen,
        chat::ask,
        usage::show,
        health::live,
        health::ready,
    ),
    modifiers(&Everywhere),
    tags(
        (name = "analysis", description = "Upload frames and have them looked at."),
        (name = "frames", description = "Put frames one by one, resume, put them straight into storage, and read them."),
        (name = "sessions", description = "Read, follow, talk about and delete what is there."),
        (name = "usage", description = "What was used in a month, and what may be."),
        (name = "health", description = "For operators and load balancers."),
    ),
)]
struct ApiDescription;

/// What every route answers in the same way, and how callers say who they are.
struct Everywhere;

/// What every route answers.
const ANYWHERE: [(&str, &str); 1] = [("500", "something broke inside the service")];

/// What every route answers whose caller is asked for.
const SIGNED_IN: [(&str, &str); 5] = [
    ("400", "the request is broken, or X-User-Id is no name of a user"),
    ("401", "the request does not say who sends it, or not truly"),
    ("403", "the caller may not do that"),
    ("502", "it cannot be checked who sends the request, since what is asked about it makes no sense"),
    ("503", "it cannot be checked just now who sends the request"),
];

impl Modify for Everywhere {
    fn modify(&self, api: &mut OpenApiDocument) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "an API key, a token of the OpenID provider, or the token of anonymous sessions",
        ));
        let key = ApiKeyValue::with_description("X-API-Key", "an API key");
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        components.add_security_scheme("key", SecurityScheme::ApiKey(ApiKey::Header(key)));
        for (path, item) in &mut api.paths.paths {
            let operations =
                [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let is_signed_in = path.starts_with("/api/");
                if is_signed_in {
                    // Nothing is needed where nobody signs in.
                    let requirements = ["bearer", "key"].map(|it| SecurityRequirement::new(it, [""; 0]));
                    operation.security =
                        Some(requirements.into_iter().chain([SecurityRequirement::default()]).collect());
                }
                let answers = ANYWHERE.iter().chain(SIGNED_IN.iter().filter(|_| is_signed_in));
                for (status, description) in answers {
                    let answers = &mut operation.responses.responses;
                    answers.entry((*status).to_owned()).or_insert_with(|| problem(description).into());
                }
            }
        }
    }
}

fn problem(description: &str) -> Response {
    let body = Content::builder().schema(Some(Ref::from_schema_name("ProblemBody"))).build();
    Response::builder().description(description).content(PROBLEM_JSON, body).build()
}

/// The description of the API as it is served at `/openapi.json`.
pub fn openapi() -> OpenApiDocument {
    ApiDescription::openapi()
}

/// `/openapi.json`, and `/docs` with its script from this binary.
pub(super) fn pages() -> Router {
    SwaggerUi::new("/docs").url("/openapi.json", openapi()).into()
}
