//! Frames that are put one by one, listed and read.

use crate::support::app::{Reply, TestApp, session_path};
use crate::support::eventually::eventually;
use crate::support::faults::Fault;
use crate::support::form::Form;
use crate::support::pictures;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use swimcoach::analysis::MicroUsd;
use swimcoach::coach::UploadDetails;
use swimcoach::session::Owner;
use swimcoach::upstream::UpstreamErrorKind as Kind;

const DOWN: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

async fn session(app: &TestApp) -> String {
    let request = Request::post("/api/v1/sessions").body(Body::empty()).unwrap();
    let reply = app.send(request).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    reply.json()["session_id"].as_str().unwrap().to_owned()
}

fn frame_path(session: &str, number: u32) -> String {
    format!("{}/frames/{number}", session_path(session))
}

fn put_request(path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::put(path).header("content-type", content_type).body(body.into()).unwrap()
}

async fn put(app: &TestApp, session: &str, number: u32, jpeg: &[u8]) -> Reply {
    app.send(put_request(&frame_path(session, number), "image/jpeg", jpeg.to_vec())).await
}

async fn read(app: &TestApp, session: &str, number: u32, headers: &[(&str, &str)]) -> Reply {
    let request =
        headers.iter().fold(Request::get(frame_path(session, number)), |it, (k, v)| it.header(*k, *v));
    app.send(request.body(Body::empty()).unwrap()).await
}

/// The numbers of the frames that the record knows.
async fn numbers(app: &TestApp, session: &str) -> Vec<u64> {
    let listed = app.get(&format!("{}/frames", session_path(session))).await.json();
    listed["frames"].as_array().unwrap().iter().map(|it| it["number"].as_u64().unwrap()).collect()
}

fn picture(seed: u32) -> Vec<u8> {
    pictures::jpeg(320, 240, seed)
}

#[tokio::test]
async fn a_session_is_made_without_frames_and_says_what_it_was_told() {
    let app = TestApp::new();
    let body =
        json!({"stroke_type": "butterfly", "title": " Heat 3 ", "user_notes": "My kick?", "view": "side"});
    let request = Request::post("/api/v1/sessions").header("content-type", "application/json");

    let reply = app.send(request.body(Body::from(body.to_string())).unwrap()).await;

    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    let id = reply.json()["session_id"].as_str().unwrap().to_owned();
    assert_eq!(reply.header("location"), Some(&*session_path(&id)));
    let shown = app.show(&id).await.json();
    assert_eq!(
        (&shown["stroke_type"], &shown["title"], &shown["user_notes"], &shown["frame_count"]),
        (&json!("butterfly"), &json!("Heat 3"), &json!("My kick?"), &json!(0)),
    );
    app.analyze(&id, Value::Null).await.problem(StatusCode::CONFLICT, "no_frames");
}

#[tokio::test]
async fn a_frame_that_is_acknowledged_is_read_byte_for_byte() {
    let app = TestApp::new();
    let (id, jpeg) = (session(&app).await, picture(1));

    let reply = put(&app, &id, 7, &jpeg).await;

    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    assert_eq!(reply.header("location"), Some(&*frame_path(&id, 7)));
    let kept = reply.json();
    assert_eq!((&kept["frame"]["number"], &kept["frame"]["width"]), (&json!(7), &json!(320)));
    assert_eq!(kept["warnings"][0]["code"], "timestamps_missing");
    let read = read(&app, &id, 7, &[]).await;
    assert_eq!(read.status, StatusCode::OK);
    assert_eq!(read.body, jpeg);
    assert_eq!(read.header("content-type"), Some("image/jpeg"));
    assert_eq!(read.header("content-length"), Some(&*jpeg.len().to_string()));
    assert_eq!(read.header("etag"), Some(&*format!("\"{}\"", kept["frame"]["etag"].as_str().unwrap())));
    assert_eq!(read.header("cache-control"), Some("private, no-cache"));
    assert_eq!(read.header("content-disposition"), Some(&*format!("inline; filename=\"{id}-0007.jpg\"")));
    assert_eq!(app.show(&id).await.json()["frames"][0], kept["frame"]);
}

#[tokio::test]
async fn the_same_frame_again_is_there_already_and_another_is_refused() {
    let app = TestApp::new();
    let (id, jpeg) = (session(&app).await, picture(1));
    let first = put(&app, &id, 1, &jpeg).await.json();

    let again = put(&app, &id, 1, &jpeg).await;
    let other = put(&app, &id, 1, &picture(2)).await;

    assert_eq!((again.status, again.json()), (StatusCode::OK, first));
    other.problem(StatusCode::CONFLICT, "frame_exists");
    assert_eq!(read(&app, &id, 1, &[]).await.body, jpeg);
    assert_eq!(app.records.faults.count("add_frames"), 1);
}

#[tokio::test]
async fn an_upload_that_broke_off_is_resumed_by_putting_what_is_not_listed() {
    let app = TestApp::new();
    app.vision.finds();
    let id = session(&app).await;
    for number in [1, 2, 4] {
        put(&app, &id, number, &picture(number)).await;
    }

    assert_eq!(numbers(&app, &id).await, [1, 2, 4]);
    put(&app, &id, 3, &picture(3)).await;

    assert_eq!(numbers(&app, &id).await, [1, 2, 3, 4]);
    assert_eq!(app.analyzed(&id).await["analysis"]["capture"]["frames_sent"], 4);
}

#[tokio::test]
async fn a_frame_can_be_added_to_what_was_uploaded() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(2)).await;

    assert_eq!(put(&app, &id, 3, &picture(3)).await.status, StatusCode::CREATED);
    put(&app, &id, 2, &picture(9)).await.problem(StatusCode::CONFLICT, "frame_exists");

    assert_eq!(numbers(&app, &id).await, [1, 2, 3]);
}

#[tokio::test]
async fn of_two_frames_put_at_once_under_one_number_one_is_kept_and_its_bytes_are_stored() {
    let app = TestApp::new();
    let id = session(&app).await;
    let jpegs: Vec<Vec<u8>> = (1..=8).map(picture).collect();

    let replies = join_all(jpegs.iter().map(|it| put(&app, &id, 1, it))).await;

    let winner = replies.iter().position(|it| it.status == StatusCode::CREATED).unwrap();
    for (_, reply) in replies.iter().enumerate().filter(|it| it.0 != winner) {
        reply.problem(StatusCode::CONFLICT, "frame_exists");
    }
    assert_eq!(read(&app, &id, 1, &[]).await.body, jpegs[winner]);
}

#[tokio::test]
async fn a_crash_between_storage_and_record_is_resumed_with_the_same_bytes_only() {
    let app = TestApp::new();
    let (id, jpeg) = (session(&app).await, picture(1));
    app.records.faults.fail_next("add_frames", Fault::Before(Kind::Unavailable));

    let broken = put(&app, &id, 1, &jpeg).await;
    let between = (app.storage.keys(), numbers(&app, &id).await);
    let other = put(&app, &id, 1, &picture(2)).await;
    let again = put(&app, &id, 1, &jpeg).await;

    broken.problem(DOWN, "records_unavailable");
    assert_eq!(between, (vec![format!("frames/{id}/0001.jpg")], Vec::new()));
    other.problem(StatusCode::CONFLICT, "frame_exists");
    assert_eq!(again.status, StatusCode::CREATED);
    assert_eq!(read(&app, &id, 1, &[]).await.body, jpeg);
}

#[tokio::test]
async fn a_frame_whose_answer_was_lost_on_the_way_is_there_once() {
    let app = TestApp::new();
    let (id, jpeg) = (session(&app).await, picture(1));
    app.storage.faults.fail_next("upload_new_frame", Fault::After(Kind::Timeout));
    app.records.faults.fail_next("add_frames", Fault::After(Kind::Timeout));

    put(&app, &id, 1, &jpeg).await.problem(DOWN, "storage_unavailable");
    put(&app, &id, 1, &jpeg).await.problem(DOWN, "records_unavailable");
    let third = put(&app, &id, 1, &jpeg).await;

    assert_eq!(third.status, StatusCode::OK);
    assert_eq!(numbers(&app, &id).await, [1]);
}

#[tokio::test]
async fn a_frame_is_recorded_after_it_is_stored() {
    let app = TestApp::new();
    let id = session(&app).await;
    app.storage.faults.fail_next("upload_new_frame", Fault::Before(Kind::Unavailable));

    put(&app, &id, 1, &picture(1)).await.problem(DOWN, "storage_unavailable");

    assert_eq!(app.records.faults.count("add_frames"), 0);
    assert_eq!(app.storage.keys(), [""; 0]);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_part_a_frame_from_its_record() {
    let app = TestApp::new();
    let (id, jpeg) = (session(&app).await, picture(1));
    app.storage.faults.fail_next("upload_new_frame", Fault::Hang);
    let mut sending = Box::pin(put(&app, &id, 1, &jpeg));
    let is_storing = async || {
        assert!(futures_util::FutureExt::now_or_never(&mut sending).is_none(), "it was answered");
        (0 < app.storage.faults.count("upload_new_frame")).then_some(())
    };
    eventually("the frame is being stored", is_storing).await;

    drop(sending);
    app.storage.faults.release();

    assert!(app.coach.shut_down(Duration::from_secs(10)).await);
    assert_eq!(numbers(&app, &id).await, [1]);
}

#[tokio::test]
async fn a_session_that_is_deleted_while_a_frame_comes_leaves_nothing() {
    let app = TestApp::new();
    let (id, jpeg) = (session(&app).await, picture(1));
    app.storage.faults.fail_next("upload_new_frame", Fault::Hang);
    let deleting = async {
        let is_storing = async || (0 < app.storage.faults.count("upload_new_frame")).then_some(());
        eventually("the frame is being stored", is_storing).await;
        let deleted = app.delete(&id).await;
        app.storage.faults.release();
        deleted
    };

    let (put, deleted) = tokio::join!(put(&app, &id, 1, &jpeg), deleting);

    assert_eq!(deleted.status, StatusCode::OK);
    put.problem(StatusCode::NOT_FOUND, "session_not_found");
    app.assert_empty().await;
}

#[tokio::test]
async fn after_an_analysis_was_asked_for_no_frame_is_added_and_what_is_there_is_there() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(2)).await;
    app.analyzed(&id).await;

    put(&app, &id, 3, &picture(3)).await.problem(StatusCode::CONFLICT, "session_closed");
    let same = put(&app, &id, 1, &picture(1)).await;

    assert_eq!(same.status, StatusCode::OK);
    assert_eq!(app.storage.keys().len(), 2);
}

#[tokio::test]
async fn an_analysis_that_starts_while_a_frame_comes_closes_the_session() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(2)).await;
    app.storage.faults.fail_next("upload_new_frame", Fault::Hang);
    let starting = async {
        let is_storing = async || (0 < app.storage.faults.count("upload_new_frame")).then_some(());
        eventually("the frame is being stored", is_storing).await;
        assert_eq!(app.analyze(&id, Value::Null).await.status, StatusCode::ACCEPTED);
        app.storage.faults.release();
    };

    let jpeg = picture(3);
    let (put, ()) = tokio::join!(put(&app, &id, 3, &jpeg), starting);

    put.problem(StatusCode::CONFLICT, "session_closed");
    assert_eq!(app.settled(&id).await["analysis"]["capture"]["frames_sent"], 2);
    assert_eq!(numbers(&app, &id).await, [1, 2]);
}

#[tokio::test]
async fn an_analysis_is_shown_a_frame_that_was_added_after_its_session_was_read() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(2)).await;
    app.records.faults.fail_next("start_analysis", Fault::Hang);
    let adding = async {
        let is_starting = async || (0 < app.records.faults.count("start_analysis")).then_some(());
        eventually("the analysis is being started", is_starting).await;
        let added = put(&app, &id, 3, &picture(3)).await;
        app.records.faults.release();
        added
    };

    let (started, added) = tokio::join!(app.analyze(&id, Value::Null), adding);

    assert_eq!((started.status, added.status), (StatusCode::ACCEPTED, StatusCode::CREATED));
    let settled = app.settled(&id).await;
    assert_eq!(settled["analysis"]["capture"]["frames_sent"], 3, "{settled}");
    assert_eq!(settled["frame_count"], 3);
}

#[tokio::test]
async fn a_first_analysis_whose_frames_cannot_be_read_again_goes_on_with_those_that_were_read() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(2)).await;
    app.records.faults.fail_after("session", 1, Fault::Before(Kind::Unavailable));

    assert_eq!(app.analyze(&id, Value::Null).await.status, StatusCode::ACCEPTED);

    let settled = app.settled(&id).await;
    assert_eq!(settled["status"], "complete", "{settled}");
    assert_eq!(settled["analysis"]["capture"]["frames_sent"], 2);
}

#[tokio::test]
async fn what_is_not_said_to_be_a_jpeg_or_is_none_is_refused_in_words() {
    let app = TestApp::new();
    let id = session(&app).await;
    let path = frame_path(&id, 1);
    let heic = [&b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"[..], &[0; 64]].concat();

    for said in ["image/png", "image/heic", "application/octet-stream", "multipart/form-data"] {
        let problem = app.send(put_request(&path, said, picture(1))).await;
        let problem = problem.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    let unsaid = Request::put(&path).body(Body::from(picture(1))).unwrap();
    app.send(unsaid).await.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    for (file, kind) in [(pictures::png(), "PNG"), (heic, "HEIC")] {
        let problem = app.send(put_request(&path, "image/jpeg; q=1", file)).await;
        let problem = problem.problem(StatusCode::UNPROCESSABLE_ENTITY, "frame_not_jpeg");
        assert!(problem["detail"].as_str().unwrap().contains(kind), "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], "/frames/1");
    }
    assert_eq!(app.storage.keys(), [""; 0]);
}

#[tokio::test]
async fn a_frame_of_too_many_bytes_is_refused_whether_or_not_it_says_so() {
    let app = TestApp::with(|it| it.uploads.max_frame_bytes = 1000);
    let id = session(&app).await;
    let path = frame_path(&id, 1);
    let announced = Request::put(&path).header("content-type", "image/jpeg").header("content-length", "1001");

    let announced = app.send(announced.body(Body::empty()).unwrap()).await;
    let unannounced = app.send(put_request(&path, "image/jpeg", vec![0; 1001])).await;

    for reply in [announced, unannounced] {
        let problem = reply.problem(StatusCode::PAYLOAD_TOO_LARGE, "frame_too_many_bytes");
        assert_eq!(problem["errors"][0]["pointer"], "/frames/1");
    }
}

#[tokio::test]
async fn a_number_or_parameter_that_is_none_is_refused() {
    let app = TestApp::with(|it| it.uploads.max_frames = 3);
    let id = session(&app).await;
    let digest = "0".repeat(64);
    let sent = async |number: &str| {
        let path = format!("{}/frames/{number}", session_path(&id));
        app.send(put_request(&path, "image/jpeg", picture(1))).await
    };

    for number in ["0", "01", "-1", "+1", "10000", "first", "1.0"] {
        sent(number).await.problem(StatusCode::NOT_FOUND, "not_found");
    }
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    sent("4").await.problem(unprocessable, "too_many_frames");
    sent("1?timestamp_ms=86400001").await.problem(unprocessable, "validation");
    sent("1?timestamp_ms=-1").await.problem(unprocessable, "validation");
    sent("1?time=5").await.problem(unprocessable, "validation");
    sent("1?sha256=abc").await.problem(unprocessable, "validation");
    sent(&format!("1?sha256={digest}")).await.problem(unprocessable, "digest_mismatch");
    assert_eq!(app.storage.keys(), [""; 0]);
}

#[tokio::test]
async fn a_time_and_a_digest_that_are_right_are_taken() {
    use sha2::{Digest, Sha256};
    let app = TestApp::new();
    let (id, jpeg) = (session(&app).await, picture(1));
    let path =
        format!("{}?timestamp_ms=40&sha256={}", frame_path(&id, 1), hex::encode(Sha256::digest(&jpeg)));

    let reply = app.send(put_request(&path, "image/jpeg", jpeg)).await;

    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    assert_eq!(reply.json()["frame"]["timestamp_ms"], 40);
    assert_eq!(reply.json()["warnings"], json!([]));
}

#[tokio::test]
async fn what_is_private_in_a_frame_is_not_kept_and_the_same_file_again_is_the_same_frame() {
    let app = TestApp::new();
    let id = session(&app).await;
    let private = pictures::with_gps_everywhere(&picture(1), 6);

    let first = put(&app, &id, 1, &private).await;
    let again = put(&app, &id, 1, &private).await;

    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::OK));
    let stored = read(&app, &id, 1, &[]).await.body;
    assert!(pictures::SECRETS.iter().all(|it| !String::from_utf8_lossy(&stored).contains(it)));
    assert_eq!(
        (&first.json()["frame"]["width"], &first.json()["frame"]["height"]),
        (&json!(240), &json!(320))
    );
}

#[tokio::test]
async fn a_frame_takes_its_room_at_the_door_and_gives_it_back() {
    let jpeg = picture(1);
    let length = jpeg.len();
    let app = TestApp::with(|it| it.uploads.memory_bytes = (length as u64).next_multiple_of(1024));
    let id = session(&app).await;
    app.storage.faults.fail_next("upload_new_frame", Fault::Hang);
    let whole = |jpeg: &[u8], number| {
        let request = Request::put(frame_path(&id, number)).header("content-type", "image/jpeg");
        request.header("content-length", jpeg.len()).body(Body::from(jpeg.to_vec())).unwrap()
    };
    let meanwhile = async {
        let is_storing = async || (0 < app.storage.faults.count("upload_new_frame")).then_some(());
        eventually("the frame is being stored", is_storing).await;
        let refused = app.send(whole(&jpeg, 2)).await;
        app.storage.faults.release();
        refused
    };

    let (first, refused) = tokio::join!(app.send(whole(&jpeg, 1)), meanwhile);
    let afterwards = app.send(whole(&jpeg, 2)).await;

    assert_eq!(first.status, StatusCode::CREATED);
    refused.problem(DOWN, "too_many_uploads");
    assert_eq!(afterwards.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_frame_that_is_read_takes_its_room_until_its_bytes_are_gone() {
    let jpeg = picture(1);
    let app = TestApp::with(|it| it.uploads.memory_bytes = (jpeg.len() as u64).next_multiple_of(1024));
    let id = session(&app).await;
    assert_eq!(put_sized(&app, &id, &jpeg).await.status, StatusCode::CREATED);

    let first = read(&app, &id, 1, &[]).await;
    let second = read(&app, &id, 1, &[]).await;
    drop(first);
    let third = read(&app, &id, 1, &[]).await;

    second.problem(DOWN, "too_many_uploads");
    assert_eq!(third.body, jpeg);
}

async fn put_sized(app: &TestApp, session: &str, jpeg: &[u8]) -> Reply {
    let request = Request::put(frame_path(session, 1)).header("content-type", "image/jpeg");
    let request = request.header("content-length", jpeg.len());
    app.send(request.body(Body::from(jpeg.to_vec())).unwrap()).await
}

#[tokio::test]
async fn a_range_of_a_frame_is_those_bytes_and_one_behind_its_end_is_refused() {
    let app = TestApp::new();
    let (id, jpeg) = (session(&app).await, picture(1));
    put(&app, &id, 1, &jpeg).await;
    let size = jpeg.len();

    for (range, bytes) in [
        ("bytes=0-0", 0..1),
        ("bytes=10-19", 10..20),
        ("bytes=100-", 100..size),
        ("bytes=-5", size - 5..size),
        ("bytes=-99999999", 0..size),
    ] {
        let part = read(&app, &id, 1, &[("range", range)]).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(part.body, &jpeg[bytes.clone()], "{range}");
        let content_range = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
        assert_eq!(part.header("content-range"), Some(&*content_range));
        assert_eq!(part.header("content-length"), Some(&*bytes.len().to_string()));
    }
    for range in ["bytes=0-1,5-6", "bytes=9-3", "lines=1-2"] {
        let whole = read(&app, &id, 1, &[("range", range)]).await;
        assert_eq!((whole.status, whole.body.len()), (StatusCode::OK, size), "{range}");
    }
    let behind = read(&app, &id, 1, &[("range", &format!("bytes={size}-"))]).await;
    behind.problem(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable");
    assert_eq!(behind.header("content-range"), Some(&*format!("bytes */{size}")));
}

#[tokio::test]
async fn a_range_of_an_older_frame_is_the_whole_frame() {
    let app = TestApp::new();
    let (id, jpeg) = (session(&app).await, picture(1));
    let etag = put(&app, &id, 1, &jpeg).await.json()["frame"]["etag"].as_str().unwrap().to_owned();
    let (same, other) = (format!("\"{etag}\""), "\"other\"".to_owned());

    let same = read(&app, &id, 1, &[("range", "bytes=0-9"), ("if-range", &same)]).await;
    let other = read(&app, &id, 1, &[("range", "bytes=0-9"), ("if-range", &other)]).await;

    assert_eq!((same.status, same.body.len()), (StatusCode::PARTIAL_CONTENT, 10));
    assert_eq!((other.status, other.body.len()), (StatusCode::OK, jpeg.len()));
}

#[tokio::test]
async fn a_frame_that_is_known_or_asked_about_only_is_not_read() {
    let app = TestApp::new();
    let (id, jpeg) = (session(&app).await, picture(1));
    let etag = put(&app, &id, 1, &jpeg).await.json()["frame"]["etag"].as_str().unwrap().to_owned();
    let head = Request::builder().method(Method::HEAD).uri(frame_path(&id, 1));

    for known in
        [format!("\"{etag}\""), format!("W/\"{etag}\""), format!("\"x\", \"{etag}\""), "*".to_owned()]
    {
        let reply = read(&app, &id, 1, &[("if-none-match", &known), ("range", "bytes=0-1")]).await;
        assert_eq!((reply.status, reply.body.len()), (StatusCode::NOT_MODIFIED, 0), "{known}");
        assert_eq!(reply.header("etag"), Some(&*format!("\"{etag}\"")));
    }
    let head = app.send(head.header("range", "bytes=0-1").body(Body::empty()).unwrap()).await;

    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), Some(&*jpeg.len().to_string()));
    assert_eq!(head.header("content-type"), Some("image/jpeg"));
    assert_eq!(app.storage.faults.count("download_frame"), 0);
    assert_eq!(read(&app, &id, 1, &[("if-none-match", "\"x\"")]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_frame_that_storage_lost_or_changed_is_never_passed_off() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(2)).await;
    app.storage.replace(&id, 1, None).await;
    app.storage.replace(&id, 2, Some(picture(9))).await;

    for number in [1, 2] {
        read(&app, &id, number, &[]).await.problem(StatusCode::NOT_FOUND, "frame_missing");
    }
    read(&app, &id, 3, &[]).await.problem(StatusCode::NOT_FOUND, "frame_not_found");
}

#[tokio::test]
async fn urls_of_frames_are_given_out_when_asked_for_and_work_for_five_minutes() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(2)).await;
    let path = format!("{}/frames", session_path(&id));

    let without = app.get(&path).await.json();
    let with = app.get(&format!("{path}?urls=true")).await;

    assert!(without["frames"][0].get("url").is_none(), "{without}");
    assert_eq!(with.header("cache-control"), Some("private, no-store"));
    let url: url::Url = with.json()["frames"][1]["url"].as_str().unwrap().parse().unwrap();
    let target = &url[url::Position::BeforePath..];
    app.storage.pass(Duration::from_mins(5));
    assert_eq!(app.get(target).await.body, picture(2));
    app.storage.pass(Duration::from_secs(1));
    app.get(target).await.problem(StatusCode::FORBIDDEN, "url_expired");
    app.get(&format!("{path}?urls=maybe")).await.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
}

#[tokio::test]
async fn frames_of_another_or_of_no_session_are_not_there() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(1)).await;
    let stranger = Owner::new("stranger");
    let other =
        app.coach.create_session(&stranger, UploadDetails::default(), None).await.unwrap().id.to_string();
    assert_ne!(id, other);

    for id in [&*other, "0193a5b0-7c1e-7000-8000-000000000001"] {
        put(&app, id, 1, &picture(1)).await.problem(StatusCode::NOT_FOUND, "session_not_found");
        read(&app, id, 1, &[]).await.problem(StatusCode::NOT_FOUND, "session_not_found");
        let listed = app.get(&format!("{}/frames", session_path(id))).await;
        listed.problem(StatusCode::NOT_FOUND, "session_not_found");
    }
}

#[tokio::test]
async fn frames_put_one_by_one_count_as_those_of_an_upload() {
    let app = TestApp::new();
    let (id, one, two) = (session(&app).await, picture(1), picture(2));
    put(&app, &id, 1, &one).await;
    put(&app, &id, 2, &two).await;
    put(&app, &id, 2, &two).await;

    let stored = app.get("/api/v1/usage").await.json();
    let bytes = (one.len() + two.len()) as u64;
    assert_eq!(stored["used"]["frames"], 2, "{stored}");
    assert_eq!(stored["used"]["bytes"], bytes, "{stored}");
    assert_eq!(stored["used"]["class_a_operations"], 2, "{stored}");
}

#[tokio::test]
async fn an_analysis_for_which_frames_came_that_no_budget_has_room_for_asks_nothing_and_holds_nothing() {
    let app = TestApp::with(|it| it.budgets.caller = Some(MicroUsd(2500)));
    let id = app.uploaded(Form::frames(2)).await;
    app.records.faults.fail_next("start_analysis", Fault::Hang);
    let adding = async {
        let is_starting = async || (0 < app.records.faults.count("start_analysis")).then_some(());
        eventually("the analysis is being started", is_starting).await;
        put(&app, &id, 3, &picture(3)).await;
        app.records.faults.release();
    };

    let (refused, ()) = tokio::join!(app.analyze(&id, Value::Null), adding);

    refused.problem(StatusCode::PAYMENT_REQUIRED, "budget_spent");
    assert_eq!(app.settled(&id).await["error_code"], "budget_spent");
    assert_eq!(app.vision.seen().len(), 0);
    let is_given_back = async || {
        let left = app.get("/api/v1/usage").await.json()["budget"]["caller_remaining_usd"].as_f64();
        (left == Some(0.0025)).then_some(())
    };
    eventually("nothing is held any more", is_given_back).await;
}
