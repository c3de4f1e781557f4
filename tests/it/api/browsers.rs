//! Which pages of other origins may call the service.

use crate::support::app::{Reply, TestApp};
use crate::support::faults::Fault;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};

async fn ask_from(app: &TestApp, origin: &str, path: &str) -> Reply {
    app.send(Request::get(path).header("origin", origin).body(Body::empty()).unwrap()).await
}

fn with_origins(origins: &[&str]) -> TestApp {
    TestApp::with(|it| it.server.cors = origins.iter().map(|it| it.parse().unwrap()).collect())
}

#[tokio::test]
async fn exact_origins_and_previews_of_one_pages_project_may_call_and_nobody_else() {
    let app = with_origins(&["https://coach.example", "https://*.my-app.pages.dev"]);
    for (origin, may_call) in [
        ("https://coach.example", true),
        ("https://my-app.pages.dev", true),
        ("https://3f2a91c0.my-app.pages.dev", true),
        ("https://fix-login.my-app.pages.dev", true),
        ("https://evil-my-app.pages.dev", false),
        ("https://evilmy-app.pages.dev", false),
        ("https://a.b.my-app.pages.dev", false),
        ("https://.my-app.pages.dev", false),
        ("https://my-app.pages.dev.evil.example", false),
        ("https://evil.example/.my-app.pages.dev", false),
        ("https://evil.example#.my-app.pages.dev", false),
        ("https://user@my-app.pages.dev", false),
        ("https://other.pages.dev", false),
        ("http://my-app.pages.dev", false),
        ("https://my-app.pages.dev:8443", false),
        ("https://coach.example.evil.example", false),
        ("https://COACH.example", false),
        ("http://coach.example", false),
        ("null", false),
        ("*", false),
    ] {
        let reply = ask_from(&app, origin, "/health").await;

        assert_eq!(reply.status, StatusCode::OK);
        let allowed = reply.header("access-control-allow-origin");
        assert_eq!(allowed, may_call.then_some(origin), "{origin}");
        assert_eq!(reply.header("access-control-allow-credentials"), None);
        assert!(reply.header("vary").unwrap().contains("origin"));
    }
}

#[tokio::test]
async fn a_service_without_origins_lets_no_page_call() {
    let app = with_origins(&[]);

    let reply = ask_from(&app, "https://coach.example", "/health").await;

    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn refusals_and_panics_can_be_read_by_pages_that_may_call() {
    let app = TestApp::new();
    app.records.faults.fail_next("list_sessions", Fault::Panic);
    for (path, status) in [
        ("/api/v1/sessions", StatusCode::INTERNAL_SERVER_ERROR),
        ("/api/v1/sessions?limit=0", StatusCode::UNPROCESSABLE_ENTITY),
        ("/nothing", StatusCode::NOT_FOUND),
        ("/api/v1/analysis/upload", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let reply = ask_from(&app, "https://coach.example", path).await;

        assert_eq!(reply.status, status);
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://coach.example"), "{path}");
        let exposed = reply.header("access-control-expose-headers").unwrap();
        for name in ["location", "link", "etag", "retry-after", "x-request-id", "x-session-token"] {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
}

#[tokio::test]
async fn a_browser_may_ask_before_it_uploads_and_deletes() {
    let app = TestApp::new();
    let ask = |origin: &str, method: &str| {
        Request::builder()
            .method(Method::OPTIONS)
            .uri("/api/v1/analysis/upload")
            .header("origin", origin)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "authorization,x-api-key,content-type")
            .body(Body::empty())
            .unwrap()
    };

    let allowed = app.send(ask("https://coach.example", "DELETE")).await;
    let refused = app.send(ask("https://evil.example", "DELETE")).await;

    assert_eq!(allowed.status, StatusCode::OK);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://coach.example"));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("DELETE"));
    let headers = allowed.header("access-control-allow-headers").unwrap();
    let from_first_version = ["x-api-key", "x-user-id", "x-user-email"];
    let others =
        ["authorization", "content-type", "if-none-match", "last-event-id", "accept", "x-session-token"];
    for name in from_first_version.iter().chain(&others) {
        assert!(headers.contains(name), "{headers}");
    }
    assert_eq!(allowed.header("access-control-max-age"), Some("7200"));
    assert!(allowed.header("x-request-id").is_some());
    assert_eq!(refused.header("access-control-allow-origin"), None);
}
