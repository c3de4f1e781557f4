//! Uploads that are refused: which words the client hears, and that nothing stays behind.

use crate::support::app::{Reply, TestApp, upload_request};
use crate::support::eventually::eventually;
use crate::support::form::Form;
use crate::support::pictures;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::task::Poll;

const MIB: u64 = 1 << 20;

fn pointers(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|it| it["pointer"].as_str().unwrap()).collect()
}

/// Fifteen frames, of which the third is this.
fn with_third(third: &[u8]) -> Form {
    (1..=15).fold(Form::new(), |form, number| match number {
        3 => form.frame(third),
        _ => form.frame(&pictures::jpeg(320, 240, number)),
    })
}

async fn refused(app: &TestApp, form: Form, status: StatusCode, code: &str, pointer: &str) -> String {
    let problem = app.upload(form).await.problem(status, code);
    assert_eq!(pointers(&problem), [pointer]);
    app.assert_empty().await;
    problem["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_bad_frame_is_named_by_its_number_and_nothing_of_the_upload_is_kept() {
    let app = TestApp::new();
    let text = b"this is no picture, and it goes on for a while to be longer than a header".to_vec();
    for (name, third, code) in [
        ("text", text, "frame_not_jpeg"),
        ("empty", vec![], "frame_not_jpeg"),
        ("PNG named .jpg", pictures::png(), "frame_not_jpeg"),
        ("truncated", pictures::truncated(640, 480), "frame_truncated"),
        ("1x1", pictures::jpeg(1, 1, 1), "frame_too_small"),
        ("640x199", pictures::jpeg(640, 199, 1), "frame_too_small"),
        ("30000x30000", pictures::with_header_size(30_000, 30_000), "frame_too_large"),
    ] {
        let status = StatusCode::UNPROCESSABLE_ENTITY;

        let detail = refused(&app, with_third(&third), status, code, "/frames/3").await;

        assert!(detail.starts_with("frame 3: "), "{name}: {detail}");
    }
}

#[tokio::test]
async fn a_frame_of_too_many_bytes_is_named_by_its_number() {
    let app = TestApp::with(|it| it.uploads.max_frame_bytes = 30_000);
    let large = pictures::jpeg(1280, 720, 1);
    assert!(30_000 < large.len() && pictures::jpeg(320, 240, 15).len() < 30_000);
    let status = StatusCode::PAYLOAD_TOO_LARGE;

    let detail = refused(&app, with_third(&large), status, "frame_too_many_bytes", "/frames/3").await;

    assert!(detail.starts_with("frame 3: it has more than 30000 bytes"), "{detail}");
}

#[tokio::test]
async fn a_frame_that_is_too_large_once_it_was_turned_is_refused_too() {
    let upright = pictures::jpeg(800, 600, 1);
    let lying = pictures::with_exif_orientation(&upright, 6);
    let limit = lying.len() as u64;
    let turned_size = {
        let app = TestApp::new();
        let reply = app.upload(Form::new().frame(&lying)).await;
        reply.json()["frames"][0]["size_bytes"].as_u64().unwrap()
    };
    assert!(limit < turned_size, "the picture of this test grows when it is turned");
    let app = TestApp::with(|it| it.uploads.max_frame_bytes = limit);
    let status = StatusCode::PAYLOAD_TOO_LARGE;

    let detail = refused(&app, with_third(&lying), status, "frame_too_many_bytes", "/frames/3").await;

    assert!(detail.starts_with("frame 3: "), "{detail}");
}

#[tokio::test]
async fn a_digest_that_does_not_fit_is_told_by_frame() {
    let app = TestApp::new();
    let manifest = json!([{ "number": 2, "sha256": "0".repeat(64) }]).to_string();
    let form = (1..=3).fold(Form::new().text("manifest", &manifest), |form, seed| {
        form.frame(&pictures::jpeg(320, 240, seed))
    });
    let status = StatusCode::UNPROCESSABLE_ENTITY;

    refused(&app, form, status, "digest_mismatch", "/frames/2").await;
}

#[tokio::test]
async fn a_manifest_that_does_not_fit_the_frames_is_refused() {
    let app = TestApp::new();
    let digest = "0".repeat(64);
    for (manifest, words) in [
        (json!([{ "number": 1 }, { "number": 1 }]), "frame 1 is there twice"),
        (json!([{ "number": 4 }]), "only 3 frames came"),
        (json!([{ "number": 0 }]), "from 1 to 9999"),
        (json!([{ "number": 1, "sha256": "abc" }]), "64 hexadecimal digits"),
        (json!([{ "number": 1, "sha256": digest }]), "must come before the frames"),
        (json!([{ "number": 1, "time": 5 }]), "unknown field"),
        (json!([{ "number": 1, "timestamp_ms": -5 }]), "expected u64"),
        (json!([{ "number": 1, "timestamp_ms": u64::MAX }]), "more than a day"),
        (json!({ "1": 0 }), "expected a sequence"),
    ] {
        let form = Form::frames(3).text("manifest", &manifest.to_string());
        let status = StatusCode::UNPROCESSABLE_ENTITY;

        let detail = refused(&app, form, status, "validation", "/manifest").await;

        assert!(detail.contains(words), "{manifest}: {detail}");
    }
}

#[tokio::test]
async fn a_second_manifest_is_refused_even_when_the_first_was_empty() {
    let app = TestApp::new();
    for first in ["[]", r#"[{"number":1}]"#] {
        let form = Form::new().text("manifest", first).text("manifest", r#"[{"number":1}]"#);
        let form = form.frame(&pictures::jpeg(320, 240, 1));

        let detail = refused(&app, form, StatusCode::UNPROCESSABLE_ENTITY, "validation", "/manifest").await;

        assert!(detail.contains("more than one"), "{detail}");
    }
}

#[tokio::test]
async fn texts_that_are_not_acceptable_are_refused_by_name() {
    let app = TestApp::new();
    let [notes, title] = [2001, 201].map(|length| "é".repeat(length));
    for (name, text, pointer) in [
        ("stroke_type", "sidestroke", "/stroke_type"),
        ("stroke_type", "", "/stroke_type"),
        ("view", "drone", "/view"),
        ("user_notes", &*notes, "/user_notes"),
        ("title", &*title, "/title"),
        ("manifest", "no json", "/manifest"),
        ("user_note", "a typing error", "/"),
        ("video", "of another route", "/"),
    ] {
        let form = Form::frames(2).text(name, text);

        let detail = refused(&app, form, StatusCode::UNPROCESSABLE_ENTITY, "validation", pointer).await;

        assert!(detail.contains(name), "{detail}");
    }
}

#[tokio::test]
async fn a_text_part_without_end_is_refused_before_all_of_it_is_kept() {
    let app = TestApp::new();
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let longest = format!("[]{}", " ".repeat(256 * 1024 - 2));
    for name in ["manifest", "stroke_type", "view", "user_notes", "title"] {
        let form = Form::frames(1).text(name, &format!("{longest} "));

        let detail = refused(&app, form, status, "validation", "/").await;

        assert!(detail.contains(&format!("{name} has more than 262144 bytes")), "{detail}");
    }
    app.uploaded(Form::frames(1).text("manifest", &longest)).await;
}

#[tokio::test]
async fn the_longest_texts_that_are_allowed_are_taken() {
    let app = TestApp::new();
    let [notes, title] = [2000, 200].map(|length| "é".repeat(length));

    let id = app.uploaded(Form::frames(1).text("user_notes", &notes).text("title", &title)).await;

    let detail = app.show(&id).await.json();
    assert_eq!(detail["user_notes"], notes);
    assert_eq!(detail["title"], title);
}

#[tokio::test]
async fn a_text_of_more_bytes_than_any_may_have_is_refused_while_it_is_read() {
    let app = TestApp::new();
    let form = Form::frames(1).text("manifest", &" ".repeat(256 * 1024 + 1));

    let detail = refused(&app, form, StatusCode::UNPROCESSABLE_ENTITY, "validation", "/").await;

    assert_eq!(detail, "manifest has more than 262144 bytes");
}

#[tokio::test]
async fn a_text_that_is_there_twice_is_refused() {
    let app = TestApp::new();
    for (name, text) in [("stroke_type", "freestyle"), ("view", "side"), ("user_notes", "a"), ("title", "b")]
    {
        let form = Form::frames(1).text(name, text).text(name, text);
        let pointer = format!("/{name}");

        let detail = refused(&app, form, StatusCode::UNPROCESSABLE_ENTITY, "validation", &pointer).await;

        assert!(detail.contains("more than one"), "{detail}");
    }
}

#[tokio::test]
async fn an_upload_without_frames_is_refused() {
    let app = TestApp::new();
    let form = Form::new().text("stroke_type", "freestyle");

    refused(&app, form, StatusCode::UNPROCESSABLE_ENTITY, "no_frames", "/frames").await;
}

#[tokio::test]
async fn one_frame_more_than_allowed_is_refused() {
    let app = TestApp::new();

    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let detail = refused(&app, Form::frames(61), status, "too_many_frames", "/frames").await;

    assert!(detail.contains("more than 60 frames"), "{detail}");
}

#[tokio::test]
async fn a_request_that_announces_too_much_and_asks_first_is_refused_before_it_is_read() {
    let app = TestApp::with(|it| it.uploads.max_request_bytes = MIB);
    let unread = stream::poll_fn(|_| -> Poll<Option<Result<Bytes, Infallible>>> { panic!("it was read") });
    let mut request = upload_request(Body::from_stream(unread));
    request.headers_mut().insert(header::CONTENT_LENGTH, (MIB + 1).into());
    request.headers_mut().insert(header::EXPECT, "100-continue".parse().unwrap());

    let reply = app.send(request).await;

    reply.problem(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large");
    assert_eq!(app.storage.faults.calls(), [""; 0]);
}

#[tokio::test]
async fn a_request_that_turns_out_to_be_too_large_is_refused() {
    let app = TestApp::with(|it| it.uploads.max_request_bytes = MIB);
    let frame = pictures::jpeg(1280, 720, 1);
    let count = 1 + (1 << 20) / frame.len();
    let form = (0..count).fold(Form::new(), |form, _| form.frame(&frame));

    let reply = app.upload(form).await;

    reply.problem(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large");
    app.assert_empty().await;
}

#[tokio::test]
async fn a_body_that_is_not_multipart_is_refused() {
    let app = TestApp::new();
    for content_type in ["application/json", "multipart/form-data", "text/plain", "image/jpeg"] {
        let request = Request::post("/api/v1/analysis/upload").header(header::CONTENT_TYPE, content_type);

        let reply = app.send(request.body(Body::from("{}")).unwrap()).await;

        reply.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    }
}

#[tokio::test]
async fn a_multipart_body_that_breaks_off_is_refused_and_nothing_is_kept() {
    let app = TestApp::new();
    let form = Form::frames(4);
    let whole = form.body();
    for length in [whole.len() - 4, whole.len() * 3 / 4, whole.len() / 2, 60, 10] {
        let body = Body::from(whole[..length].to_vec());

        let reply = app.send(upload_request(body)).await;

        reply.problem(StatusCode::BAD_REQUEST, "malformed_multipart");
        app.assert_empty().await;
    }
}

#[tokio::test]
async fn a_multipart_body_with_another_boundary_than_announced_is_refused() {
    let app = TestApp::new();
    let form = Form::frames(1);
    let mut request = upload_request(Body::from(form.body()));
    let other = "multipart/form-data; boundary=another".parse().unwrap();
    request.headers_mut().insert(header::CONTENT_TYPE, other);

    let reply = app.send(request).await;

    reply.problem(StatusCode::BAD_REQUEST, "malformed_multipart");
    app.assert_empty().await;
}

/// The first bytes of a body, after which nothing comes any more.
fn stops_after(bytes: Vec<u8>) -> Body {
    let first = stream::iter([Ok::<_, Infallible>(Bytes::from(bytes))]);
    Body::from_stream(first.chain(stream::pending()))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_is_given_up_and_nothing_is_kept() {
    let app = TestApp::new();
    let form = Form::frames(4);
    let mut half = form.body();
    half.truncate(half.len() / 2);

    let reply = app.send(upload_request(stops_after(half))).await;

    let problem = reply.problem(StatusCode::REQUEST_TIMEOUT, "slow_body");
    assert!(problem["detail"].as_str().unwrap().contains("30 seconds"));
    app.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_given_up_too() {
    let app = TestApp::new();
    let form = Form::frames(4);
    let whole = form.body();
    let trickle = stream::iter(whole.into_iter().map(|byte| vec![byte])).then(|bytes| async {
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        Ok::<_, Infallible>(Bytes::from(bytes))
    });

    let reply = app.send(upload_request(Body::from_stream(trickle))).await;

    reply.problem(StatusCode::REQUEST_TIMEOUT, "slow_body");
    app.assert_empty().await;
}

fn room_for_one() -> TestApp {
    TestApp::with(|it| {
        it.uploads.max_request_bytes = MIB;
        it.uploads.memory_bytes = MIB;
    })
}

fn is_full(reply: &Reply) -> bool {
    if reply.status == StatusCode::SERVICE_UNAVAILABLE {
        reply.problem(StatusCode::SERVICE_UNAVAILABLE, "too_many_uploads");
        assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    }
    reply.status == StatusCode::SERVICE_UNAVAILABLE
}

#[tokio::test]
async fn past_the_bound_on_memory_uploads_are_told_to_come_back_and_then_there_is_room() {
    let app = room_for_one();
    let form = Form::frames(2);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let rest = stream::unfold(receiver, |mut it| async { Some((Ok::<_, Infallible>(it.recv().await?), it)) });
    sender.send(Bytes::new()).await.unwrap();

    let slow = app.send(upload_request(Body::from_stream(rest)));
    let other = async {
        // The first one has its room once it read what was sent.
        sender.reserve().await.unwrap().send(Bytes::from(form.body()));
        assert!(is_full(&app.upload(Form::frames(1)).await));
        drop(sender);
    };
    let (slow, ()) = tokio::join!(biased; slow, other);

    assert_eq!(slow.status, StatusCode::CREATED);
    app.uploaded(Form::frames(1)).await;
}

#[tokio::test]
async fn room_is_given_back_after_a_refusal_and_after_a_panic() {
    let app = room_for_one();
    let form = Form::frames(2);
    let unsized_body = |form: &Form| Body::from_stream(stream::iter([Ok::<_, Infallible>(form.body())]));
    let bad = Form::new().frame(b"no picture");
    app.records.faults.fail_next("create_session", crate::support::faults::Fault::Panic);

    let refused = app.send(upload_request(unsized_body(&bad))).await;
    let panicked = app.send(upload_request(unsized_body(&form))).await;

    refused.problem(StatusCode::UNPROCESSABLE_ENTITY, "frame_not_jpeg");
    panicked.problem(StatusCode::INTERNAL_SERVER_ERROR, "internal");
    // The broken upload gives its room back once its frames are removed, which nobody waits for.
    let room_again = async || {
        let reply = app.send(upload_request(unsized_body(&form))).await;
        (!is_full(&reply)).then_some(reply)
    };
    let taken = eventually("there is room again", room_again).await;
    assert_eq!(taken.status, StatusCode::CREATED);
}
