//! Bodies of uploads.

use super::{damage, damaged, runtime, try_all};
use crate::support::app::{TestApp, session_path, upload_request};
use crate::support::form::Form;
use axum::body::Body;
use axum::http::StatusCode;
use proptest::prelude::*;

fn form() -> Form {
    Form::frames(2)
        .text("stroke_type", "butterfly")
        .text("title", "Heat 3")
        .text("user_notes", "Füße?")
        .text("view", "side")
}

/// Whether it was taken. What is taken is whole and goes away whole, and of anything else nothing is left.
async fn is_taken(app: &TestApp, body: Vec<u8>) -> bool {
    let reply = app.send(upload_request(Body::from(body))).await;
    let is_taken = reply.status == StatusCode::CREATED;
    if is_taken {
        let id = reply.json()["session_id"].as_str().unwrap().to_owned();
        let shown = app.show(&id).await.json();
        let n_frames = shown["frames"].as_array().unwrap().len();
        assert!(0 < n_frames);
        assert_eq!(shown["frame_count"], n_frames);
        for frame in shown["frames"].as_array().unwrap() {
            let bytes = app.get(&format!("{}/frames/{}", session_path(&id), frame["number"])).await.body;
            assert_eq!(frame["size_bytes"], bytes.len());
        }
        assert_eq!(app.delete(&id).await.status, StatusCode::OK);
    } else {
        assert!(reply.status.is_client_error(), "{reply:?}");
        reply.problem(reply.status, reply.json()["code"].as_str().unwrap());
    }
    app.assert_empty().await;
    is_taken
}

#[test]
fn a_damaged_upload_is_kept_whole_or_not_at_all() {
    let (runtime, body) = (runtime(), form().body());
    let app = runtime.block_on(async { TestApp::new() });
    let mut taken = [0, 0];

    try_all(150, &damage(), |damage| {
        taken[usize::from(runtime.block_on(is_taken(&app, damaged(&body, &damage))))] += 1;
    });

    // Damage within a picture may change pixels only, so both happen.
    assert!(taken.iter().all(|it| 5 < *it), "{taken:?}");
}

#[test]
fn damage_between_the_parts_of_an_upload_is_a_problem_with_a_name() {
    // Without pictures all damage hits the form itself.
    let (runtime, body) = (runtime(), Form::new().text("title", "Heat 3").text("view", "side").body());
    let app = runtime.block_on(async { TestApp::new() });

    try_all(400, &damage(), |damage| {
        assert!(!runtime.block_on(is_taken(&app, damaged(&body, &damage))));
    });
}

#[test]
fn any_bytes_at_all_are_no_upload() {
    let runtime = runtime();
    let app = runtime.block_on(async { TestApp::new() });

    try_all(100, &prop::collection::vec(any::<u8>(), 0..600), |body| {
        assert!(!runtime.block_on(is_taken(&app, body)));
    });
}
