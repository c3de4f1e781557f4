//! What a first visit costs, whom it asks, and what is there before any script runs.

use super::browser::{Browser, Device, Setup};
use super::line::Line;
use super::service::Service;
use super::steps::{CHOOSE, said};
use serde_json::{Value, json};

/// Of what the page asks for, as browsers reckon it: files as they are sent, and 300 bytes for the head of each.
const BUDGET_BYTES: u64 = 150_000;
/// Of everything on the line, heads and what is kept for a visit without a connection included.
const LINE_BUDGET_BYTES: u64 = 150_000;
/// What was asked for, once nothing was for half a second.
const ASKED_FOR: &str = "(() => {
    const all = ['navigation', 'resource'].flatMap((it) => performance.getEntriesByType(it));
    const isQuiet = performance.now() - Math.max(...all.map((it) => it.responseEnd)) > 500;
    return isQuiet && all.map((it) => [it.name, it.transferSize]);
})()";

#[tokio::test]
async fn a_first_visit_is_small_and_asks_no_other_host() {
    let service = Service::without_a_model().await;
    let line = Line::to(service.address()).await;
    let browser = Browser::start(Setup { device: Device::Phone, ..Setup::default() }).await;

    browser.open(&line.url("/")).await;
    browser.see(CHOOSE).await;
    browser.until("the page is kept for later", "navigator.serviceWorker.ready.then(() => true)").await;
    let asked = browser.until("all is there that is asked for", ASKED_FOR).await;

    let asked: Vec<(String, u64)> = serde_json::from_value(asked).unwrap();
    let own = line.url("/");
    let foreign: Vec<_> = asked.iter().filter(|it| !it.0.starts_with(&own)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert!(asked.iter().any(|it| it.0.ends_with("/views/start.js")), "{asked:?}");
    assert_eq!(browser.errors().await, [""; 0]);
    let bytes: u64 = asked.iter().map(|it| it.1).sum();
    assert!(bytes < BUDGET_BYTES, "{bytes} bytes: {asked:?}");
    assert!(line.bytes_received() < LINE_BUDGET_BYTES, "{} bytes", line.bytes_received());
}

#[tokio::test]
async fn the_policy_of_the_page_allows_nothing_from_elsewhere() {
    let service = Service::without_a_model().await;

    let response = service.response("/").await;

    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    let directives: Vec<Vec<&str>> = policy
        .split(';')
        .map(|it| it.split_whitespace().collect())
        .filter(|it: &Vec<_>| !it.is_empty())
        .collect();
    assert!(directives.contains(&vec!["default-src", "'none'"]), "{policy}");
    assert!(directives.contains(&vec!["script-src", "'self'"]), "{policy}");
    for source in directives.iter().flat_map(|it| &it[1..]) {
        assert!(["'none'", "'self'", "blob:"].contains(source), "{source} in {policy}");
    }
}

#[tokio::test]
async fn the_first_words_are_there_before_any_script() {
    let service = Service::without_a_model().await;
    let browser = Browser::start(Setup { runs_scripts: false, ..Setup::default() }).await;

    browser.open(&service.url("/")).await;
    browser.picture("desktop-without-script").await;
    // The driver reads a page by scripts, so what there is is asked of the tree that screen readers get.
    let tree = browser.tell_chromium("Accessibility.getFullAXTree", &json!({})).await;

    let seen: Vec<(&Value, &Value)> = tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["ignored"] == false)
        .map(|it| (&it["role"]["value"], &it["name"]["value"]))
        .collect();
    assert!(seen.contains(&(&json!("heading"), &json!(said("start.title")))), "{seen:?}");
    let says_why = seen.iter().any(|it| it.1.as_str().is_some_and(|it| it.contains("needs JavaScript")));
    assert!(says_why, "{seen:?}");
}
