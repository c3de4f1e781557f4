//! The description of the API, made from the types, and a page to read it on.

use super::error::PROBLEM_JSON;
use super::{analysis, catalog, chat, events, export, frames, health, sessions, usage, web};
use axum::Router;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Content, HeaderBuilder, Object, ObjectBuilder, OpenApi as OpenApiDocument, Ref, RefOr, Response,
};
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
        analysis::check,
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
        catalog::show,
        usage::show,
        export::export,
        export::erase,
        health::live,
        health::ready,
        web::config,
    ),
    modifiers(&Everywhere),
    tags(
        (name = "analysis", description = "Upload frames and have them looked at."),
        (name = "frames", description = "Put frames one by one, resume, put them straight into storage, and read them."),
        (name = "sessions", description = "Read, follow, talk about and delete what is there."),
        (name = "data", description = "Everything of a caller: taken out in one file, and removed."),
        (name = "catalog", description = "What may be said about technique."),
        (name = "usage", description = "What was used in a month, and what may be."),
        (name = "health", description = "For operators and load balancers."),
        (name = "page", description = "What a page is told before anybody signs in."),
    ),
)]
struct ApiDescription;

/// What every route answers in the same way, and how callers say who they are.
struct Everywhere;

/// What every route answers.
const ANYWHERE: [(&str, &str); 1] = [("500", "something broke inside the service")];

/// What every route answers whose caller is asked for.
const SIGNED_IN: [(&str, &str); 7] = [
    ("400", "the request is broken, or X-User-Id is no name of a user"),
    ("421", "the request names a host that this service does not answer under"),
    ("429", "requests come too often, or the caller has as much as one may have"),
    ("401", "the request does not say who sends it, or not truly"),
    ("403", "the caller may not do that"),
    ("502", "it cannot be checked who sends the request, since what is asked about it makes no sense"),
    ("503", "it cannot be checked just now who sends the request"),
];

/// What creates or pays, and is done once where it carries a key.
const ONCE: [&str; 7] = [
    "/api/v1/analysis/upload",
    "/api/v1/analysis/{id}/analyze",
    "/api/v1/sessions",
    "/api/v1/sessions/{id}/chat",
    "/api/v1/sessions/{id}/claim",
    "/api/v1/sessions/{id}/uploads",
    "/api/v1/sessions/{id}/uploads/complete",
];

/// What requests with a key are answered beside.
const KEYED: [(&str, &str); 5] = [
    ("400", "the body broke off"),
    ("408", "the body took too long"),
    ("409", "the same request is under way, or its answer was too long to be kept"),
    ("413", "the body is too large"),
    ("422", "Idempotency-Key is no key, or was used for another request"),
];

/// Describes the key of a request, and the header of an answer that was given before.
fn describe_key(operation: &mut Operation) {
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "names this request, in 1 to 255 visible ASCII characters: sent again with the same key and body within 24 \
             hours it is not done again, but answered with the first answer",
        ))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(255))
                .pattern(Some("^[!-~]+$")),
        ))
        .build();
    operation.parameters.get_or_insert_default().push(key.into());
    for answer in operation.responses.responses.values_mut() {
        if let RefOr::T(answer) = answer {
            let header = HeaderBuilder::new()
                .schema(Some(Object::with_type(Type::String)))
                .description(Some("`true` where the answer was given before; else absent"));
            answer.headers.insert("Idempotency-Replayed".to_owned(), header.build().into());
        }
    }
}

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
            let others = [&mut item.get, &mut item.put, &mut item.patch, &mut item.delete];
            let operations = others.into_iter().map(|it| (it, false)).chain([(&mut item.post, true)]);
            for (operation, is_post) in operations.filter_map(|(it, is_post)| Some((it.as_mut()?, is_post))) {
                let is_signed_in = path.starts_with("/api/");
                if is_signed_in {
                    // Nothing is needed where nobody signs in.
                    let requirements = ["bearer", "key"].map(|it| SecurityRequirement::new(it, [""; 0]));
                    operation.security =
                        Some(requirements.into_iter().chain([SecurityRequirement::default()]).collect());
                }
                let is_once = is_post && ONCE.contains(&path.as_str());
                let keyed = KEYED.iter().filter(|_| is_once);
                let answers = ANYWHERE.iter().chain(SIGNED_IN.iter().filter(|_| is_signed_in)).chain(keyed);
                for (status, description) in answers {
                    let answers = &mut operation.responses.responses;
                    answers.entry((*status).to_owned()).or_insert_with(|| problem(description).into());
                }
                if is_once {
                    describe_key(operation);
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
