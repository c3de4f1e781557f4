//! Signing in with a key or by a provider, where the operator asks for that.

use super::browser::{Browser, Device, Setup};
use super::provider::{CLIENT, NAME, Provider};
use super::service::{Service, swimcoach};
use super::steps::{agree_and_upload, make_frames, said, shown_session};
use reqwest::StatusCode;

#[tokio::test]
async fn whoever_is_sent_to_sign_in_reads_their_sessions_with_a_key_and_not_without() {
    let folder = tempfile::tempdir().unwrap();
    let records = format!("sqlite://{}", folder.path().join("records.db").display());
    let settings = [("DATABASE_URL", &*records), ("ANTHROPIC_MOCK_MODE", "true"), ("API_KEYS", "true")];
    let made = swimcoach(&["key", "create", "--owner", "club"], &settings).output().await.unwrap();
    let shown = String::from_utf8(made.stdout).unwrap();
    let key = shown.lines().find(|it| it.starts_with("swc_")).unwrap();
    let service = Service::start(&settings).await;
    let browser = Browser::start(Setup { device: Device::Phone, ..Setup::default() }).await;

    browser.open(&service.url("/#/sessions")).await;
    browser.click("main a[href='#/account']").await;
    browser.picture("phone-sign-in").await;
    browser.write("#key", "swc_wrong").await;
    browser.click("#sign-in form button").await;
    browser.see("main [role=alert]").await;
    browser.picture("phone-sign-in-refused").await;
    browser.write("#key", key).await;
    browser.click("#sign-in form button").await;
    browser.see("#sign-out").await;
    browser.open(&service.url("/#/sessions")).await;
    browser.see_text("main", &said("history.empty")).await;

    browser.open(&service.url("/#/account")).await;
    browser.click("#sign-out").await;
    browser.open(&service.url("/#/sessions")).await;
    browser.see("main a[href='#/account']").await;
}

#[tokio::test]
async fn whoever_signs_in_at_the_provider_comes_back_and_uploads() {
    let provider = Provider::start().await;
    let service = Service::start(&[
        ("SNOWFLAKE_MOCK_MODE", "true"),
        ("ANTHROPIC_MOCK_MODE", "true"),
        ("OIDC_ISSUER", &provider.issuer),
        ("OIDC_AUDIENCE", CLIENT),
        ("OIDC_CLIENT_ID", CLIENT),
        ("OIDC_SCOPE", "openid profile"),
    ])
    .await;
    let browser = Browser::start(Setup { device: Device::Phone, ..Setup::default() }).await;

    browser.open(&service.url("/#/account")).await;
    browser.click("#sign-in button.primary").await;
    browser.see("#sign-out").await;
    browser.see_text("#sign-in", NAME).await;
    browser.open(&service.url("/#/")).await;
    make_frames(&browser).await;
    agree_and_upload(&browser).await;
    shown_session(&browser).await;
    browser.see_text("main", &said("session.analyse")).await;
    assert_eq!(browser.errors().await, [""; 0]);

    let address = browser.evaluate("return location.href").await;
    assert!(!address.as_str().unwrap().contains("code="), "{address}");
    browser.open(&service.url("/#/account")).await;
    browser.click("#sign-out").await;
    browser.see("#sign-in button.primary").await;
    assert_eq!(service.response("/api/v1/sessions").await.status(), StatusCode::UNAUTHORIZED);
}
