//! How often callers may come, how much each may have, and what answers say to browsers.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::access::{key, member};
use crate::support::app::{Reply, TestApp};
use crate::support::faults::Fault;
use crate::support::form::Form;
use crate::support::pictures;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::net::IpAddr;
use swimcoach::access::Scope;
use swimcoach::config::{Quotas, RateSettings};
use swimcoach::http::PeerAddress;
use swimcoach::upstream::UpstreamErrorKind;

fn with_rates(per_address: u32, per_caller: u32, trusted_proxies: u8) -> TestApp {
    let rates = RateSettings {
        per_address: per_address.try_into().ok(),
        per_caller: per_caller.try_into().ok(),
        trusted_proxies,
    };
    TestApp::with(|it| {
        it.access.api_keys = true;
        it.server.rates = rates;
    })
}

async fn list(app: &TestApp, key: &str, peer: &str, forwarded: Option<&str>) -> Reply {
    let mut request = Request::get("/api/v1/sessions").header("x-api-key", key);
    if let Some(forwarded) = forwarded {
        request = request.header("x-forwarded-for", forwarded);
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(PeerAddress(peer.parse::<IpAddr>().unwrap()));
    app.send(request).await
}

#[tokio::test]
async fn a_caller_who_comes_too_often_waits_and_others_do_not() {
    let app = with_rates(1_000, 3, 0);
    let (_, one) = key(&app, "one", &Scope::ALL).await;
    let (_, other) = key(&app, "other", &Scope::ALL).await;

    let first = list(&app, &one, "192.0.2.1", None).await;
    for _ in 0..2 {
        assert_eq!(list(&app, &one, "192.0.2.1", None).await.status, StatusCode::OK);
    }
    let refused = list(&app, &one, "192.0.2.2", None).await;

    let told = |it: &Reply, name: &str| {
        it.headers.get_all(name).iter().map(|it| it.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(&first, "ratelimit-policy"), ["\"caller\";q=3;w=60", "\"address\";q=1000;w=60"]);
    assert_eq!(told(&first, "ratelimit"), ["\"caller\";r=2;t=20", "\"address\";r=999;t=1"]);
    refused.problem(StatusCode::TOO_MANY_REQUESTS, "too_often");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait));
    assert!(told(&refused, "ratelimit")[0].starts_with("\"caller\";r=0;"));
    assert_eq!(list(&app, &other, "192.0.2.1", None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_address_that_comes_too_often_waits_before_its_key_is_looked_at() {
    let app = with_rates(2, 1_000, 1);
    let (_, shown) = key(&app, "one", &Scope::ALL).await;

    for _ in 0..2 {
        let guess = list(&app, "swc_guess", "10.0.0.9", Some("6.6.6.6, 192.0.2.1")).await;
        guess.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    }
    let asked = app.records.faults.count("entry");
    let refused = list(&app, &shown, "10.0.0.9", Some("7.7.7.7, 192.0.2.1")).await;

    refused.problem(StatusCode::TOO_MANY_REQUESTS, "too_often");
    assert_eq!(app.records.faults.count("entry"), asked);
    assert_eq!(list(&app, &shown, "10.0.0.9", Some("192.0.2.2")).await.status, StatusCode::OK);
    assert_eq!(app.get("/health").await.status, StatusCode::OK);
}

#[tokio::test]
async fn where_nobody_signs_in_this_machine_is_not_limited_and_whom_its_proxy_names_is() {
    let app = TestApp::with(|it| {
        it.server.any_host = true;
        it.server.rates =
            RateSettings { per_address: 1.try_into().ok(), per_caller: None, trusted_proxies: 1 };
    });

    for home in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        for _ in 0..2 {
            assert_eq!(list(&app, "any", home, None).await.status, StatusCode::OK, "{home}");
        }
    }
    assert_eq!(list(&app, "any", "127.0.0.1", Some("192.0.2.1")).await.status, StatusCode::OK);
    let refused = list(&app, "any", "127.0.0.1", Some("192.0.2.1")).await;
    refused.problem(StatusCode::TOO_MANY_REQUESTS, "too_often");
}

#[tokio::test]
async fn no_caller_ever_has_more_sessions_than_one_may_have() {
    let app = TestApp::with(|it| it.quotas = Quotas { sessions: Some(3), bytes: None });

    let replies = join_all((0..4).map(|_| app.upload(Form::frames(1)))).await;
    let made = replies.iter().filter(|it| it.status == StatusCode::CREATED).count();
    let listed = app.get("/api/v1/sessions").await.json();

    for refused in replies.iter().filter(|it| it.status != StatusCode::CREATED) {
        refused.problem(StatusCode::TOO_MANY_REQUESTS, "quota_reached");
    }
    assert!(made <= 3);
    assert_eq!(listed.as_array().unwrap().len(), made);
    assert_eq!(app.storage.keys().len(), made);
    for _ in made..3 {
        app.uploaded(Form::frames(1)).await;
    }
    app.upload(Form::frames(1)).await.problem(StatusCode::TOO_MANY_REQUESTS, "quota_reached");
    let empty = Request::post("/api/v1/sessions").body(Body::empty()).unwrap();
    app.send(empty).await.problem(StatusCode::TOO_MANY_REQUESTS, "quota_reached");
    let any = app.get("/api/v1/sessions").await.json()[0]["session_id"].as_str().unwrap().to_owned();
    app.delete(&any).await;
    assert_eq!(app.upload(Form::frames(1)).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn no_caller_has_more_bytes_than_one_may_have_and_each_has_their_own() {
    let frame =
        TestApp::new().upload(Form::frames(1)).await.json()["frames"][0]["size_bytes"].as_u64().unwrap();
    let app = TestApp::with(|it| {
        it.access.api_keys = true;
        it.quotas = Quotas { sessions: None, bytes: Some(frame * 5 / 2) };
    });
    let (one, other) = (member(&app, "one").await, member(&app, "other").await);
    one.uploaded(Form::frames(2)).await;

    let refused = one.upload(Form::frames(1)).await;

    refused.problem(StatusCode::TOO_MANY_REQUESTS, "quota_reached");
    assert_eq!(app.storage.keys().len(), 2);
    assert_eq!(other.upload(Form::frames(1)).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn frames_that_go_straight_into_storage_count_for_what_a_caller_may_have() {
    let jpeg = pictures::jpeg(320, 240, 1);
    let size = jpeg.len() as u64;
    let app = TestApp::with(|it| it.quotas = Quotas { sessions: None, bytes: Some(size * 5 / 2) });
    let made = app.send(Request::post("/api/v1/sessions").body(Body::empty()).unwrap()).await.json();
    let id = made["session_id"].as_str().unwrap();
    let announce = |numbers: &[u16]| {
        let frames = numbers.iter().map(|it| json!({"number": it, "size_bytes": size}));
        json!({"frames": frames.collect::<Vec<_>>()})
    };

    let refused = app.post(id, "uploads", &announce(&[1, 2, 3])).await;
    let begun = app.post(id, "uploads", &announce(&[1, 2])).await.json();
    for upload in begun["uploads"].as_array().unwrap() {
        let url: url::Url = upload["url"].as_str().unwrap().parse().unwrap();
        let request = Request::put(&url[url::Position::BeforePath..]).header("content-type", "image/jpeg");
        let request = request.header("if-none-match", "*").header("content-length", size);
        assert_eq!(app.send(request.body(Body::from(jpeg.clone())).unwrap()).await.status, StatusCode::OK);
    }
    // Meanwhile the room was taken.
    app.uploaded(Form::default().frame(&jpeg)).await;
    let completed = app.post(id, "uploads/complete", &Value::Null).await;

    refused.problem(StatusCode::TOO_MANY_REQUESTS, "quota_reached");
    completed.problem(StatusCode::TOO_MANY_REQUESTS, "quota_reached");
    assert_eq!(app.get(&format!("/api/v1/sessions/{id}/frames")).await.json()["frames"], json!([]));
}

#[tokio::test]
async fn where_it_cannot_be_known_what_a_caller_has_nothing_more_is_taken() {
    let app = TestApp::with(|it| it.quotas = Quotas { sessions: Some(3), bytes: None });
    app.records.faults.fail_always("holdings", Fault::Before(UpstreamErrorKind::Unavailable));

    let refused = app.upload(Form::frames(1)).await;

    refused.problem(StatusCode::SERVICE_UNAVAILABLE, "records_unavailable");
    app.records.faults.heal();
    app.assert_empty().await;
}

#[tokio::test]
async fn no_more_analyses_start_in_a_day_than_a_caller_may_have() {
    let app = TestApp::with(|it| it.budgets.analyses_per_day = Some(2));
    app.vision.finds();
    let ids = join_all((0..4).map(|_| app.uploaded(Form::frames(1)))).await;

    let replies = join_all(ids.iter().map(|it| app.analyze(it, Value::Null))).await;

    let started = replies.iter().filter(|it| it.status == StatusCode::ACCEPTED).count();
    assert_eq!(started, 2);
    for refused in replies.iter().filter(|it| it.status != StatusCode::ACCEPTED) {
        refused.problem(StatusCode::TOO_MANY_REQUESTS, "enough_analyses_today");
        assert!(refused.header("retry-after").is_some());
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_to_load_show_and_keep_nothing() {
    let app = TestApp::with(|it| it.server.public_url = Some("https://coach.example".parse().unwrap()));
    let id = app.uploaded(Form::frames(1)).await;

    for path in [
        "/health",
        "/api/v1/sessions",
        &format!("/api/v1/sessions/{id}"),
        "/nowhere",
        "/docs/",
        "/openapi.json",
    ] {
        let reply = app.get(path).await;

        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(reply.header("x-frame-options"), Some("DENY"), "{path}");
        assert!(reply.header("strict-transport-security").unwrap().contains("max-age"), "{path}");
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("http"), "{path}");
        assert!(reply.header("cache-control").is_some(), "{path}");
        assert_eq!(reply.header("server"), None, "{path}");
    }
}

#[tokio::test]
async fn where_nobody_signs_in_a_page_of_another_name_reaches_nothing() {
    let (open, signed_in) = (TestApp::new(), TestApp::with(|it| it.access.api_keys = true));
    let request =
        |host: &str| Request::get("/api/v1/sessions").header(header::HOST, host).body(Body::empty()).unwrap();

    let refused = open.send(request("evil.example:8000")).await;
    let own = open.send(request("127.0.0.1:8000")).await;

    refused.problem(StatusCode::MISDIRECTED_REQUEST, "wrong_host");
    assert_eq!((own.status, own.json()), (StatusCode::OK, json!([])));
    let other = signed_in.send(request("evil.example")).await;
    other.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
}
