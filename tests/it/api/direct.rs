//! Frames that clients put straight into storage, and that are checked before they count.

use crate::support::app::{Reply, TestApp, session_path};
use crate::support::eventually::eventually;
use crate::support::faults::Fault;
use crate::support::form::Form;
use crate::support::misbehaving::{Misbehaving, Received, Reply as Answer};
use crate::support::pictures;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use swimcoach::moderation::{ModerationLimits, ModerationSettings};
use swimcoach::session::SessionId;
use swimcoach::storage::StorageClient;
use swimcoach::upstream::UpstreamErrorKind as Kind;
use url::Url;

const DOWN: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

async fn session(app: &TestApp) -> String {
    let reply = app.send(Request::post("/api/v1/sessions").body(Body::empty()).unwrap()).await;
    reply.json()["session_id"].as_str().unwrap().to_owned()
}

fn announced(frames: &[(u32, &[u8])]) -> Value {
    let frames = frames.iter().map(|(number, file)| json!({"number": number, "size_bytes": file.len()}));
    json!({"frames": frames.collect::<Vec<_>>()})
}

/// Puts a file where a request of the service says.
async fn send(app: &TestApp, upload: &Value, file: &[u8]) -> Reply {
    let url: Url = upload["url"].as_str().unwrap().parse().unwrap();
    let headers = upload["headers"].as_object().unwrap();
    let request =
        headers.iter().fold(Request::put(&url[url::Position::BeforePath..]), |it, (name, value)| {
            it.header(name, value.as_str().unwrap())
        });
    app.send(request.body(Body::from(file.to_vec())).unwrap()).await
}

/// Puts files straight into storage under these numbers.
async fn put_there(app: &TestApp, session: &str, frames: &[(u32, &[u8])]) {
    let begun = app.post(session, "uploads", &announced(frames)).await;
    assert_eq!(begun.status, StatusCode::OK, "{begun:?}");
    for (upload, (_, file)) in begun.json()["uploads"].as_array().unwrap().iter().zip(frames) {
        assert_eq!(send(app, upload, file).await.status, StatusCode::OK);
    }
}

async fn complete(app: &TestApp, session: &str, body: &Value) -> Reply {
    app.post(session, "uploads/complete", body).await
}

/// What became of each frame: its number, and `accepted` or why not.
fn outcomes(reply: &Reply) -> Vec<(u64, String)> {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let reply = reply.json();
    let frames = reply["frames"].as_array().unwrap().iter();
    let outcome = |it: &Value| {
        if it["status"] == "accepted" {
            assert_eq!((&it["frame"]["number"], &it["code"]), (&it["number"], &Value::Null));
            return "accepted".to_owned();
        }
        assert!(it["detail"].as_str().is_some() && it["frame"].is_null(), "{it}");
        it["code"].as_str().unwrap().to_owned()
    };
    frames.map(|it| (it["number"].as_u64().unwrap(), outcome(it))).collect()
}

fn accepted(numbers: &[u64]) -> Vec<(u64, String)> {
    numbers.iter().map(|it| (*it, "accepted".to_owned())).collect()
}

fn picture(seed: u32) -> Vec<u8> {
    pictures::jpeg(320, 240, seed)
}

async fn read(app: &TestApp, session: &str, number: u32) -> Reply {
    app.get(&format!("{}/frames/{number}", session_path(session))).await
}

fn keys(session: &str, numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(|it| format!("frames/{session}/{it:04}.jpg")).collect()
}

#[tokio::test]
async fn frames_that_were_put_into_storage_are_frames_once_they_are_completed() {
    let app = TestApp::new();
    app.vision.finds();
    let (id, one, two) = (session(&app).await, picture(1), picture(2));
    put_there(&app, &id, &[(1, &one), (2, &two)]).await;
    assert_eq!(app.show(&id).await.json()["frame_count"], 0);

    let times = json!({"frames": [{"number": 1, "timestamp_ms": 0}, {"number": 2, "timestamp_ms": 40}]});
    let reply = complete(&app, &id, &times).await;

    assert_eq!(outcomes(&reply), accepted(&[1, 2]));
    assert_eq!(reply.json()["warnings"], json!([]));
    assert_eq!(app.storage.keys(), keys(&id, &[1, 2]));
    assert_eq!((read(&app, &id, 1).await.body, read(&app, &id, 2).await.body), (one.into(), two.into()));
    let shown = app.analyzed(&id).await;
    assert_eq!((&shown["frames"][1]["timestamp_ms"], &shown["status"]), (&json!(40), &json!("complete")));
}

#[tokio::test]
async fn an_empty_completion_takes_all_that_wait_and_a_named_one_leaves_the_others() {
    let app = TestApp::new();
    let id = session(&app).await;
    let files: Vec<Vec<u8>> = (1..=4).map(picture).collect();
    put_there(&app, &id, &[(1, &files[0]), (3, &files[2]), (4, &files[3])]).await;

    let named = complete(&app, &id, &json!({"frames": [{"number": 3}]})).await;
    let waiting = app.storage.list_pending(id.parse().unwrap()).await.unwrap().len();
    let all = complete(&app, &id, &Value::Null).await;
    let none = complete(&app, &id, &Value::Null).await;

    assert_eq!((outcomes(&named), waiting), (accepted(&[3]), 2));
    assert_eq!(outcomes(&all), accepted(&[1, 4]));
    assert_eq!(all.json()["warnings"][0]["frames"], json!([1, 4]));
    assert_eq!(outcomes(&none), []);
    assert_eq!(app.storage.keys(), keys(&id, &[1, 3, 4]));
}

#[tokio::test]
async fn what_does_not_pass_the_door_is_rejected_by_frame_and_removed() {
    let app = TestApp::new();
    let id = session(&app).await;
    let (good, cut, private) =
        (picture(1), pictures::truncated(320, 240), pictures::with_gps_everywhere(&picture(4), 1));
    put_there(&app, &id, &[(1, &good), (2, &pictures::png()), (3, &cut), (4, &private)]).await;

    let named: Vec<Value> = (1..=5).map(|it| json!({"number": it})).collect();
    let reply = complete(&app, &id, &json!({"frames": named})).await;

    let expected = ["accepted", "frame_not_jpeg", "frame_truncated", "accepted", "frame_not_put"];
    let expected: Vec<_> = (1..).zip(expected).map(|(number, it)| (number, it.to_owned())).collect();
    assert_eq!(outcomes(&reply), expected);
    assert_eq!(app.storage.keys(), keys(&id, &[1, 4]));
    let stored = read(&app, &id, 4).await.body;
    assert!(pictures::SECRETS.iter().all(|it| !String::from_utf8_lossy(&stored).contains(it)));
    let good_now = picture(2);
    put_there(&app, &id, &[(2, &good_now)]).await;
    assert_eq!(outcomes(&complete(&app, &id, &Value::Null).await), accepted(&[2]));
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_answered_the_same_again() {
    let app = TestApp::new();
    app.vision.finds();
    let (id, jpeg) = (session(&app).await, picture(1));
    put_there(&app, &id, &[(1, &jpeg)]).await;
    let body = json!({"frames": [{"number": 1, "timestamp_ms": 7}]});

    let first = complete(&app, &id, &body).await;
    app.analyzed(&id).await;
    let second = complete(&app, &id, &body).await;

    assert_eq!(first.json(), second.json());
}

#[tokio::test]
async fn whatever_breaks_while_frames_are_completed_the_same_completion_works_afterwards() {
    for (operation, of_storage) in [
        ("list_pending", true),
        ("download_pending", true),
        ("upload_new_frame", true),
        ("remove_pending", true),
        ("session", false),
        ("add_frames", false),
    ] {
        for fault in [Fault::Before(Kind::Unavailable), Fault::After(Kind::Timeout)] {
            let app = TestApp::new();
            let (id, one, two) = (session(&app).await, picture(1), picture(2));
            put_there(&app, &id, &[(1, &one), (2, &two)]).await;
            let faults = if of_storage { &app.storage.faults } else { &app.records.faults };
            faults.fail_next(operation, fault);
            let body = json!({"frames": [{"number": 1}, {"number": 2}]});

            let broken = complete(&app, &id, &body).await;
            let again = complete(&app, &id, &body).await;

            let code = if of_storage { "storage_unavailable" } else { "records_unavailable" };
            broken.problem(DOWN, code);
            assert_eq!(outcomes(&again), accepted(&[1, 2]), "{operation} {fault:?}");
            assert_eq!(app.storage.keys(), keys(&id, &[1, 2]), "{operation} {fault:?}");
            assert_eq!(read(&app, &id, 2).await.body, two, "{operation} {fault:?}");
        }
    }
}

#[tokio::test]
async fn what_was_decided_of_a_frame_stays_when_another_breaks() {
    let app = TestApp::new();
    let (id, one, two) = (session(&app).await, picture(1), picture(2));
    put_there(&app, &id, &[(1, &one), (2, &two)]).await;
    app.storage.faults.fail_next("upload_new_frame", Fault::Before(Kind::Unavailable));

    complete(&app, &id, &Value::Null).await.problem(DOWN, "storage_unavailable");

    assert_eq!(app.show(&id).await.json()["frame_count"], 1);
    assert_eq!(app.storage.list_pending(id.parse().unwrap()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_waits_under_the_number_of_a_frame_that_is_there_is_compared_with_it() {
    let app = TestApp::new();
    let (id, one, two) = (session(&app).await, picture(1), picture(2));
    put_there(&app, &id, &[(1, &one), (2, &two)]).await;
    let put = async |number: u32, file: &[u8]| {
        let path = format!("{}/frames/{number}", session_path(&id));
        let request = Request::put(path).header("content-type", "image/jpeg");
        app.send(request.body(Body::from(file.to_vec())).unwrap()).await.status
    };
    assert_eq!((put(1, &one).await, put(2, &picture(9)).await), (StatusCode::CREATED, StatusCode::CREATED));

    let reply = complete(&app, &id, &Value::Null).await;

    assert_eq!(outcomes(&reply), [(1, "accepted".to_owned()), (2, "frame_exists".to_owned())]);
    assert_eq!(read(&app, &id, 2).await.body, picture(9));
    assert_eq!(app.storage.keys(), keys(&id, &[1, 2]));
}

#[tokio::test]
async fn nothing_is_added_once_an_analysis_was_asked_for() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(1)).await;
    let two = picture(2);
    put_there(&app, &id, &[(2, &two)]).await;
    app.analyzed(&id).await;

    let reply = complete(&app, &id, &Value::Null).await;

    assert_eq!(outcomes(&reply), [(2, "session_closed".to_owned())]);
    assert_eq!(app.storage.keys(), keys(&id, &[1]));
    let begun = app.post(&id, "uploads", &announced(&[(3, &two)])).await;
    begun.problem(StatusCode::CONFLICT, "session_closed");
}

#[tokio::test]
async fn what_may_be_put_there_is_said_exactly_and_for_a_quarter_of_an_hour() {
    let app = TestApp::new();
    let (id, jpeg) = (session(&app).await, picture(1));

    let begun = app.post(&id, "uploads", &announced(&[(1, &jpeg)])).await;
    let upload = begun.json()["uploads"][0].clone();

    assert_eq!((begun.status, begun.header("cache-control")), (StatusCode::OK, Some("private, no-store")));
    assert_eq!((&upload["number"], &upload["method"]), (&json!(1), &json!("PUT")));
    assert_eq!(upload["headers"]["content-type"], "image/jpeg");
    assert_eq!(upload["headers"]["if-none-match"], "*");
    send(&app, &upload, &jpeg[1..]).await.problem(StatusCode::FORBIDDEN, "signature_mismatch");
    app.storage.pass(Duration::from_secs(15 * 60 + 1));
    send(&app, &upload, &jpeg).await.problem(StatusCode::FORBIDDEN, "url_expired");
    assert_eq!(app.storage.keys(), [""; 0]);
}

#[tokio::test]
async fn what_may_not_be_put_there_is_refused_before() {
    let app = TestApp::with(|it| (it.uploads.max_frames, it.uploads.max_frame_bytes) = (2, 1 << 20));
    let id = app.uploaded(Form::frames(1)).await;
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    let frame = |number: u32, size: u64| json!({"number": number, "size_bytes": size});
    let none: [Value; 0] = [];

    for (frames, status, code) in [
        (json!([frame(1, 10)]), StatusCode::CONFLICT, "frame_exists"),
        (json!([frame(3, 10)]), unprocessable, "too_many_frames"),
        (json!([frame(2, (1 << 20) + 1)]), StatusCode::PAYLOAD_TOO_LARGE, "frame_too_many_bytes"),
        (json!([frame(2, 0)]), unprocessable, "validation"),
        (json!([frame(2, 10), frame(2, 10)]), unprocessable, "validation"),
        (json!([frame(2, 10), frame(3, 10), frame(4, 10)]), unprocessable, "validation"),
        (json!([frame(0, 10)]), unprocessable, "validation"),
        (json!(none), unprocessable, "validation"),
    ] {
        let reply = app.post(&id, "uploads", &json!({"frames": frames})).await;
        reply.problem(status, code);
    }
    for frames in [json!([{"number": 2}, {"number": 2}]), json!([{"number": 2, "timestamp_ms": 86_400_001}])]
    {
        complete(&app, &id, &json!({"frames": frames})).await.problem(unprocessable, "validation");
    }
    let nobodys = SessionId::new().to_string();
    app.post(&nobodys, "uploads", &announced(&[(1, b"x")]))
        .await
        .problem(StatusCode::NOT_FOUND, "session_not_found");
    complete(&app, &nobodys, &Value::Null).await.problem(StatusCode::NOT_FOUND, "session_not_found");
}

#[tokio::test]
async fn a_deleted_session_leaves_nothing_pending_and_can_be_deleted_again_when_that_fails() {
    let app = TestApp::new();
    let (id, one, two) = (session(&app).await, picture(1), picture(2));
    put_there(&app, &id, &[(1, &one)]).await;
    complete(&app, &id, &Value::Null).await;
    put_there(&app, &id, &[(2, &two)]).await;
    app.storage.faults.fail_next("delete_pending", Fault::Before(Kind::Unavailable));

    app.delete(&id).await.problem(DOWN, "storage_unavailable");
    assert_eq!(app.show(&id).await.status, StatusCode::OK);
    let deleted = app.delete(&id).await;

    assert_eq!(deleted.status, StatusCode::OK);
    app.assert_empty().await;
}

#[tokio::test]
async fn a_session_that_is_deleted_while_frames_are_completed_leaves_nothing() {
    let app = TestApp::new();
    let (id, jpeg) = (session(&app).await, picture(1));
    put_there(&app, &id, &[(1, &jpeg)]).await;
    app.storage.faults.fail_next("upload_new_frame", Fault::Hang);
    let deleting = async {
        let is_storing = async || (0 < app.storage.faults.count("upload_new_frame")).then_some(());
        eventually("the frame is being stored", is_storing).await;
        let deleted = app.delete(&id).await;
        app.storage.faults.release();
        deleted.status
    };

    let (completed, deleted) = tokio::join!(complete(&app, &id, &Value::Null), deleting);

    assert_eq!(deleted, StatusCode::OK);
    completed.problem(StatusCode::NOT_FOUND, "session_not_found");
    app.assert_empty().await;
}

#[tokio::test]
async fn a_completion_takes_room_for_what_it_reads_at_one_time() {
    let app = TestApp::with(|it| {
        it.uploads.max_frame_bytes = 1 << 20;
        it.uploads.memory_bytes = 2 << 20;
    });
    let id = session(&app).await;
    let files: Vec<Vec<u8>> = (1..=6).map(picture).collect();
    let frames: Vec<(u32, &[u8])> = (1..).zip(files.iter().map(Vec::as_slice)).collect();
    put_there(&app, &id, &frames).await;
    app.storage.faults.fail_always("download_pending", Fault::Hang);
    let meanwhile = async {
        let is_reading = async || (1 < app.storage.faults.count("download_pending")).then_some(());
        eventually("frames are being read", is_reading).await;
        let refused = complete(&app, &id, &Value::Null).await;
        let reading = app.storage.faults.count("download_pending");
        app.storage.faults.release();
        (refused, reading)
    };

    let (completed, (refused, reading)) = tokio::join!(complete(&app, &id, &Value::Null), meanwhile);

    refused.problem(DOWN, "too_many_uploads");
    assert_eq!(reading, 2, "as many as there is room for");
    assert_eq!(outcomes(&completed), accepted(&[1, 2, 3, 4, 5, 6]));
}

#[tokio::test]
async fn frames_that_come_one_by_one_or_through_storage_are_moderated_too() {
    let server = Misbehaving::start(|_, request: &Received| {
        let allow = request.headers["x-frame-number"] != "2";
        Answer::answer(200, json!({"allow": allow}).to_string())
    })
    .await;
    let url = server.url();
    let app = TestApp::with(|it| {
        it.moderation = Some(ModerationSettings { url, token: None, limits: ModerationLimits::default() });
    });
    let (id, one, two) = (session(&app).await, picture(1), picture(2));
    put_there(&app, &id, &[(1, &one), (2, &two)]).await;

    let reply = complete(&app, &id, &Value::Null).await;
    let put = Request::put(format!("{}/frames/2", session_path(&id))).header("content-type", "image/jpeg");
    let put = app.send(put.body(Body::from(two)).unwrap()).await;

    assert_eq!(outcomes(&reply), [(1, "accepted".to_owned()), (2, "frame_refused".to_owned())]);
    put.problem(StatusCode::UNPROCESSABLE_ENTITY, "frame_refused");
    assert_eq!(app.storage.keys(), keys(&id, &[1]));
}

#[tokio::test]
async fn while_nobody_moderates_what_waits_goes_on_waiting() {
    let server = Misbehaving::start(|number, _| match number {
        0 => Answer::answer(404, ""),
        _ => Answer::answer(200, r#"{"allow":true}"#),
    })
    .await;
    let url = server.url();
    let app = TestApp::with(|it| {
        it.moderation = Some(ModerationSettings { url, token: None, limits: ModerationLimits::default() });
    });
    let (id, jpeg) = (session(&app).await, picture(1));
    put_there(&app, &id, &[(1, &jpeg)]).await;

    complete(&app, &id, &Value::Null).await.problem(DOWN, "moderation_unavailable");
    let again = complete(&app, &id, &Value::Null).await;

    assert_eq!(outcomes(&again), accepted(&[1]));
}

#[tokio::test]
async fn what_storage_is_asked_for_direct_uploads_is_charged() {
    let app = TestApp::new();
    let (id, one, two) = (session(&app).await, picture(1), picture(2));
    put_there(&app, &id, &[(1, &one), (2, &two)]).await;
    complete(&app, &id, &Value::Null).await;

    let charged = async || {
        let used = app.get("/api/v1/usage").await.json()["used"].clone();
        // Two writes by the client, one listing, two reads, and two writes of frames.
        (used["class_a_operations"] == 5 && used["class_b_operations"] == 2).then_some(used)
    };
    let used = eventually("the charge is settled", charged).await;

    assert_eq!((&used["frames"], &used["bytes"]), (&json!(2), &json!(one.len() + two.len())));
}
