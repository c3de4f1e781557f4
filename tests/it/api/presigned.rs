//! Presigned URLs of the in-memory storage, opened as a browser opens them.

use crate::support::app::{Reply, TestApp};
use crate::support::form::Form;
use crate::support::pictures;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use std::time::Duration;
use swimcoach::session::{FrameNumber, SessionId};
use swimcoach::storage::{ExpectedFrame, FramePath, Pending, PresignedPut, StorageClient};
use url::Url;

const TTL: Duration = Duration::from_mins(5);

fn first_frame(session: &str) -> FramePath {
    FramePath::new(session.parse().unwrap(), FrameNumber::FIRST)
}

async fn open(app: &TestApp, url: &Url) -> Reply {
    app.get(&url[url::Position::BeforePath..]).await
}

async fn put(app: &TestApp, presigned: &PresignedPut, jpeg: &[u8]) -> Reply {
    let path = &presigned.url[url::Position::BeforePath..];
    let request =
        presigned.headers.iter().fold(Request::put(path), |it, (name, value)| it.header(name, value));
    app.send(request.body(Body::from(jpeg.to_vec())).unwrap()).await
}

async fn presign_put(app: &TestApp, jpeg: &[u8]) -> (FramePath, PresignedPut) {
    let path = FramePath::new(SessionId::new(), FrameNumber::FIRST);
    let expect = ExpectedFrame { size_bytes: jpeg.len() as u64 };
    (path, app.storage.presigned_put(&path, &expect, TTL).await.unwrap())
}

#[tokio::test]
async fn a_presigned_url_gives_the_bytes_and_their_tag() {
    let app = TestApp::new();
    let jpeg = pictures::jpeg(320, 240, 1);
    let uploaded = app.upload(Form::new().frame(&jpeg)).await.json();
    let path = first_frame(uploaded["session_id"].as_str().unwrap());
    let url = app.storage.presigned_get(&path, TTL).await.unwrap();

    let reply = open(&app, &url).await;

    assert!(url.as_str().starts_with("http://coach.test/_mock/storage/frames/"));
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.body, jpeg);
    assert_eq!(reply.header("content-type"), Some("image/jpeg"));
    let etag = uploaded["frames"][0]["etag"].as_str().unwrap();
    assert_eq!(reply.header("etag"), Some(&*format!("\"{etag}\"")));
    assert_eq!(reply.header("cache-control"), Some("private"));
}

#[tokio::test]
async fn a_presigned_url_that_was_changed_is_refused() {
    let app = TestApp::new();
    let [one, two] = [app.uploaded(Form::frames(1)).await, app.uploaded(Form::frames(1)).await];
    let url = app.storage.presigned_get(&first_frame(&one), TTL).await.unwrap();
    let expires = url.query_pairs().find(|it| it.0 == "expires").unwrap().1.into_owned();
    let later = (expires.parse::<i64>().unwrap() + 1).to_string();
    for changed in [
        url.as_str().replace(&one, &two),
        url.as_str().replace(&expires, &later),
        url.as_str().replace("signature=", "signature=00"),
        url.as_str().split('?').next().unwrap().to_owned(),
        format!("{}?expires={expires}&signature=", url.as_str().split('?').next().unwrap()),
    ] {
        let reply = open(&app, &Url::parse(&changed).unwrap()).await;

        reply.problem(StatusCode::FORBIDDEN, "signature_mismatch");
    }
}

#[tokio::test]
async fn a_presigned_url_works_until_its_time_is_over() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(1)).await;
    let url = app.storage.presigned_get(&first_frame(&id), TTL).await.unwrap();

    app.storage.pass(TTL);
    let in_its_last_second = open(&app, &url).await;
    app.storage.pass(Duration::from_secs(1));
    let afterwards = open(&app, &url).await;

    assert_eq!(in_its_last_second.status, StatusCode::OK);
    afterwards.problem(StatusCode::FORBIDDEN, "url_expired");
}

#[tokio::test]
async fn a_presigned_put_makes_a_frame_pending_once() {
    let app = TestApp::new();
    let jpeg = pictures::jpeg(320, 240, 1);
    let (path, presigned) = presign_put(&app, &jpeg).await;

    let first = put(&app, &presigned, &jpeg).await;
    let second = put(&app, &presigned, &jpeg).await;

    assert_eq!(first.status, StatusCode::OK);
    let etag = first.header("etag").unwrap();
    let pending = app.storage.list_pending(path.session).await.unwrap();
    assert_eq!(etag, format!("\"{}\"", pending[0].etag));
    second.problem(StatusCode::PRECONDITION_FAILED, "frame_exists");
    let read = app.storage.download_pending(&path, 1 << 20).await.unwrap();
    assert_eq!(read, Pending::Bytes(jpeg.into()));
    assert_eq!(app.storage.list_frames(path.session).await.unwrap(), []);
}

#[tokio::test]
async fn a_presigned_put_of_another_length_or_type_or_to_another_key_is_refused() {
    let app = TestApp::new();
    let jpeg = pictures::jpeg(320, 240, 1);
    let (path, presigned) = presign_put(&app, &jpeg).await;
    let without = |name: &str| {
        let headers = presigned.headers.iter().filter(|it| it.0 != name).cloned().collect();
        PresignedPut { headers, ..presigned.clone() }
    };
    let elsewhere = presigned.url.as_str().replace("0001.jpg", "0002.jpg");
    let elsewhere = PresignedPut { url: elsewhere.parse().unwrap(), ..presigned.clone() };

    for (request, body) in [
        (&presigned, &jpeg[1..]),
        (&without("content-type"), &jpeg[..]),
        (&without("if-none-match"), &jpeg[..]),
        (&elsewhere, &jpeg[..]),
    ] {
        let reply = put(&app, request, body).await;

        reply.problem(StatusCode::FORBIDDEN, "signature_mismatch");
    }
    let read = open(&app, &presigned.url).await;
    read.problem(StatusCode::FORBIDDEN, "signature_mismatch");
    assert_eq!(app.storage.list_pending(path.session).await.unwrap(), []);
}

#[tokio::test]
async fn a_presigned_put_for_which_there_is_no_room_is_refused() {
    let jpeg = pictures::jpeg(320, 240, 1);
    let room = jpeg.len() as u64 - 1;
    let app = TestApp::with(|it| it.uploads.mock_storage_bytes = room);
    let (_, presigned) = presign_put(&app, &jpeg).await;

    let reply = put(&app, &presigned, &jpeg).await;

    reply.problem(StatusCode::SERVICE_UNAVAILABLE, "storage_full");
    app.assert_empty().await;
}

#[tokio::test]
async fn a_presigned_put_of_more_than_a_frame_may_have_is_refused_while_it_is_read() {
    let app = TestApp::with(|it| it.uploads.max_frame_bytes = 1000);
    let jpeg = pictures::jpeg(320, 240, 1);
    let (_, presigned) = presign_put(&app, &jpeg).await;

    let reply = put(&app, &presigned, &jpeg).await;

    reply.problem(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large");
}
