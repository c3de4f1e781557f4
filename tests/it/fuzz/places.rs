//! Places in what the service lists, tells and stores: of a page, of an event, of bytes.

use super::{runtime, try_all};
use crate::support::app::{Reply, TestApp, session_path};
use crate::support::form::Form;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode};
use proptest::prelude::*;
use proptest::sample::select;

/// Headers and parameters of pieces that mean something, which meet in every order, and of anything else.
fn values(pieces: &[&str]) -> impl Strategy<Value = String> + use<> {
    let pieces: Vec<String> = pieces.iter().map(|it| (*it).to_owned()).collect();
    let number = prop_oneof![(0_u64..40_000), any::<u64>()].prop_map(|it| it.to_string());
    let piece = prop_oneof![4 => select(pieces), 3 => number, 1 => "[ -~é\u{1f3ca}]{0,4}"];
    prop::collection::vec(piece, 0..7).prop_map(|it| it.concat())
}

async fn get(app: &TestApp, path: &str, header: &str, value: &str) -> Option<Reply> {
    let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
    Some(app.send(Request::get(path).header(header, value).body(Body::empty()).unwrap()).await)
}

#[test]
fn any_range_is_answered_with_the_bytes_that_it_says() {
    let runtime = runtime();
    let (app, path, whole) = runtime.block_on(async {
        let app = TestApp::new();
        let path = format!("{}/frames/1", session_path(&app.uploaded(Form::frames(1)).await));
        let whole = app.get(&path).await.body;
        (app, path, whole)
    });
    let ranges = prop_oneof![
        values(&["bytes=", "bytes", "=", "-", ",", " ", "0", "99999999999999999999"]),
        ((0_usize..40_000), (0_usize..40_000)).prop_map(|(first, last)| format!("bytes={first}-{last}")),
        values(&["-"]).prop_map(|it| format!("bytes={it}")),
    ];
    let mut answered = [0, 0, 0];

    try_all(600, &ranges, |range| {
        let Some(reply) = runtime.block_on(get(&app, &path, "range", &range)) else { return };

        match reply.status {
            StatusCode::OK => {
                assert_eq!(reply.body, whole, "{range}");
                answered[0] += 1;
            }
            StatusCode::PARTIAL_CONTENT => {
                let said = reply.header("content-range").unwrap();
                let (bytes, size) = said.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
                let (first, last) = bytes.split_once('-').unwrap();
                let [first, last, size] = [first, last, size].map(|it| it.parse::<usize>().unwrap());
                assert_eq!((size, &reply.body[..]), (whole.len(), &whole[first..=last]), "{range}");
                answered[1] += 1;
            }
            _ => {
                reply.problem(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable");
                assert_eq!(reply.header("content-range"), Some(&*format!("bytes */{}", whole.len())));
                answered[2] += 1;
            }
        }
    });

    assert!(answered.iter().all(|it| 20 < *it), "{answered:?}");
}

#[test]
fn any_cursor_gives_a_page_or_is_named_as_wrong() {
    let runtime = runtime();
    let (app, id) = runtime.block_on(async {
        let app = TestApp::new();
        let id = app.uploaded(Form::frames(1)).await;
        (app, id)
    });
    let half = id.split_at(18);
    let cursors =
        values(&[&id, half.0, half.1, "-", "{", "}", "urn:uuid:", "0", "f", "%", "&limit=", "\u{0}"]);

    try_all(300, &cursors, |cursor| {
        let query: String = url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
        for query in [query.as_str(), &query.replace("%26", "&").replace("%3D", "=").replace("%25", "%")] {
            let reply = runtime.block_on(app.get(&format!("/api/v1/sessions?cursor={query}")));

            if reply.status == StatusCode::OK {
                assert!(reply.json().as_array().unwrap().len() <= 1, "{query}");
            } else {
                reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
            }
        }
    });
}

#[test]
fn any_place_in_an_analysis_gives_the_rest_of_its_events_or_is_named_as_wrong() {
    let runtime = runtime();
    let (app, path, analysis) = runtime.block_on(async {
        let app = TestApp::new();
        app.vision.finds();
        let id = app.uploaded(Form::frames(15)).await;
        let analysis = app.analyzed(&id).await["analysis"]["analysis_id"].as_str().unwrap().to_owned();
        (app, format!("{}/events", session_path(&id)), analysis)
    });
    let whole = runtime.block_on(app.get(&path)).body;
    assert_ne!(whole, "");
    let place = format!("{analysis}:");
    let random = values(&[&analysis, &place, ":", "-", "1", "4294967296"]);
    let good = any::<u32>().prop_map(move |it| format!("{place}{}", if it % 2 == 0 { it % 20 } else { it }));
    let mut answered = [0, 0, 0];

    try_all(300, &prop_oneof![random, good], |place| {
        let Some(reply) = runtime.block_on(get(&app, &path, "last-event-id", &place)) else { return };

        match reply.status {
            StatusCode::OK => {
                let (_retry, events) = std::str::from_utf8(&reply.body).unwrap().split_once("\n\n").unwrap();
                assert!(whole.ends_with(events.as_bytes()), "{place}: {reply:?}");
                answered[0] += 1;
            }
            StatusCode::NO_CONTENT => answered[1] += 1,
            _ => {
                reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
                answered[2] += 1;
            }
        }
    });

    assert!(answered.iter().all(|it| 5 < *it), "{answered:?}");
}
