//! Uploads that are taken.

use crate::support::app::{TestApp, session_path, upload_request};
use crate::support::form::Form;
use crate::support::pictures;
use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use swimcoach::storage::{Download, StorageClient};

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[tokio::test]
async fn an_upload_answers_with_everything_that_was_stored() {
    let app = TestApp::new();
    let [one, two] = [pictures::jpeg(320, 240, 1), pictures::jpeg(640, 480, 2)];

    let reply = app.upload(Form::new().frame(&one).frame(&two)).await;

    assert_eq!(reply.status, StatusCode::CREATED);
    let body = reply.json();
    let id = body["session_id"].as_str().unwrap();
    assert_eq!(reply.header("location"), Some(&*format!("/api/v1/sessions/{id}")));
    let keys = [format!("frames/{id}/0001.jpg"), format!("frames/{id}/0002.jpg")];
    assert_eq!(app.storage.keys(), keys);
    let expected = json!({
        "session_id": id,
        "frames_received": 2,
        "storage_paths": keys,
        "message": body["message"],
        "frames": [
            { "number": 1, "path": keys[0], "size_bytes": one.len(), "width": 320, "height": 240,
              "timestamp_ms": null, "etag": body["frames"][0]["etag"] },
            { "number": 2, "path": keys[1], "size_bytes": two.len(), "width": 640, "height": 480,
              "timestamp_ms": null, "etag": body["frames"][1]["etag"] },
        ],
        "warnings": [
            { "code": "timestamps_missing", "detail": body["warnings"][0]["detail"], "frames": [1, 2] },
        ],
        "consent": {"subject": "adult", "basis": "operator", "purposes": ["analysis", "third_party_ai"]},
        "expires_at": body["expires_at"],
    });
    assert_eq!(body, expected);
    assert_ne!(body["frames"][0]["etag"], body["frames"][1]["etag"]);
}

#[tokio::test]
async fn what_the_upload_says_is_what_the_session_shows() {
    let app = TestApp::new();
    let form = Form::frames(2)
        .text("stroke_type", "butterfly")
        .text("user_notes", "  Why do my legs sink? 水泳 🏊 \n")
        .text("title", "Heat 2")
        .text("view", "side");

    let id = app.uploaded(form).await;

    let detail = app.show(&id).await.json();
    assert_eq!(detail["stroke_type"], "butterfly");
    assert_eq!(detail["user_notes"], "Why do my legs sink? 水泳 🏊");
    assert_eq!(detail["title"], "Heat 2");
}

#[tokio::test]
async fn an_upload_of_frames_alone_is_of_freestyle() {
    let app = TestApp::new();

    let id = app.uploaded(Form::frames(1)).await;

    let detail = app.show(&id).await.json();
    assert_eq!(detail["stroke_type"], "freestyle");
    assert_eq!(detail["user_notes"], Value::Null);
}

#[tokio::test]
async fn the_most_frames_that_are_allowed_are_all_stored_in_their_order() {
    let app = TestApp::new();

    let reply = app.upload(Form::frames(60)).await;

    let body = reply.json();
    let id = body["session_id"].as_str().unwrap();
    let expected: Vec<String> = (1..=60).map(|it| format!("frames/{id}/{it:04}.jpg")).collect();
    assert_eq!(body["storage_paths"], json!(expected));
    assert_eq!(app.storage.keys(), expected);
    for (index, frame) in body["frames"].as_array().unwrap().iter().enumerate() {
        let seed = u32::try_from(index).unwrap() + 1;
        assert_eq!(frame["size_bytes"], pictures::jpeg(320, 240, seed).len(), "frame {seed}");
    }
}

#[tokio::test]
async fn times_and_digests_of_a_manifest_before_the_frames_are_taken() {
    let app = TestApp::new();
    let [one, two] = [1, 2].map(|seed| pictures::jpeg(320, 240, seed));
    let manifest = json!([
        { "number": 2, "timestamp_ms": 167, "sha256": sha256(&two).to_uppercase() },
        { "number": 1, "timestamp_ms": 0, "sha256": sha256(&one) },
    ]);
    let form = Form::new().text("manifest", &manifest.to_string()).frame(&one).frame(&two);

    let reply = app.upload(form).await;

    assert_eq!(reply.status, StatusCode::CREATED);
    let body = reply.json();
    let times: Vec<&Value> =
        body["frames"].as_array().unwrap().iter().map(|it| &it["timestamp_ms"]).collect();
    assert_eq!(times, [&json!(0), &json!(167)]);
    assert_eq!(body["warnings"], json!([]));
}

#[tokio::test]
async fn times_of_a_manifest_after_the_frames_are_taken_too() {
    let app = TestApp::new();
    let manifest = json!([{ "number": 2, "timestamp_ms": 250 }]).to_string();

    let reply = app.upload(Form::frames(3).text("manifest", &manifest)).await;

    let body = reply.json();
    assert_eq!(body["frames"][1]["timestamp_ms"], 250);
    assert_eq!(body["warnings"][0]["frames"], json!([1, 3]));
}

#[tokio::test]
async fn a_frame_that_lies_on_its_side_is_stored_upright() {
    let app = TestApp::new();
    let lying = pictures::with_exif_orientation(&pictures::corners(640, 400), 6);

    let reply = app.upload(Form::new().frame(&lying)).await;

    let reply = reply.json();
    let frame = &reply["frames"][0];
    assert_eq!((&frame["width"], &frame["height"]), (&json!(400), &json!(640)));
    let id = reply["session_id"].as_str().unwrap().parse().unwrap();
    let stored = app.storage.list_frames(id).await.unwrap();
    let Download::Frame(jpeg) = app.storage.download_frame(&stored[0]).await.unwrap() else {
        panic!("what was acknowledged is not there")
    };
    let picture = image::load_from_memory(&jpeg).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (400, 640));
    for (at, color) in [
        ((40, 40), [30, 30, 220]),
        ((360, 40), [220, 30, 30]),
        ((40, 600), [128; 3]),
        ((360, 600), [30, 220, 30]),
    ] {
        let pixel = picture.get_pixel(at.0, at.1).0;
        assert!(pixel.iter().zip(color).all(|(a, b)| a.abs_diff(b) < 12), "{pixel:?} at {at:?}");
    }
}

#[tokio::test]
async fn nothing_private_in_a_frame_reaches_storage() {
    let app = TestApp::new();
    let private = pictures::with_gps_everywhere(&pictures::jpeg(320, 240, 1), 1);
    app.vision.finds();

    let id = app.uploaded(Form::new().frame(&private)).await;
    app.analyzed(&id).await;

    let shown = app.vision.seen();
    for secret in pictures::SECRETS {
        assert_eq!(memchr::memmem::find(&shown[0].jpegs[0], secret.as_bytes()), None, "{secret}");
    }
}

#[tokio::test]
async fn a_frame_is_read_back_with_the_same_pixels_and_nothing_private_as_it_is_stored() {
    let app = TestApp::new();
    for clean in [pictures::jpeg(320, 240, 1), pictures::progressive(320, 240, 2)] {
        let private = pictures::with_gps_everywhere(&clean, 1);

        let id = app.uploaded(Form::new().frame(&private)).await;

        let read = app.get(&format!("{}/frames/1", session_path(&id))).await.body;
        let stored = app.storage.list_frames(id.parse().unwrap()).await.unwrap();
        assert_eq!((stored.len(), app.storage.keys().len()), (1, 1));
        assert!(app.storage.download_frame(&stored[0]).await.unwrap() == Download::Frame(read.clone()));
        let of_places = [&b"Exif"[..], b"http://ns.adobe.com", b"Photoshop", b"MPF", b"JFXX"];
        for private in pictures::SECRETS.map(str::as_bytes).iter().chain(&of_places) {
            assert_eq!(memchr::memmem::find(&read, private), None, "{private:?}");
        }
        assert_eq!(memchr::memmem::find_iter(&read, b"\xff\xd8\xff").count(), 1);
        assert!(read.ends_with(b"\xff\xd9"));
        let pixels = |file: &[u8]| image::load_from_memory(file).unwrap().to_rgb8();
        assert!(pixels(&read) == pixels(&private) && pixels(&read) == pixels(&clean));
        app.delete(&id).await;
    }
}

#[tokio::test]
async fn a_frame_is_stored_byte_for_byte_in_whatever_pieces_it_comes() {
    let app = TestApp::new();
    let frames = [pictures::jpeg(320, 240, 1), pictures::jpeg(640, 480, 2)];
    let body = Form::new().frame(&frames[0]).frame(&frames[1]).body();
    // Single bytes, pieces that are joined at once, larger ones, and both in turn.
    for sizes in [&[1][..], &[700], &[5000], &[1, 4096, 4095]] {
        let mut pieces = Vec::new();
        let mut rest = Bytes::from(body.clone());
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            pieces.push(rest.split_to(rest.len().min(*size)));
        }
        // Each is awaited by itself, as if it came over a network.
        let pieces = stream::iter(pieces).then(async |piece| {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(piece)
        });

        let reply = app.send(upload_request(Body::from_stream(pieces))).await;

        assert_eq!(reply.status, StatusCode::CREATED, "{sizes:?}");
        let id = reply.json()["session_id"].as_str().unwrap().parse().unwrap();
        let stored = app.storage.list_frames(id).await.unwrap();
        assert_eq!(stored.len(), frames.len());
        for (stored, frame) in stored.iter().zip(&frames) {
            let read = app.storage.download_frame(stored).await.unwrap();
            assert!(read == Download::Frame(frame.clone().into()), "{} in pieces of {sizes:?}", stored.path);
        }
    }
}
