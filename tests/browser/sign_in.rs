//! Signing in with a key, where the operator asks for that.

use super::browser::{Browser, Device, Setup};
use super::service::{Service, swimcoach};
use super::steps::said;

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
