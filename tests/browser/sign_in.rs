//! Signing in with a key or by a provider, where the operator asks for that.

use super::browser::{Browser, Device, Setup};
use super::line::Line;
use super::provider::{NAME, Provider};
use super::service::{Service, swimcoach};
use super::steps::{CHOOSE, agree_and_upload, make_frames, said, shown_session};
use reqwest::StatusCode;
use tempfile::TempDir;

/// A few frames, and not all.
const SOME_BYTES: u64 = 400_000;

/// A service that takes keys, one for each of two owners, and lets others in without.
struct Keyed {
    service: Service,
    keys: [String; 2],
    _records: TempDir,
}

impl Keyed {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let records = format!("sqlite://{}", folder.path().join("records.db").display());
        let settings = [
            ("DATABASE_URL", &*records),
            ("ANTHROPIC_MOCK_MODE", "true"),
            ("API_KEYS", "true"),
            ("ANONYMOUS_SESSIONS", "true"),
        ];
        let mut keys = [const { String::new() }; 2];
        for (owner, key) in ["club", "school"].into_iter().zip(&mut keys) {
            let made = swimcoach(&["key", "create", "--owner", owner], &settings).output().await.unwrap();
            let shown = String::from_utf8(made.stdout).unwrap();
            shown.lines().find(|it| it.starts_with("swc_")).unwrap().clone_into(key);
        }
        Self { service: Service::start(&settings).await, keys, _records: folder }
    }
}

/// Signs in with a key for as long as the window is open.
async fn sign_in(browser: &Browser, key: &str) {
    browser.write("#key", key).await;
    browser.click("#sign-in form button").await;
    browser.see("#sign-out").await;
}

#[tokio::test]
async fn an_upload_that_broke_off_is_offered_to_whoever_began_it_and_to_nobody_else() {
    let Keyed { service, keys: [one, other], _records } = Keyed::start().await;
    let line = Line::to(service.address()).await;
    let browser = Browser::start(Setup { device: Device::Phone, ..Setup::default() }).await;
    browser.open(&line.url("/#/account")).await;
    sign_in(&browser, &one).await;
    browser.open(&line.url("/#/")).await;
    make_frames(&browser).await;
    line.cut_after_sending(SOME_BYTES);
    agree_and_upload(&browser).await;
    line.was_cut().await;
    browser.open("about:blank").await;
    line.mend();

    browser.open(&line.url("/")).await;
    browser.see("#resume").await;
    // As when the window is closed without signing out.
    browser.evaluate("sessionStorage.clear()").await;
    browser.open(&line.url("/#/account")).await;
    sign_in(&browser, &other).await;
    browser.open(&line.url("/#/")).await;

    browser.see(CHOOSE).await;
    let is_nothing_kept = "import('/pending.js').then((it) => it.all()).then((it) => it.length === 0)";
    browser.until("nothing of it is kept", is_nothing_kept).await;
    assert_eq!(browser.count("#resume").await, 0);
}

#[tokio::test]
async fn whoever_was_signed_in_sends_nothing_as_nobody_until_they_say_so() {
    let Keyed { service, keys: [key, _], _records } = Keyed::start().await;
    let browser = Browser::start(Setup { device: Device::Phone, ..Setup::default() }).await;
    browser.open(&service.url("/#/account")).await;
    sign_in(&browser, &key).await;

    // As when the key is revoked.
    let spoil = "Object.entries(sessionStorage).forEach(([name, it]) => {
        sessionStorage[name] = it.replace('swc_', 'swc_0');
    })";
    browser.evaluate(spoil).await;
    browser.open(&service.url("/#/")).await;
    make_frames(&browser).await;
    agree_and_upload(&browser).await;
    browser.click("main .notice[role=alert] button").await;
    browser.see_text("main .notice[role=alert]", &said("account.ended_refused")).await;
    browser.open("about:blank").await;
    browser.open(&service.url("/#/sessions")).await;
    browser.see_text("main .notice[role=alert]", &said("account.ended_refused")).await;
    let token = "return localStorage.getItem('swimcoach.session_token')";
    assert!(browser.evaluate(token).await.is_null());

    browser.open(&service.url("/#/account")).await;
    browser.picture("phone-sign-in-ended").await;
    browser.click("#go-on").await;
    browser.open(&service.url("/#/")).await;
    make_frames(&browser).await;
    agree_and_upload(&browser).await;
    shown_session(&browser).await;
    assert!(browser.evaluate(token).await.is_string());
}

#[tokio::test]
async fn whoever_is_sent_to_sign_in_reads_their_sessions_with_a_key_and_not_without() {
    let Keyed { service, keys: [key, _], _records } = Keyed::start().await;
    let browser = Browser::start(Setup { device: Device::Phone, ..Setup::default() }).await;

    browser.open(&service.url("/#/sessions")).await;
    browser.click("main a[href='#/account']").await;
    browser.picture("phone-sign-in").await;
    browser.write("#key", "swc_wrong").await;
    browser.click("#sign-in form button").await;
    browser.see("main [role=alert]").await;
    browser.picture("phone-sign-in-refused").await;
    sign_in(&browser, &key).await;
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
    let service = provider.service().await;
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
