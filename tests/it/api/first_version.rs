//! The calls of the first version's front end, as it sends them from its own origin, and what it reads of the answers.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::access::key;
use crate::support::app::{Reply, TestApp, session_path};
use crate::support::eventually::eventually;
use crate::support::form::Form;
use crate::support::scripted_vision::NOTES_USAGE;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use swimcoach::access::Scope;

const ORIGIN: &str = "https://ai-swim-coach.pages.dev";

/// The front end of one user, with the key that is built into it.
struct FrontEnd {
    app: TestApp,
    key: String,
    user: &'static str,
}

impl FrontEnd {
    async fn send(&self, method: Method, path: &str, content_type: Option<String>, body: Vec<u8>) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in [
            ("origin", ORIGIN),
            ("x-api-key", &self.key),
            ("x-user-id", self.user),
            ("x-user-email", "swimmer@coach.example"),
        ] {
            request = request.header(name, value);
        }
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let reply = self.app.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(reply.header("access-control-allow-origin"), Some(ORIGIN), "its page could not read it");
        reply
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None, Vec::new()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, Some("application/json".to_owned()), body.to_string().into()).await
    }

    /// The session once its status is no longer `processing`, as the front end polls for it.
    async fn polled(&self, path: &str) -> Value {
        eventually("the analysis has ended", async || {
            let session = self.get(path).await.json();
            (session["status"] != "processing").then_some(session)
        })
        .await
    }

    /// Lists the sessions, talks about this one, and claims it.
    async fn reads_on(&self, id: &str) {
        let listed = self.get("/api/v1/sessions/").await.json();
        assert_eq!(listed.as_array().unwrap().len(), 1);
        assert_fields(&listed[0], &SESSION);

        let chat =
            self.post(&format!("{}/chat", session_path(id)), &json!({"message": "Which frame?"})).await;
        assert_eq!(chat.status, StatusCode::OK);
        assert_fields(
            &chat.json(),
            &[
                ("session_id", "string"),
                ("user_message", "string"),
                ("assistant_message", "string"),
                ("message_count", "number"),
            ],
        );
        for message in self.get(&session_path(id)).await.json()["messages"].as_array().unwrap() {
            assert_fields(message, &[("role", "string"), ("content", "string"), ("timestamp", "string")]);
        }

        let claim = self.post(&format!("{}/claim", session_path(id)), &json!({})).await;
        assert_eq!(claim.status, StatusCode::OK);
        assert_fields(
            &claim.json(),
            &[("session_id", "string"), ("user_id", "string"), ("message", "string")],
        );
    }
}

/// Fails unless the answer has each of these fields, as this type of JSON.
fn assert_fields(answer: &Value, fields: &[(&str, &str)]) {
    for (name, expected) in fields {
        let value = answer.get(*name).unwrap_or_else(|| panic!("no {name} in {answer:#}"));
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        assert!(expected.split('|').any(|it| it == kind), "{name} is {value}");
    }
}

const SESSION: [(&str, &str); 16] = [
    ("session_id", "string"),
    ("created_at", "string"),
    ("updated_at", "string"),
    ("has_video", "boolean"),
    ("video_filename", "null"),
    ("is_analyzed", "boolean"),
    ("status", "string"),
    ("error", "string|null"),
    ("stroke_type", "string"),
    ("summary", "string|null"),
    ("feedback", "array"),
    ("partial", "boolean"),
    ("can_resume", "boolean"),
    ("message_count", "number"),
    ("messages", "array"),
    ("frame_count", "number"),
];

#[tokio::test]
async fn the_first_versions_front_end_goes_its_whole_way() {
    let app = TestApp::with(|it| {
        it.access.api_keys = true;
        it.server.cors = vec!["https://*.ai-swim-coach.pages.dev".parse().unwrap()];
    });
    let scopes: Vec<_> = Scope::of_users().into_iter().chain([Scope::Impersonate]).collect();
    let (_, key) = key(&app, "front-end", &scopes).await;
    let front_end = FrontEnd { app: app.clone(), key: key.clone(), user: "user_2abc" };
    app.vision.finds();
    app.vision.replies("Look at frame 4.", &[4], NOTES_USAGE);

    let form = Form::frames(15).text("stroke_type", "freestyle").text("user_notes", "");
    let uploaded = front_end
        .send(Method::POST, "/api/v1/analysis/upload", Some(Form::content_type()), form.body())
        .await;
    assert_eq!(uploaded.status, StatusCode::CREATED);
    let uploaded = uploaded.json();
    assert_fields(
        &uploaded,
        &[
            ("session_id", "string"),
            ("frames_received", "number"),
            ("storage_paths", "array"),
            ("message", "string"),
        ],
    );
    let id = uploaded["session_id"].as_str().unwrap();

    let body = json!({"stroke_type": "freestyle", "user_notes": null});
    let asked = front_end.post(&format!("/api/v1/analysis/{id}/analyze"), &body).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED);
    assert_eq!(asked.json()["status"], "processing");

    let session = front_end.polled(&session_path(id)).await;
    assert_fields(&session, &SESSION);
    assert_eq!((&session["status"], &session["is_analyzed"]), (&json!("complete"), &json!(true)));
    for feedback in session["feedback"].as_array().unwrap() {
        assert_fields(
            feedback,
            &[
                ("priority", "string"),
                ("category", "string"),
                ("observation", "string"),
                ("recommendation", "string"),
                ("drill_suggestions", "array"),
            ],
        );
    }

    front_end.reads_on(id).await;

    let other = FrontEnd { app: app.clone(), key, user: "user_other" };
    assert_eq!(other.get("/api/v1/sessions/").await.json(), json!([]));
    let hidden = other.get(&session_path(id)).await;
    assert_fields(&hidden.problem(StatusCode::NOT_FOUND, "session_not_found"), &[("detail", "string")]);

    let deleted = front_end.send(Method::DELETE, &session_path(id), None, Vec::new()).await;
    assert_eq!(deleted.status, StatusCode::OK);
    assert_eq!(deleted.json()["frames_deleted"], 15);
}

#[tokio::test]
async fn what_the_first_versions_front_end_asks_for_in_vain_is_told_in_a_sentence() {
    let app = TestApp::with(|it| it.server.cors = vec![ORIGIN.parse().unwrap()]);
    let front_end = FrontEnd { app, key: "dev-key-1".to_owned(), user: "user_2abc" };
    let nothing = Form::default().text("stroke_type", "freestyle");
    let upload = "/api/v1/analysis/upload";

    for (refused, status) in [
        (front_end.send(Method::POST, upload, Some(Form::content_type()), nothing.body()).await, 422),
        (front_end.post("/api/v1/video/upload", &json!({})).await, 404),
        (front_end.post("/api/v1/analysis/unknown/analyze", &json!({})).await, 404),
        (front_end.get(&session_path("0190a8a0-0000-7000-8000-000000000000")).await, 404),
    ] {
        assert_eq!(refused.status.as_u16(), status);
        assert!(refused.json()["detail"].as_str().unwrap().contains(' '), "{refused:?}");
    }
}
