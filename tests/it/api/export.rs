//! Everything of a caller: taken out, and removed.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::access::{member, with_keys};
use crate::support::app::TestApp;
use crate::support::faults::Fault;
use crate::support::form::Form;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use chrono::{TimeDelta, Utc};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use swimcoach::metadata::{EntryKind, SessionStore};
use swimcoach::upstream::UpstreamErrorKind as Kind;
use zip::ZipArchive;

fn unpacked(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let names: Vec<String> = archive.file_names().map(|it| it.unwrap().into_owned()).collect();
    let mut read = |name: &String| {
        let mut content = Vec::new();
        archive.by_name(name).unwrap().read_to_end(&mut content).unwrap();
        content
    };
    names.iter().map(|it| (it.clone(), read(it))).collect()
}

async fn erase(app: &TestApp) -> crate::support::app::Reply {
    app.send(Request::delete("/api/v1/data").body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn an_export_has_everything_of_its_caller_and_nothing_of_others() {
    let app = with_keys();
    app.vision.finds();
    let (one, other) = (member(&app, "one").await, member(&app, "other").await);
    let ids = [one.uploaded(Form::frames(3)).await, one.uploaded(Form::frames(2)).await];
    one.analyzed(&ids[0]).await;
    let theirs = other.uploaded(Form::frames(1)).await;

    let reply = one.get("/api/v1/export").await;

    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-disposition"), Some("attachment; filename=\"swimcoach-export.zip\""));
    let files = unpacked(&reply.body);
    assert_eq!(files.len(), 2 + 5 + 1);
    assert!(files.keys().all(|it| !it.contains(&theirs)));
    for id in &ids {
        let detail: Value = serde_json::from_slice(&files[&format!("sessions/{id}/session.json")]).unwrap();
        assert_eq!(detail, one.show(id).await.json());
    }
    let frame = one.get(&format!("/api/v1/sessions/{}/frames/2", ids[0])).await;
    assert_eq!(files[&format!("sessions/{}/frames/0002.jpg", ids[0])], frame.body);
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(manifest["sessions"], 2);
    let listed = manifest["files"].as_array().unwrap();
    assert_eq!(listed.len(), files.len() - 1);
    for file in listed {
        let content = &files[file["name"].as_str().unwrap()];
        assert_eq!(file["sha256"], hex::encode(Sha256::digest(content)));
        assert_eq!(file["size_bytes"], content.len());
    }
}

#[tokio::test]
async fn an_export_of_nothing_is_an_archive_with_a_manifest() {
    let files = unpacked(&TestApp::new().get("/api/v1/export").await.body);

    assert_eq!(files.keys().collect::<Vec<_>>(), ["manifest.json"]);
}

#[tokio::test]
async fn an_export_that_breaks_off_opens_as_no_archive() {
    let app = TestApp::new();
    app.uploaded(Form::frames(3)).await;
    app.storage.faults.fail_after("download_frame", 1, Fault::Before(Kind::Unavailable));

    let request = Request::get("/api/v1/export").body(Body::empty()).unwrap();
    let mut body = app.unread(request).await.into_body();
    let (mut bytes, mut broke_off) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend(frame.into_data().unwrap()),
            Err(_) => broke_off = true,
        }
    }

    assert!(broke_off);
    assert!(ZipArchive::new(Cursor::new(bytes)).is_err());
    app.records.faults.fail_next("list_sessions", Fault::Before(Kind::Unavailable));
    app.get("/api/v1/export").await.problem(StatusCode::SERVICE_UNAVAILABLE, "records_unavailable");
}

#[tokio::test]
async fn a_frame_that_storage_lost_is_named_in_the_manifest() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(2)).await;
    app.storage.replace(&id, 1, None).await;

    let files = unpacked(&app.get("/api/v1/export").await.body);

    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(manifest["missing"], json!([format!("sessions/{id}/frames/0001.jpg")]));
    assert!(files.contains_key(&format!("sessions/{id}/frames/0002.jpg")));
}

#[tokio::test]
async fn an_erasure_leaves_nothing_of_its_caller_and_all_of_others() {
    let app = with_keys();
    let (one, other) = (member(&app, "one").await, member(&app, "other").await);
    for n in 1..=3 {
        one.uploaded(Form::frames(n)).await;
    }
    let theirs = other.uploaded(Form::frames(2)).await;
    for tenant in [&one, &other] {
        let request = Request::post("/api/v1/sessions").header("idempotency-key", "once").body(Body::empty());
        assert_eq!(tenant.send(request.unwrap()).await.status, StatusCode::CREATED);
    }
    app.storage.faults.fail_next("delete_frames", Fault::Before(Kind::Unavailable));

    let failed = erase(&one).await;
    let after_failure = one.get("/api/v1/sessions").await.json();
    let erased = erase(&one).await;
    let again = erase(&one).await.json();

    failed.problem(StatusCode::SERVICE_UNAVAILABLE, "storage_unavailable");
    assert_eq!(after_failure.as_array().unwrap().len(), 1);
    assert_eq!(erased.json()["sessions_deleted"], 1);
    assert_eq!(again["sessions_deleted"], 0);
    assert_eq!(one.get("/api/v1/sessions").await.json(), json!([]));
    assert!(app.storage.keys().iter().all(|it| it.contains(&theirs)));
    assert_eq!(other.get("/api/v1/sessions").await.json().as_array().unwrap().len(), 2);
    let later = Utc::now() + TimeDelta::days(1);
    let requests = app.records.inner.entries(EntryKind::Request, later, None).await.unwrap();
    assert_eq!(
        requests.iter().map(|it| it.owner.as_ref().unwrap().as_str()).collect::<Vec<_>>(),
        ["key:other"]
    );
}
