//! Two tenants and every route and method of `/openapi.json`: what is one's does not exist for the other.
//!
//! A route that is new is among them by itself, and fails until [`body_of`] says what it is sent where it takes a body.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::access::{key, ring};
use crate::support::app::{Reply, TestApp};
use crate::support::form::Form;
use crate::support::openapi;
use crate::support::pictures;
use crate::support::scripted_vision::LOOK_USAGE;
use axum::body::Body;
use axum::http::{HeaderName, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use swimcoach::access::Scope;
use swimcoach::session::SessionId;

/// What nobody but its owner may find in any answer.
const NOTES: &str = "notes-of-the-owner";
const TITLE: &str = "title-of-the-owner";
const MESSAGE: &str = "message-of-the-owner";
const ANSWER: &str = "answer-to-the-owner";

/// What the names of routes stand for in a request.
struct Operation {
    method: Method,
    template: String,
}

impl Operation {
    /// Every operation of the description, and `HEAD` wherever there is `GET`.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (template, item) in openapi::document()["paths"].as_object().unwrap() {
            for name in item.as_object().unwrap().keys() {
                let Ok(method) = name.to_uppercase().parse::<Method>() else { continue };
                if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method.as_str()) {
                    continue;
                }
                if method == Method::GET {
                    all.push(Self { method: Method::HEAD, template: template.clone() });
                }
                all.push(Self { method, template: template.clone() });
            }
        }
        all
    }

    /// Those whose caller is asked for.
    fn of_callers() -> Vec<Self> {
        Self::all().into_iter().filter(|it| it.template.starts_with("/api/")).collect()
    }

    fn is_about_a_session(&self) -> bool {
        self.template.contains("{id}")
    }

    /// A request that would be answered with success if the session were the caller's.
    fn request(&self, session: &str, headers: &[(HeaderName, String)]) -> Request<Body> {
        let path = self.template.replace("{id}", session).replace("{number}", "1");
        assert!(!path.contains('{'), "say what the parameters of {} stand for", self.template);
        let (content_type, body) = body_of(self);
        let mut request = Request::builder().method(&self.method).uri(path);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(Body::from(body)).unwrap()
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.template)
    }
}

/// The content type and the body of a request that is in order.
fn body_of(operation: &Operation) -> (Option<String>, Vec<u8>) {
    let nothing = (None, Vec::new());
    let json = |body: Value| (Some("application/json".to_owned()), body.to_string().into_bytes());
    if [Method::GET, Method::HEAD, Method::DELETE].contains(&operation.method) {
        return nothing;
    }
    match operation.to_string().as_str() {
        "POST /api/v1/analysis/upload" => (Some(Form::content_type()), Form::frames(1).body()),
        "POST /api/v1/analysis/{id}/analyze"
        | "POST /api/v1/sessions"
        | "POST /api/v1/sessions/{id}/estimate"
        | "POST /api/v1/sessions/{id}/uploads/complete" => json(json!({})),
        "POST /api/v1/sessions/{id}/uploads" => json(json!({"frames": [{"number": 1, "size_bytes": 1000}]})),
        "PUT /api/v1/sessions/{id}/frames/{number}" => {
            (Some("image/jpeg".to_owned()), pictures::jpeg(320, 240, 1))
        }
        "POST /api/v1/sessions/{id}/cancel"
        | "POST /api/v1/sessions/{id}/check"
        | "POST /api/v1/sessions/{id}/claim" => nothing,
        "PATCH /api/v1/sessions/{id}" => json(json!({"retention_days": 1})),
        "POST /api/v1/sessions/{id}/chat" => json(json!({"message": "What do you see?"})),
        unknown => panic!("{unknown} is new: say here what it is sent, so that two tenants try it"),
    }
}

/// Somebody who sends requests.
struct Tenant {
    what: &'static str,
    /// Whether it is known who that is.
    is_known: bool,
    headers: Vec<(HeaderName, String)>,
}

impl Tenant {
    fn new(what: &'static str, token: &str, user: Option<&str>) -> Self {
        let mut headers = vec![(header::AUTHORIZATION, format!("Bearer {token}"))];
        headers.extend(user.map(|it| (HeaderName::from_static("x-user-id"), it.to_owned())));
        Self { what, is_known: true, headers }
    }

    async fn send(&self, app: &TestApp, operation: &Operation, session: &str) -> Reply {
        app.send(operation.request(session, &self.headers)).await
    }
}

/// A service with somebody's analyzed session that was talked about.
struct House {
    app: TestApp,
    owner: TestApp,
    session: String,
}

impl House {
    async fn new() -> Self {
        let app = TestApp::with(|it| {
            it.access.api_keys = true;
            it.access.anonymous = true;
        });
        let scopes: Vec<_> = Scope::of_users().into_iter().collect();
        let owner = app.with_token(&key(&app, "house-owner", &scopes).await.1);
        // No other upload of this file has these pictures.
        let form = (100..108).fold(Form::new(), |form, seed| form.frame(&pictures::jpeg(320, 240, seed)));
        let session = owner.uploaded(form.text("user_notes", NOTES).text("title", TITLE)).await;
        owner.vision.finds();
        owner.vision.answers_notes(ANSWER);
        assert_eq!(owner.analyzed(&session).await["status"], "complete");
        owner.vision.replies(ANSWER, &[1], LOOK_USAGE);
        let reply = owner.post(&session, "chat", &json!({"message": MESSAGE})).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        Self { app, owner, session }
    }

    /// Everything that the owner can see, and every object of theirs.
    async fn everything(&self) -> Value {
        let frames: Vec<_> =
            self.app.storage.keys().into_iter().filter(|it| it.contains(&self.session)).collect();
        let mut all = json!({"frames": frames});
        for operation in Operation::of_callers().iter().filter(|it| it.method == Method::GET) {
            let reply = self.owner.send(operation.request(&self.session, &[])).await;
            assert!(reply.status.is_success(), "{operation}: {reply:?}");
            all[operation.to_string()] = json!(String::from_utf8_lossy(&reply.body));
        }
        all
    }

    /// What must be in no answer to others: what the owner said and was told, how things of theirs are called, and a
    /// piece of each picture.
    async fn secrets(&self) -> Vec<Vec<u8>> {
        let detail = self.owner.show(&self.session).await.json();
        let texts = [NOTES, TITLE, MESSAGE, ANSWER, "house-owner", detail["summary"].as_str().unwrap()];
        let mut secrets: Vec<Vec<u8>> = texts.iter().map(|it| it.as_bytes().to_vec()).collect();
        secrets.extend(
            detail["feedback"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["observation"].as_str().unwrap().as_bytes().to_vec()),
        );
        secrets.extend((100..108).map(|seed| pictures::jpeg(320, 240, seed)).map(|jpeg| {
            let middle = jpeg.len() / 2;
            jpeg[middle..middle + 64].to_vec()
        }));
        secrets
    }

    /// Others: with a key of their own, a user of a key that was made for the same owner, and nobody known.
    async fn others(&self) -> Vec<Tenant> {
        let scopes: Vec<_> = Scope::of_users().into_iter().collect();
        let (_, stranger) = key(&self.app, "stranger", &scopes).await;
        let (_, page) = key(&self.app, "house-owner", &Scope::ALL).await;
        let anonymous = self.app.upload(Form::frames(1)).await;
        let anonymous = anonymous.header("x-session-token").unwrap();
        vec![
            Tenant::new("another key", &stranger, None),
            Tenant::new("a user of a key of the same owner", &page, Some("somebody")),
            Tenant {
                is_known: false,
                ..Tenant::new("the holder of a token of anonymous sessions", anonymous, None)
            },
        ]
    }
}

/// An answer without what differs from one request to the next.
fn comparable(reply: &Reply, session: &str) -> (StatusCode, BTreeSet<String>, String) {
    let names = reply.headers.keys().map(|it| it.as_str().to_owned()).collect();
    let request_id = reply.header("x-request-id").unwrap();
    let body = String::from_utf8_lossy(&reply.body).replace(session, "<session>").replace(request_id, "<id>");
    (reply.status, names, body)
}

fn contains(reply: &Reply, secret: &[u8]) -> bool {
    let headers = format!("{:?}", reply.headers);
    let is_in = |text: &[u8]| text.windows(secret.len()).any(|it| it == secret);
    is_in(&reply.body) || is_in(headers.as_bytes())
}

#[tokio::test]
async fn what_is_one_tenants_does_not_exist_for_others_on_any_route_and_is_not_changed_by_them() {
    let house = House::new().await;
    let (secrets, before) = (house.secrets().await, house.everything().await);
    for secret in &secrets[..4] {
        let text = String::from_utf8_lossy(secret);
        assert!(before.to_string().contains(&*text), "{text} is nowhere, so nobody could leak it");
    }

    for other in house.others().await {
        for operation in Operation::of_callers() {
            let what = format!("{operation} by {}", other.what);
            let reply = other.send(&house.app, &operation, &house.session).await;

            let leaked = secrets.iter().find(|it| contains(&reply, it)).map(|it| String::from_utf8_lossy(it));
            assert_eq!(leaked, None, "{what} leaks: {reply:?}");
            if operation.is_about_a_session() {
                let is_asked_first = !other.is_known && operation.template.ends_with("/claim");
                let none = if is_asked_first { StatusCode::UNAUTHORIZED } else { StatusCode::NOT_FOUND };
                assert_eq!(reply.status, none, "{what}: {reply:?}");
                let never = SessionId::new().to_string();
                let nothing = other.send(&house.app, &operation, &never).await;
                assert_eq!(comparable(&reply, &house.session), comparable(&nothing, &never), "{what}");
            } else {
                assert!(reply.status.is_success(), "{what}: {reply:?}");
                assert!(!contains(&reply, house.session.as_bytes()), "{what} leaks: {reply:?}");
            }
        }
    }

    assert_eq!(house.everything().await, before);
}

#[tokio::test]
async fn what_is_listed_and_counted_is_the_callers_alone() {
    let house = House::new().await;

    for other in house.others().await {
        let get = |path: &str| {
            let mut request = Request::get(path);
            for (name, value) in &other.headers {
                request = request.header(name, value);
            }
            house.app.send(request.body(Body::empty()).unwrap())
        };
        let (listed, usage) = (get("/api/v1/sessions").await.json(), get("/api/v1/usage").await.json());

        let ids: Vec<_> = listed.as_array().unwrap().iter().map(|it| &it["session_id"]).collect();
        assert!(!ids.contains(&&json!(house.session)), "{}: {listed}", other.what);
        let used = &usage["used"];
        let counted = [&used["analyses"], &used["answers"], &used["model"]["requests"]];
        assert_eq!(counted, [&json!(0); 3], "{}: {usage}", other.what);
    }
    let used = house.owner.get("/api/v1/usage").await.json()["used"].clone();
    assert_eq!((&used["analyses"], &used["answers"]), (&json!(1), &json!(1)), "{used}");
}

#[tokio::test]
async fn every_route_but_health_and_the_description_asks_who_sends_a_request() {
    let house = House::new().await;
    let app = TestApp::with(|it| it.access.api_keys = true);
    let revoked = {
        let (key, shown) = key(&app, "house-owner", &Scope::ALL).await;
        ring(&app).revoke(&key.id).await.unwrap();
        shown
    };
    let before = app.storage.keys();

    for operation in Operation::all() {
        for tenant in [
            Tenant { what: "nobody", is_known: false, headers: Vec::new() },
            Tenant::new("the holder of a revoked key", &revoked, None),
        ] {
            let reply = tenant.send(&app, &operation, &house.session).await;

            let what = format!("{operation} by {}: {reply:?}", tenant.what);
            if operation.template.starts_with("/api/") {
                assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{what}");
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{what}");
            } else {
                assert_eq!(reply.status, StatusCode::OK, "{what}");
            }
        }
    }

    assert_eq!(app.storage.keys(), before);
}

#[tokio::test]
async fn a_key_without_any_scope_may_do_nothing_on_any_route() {
    let house = House::new().await;
    let (_, shown) = key(&house.app, "house-owner", &[]).await;
    let tenant = Tenant::new("the holder of a key without scopes", &shown, None);
    let before = house.everything().await;

    for operation in Operation::of_callers() {
        let reply = tenant.send(&house.app, &operation, &house.session).await;

        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{operation}: {reply:?}");
    }

    assert_eq!(house.everything().await, before);
}
