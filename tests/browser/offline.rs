//! What is there of the page when the service is not.

use super::browser::{Browser, Device, Setup};
use super::eventually::eventually;
use super::line::Line;
use super::provider::Provider;
use super::service::Service;
use super::steps::said;
use serde_json::json;

#[tokio::test]
async fn after_one_visit_the_page_opens_while_the_service_is_gone_and_says_so() {
    let (_service, line, browser) = visited().await;

    line.cut();
    browser.open(&line.url("/#/sessions")).await;

    browser.see("header nav a").await;
    browser.see_text("main", &said("common.unreachable")).await;
    browser.picture("phone-service-gone").await;

    line.mend();
    browser.click("main .notice button").await;
    browser.until("the notice is gone", "!document.querySelector('main .notice.error')").await;
}

#[tokio::test]
async fn after_one_visit_the_page_opens_without_a_network_and_says_so() {
    let (_service, line, browser) = visited().await;

    line.cut();
    let offline = json!({"offline": true, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0});
    browser.tell_chromium("Network.enable", &json!({})).await;
    browser.tell_chromium("Network.emulateNetworkConditions", &offline).await;
    browser.open(&line.url("/")).await;

    browser.see_text("#offline", &said("common.offline")).await;
    browser.see_text("h1", &said("start.title")).await;
    browser.picture("phone-offline").await;
}

#[tokio::test]
async fn whoever_was_here_before_reaches_what_the_operator_has_allowed_since() {
    let (_service, line, browser) = visited().await;
    let provider = Provider::start().await;
    let service = provider.service().await;

    line.lead_to(service.address());

    let discovery = json!(format!("{}/.well-known/openid-configuration", provider.issuer));
    let ask = format!("return fetch({discovery}).then((it) => it.ok, () => false)");
    eventually("the page may ask the provider", async || {
        // While the service is slow, the page opens with what it had.
        browser.open("about:blank").await;
        browser.open(&line.url("/")).await;
        browser.evaluate(&ask).await.as_bool().filter(|it| *it)
    })
    .await;
}

/// A browser that was on the page once, until what it needs was kept.
async fn visited() -> (Service, Line, Browser) {
    let service = Service::without_a_model().await;
    let line = Line::to(service.address()).await;
    let browser = Browser::start(Setup { device: Device::Phone, ..Setup::default() }).await;
    browser.open(&line.url("/")).await;
    browser.until("the page is kept", "navigator.serviceWorker.ready.then(() => true)").await;
    browser.open("about:blank").await;
    (service, line, browser)
}
