//! The description of the API and the page to read it on.

use crate::support::app::TestApp;
use crate::support::openapi::document;
use axum::http::StatusCode;
use std::collections::BTreeSet;

/// The routes of the table that are not described: a slash more, pages for developers, and presigned URLs of the
/// in-memory storage, which nobody writes by hand.
const UNDESCRIBED: [&str; 2] = ["GET,POST /api/v1/sessions/", "GET,PUT /_mock/storage/{*key}"];

/// The lines of the one route table, as it is written: methods and path.
fn table() -> BTreeSet<String> {
    let source = include_str!("../../../src/http.rs");
    let routes = source.split(".route(").skip(1).map(|it| {
        let (path, rest) = it.trim().strip_prefix('"').unwrap().split_once('"').unwrap();
        let calls = rest.split(';').next().unwrap();
        let methods = ["get", "post", "put", "patch", "delete"]
            .into_iter()
            .filter(|it| calls.contains(&format!("{it}(")));
        format!("{} {path}", methods.collect::<Vec<_>>().join(",").to_uppercase())
    });
    routes.collect()
}

fn described() -> BTreeSet<String> {
    let paths = document()["paths"].as_object().unwrap();
    let routes = paths.iter().map(|(path, operations)| {
        let operations = operations.as_object().unwrap();
        let methods =
            ["get", "post", "put", "patch", "delete"].into_iter().filter(|it| operations.contains_key(*it));
        format!("{} {path}", methods.collect::<Vec<_>>().join(",").to_uppercase())
    });
    routes.collect()
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    let mut expected = table();
    assert!(5 < expected.len());
    for route in UNDESCRIBED {
        assert!(expected.remove(route), "{route} is not in the table: {expected:?}");
    }

    assert_eq!(described(), expected);
}

#[tokio::test]
async fn the_description_is_openapi_3_1_and_every_reference_in_it_leads_somewhere() {
    let app = TestApp::new();

    let reply = app.get("/openapi.json").await;

    assert_eq!(reply.status, StatusCode::OK);
    let served = reply.json();
    assert_eq!(&served, document());
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(served["info"]["version"], env!("CARGO_PKG_VERSION"));
    let text = served.to_string();
    let references = text.split("\"$ref\":\"#").skip(1).map(|it| it.split('"').next().unwrap());
    let references: BTreeSet<&str> = references.collect();
    assert!(10 < references.len());
    for pointer in references {
        assert!(served.pointer(pointer).is_some(), "{pointer}");
    }
}

#[tokio::test]
async fn the_docs_page_loads_everything_from_the_service_itself() {
    let app = TestApp::new();

    let page = app.get("/docs/").await;

    assert_eq!(page.status, StatusCode::OK);
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        !html.contains("//cdn") && !html.contains("src=\"http") && !html.contains("href=\"http"),
        "{html}"
    );
    let sources: Vec<&str> =
        html.split(['"', '\'']).filter(|it| [".js", ".css"].iter().any(|end| it.ends_with(end))).collect();
    assert!(2 <= sources.len(), "{html}");
    for source in sources {
        let file = app.get(&format!("/docs/{}", source.trim_start_matches("./"))).await;
        assert_eq!(file.status, StatusCode::OK, "{source}");
        assert!(!file.body.is_empty());
    }
    let short = app.get("/docs").await;
    assert_eq!(short.header("location"), Some("/docs/"));
}
