//! What is sent.

use super::*;
use crate::support::records;

async fn sent(look: &Look) -> Request {
    let server = ClaudeServer::start([whole()]).await;
    vision(&settings(server.url())).look(look, &Asking::default()).await.unwrap();
    server.requests().remove(0)
}

#[tokio::test]
async fn a_look_says_its_version_and_holds_exactly_one_credential() {
    let request = sent(&look_at(1)).await;

    assert_eq!(request.line, "POST /v1/messages");
    assert_eq!(request.header("x-api-key"), [KEY]);
    assert!(request.header("authorization").is_empty());
    assert_eq!(request.header("anthropic-version"), ["2026-10-21"]);
    assert!(request.header("anthropic-beta").is_empty());
    assert_eq!(request.header("content-type"), ["application/json"]);
}

#[tokio::test]
async fn the_length_of_a_look_is_said_beforehand_and_is_right() {
    let request = sent(&look_at(15)).await;

    assert_eq!(request.header("content-length"), [request.body.len().to_string()]);
    assert!(request.header("transfer-encoding").is_empty());
}

#[tokio::test]
async fn a_look_asks_for_a_stream_of_the_schema_and_sets_nothing_that_the_api_refuses() {
    let body = sent(&look_at(1)).await.json();

    let part =
        |text: &str| json!({"anyOf": [serde_json::from_str::<Value>(text).unwrap(), {"type": "null"}]});
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["reply", "analysis"],
        "properties": {
            "reply": part(include_str!("../../../../prompt/reply.schema.json")),
            "analysis": part(include_str!("../../../../prompt/analysis.schema.json")),
        },
    });
    assert_eq!(body["model"], "claude-sonnet-5-5");
    assert_eq!(body["max_tokens"], 16_000);
    assert_eq!(body["stream"], true);
    assert_eq!(body["thinking"], json!({"type": "adaptive"}));
    assert_eq!(
        body["output_config"],
        json!({"effort": "medium", "format": {"type": "json_schema", "schema": schema}})
    );
    let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        ["cache_control", "max_tokens", "messages", "model", "output_config", "stream", "system", "thinking"]
    );
}

#[tokio::test]
async fn a_model_is_asked_to_think_only_where_it_takes_that() {
    for (model, thinking, effort) in [
        ("claude-opus-4-6", json!({"type": "adaptive"}), json!("medium")),
        ("claude-haiku-4-5", Value::Null, Value::Null),
        ("claude-opus-4-5", Value::Null, Value::Null),
    ] {
        let server = ClaudeServer::start([whole()]).await;
        let mut settings = settings(server.url());
        model.clone_into(&mut settings.model);

        vision(&settings).look(&look_at(1), &Asking::default()).await.unwrap();

        let body = server.requests()[0].json();
        assert_eq!((&body["thinking"], &body["output_config"]["effort"]), (&thinking, &effort), "{model}");
        assert_eq!(body["output_config"]["format"]["type"], "json_schema");
    }
}

#[tokio::test]
async fn every_frame_is_sent_whole_in_order_right_after_its_label_and_the_question_comes_last() {
    let look = look_at(15);

    let body = sent(&look).await.json();

    assert_eq!(body["messages"].as_array().unwrap().len(), 1);
    assert_eq!(body["messages"][0]["role"], "user");
    let blocks = body["messages"][0]["content"].as_array().unwrap();
    assert_eq!(blocks.len(), 31);
    for (frame, block) in look.frames.iter().zip(blocks.chunks(2)) {
        let ms = frame.timestamp_ms.unwrap();
        let label = format!("Frame {} · t={}.{:03} s", frame.number, ms / 1000, ms % 1000);
        assert_eq!(block[0], json!({"type": "text", "text": label}));
        assert_eq!(block[1]["type"], "image");
        assert_eq!(block[1]["source"]["type"], "base64");
        assert_eq!(block[1]["source"]["media_type"], "image/jpeg");
        assert_eq!(STANDARD.decode(block[1]["source"]["data"].as_str().unwrap()).unwrap(), frame.jpeg);
    }
    assert_eq!(blocks[11]["source"]["data"], STANDARD.encode(jpeg(6)));
    let question = blocks[30]["text"].as_str().unwrap();
    assert!(question.contains("15 frames") && question.contains("freestyle") && question.contains("side"));
}

#[tokio::test]
async fn frame_7_at_3_48_seconds_is_labelled_so_and_a_frame_without_a_time_says_so() {
    let mut look = look_at(2);
    look.frames[0] = LookFrame { timestamp_ms: Some(3480), ..frame(7) };
    look.frames[1].timestamp_ms = None;

    let body = sent(&look).await.json();

    assert_eq!(body["messages"][0]["content"][0]["text"], "Frame 7 · t=3.480 s");
    assert_eq!(body["messages"][0]["content"][2]["text"], "Frame 2 · time unknown");
}

#[tokio::test]
async fn system_text_and_last_frame_are_kept_for_an_hour_and_nothing_else_is_marked() {
    let body = sent(&look_at(3)).await.json();

    let hour = json!({"type": "ephemeral", "ttl": "1h"});
    assert_eq!(body["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(body["system"][0]["cache_control"], hour);
    let blocks = body["messages"][0]["content"].as_array().unwrap();
    let marked: Vec<usize> =
        (0..blocks.len()).filter(|it| blocks[*it].get("cache_control").is_some()).collect();
    assert_eq!(marked, [5]);
    assert_eq!(blocks[5]["cache_control"], hour);
}

#[tokio::test]
async fn the_same_look_is_the_same_bytes_so_that_the_cache_holds() {
    assert_eq!(sent(&look_at(3)).await.body, sent(&look_at(3)).await.body);
}

#[tokio::test]
async fn notes_go_as_data_without_pictures_after_the_frames_were_judged() {
    let notes_answer = json!({"text": "Frame 8 bears you out.", "frames": [8]}).to_string();
    let server = ClaudeServer::start([stream(&events(&notes_answer))]).await;
    let session = records::session(&records::new_owner(), 1);
    let published = records::completed(&records::analysis(&session), 1).result.unwrap();

    let answer =
        vision(&settings(server.url())).answer_notes(NOTES, &published, &Asking::default()).await.unwrap();

    assert_eq!((answer.value.text.as_str(), answer.value.frames), ("Frame 8 bears you out.", vec![8]));
    assert_eq!(answer.usage, WHOLE);
    let body = server.requests()[0].json();
    let blocks = body["messages"][0]["content"].as_array().unwrap();
    assert_eq!(blocks.len(), 1);
    let data: Value = serde_json::from_str(blocks[0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(data["notes_of_the_swimmer_as_data"], NOTES);
    assert_eq!(data["published_analysis"], serde_json::to_value(&published).unwrap());
    assert!(!body["system"][0]["text"].as_str().unwrap().contains("left"));
}

#[tokio::test]
async fn a_gateway_may_stand_under_a_path() {
    let server = ClaudeServer::start([whole()]).await;
    let mut settings = settings(server.url());
    settings.base_url = server.url().join("gateway/anthropic/").unwrap();

    vision(&settings).look(&look_at(1), &Asking::default()).await.unwrap();

    assert_eq!(server.requests()[0].line, "POST /gateway/anthropic/v1/messages");
}

#[tokio::test]
async fn a_key_with_a_line_end_after_it_is_the_key_without() {
    let server = ClaudeServer::start([whole()]).await;
    let mut settings = settings(server.url());
    settings.api_key = SecretString::from(format!("{KEY}\n"));

    vision(&settings).look(&look_at(1), &Asking::default()).await.unwrap();

    assert_eq!(server.requests()[0].header("x-api-key"), [KEY]);
}

#[tokio::test]
async fn a_key_that_no_header_can_hold_is_refused_without_being_shown() {
    let mut settings = settings(&Url::parse("http://127.0.0.1:1/").unwrap());
    settings.api_key = SecretString::from(format!("{KEY}\u{7}"));

    let error = ClaudeVision::new(&settings, &Catalog::embedded().unwrap()).unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::Rejected);
    assert!(!format!("{error:?} {}", upstream::chain(&error)).contains("SECRET"));
}

#[tokio::test]
async fn a_look_that_the_api_would_refuse_for_its_size_is_not_sent() {
    let server = ClaudeServer::start([]).await;
    let vision = vision(&settings(server.url()));
    let mut one_huge = look_at(2);
    one_huge.frames[1].jpeg = Bytes::from(vec![0; 8 << 20]);
    let mut wide_among_many = look_at(21);
    wide_among_many.frames[20].width = 2001;
    let mut heavy = look_at(20);
    heavy.frames.iter_mut().for_each(|it| it.jpeg = Bytes::from(vec![0; 5 << 18]));

    for look in [one_huge, wide_among_many, heavy] {
        let error = vision.look(&look, &Asking::default()).await.unwrap_err();
        assert!(matches!(error.kind, VisionErrorKind::TooLarge(_)), "{error:?}");
        assert_eq!(error.usage, Usage::default());
    }
}

#[tokio::test]
async fn the_check_asks_for_the_model_and_costs_nothing() {
    let server = ClaudeServer::start([answer(200, &[], r#"{"id":"claude-sonnet-5-5"}"#)]).await;

    vision(&settings(server.url())).check().await.unwrap();

    let request = &server.requests()[0];
    assert_eq!(request.line, "GET /v1/models/claude-sonnet-5-5");
    assert_eq!(request.header("x-api-key"), [KEY]);
    assert!(request.body.is_empty());
}

#[tokio::test]
async fn the_check_says_whether_key_or_model_is_wrong() {
    for (status, kind) in [(401, UpstreamErrorKind::Unauthorized), (404, UpstreamErrorKind::NotFound)] {
        let server = ClaudeServer::start([error(status, &[], "any_error")]).await;

        let error = vision(&settings(server.url())).check().await.unwrap_err();

        assert_eq!(error.kind, kind);
    }
}
