//! Reading and deleting sessions.

use crate::support::app::{Reply, TestApp, session_path};
use crate::support::form::Form;
use crate::support::pictures;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use swimcoach::session::SessionId;

/// The field that a later page is found by.
fn next(reply: &Reply) -> Option<String> {
    let link = reply.header("link")?;
    let url = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    Some(url.to_owned())
}

fn ids(page: &Value) -> Vec<String> {
    page.as_array().unwrap().iter().map(|it| it["session_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_new_session_shows_every_field_of_the_contract() {
    let app = TestApp::new();
    let jpeg = pictures::jpeg(320, 240, 1);
    let form = Form::new().frame(&jpeg).text("stroke_type", "breaststroke").text("title", "Heat 2");
    let id = app.uploaded(form).await;

    let reply = app.show(&id).await;

    assert_eq!(reply.status, StatusCode::OK);
    let detail = reply.json();
    let expected = json!({
        "session_id": id,
        "created_at": detail["created_at"],
        "updated_at": detail["created_at"],
        "has_video": false,
        "video_filename": null,
        "is_analyzed": false,
        "status": "pending",
        "error": null,
        "error_code": null,
        "stroke_type": "breaststroke",
        "title": "Heat 2",
        "user_notes": null,
        "summary": null,
        "feedback": [],
        "partial": false,
        "can_resume": false,
        "progress": null,
        "message_count": 0,
        "messages": [],
        "frame_count": 1,
        "frames": [{
            "number": 1, "path": format!("frames/{id}/0001.jpg"), "size_bytes": jpeg.len(), "width": 320,
            "height": 240, "timestamp_ms": null, "etag": detail["frames"][0]["etag"],
        }],
        "analysis": null,
        "usage": {
            "requests": 0, "input_tokens": 0, "cache_creation_input_tokens": 0,
            "cache_creation_5m_input_tokens": 0, "cache_creation_1h_input_tokens": 0,
            "cache_read_input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0,
        },
        "consent": {"subject": "adult", "basis": "operator", "purposes": ["analysis", "third_party_ai"]},
        "expires_at": detail["expires_at"],
    });
    assert_eq!(detail, expected);
    let created_at = detail["created_at"].as_str().unwrap();
    assert!(created_at.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(created_at).is_ok());
}

#[tokio::test]
async fn feedback_has_the_shape_that_the_front_end_of_the_first_version_reads() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;

    let detail = app.analyzed(&id).await;

    assert!(detail["updated_at"].as_str().unwrap() > detail["created_at"].as_str().unwrap());
    let feedback = detail["feedback"].as_array().unwrap();
    assert_eq!(feedback[0]["priority"], "primary");
    assert_eq!(feedback[0]["category"], "catch_and_pull");
    assert_ne!(feedback[0]["observation"], feedback[0]["recommendation"]);
    assert!(feedback[0]["drill_suggestions"][0].is_string());
    for item in feedback {
        let fields: Vec<&String> = item.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["category", "drill_suggestions", "observation", "priority", "recommendation"]);
    }
}

#[tokio::test]
async fn turns_of_a_conversation_are_shown_in_order() {
    use crate::support::records::turn;
    use swimcoach::metadata::SessionStore;
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(1)).await;
    let turns = [turn(0, "Why?"), turn(1, "Because.")];
    app.records.append_turns(id.parse().unwrap(), &turns).await.unwrap();

    let detail = app.show(&id).await.json();

    assert_eq!(detail["message_count"], 2);
    let message = &detail["messages"][0];
    let expected = json!({
        "role": "user", "content": "Why?", "timestamp": message["timestamp"], "frames": [], "usage": null,
    });
    assert_eq!(message, &expected);
    assert_eq!(detail["messages"][1]["role"], "assistant");
}

#[tokio::test]
async fn sessions_are_listed_newest_first_with_and_without_the_slash() {
    let app = TestApp::new();
    let mut uploaded = Vec::new();
    for seed in 1..=3 {
        uploaded.insert(0, app.uploaded(Form::frames(seed)).await);
    }

    let without = app.get("/api/v1/sessions").await;
    let with = app.get("/api/v1/sessions/").await;

    assert_eq!(without.status, StatusCode::OK);
    assert_eq!(without.json(), with.json());
    assert_eq!(ids(&without.json()), uploaded);
    assert_eq!(next(&without), None);
    assert_eq!(without.json()[0], app.show(&uploaded[0]).await.json());
}

#[tokio::test]
async fn pages_have_no_gap_and_no_repeat_even_when_sessions_come_and_go_meanwhile() {
    let app = TestApp::new();
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.insert(0, app.uploaded(Form::frames(1)).await);
    }

    let mut listed = Vec::new();
    let mut page = Some("/api/v1/sessions?limit=3".to_owned());
    while let Some(path) = page {
        let reply = app.get(&path).await;
        assert_eq!(reply.status, StatusCode::OK);
        listed.push(ids(&reply.json()));
        page = next(&reply);
        app.uploaded(Form::frames(1)).await;
        // The one that the cursor names may be gone.
        app.delete(listed.last().unwrap().last().unwrap()).await;
    }

    assert_eq!(listed.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(listed.concat(), expected);
}

#[tokio::test]
async fn a_page_that_is_exactly_full_has_no_next_one() {
    let app = TestApp::new();
    for _ in 0..3 {
        app.uploaded(Form::frames(1)).await;
    }

    let reply = app.get("/api/v1/sessions?limit=3").await;

    assert_eq!(ids(&reply.json()).len(), 3);
    assert_eq!(next(&reply), None);
}

#[tokio::test]
async fn twenty_sessions_are_a_page_unless_asked_otherwise() {
    let app = TestApp::new();
    for _ in 0..21 {
        app.uploaded(Form::frames(1)).await;
    }

    let default = app.get("/api/v1/sessions").await;
    let most = app.get("/api/v1/sessions?limit=100").await;

    assert_eq!(ids(&default.json()).len(), 20);
    assert!(next(&default).is_some());
    assert_eq!(ids(&most.json()).len(), 21);
}

#[tokio::test]
async fn limits_and_cursors_that_are_not_acceptable_are_refused() {
    let app = TestApp::new();
    for (query, pointer) in [
        ("limit=0", "/query/limit"),
        ("limit=101", "/query/limit"),
        ("limit=-1", "/query"),
        ("limit=many", "/query"),
        ("cursor=later", "/query/cursor"),
        ("cursor=", "/query/cursor"),
    ] {
        let reply = app.get(&format!("/api/v1/sessions?{query}")).await;

        let problem = reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{query}");
        assert_eq!(problem["instance"], "/api/v1/sessions");
    }
}

#[tokio::test]
async fn an_unchanged_session_is_not_sent_again() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(2)).await;
    let first = app.show(&id).await;
    let etag = first.header("etag").unwrap().to_owned();
    let ask = |value: &str| {
        let request = Request::get(session_path(&id)).header("if-none-match", value);
        app.send(request.body(Body::empty()).unwrap())
    };

    for known in [etag.clone(), format!("\"other\", {etag}"), format!("W/{etag}"), "*".to_owned()] {
        let reply = ask(&known).await;

        assert_eq!(reply.status, StatusCode::NOT_MODIFIED, "{known}");
        assert!(reply.body.is_empty());
        assert_eq!(reply.header("etag"), Some(&*etag));
    }
    assert_eq!(ask("\"other\"").await.status, StatusCode::OK);
    app.analyzed(&id).await;
    let changed = ask(&etag).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_ne!(changed.header("etag"), Some(&*etag));
    assert_eq!(first.header("cache-control"), Some("private, no-cache"));
}

#[tokio::test]
async fn a_deleted_session_is_counted_and_gone() {
    let app = TestApp::new();
    app.vision.finds();
    let kept = app.uploaded(Form::frames(1)).await;
    let id = app.uploaded(Form::frames(15)).await;
    let bytes: usize = (1..=15).map(|seed| pictures::jpeg(320, 240, seed).len()).sum();
    app.analyzed(&id).await;

    let reply = app.delete(&id).await;

    assert_eq!(reply.status, StatusCode::OK);
    let deleted = reply.json();
    assert_eq!(deleted["session_id"], id);
    assert_eq!(deleted["frames_deleted"], 15);
    assert_eq!(deleted["bytes_deleted"], bytes);
    assert!(16 <= deleted["records_deleted"].as_u64().unwrap());
    assert_eq!(app.storage.keys(), [format!("frames/{kept}/0001.jpg")]);
    for reply in [app.show(&id).await, app.delete(&id).await, app.analyze(&id, Value::Null).await] {
        let problem = reply.problem(StatusCode::NOT_FOUND, "session_not_found");
        assert!(problem["detail"].as_str().unwrap().contains(&id));
    }
    assert_eq!(ids(&app.get("/api/v1/sessions").await.json()), [kept]);
}

#[tokio::test]
async fn an_id_that_no_session_has_is_not_found() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(1)).await;
    for id in [
        SessionId::new().to_string(),
        "1".to_owned(),
        id.to_uppercase(),
        id.replace('-', ""),
        "%00".to_owned(),
        "..".to_owned(),
        "%ff".to_owned(),
        "a".repeat(5000),
    ] {
        for reply in [app.show(&id).await, app.delete(&id).await] {
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{id}");
            assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        }
    }
    assert_eq!(app.storage.keys().len(), 1);
}
