//! The conversation about a result, over HTTP: whole answers, answers as they are written, and what goes wrong.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::app::{TestApp, session_path};
use crate::support::event_stream::{EventStream, SentEvent};
use crate::support::eventually::eventually;
use crate::support::form::Form;
use crate::support::scripted_vision::NOTES_USAGE;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use swimcoach::analysis::Usage;
use swimcoach::session::SessionId;
use swimcoach::upstream::{Service, UpstreamError, UpstreamErrorKind as Kind};
use swimcoach::vision::VisionErrorKind;

/// An answer that is long enough to be told before it is whole: its last words are held back until it is.
const ANSWER: &str =
    "Keep the elbow high while the hand goes in, in front of the shoulder and with the palm down.";

/// A service and a session with a result to talk about.
async fn with_result() -> (TestApp, String) {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;
    assert_eq!(app.analyzed(&id).await["status"], "complete");
    (app, id)
}

fn asking(session: &str, accept: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(format!("{}/chat", session_path(session)))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, accept)
        .body(body.into())
        .unwrap()
}

/// Asks for the answer as it is written.
async fn streamed(app: &TestApp, session: &str, message: &str) -> EventStream {
    app.open(asking(session, "text/event-stream", json!({"message": message}).to_string())).await
}

async fn rest(mut stream: EventStream) -> Vec<SentEvent> {
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    events
}

/// What a client has written down that follows the events.
fn text(events: &[SentEvent]) -> String {
    events.iter().fold(String::new(), |text, event| match event.name.as_str() {
        "delta" => text + event.data["text"].as_str().unwrap(),
        "reset" => String::new(),
        _ => text,
    })
}

#[tokio::test]
async fn a_message_and_its_answer_come_back_and_are_in_the_conversation() {
    let (app, id) = with_result().await;
    app.vision.replies("Frame 4 shows it best.", &[4], NOTES_USAGE);

    let reply = app.post(&id, "chat", &json!({"message": "  Which frame shows it? \n"})).await;

    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let reply = reply.json();
    let usage = json!({
        "requests": 1, "input_tokens": 4000, "cache_creation_input_tokens": 0, "cache_creation_5m_input_tokens": 0,
        "cache_creation_1h_input_tokens": 0, "cache_read_input_tokens": 1000, "output_tokens": 300, "cost_usd": 0.0111,
    });
    let expected = json!({
        "session_id": id, "user_message": "Which frame shows it?", "assistant_message": "Frame 4 shows it best.",
        "message_count": 2, "frames": [4], "usage": usage,
    });
    assert_eq!(reply, expected);
    let detail = app.show(&id).await.json();
    let messages = detail["messages"].as_array().unwrap();
    let without_time = |it: &Value| {
        let mut it = it.clone();
        assert!(it["timestamp"].take().is_string());
        it
    };
    let expected = [
        json!({"role": "user", "content": "Which frame shows it?", "timestamp": null, "frames": [], "usage": null}),
        json!({"role": "assistant", "content": "Frame 4 shows it best.", "timestamp": null, "frames": [4], "usage": usage}),
    ];
    assert_eq!(messages.iter().map(without_time).collect::<Vec<_>>(), expected);
    assert_eq!(detail["message_count"], 2);
    assert_eq!(detail["usage"]["requests"], 2);
    assert_eq!(detail["usage"]["cost_usd"], 0.087_351);
}

#[tokio::test]
async fn a_message_that_is_none_is_refused_before_anybody_is_asked() {
    let (app, id) = with_result().await;
    let longest = "é".repeat(2000);
    for message in ["", " \n\t", &format!("{longest}x")] {
        let reply = app.post(&id, "chat", &json!({"message": message})).await;

        let problem = reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "/message");
    }
    for body in ["", "{}", "[\"why?\"]", "{\"message\": 7}", "{\"message\": \"why?\", \"frames\": [1]}", "{"]
    {
        let reply = app.send(asking(&id, "application/json", body)).await;

        reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
    }
    let as_text =
        Request::post(format!("{}/chat", session_path(&id))).header(header::CONTENT_TYPE, "text/plain");
    let as_text = app.send(as_text.body(Body::from("why?")).unwrap()).await;
    as_text.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    let huge = app.post(&id, "chat", &json!({"message": "x".repeat(70_000)})).await;
    huge.problem(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large");
    app.vision.replies("So.", &[], NOTES_USAGE);
    let longest = app.post(&id, "chat", &json!({"message": format!("  {longest}  ")})).await;
    assert_eq!(longest.status, StatusCode::OK);
    assert_eq!(app.vision.talks().len(), 1);
}

#[tokio::test]
async fn there_is_nothing_to_talk_about_without_a_result_of_ones_own() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(1)).await;
    let message = json!({"message": "Why?"});
    for accept in ["application/json", "text/event-stream"] {
        let before = app.send(asking(&id, accept, message.to_string())).await;
        before.problem(StatusCode::CONFLICT, "not_analyzed");
        let unknown = app.send(asking(&SessionId::new().to_string(), accept, message.to_string())).await;
        unknown.problem(StatusCode::NOT_FOUND, "session_not_found");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_told_as_it_is_written_and_is_the_stored_one_in_the_end() {
    let (app, id) = with_result().await;
    app.vision.hold();
    app.vision.replies(ANSWER, &[4], NOTES_USAGE);
    let writes = |text: &str| app.vision.tells(|it| it.text = text.to_owned());

    let (mut stream, ()) = tokio::join!(streamed(&app, &id, "Why?"), async {
        app.vision.began(2).await;
        writes("Your legs sink since the head is lifted, as frame");
    });
    let mut told = vec![stream.next().await.unwrap()];
    writes("Your legs sink since the head is lifted, as frame 4 shows best of all");
    told.push(stream.next().await.unwrap());
    let before_it_broke_off = text(&told);
    writes(ANSWER.split_at(60).0);
    told.extend([stream.next().await.unwrap(), stream.next().await.unwrap()]);
    let after_it_broke_off = text(&told);
    app.vision.release();
    told.extend(rest(stream).await);

    let names: Vec<&str> = told.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["delta", "delta", "reset", "delta", "delta", "done"]);
    assert!(before_it_broke_off.starts_with("Your legs sink since the head is"), "{before_it_broke_off}");
    assert!(
        !after_it_broke_off.is_empty() && ANSWER.starts_with(&after_it_broke_off),
        "{after_it_broke_off}"
    );
    let done = &told[5].data;
    assert_eq!((&done["assistant_message"], &done["message_count"]), (&json!(ANSWER), &json!(2)));
    assert_eq!(text(&told), ANSWER);
    assert_eq!(app.show(&id).await.json()["messages"][1]["content"], ANSWER);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_kept_open_while_the_model_thinks_and_nothing_holds_it_back() {
    let (app, id) = with_result().await;
    app.vision.hold();
    app.vision.replies("So.", &[], NOTES_USAGE);

    let mut stream = streamed(&app, &id, "Why?").await;
    let (head, beats) = (stream.headers.clone(), [stream.block().await, stream.block().await]);
    app.vision.release();
    let told = rest(stream).await;

    assert_eq!(head["content-type"], "text/event-stream");
    assert_eq!(head["cache-control"], "no-cache, no-transform");
    assert_eq!(head["x-accel-buffering"], "no");
    assert!(beats.iter().all(|it| it.as_deref() == Some(":")), "{beats:?}");
    assert_eq!((told.last().unwrap().name.as_str(), text(&told).as_str()), ("done", "So."));
}

#[tokio::test]
async fn the_answer_comes_whole_unless_events_are_asked_for() {
    let (app, id) = with_result().await;
    for (number, (accept, content_type)) in (1..).zip([
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/html, application/xhtml+xml;q=0.9", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("application/json, Text/Event-Stream;q=0.5", "text/event-stream"),
    ]) {
        app.vision.replies("So.", &[], NOTES_USAGE);

        let message = json!({"message": format!("Why, for the {number}. time?")});
        let reply = app.send(asking(&id, accept, message.to_string())).await;

        assert_eq!(
            (reply.status, reply.header("content-type")),
            (StatusCode::OK, Some(content_type)),
            "{accept}"
        );
    }
}

#[tokio::test]
async fn each_way_in_which_a_message_stays_unanswered_has_its_status_and_nothing_is_stored() {
    let (app, id) = with_result().await;
    let upstream = |kind| {
        VisionErrorKind::Upstream(UpstreamError::new(Service::Model, "ask", kind, "secret-cause of the test"))
    };
    for (kind, status, code, comes_back) in [
        (upstream(Kind::Unavailable), StatusCode::SERVICE_UNAVAILABLE, "model_unavailable", true),
        (upstream(Kind::Timeout), StatusCode::SERVICE_UNAVAILABLE, "model_unavailable", true),
        (
            upstream(Kind::RateLimited { retry_after: None }),
            StatusCode::SERVICE_UNAVAILABLE,
            "model_busy",
            true,
        ),
        (upstream(Kind::Exhausted), StatusCode::SERVICE_UNAVAILABLE, "model_exhausted", false),
        (upstream(Kind::Unauthorized), StatusCode::SERVICE_UNAVAILABLE, "model_misconfigured", false),
        (upstream(Kind::Rejected), StatusCode::BAD_GATEWAY, "model_rejected", false),
        (VisionErrorKind::CutOff, StatusCode::BAD_GATEWAY, "model_cut_off", false),
        (VisionErrorKind::Malformed("{".to_owned()), StatusCode::BAD_GATEWAY, "model_invalid_output", false),
        (
            VisionErrorKind::Refused { category: None },
            StatusCode::UNPROCESSABLE_ENTITY,
            "model_refused",
            false,
        ),
        (VisionErrorKind::TooLarge("40 MB".to_owned()), StatusCode::CONFLICT, "frames_too_large", false),
    ] {
        for accept in ["application/json", "text/event-stream"] {
            let kind = clone(&kind);
            app.vision.fails_reply(kind, Usage::default());

            let reply = app.send(asking(&id, accept, json!({"message": "Why?"}).to_string())).await;

            let problem = reply.problem(status, code);
            assert!(!problem.to_string().contains("secret-cause"), "{problem}");
            assert_eq!(reply.header("retry-after").is_some(), comes_back, "{code}");
            assert_eq!(app.show(&id).await.json()["messages"], json!([]), "{code}");
        }
    }
}

/// The same once more; the errors of others cannot be copied.
fn clone(kind: &VisionErrorKind) -> VisionErrorKind {
    match kind {
        VisionErrorKind::Upstream(error) => {
            UpstreamError::new(error.service, "ask", error.kind, "secret-cause of the test").into()
        }
        VisionErrorKind::Refused { category } => VisionErrorKind::Refused { category: category.clone() },
        VisionErrorKind::CutOff => VisionErrorKind::CutOff,
        VisionErrorKind::Malformed(why) => VisionErrorKind::Malformed(why.clone()),
        VisionErrorKind::OverAllowance => VisionErrorKind::OverAllowance,
        VisionErrorKind::TooLarge(why) => VisionErrorKind::TooLarge(why.clone()),
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_in_the_midst_of_an_answer_is_its_last_event() {
    let (app, id) = with_result().await;
    app.vision.hold();
    app.vision.fails_reply(VisionErrorKind::CutOff, NOTES_USAGE);
    let (stream, ()) = tokio::join!(streamed(&app, &id, "Why?"), async {
        app.vision.began(2).await;
        app.vision.tells(|it| it.text = ANSWER.to_owned());
    });
    let request_id = stream.headers["x-request-id"].to_str().unwrap().to_owned();

    app.vision.release();
    let told = rest(stream).await;

    let [delta, error] = &told[..] else { panic!("{told:?}") };
    assert!(ANSWER.starts_with(delta.data["text"].as_str().unwrap()), "{delta:?}");
    assert_eq!((error.name.as_str(), &error.data["code"]), ("error", &json!("model_cut_off")));
    assert_eq!((&error.data["status"], &error.data["request_id"]), (&json!(502), &json!(request_id)));
    assert_eq!(error.data["instance"], format!("{}/chat", session_path(&id)));
    assert_eq!(app.show(&id).await.json()["message_count"], 0);
}

#[tokio::test]
async fn a_client_that_goes_away_loses_nothing() {
    let (app, id) = with_result().await;
    app.vision.hold();
    app.vision.replies(ANSWER, &[4], NOTES_USAGE);
    let (stream, ()) = tokio::join!(streamed(&app, &id, "Why?"), async {
        app.vision.began(2).await;
        app.vision.tells(|it| it.text = ANSWER.to_owned());
    });

    drop(stream);
    app.vision.release();

    let answer = eventually("the answer is stored", async || {
        let detail = app.show(&id).await.json();
        (detail["message_count"] == 2).then(|| detail["messages"][1]["content"].clone())
    });
    assert_eq!(answer.await, ANSWER);
}
