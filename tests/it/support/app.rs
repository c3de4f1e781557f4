//! The whole service in process, over fakes: hides URLs and encodings, never assertions.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::event_stream::EventStream;
use super::eventually::eventually;
use super::faulty_records::FaultyRecords;
use super::faulty_storage::FaultyStorage;
use super::form::Form;
use super::openapi;
use super::scripted_vision::ScriptedVision;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use swimcoach::catalog::Catalog;
use swimcoach::coach::Coach;
use swimcoach::config::{AllowedOrigin, RateSettings, Settings};
use swimcoach::http::{self, AppState, RateLimits, Readiness, UploadGate};
use swimcoach::identity::Identity;
use swimcoach::metadata::sqlite::SqliteSessionStore;
use swimcoach::metrics::Metrics;
use swimcoach::moderation::Moderation;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// The service and the handles of what it stands on.
#[derive(Debug, Clone)]
pub(crate) struct TestApp {
    pub(crate) settings: Arc<Settings>,
    router: Router,
    pub(crate) coach: Coach,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) draining: CancellationToken,
    pub(crate) storage: Arc<FaultyStorage>,
    pub(crate) records: Arc<FaultyRecords>,
    pub(crate) vision: Arc<ScriptedVision>,
    pub(crate) metrics: Arc<Metrics>,
    /// What every request brings to say who sends it.
    token: Option<String>,
}

impl TestApp {
    /// A service with the settings of the demo.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A service whose settings are changed first.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::demo().unwrap();
        // Tests come as fast as they can.
        settings.server.rates = RateSettings::default();
        settings.server.cors = vec!["https://coach.example".parse::<AllowedOrigin>().unwrap()];
        change(&mut settings);
        let public_url = "http://coach.test".parse().unwrap();
        let storage = Arc::new(FaultyStorage::new(public_url, settings.uploads.mock_storage_bytes));
        let records = Arc::new(FaultyRecords::new(SqliteSessionStore::in_memory().unwrap()));
        Self::over(Arc::new(settings), storage, records, Arc::new(ScriptedVision::new()))
    }

    /// A second process with the same settings over the same storage, records and model.
    pub(crate) fn replica(&self) -> Self {
        Self::over(
            Arc::clone(&self.settings),
            Arc::clone(&self.storage),
            Arc::clone(&self.records),
            Arc::clone(&self.vision),
        )
    }

    /// The same service as somebody else reaches it, who brings this token with every request.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    fn over(
        settings: Arc<Settings>,
        storage: Arc<FaultyStorage>,
        records: Arc<FaultyRecords>,
        vision: Arc<ScriptedVision>,
    ) -> Self {
        let metrics = Arc::new(Metrics::default());
        let coach = Coach::new(
            Arc::<FaultyStorage>::clone(&storage),
            Arc::<FaultyRecords>::clone(&records),
            Arc::<ScriptedVision>::clone(&vision),
            Arc::new(Catalog::embedded().unwrap()),
            &settings.limits(),
            metrics.analyses(),
        );
        let moderation = settings.moderation.as_ref().map(|it| Moderation::connect(it).unwrap());
        let coach = coach.with_moderation(moderation.map(Arc::new));
        let readiness = Arc::new(Readiness::default());
        let draining = CancellationToken::new();
        let state = AppState {
            coach: coach.clone(),
            limits: RateLimits::new(&settings.server.rates),
            identity: Identity::new(&settings.access, Arc::<FaultyRecords>::clone(&records)).unwrap(),
            uploads: UploadGate::new(&settings.uploads),
            readiness: Arc::clone(&readiness),
            storage_prices: settings.storage_prices,
            draining: draining.clone(),
            mock_storage: Some(Arc::clone(&storage.inner)),
        };
        let router = http::router(state, &settings);
        Self { settings, router, coach, readiness, draining, storage, records, vision, metrics, token: None }
    }

    /// Sends any request; what comes back is held to the description of the API.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Reply {
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().entry(header::AUTHORIZATION).or_insert(value);
        }
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let reply = Reply { status: head.status, headers: head.headers, body };
        let content_type = reply.header("content-type").unwrap_or_default();
        openapi::assert_described(&method, &path, reply.status, content_type, &reply.body);
        reply
    }

    /// Sends a request whose answer is a stream of events, to be read as it comes.
    pub(crate) async fn open(&self, request: Request<Body>) -> EventStream {
        EventStream::new(self.router.clone().oneshot(request).await.unwrap())
    }

    /// The answer to a request with its body still to be read.
    pub(crate) async fn unread(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn delete(&self, session: &str) -> Reply {
        self.send(Request::delete(session_path(session)).body(Body::empty()).unwrap()).await
    }

    /// What is known about a session.
    pub(crate) async fn show(&self, session: &str) -> Reply {
        self.get(&session_path(session)).await
    }

    pub(crate) async fn upload(&self, form: Form) -> Reply {
        self.send(upload_request(Body::from(form.body()))).await
    }

    /// Uploads frames that are in order; the session's id.
    pub(crate) async fn uploaded(&self, form: Form) -> String {
        let reply = self.upload(form).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        reply.json()["session_id"].as_str().unwrap().to_owned()
    }

    /// Asks for an analysis, without a body when it is null.
    pub(crate) async fn analyze(&self, session: &str, body: Value) -> Reply {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::post(format!("/api/v1/analysis/{session}/analyze"))
            .header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(body).unwrap()).await
    }

    /// Sends JSON to a path under a session; nothing when it is null.
    pub(crate) async fn post(&self, session: &str, path: &str, body: &Value) -> Reply {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::post(format!("{}/{path}", session_path(session)))
            .header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(body).unwrap()).await
    }

    /// The session once no analysis of it is under way any more.
    pub(crate) async fn settled(&self, session: &str) -> Value {
        let look = async || {
            let detail = self.show(session).await.json();
            (detail["status"] != "processing").then_some(detail)
        };
        eventually("the analysis ends", look).await
    }

    /// Has a session analyzed from the first step to the last.
    pub(crate) async fn analyzed(&self, session: &str) -> Value {
        let reply = self.analyze(session, Value::Null).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
        self.settled(session).await
    }

    /// Fails unless nothing of any upload is left.
    pub(crate) async fn assert_empty(&self) {
        assert_eq!(self.storage.keys(), [""; 0]);
        assert_eq!(self.get("/api/v1/sessions").await.json(), json!([]));
    }
}

/// An upload whose body may be something else than the form.
pub(crate) fn upload_request(body: Body) -> Request<Body> {
    Request::post("/api/v1/analysis/upload")
        .header(header::CONTENT_TYPE, Form::content_type())
        .body(body)
        .unwrap()
}

/// The path of a session.
pub(crate) fn session_path(session: &str) -> String {
    format!("/api/v1/sessions/{session}")
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|it| it.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem, once it was seen to be whole: every member, and the same id as in the header.
    pub(crate) fn problem(&self, status: StatusCode, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:swimcoach:problem:{code}"));
        assert_eq!(problem["title"], status.canonical_reason().unwrap());
        assert_eq!(problem["status"], status.as_u16());
        assert_eq!(problem["code"], code);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        assert!(problem["instance"].as_str().unwrap().starts_with('/'));
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        problem
    }
}
