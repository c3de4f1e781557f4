//! The page, as far as the service gives it out: its files, what it is told, and what it may load.

use crate::support::app::{Reply, TestApp};
use crate::support::form::Form;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use flate2::read::GzDecoder;
use serde_json::json;
use std::io::Read;
use swimcoach::config::{OpenIdClient, Settings, StorageSettings};
use swimcoach::identity::OidcSettings;
use swimcoach::storage::r2::{R2Limits, R2Settings};

/// Where the page may send to, by its policy.
fn destinations(reply: &Reply) -> Vec<String> {
    let policy = reply.header("content-security-policy").unwrap();
    let connect = policy.split(';').find_map(|it| it.trim().strip_prefix("connect-src ")).unwrap();
    connect.split(' ').map(str::to_owned).collect()
}

fn provider(settings: &mut Settings) {
    settings.access.oidc = Some(OidcSettings {
        issuer: "https://clerk.coach.example/tenant".to_owned(),
        audience: Some("swimcoach".to_owned()),
        authorized_parties: Vec::new(),
        jwks_url: None,
    });
}

fn bucket(settings: &mut Settings) {
    settings.storage = StorageSettings::R2(R2Settings {
        endpoint: "https://account.r2.example/path".parse().unwrap(),
        bucket: "frames".to_owned(),
        access_key_id: "id".to_owned(),
        secret_access_key: "secret".to_owned().into(),
        limits: R2Limits::default(),
    });
}

#[tokio::test]
async fn the_page_loads_its_own_files_and_nothing_else() {
    let app = TestApp::new();

    let page = app.get("/").await;

    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(destinations(&page), ["'self'"]);
    assert_eq!(page.header("permissions-policy"), Some("camera=(self), geolocation=(), microphone=()"));
    for worker in ["/sw.js", "/clip/encoder.js"] {
        assert_eq!(app.get(worker).await.header("content-security-policy"), Some(policy), "{worker}");
    }
    let html = std::str::from_utf8(&page.body).unwrap();
    let named = html.split(['"', '\'']).filter(|it| it.starts_with('/') && it.len() > 1);
    let named: Vec<&str> = named.filter(|it| *it != "/docs").collect();
    assert!(named.len() >= 4, "{named:?}");
    for file in named {
        let reply = app.get(file).await;
        assert_eq!(reply.status, StatusCode::OK, "{file}");
        assert_ne!(reply.header("content-type"), Some("application/octet-stream"), "{file}");
    }
}

#[tokio::test]
async fn a_file_of_the_page_is_sent_small_and_only_when_it_changed() {
    let app = TestApp::new();
    let whole = app.get("/style.css").await;
    let etag = whole.header("etag").unwrap();

    let zipped = Request::get("/style.css").header("accept-encoding", "gzip").body(Body::empty()).unwrap();
    let zipped = app.send(zipped).await;
    let known = Request::get("/style.css").header("if-none-match", etag).body(Body::empty()).unwrap();
    let known = app.send(known).await;

    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert!(zipped.body.len() * 2 < whole.body.len());
    let mut unzipped = Vec::new();
    GzDecoder::new(&zipped.body[..]).read_to_end(&mut unzipped).unwrap();
    assert!(unzipped == whole.body);
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);
    assert!(known.body.is_empty());
    assert_eq!(known.header("etag"), Some(etag));
    assert_eq!(whole.header("cache-control"), Some("no-cache"));
}

#[tokio::test]
async fn what_is_no_file_of_the_page_is_not_there() {
    let app = TestApp::new();

    for path in ["/index.html", "/nothing.js", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "/views/"] {
        app.get(path).await.problem(StatusCode::NOT_FOUND, "not_found");
    }
    let posted = app.send(Request::post("/app.js").body(Body::empty()).unwrap()).await;
    posted.problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
}

#[tokio::test]
async fn the_page_is_told_what_it_must_know_before_anybody_signs_in() {
    let plain = TestApp::new();
    let strict = TestApp::with(|it| {
        it.access.api_keys = true;
        it.access.anonymous = true;
        provider(it);
        it.page.openid = Some(OpenIdClient { id: "page".to_owned(), scope: "openid email".to_owned() });
        it.page.direct_uploads = true;
        it.privacy.unsaid = None;
        it.privacy.retention_days_minors = 7;
        it.uploads.max_frames = 40;
    });

    let (plain, strict) = (plain.get("/config.json").await.json(), strict.get("/config.json").await.json());

    assert_eq!(
        plain["sign_in"],
        json!({"required": false, "keys": false, "anonymous": false, "openid": null})
    );
    assert_eq!(plain["consent"]["when_unsaid"], "adult");
    let openid = json!({
        "issuer": "https://clerk.coach.example/tenant", "client_id": "page", "scope": "openid email",
    });
    assert_eq!(
        strict["sign_in"],
        json!({"required": true, "keys": true, "anonymous": true, "openid": openid})
    );
    assert_eq!(strict["uploads"], json!({"direct": true}));
    assert_eq!(strict["consent"]["when_unsaid"], json!(null));
    assert_eq!(strict["consent"]["retention_days"]["minor"], 7);
    assert_eq!(strict["limits"]["max_frames"], 40);
    assert_eq!(strict["limits"]["min_side"], 200);
}

#[tokio::test]
async fn the_page_may_send_to_the_bucket_and_the_provider_only_where_it_does() {
    let with = async |change: fn(&mut Settings)| destinations(&TestApp::with(change).get("/").await);

    assert_eq!(with(bucket).await, ["'self'"]);
    assert_eq!(with(provider).await, ["'self'"]);
    let both = with(|it| {
        bucket(it);
        provider(it);
        it.page.openid = Some(OpenIdClient { id: "page".to_owned(), scope: "openid".to_owned() });
        it.page.direct_uploads = true;
    });
    assert_eq!(both.await, ["'self'", "https://account.r2.example", "https://clerk.coach.example"]);
    // A browser that knows the page by the same tag would keep the old policy.
    let tag = async |app: TestApp| app.get("/").await.header("etag").unwrap().to_owned();
    let offers = |it: &mut Settings| {
        provider(it);
        it.page.openid = Some(OpenIdClient { id: "page".to_owned(), scope: "openid".to_owned() });
    };
    assert_ne!(tag(TestApp::new()).await, tag(TestApp::with(offers)).await);
}

#[tokio::test]
async fn the_catalogue_tells_of_every_fault_and_drill_and_that_it_is_a_draft() {
    let app = TestApp::new();

    let catalog = app.get("/api/v1/catalog").await.json();

    assert!(catalog["status"].as_str().unwrap().starts_with("draft"));
    let drills = catalog["drills"].as_array().unwrap();
    let faults = catalog["faults"].as_array().unwrap();
    assert!(!faults.is_empty());
    for id in faults.iter().flat_map(|it| it["drills"].as_array().unwrap()) {
        assert!(drills.iter().any(|it| it["id"] == *id), "{id}");
    }
    assert_eq!(catalog["strokes"].as_array().unwrap().len(), 5);
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;
    let detail = app.analyzed(&id).await;
    assert_eq!(detail["analysis"]["provenance"]["catalog_version"], catalog["version"]);
}
