//! What people do beside the way from a clip to its coaching: film, print, take their data with them.

use super::browser::{Browser, Device, Setup};
use super::eventually::eventually;
use super::service::{Service, model};
use super::steps::{agree_and_upload, analyse, shown_session};
use serde_json::json;

#[tokio::test]
async fn what_is_filmed_here_becomes_frames_with_times() {
    let service = Service::without_a_model().await;
    let browser = Browser::start(Setup { device: Device::Phone, ..Setup::default() }).await;
    browser.open(&service.url("/")).await;

    browser.click("#film").await;
    browser.click("dialog.camera .record:enabled").await;
    browser.picture("phone-camera").await;
    let shown_for = "document.querySelector('dialog.camera video').currentTime";
    let begun = browser.evaluate(&format!("return {shown_for}")).await;
    browser.until("something was filmed", &format!("{begun} + 2.5 < {shown_for}")).await;
    browser.click("dialog.camera .recording").await;
    browser.click("#make-frames").await;
    agree_and_upload(&browser).await;
    let session = shown_session(&browser).await;

    let frames = service.frames(&session).await;
    let times: Vec<u64> = frames.iter().filter_map(|it| it["timestamp_ms"].as_u64()).collect();
    assert_eq!(times.len(), frames.len());
    assert!(times.len() >= 5 && times.is_sorted_by(|one, next| one < next), "{times:?}");
    // The camera is let go of.
    assert_eq!(browser.count("dialog.camera").await, 0);
    assert_eq!(browser.errors().await, [""; 0]);
}

#[tokio::test]
async fn on_paper_everything_is_unfolded_and_nothing_is_there_to_press() {
    let model = model().await;
    let service = Service::asking(&model).await;
    let session = service.uploaded_session().await;
    let browser = Browser::start(Setup::default()).await;
    browser.open(&service.url(&format!("/#/sessions/{session}"))).await;
    analyse(&browser).await;
    let folded = "return document.querySelectorAll('main details:not([open])').length";
    assert!(browser.evaluate(folded).await.as_u64().unwrap() > 0);

    // What the browser does before it prints, without its dialog.
    browser.evaluate("dispatchEvent(new Event('beforeprint'))").await;
    browser.tell_chromium("Emulation.setEmulatedMedia", &json!({"media": "print"})).await;

    assert_eq!(browser.evaluate(folded).await, 0);
    let seen = "return [...document.querySelectorAll('header nav, main button.primary, #delete-session, #chat-send')]
        .filter((it) => it.checkVisibility()).map((it) => it.outerHTML)";
    assert_eq!(browser.evaluate(seen).await, json!([]));
    browser.see_text("#focus", "Dropped elbow in the catch").await;
    browser.picture("paper-result").await;
    browser.tell_chromium("Emulation.setEmulatedMedia", &json!({"media": ""})).await;
    browser.evaluate("dispatchEvent(new Event('afterprint'))").await;
    assert!(browser.evaluate(folded).await.as_u64().unwrap() > 0);
}

#[tokio::test]
async fn everything_of_a_person_comes_as_a_file_and_is_gone_when_they_erase_it() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::without_a_model().await;
    let session = service.uploaded_session().await;
    let browser = Browser::start(Setup::default()).await;
    let to_folder = json!({"behavior": "allow", "downloadPath": folder.path()});
    browser.tell_chromium("Browser.setDownloadBehavior", &to_folder).await;
    browser.open(&service.url("/#/account")).await;

    browser.click("#export").await;
    let file = eventually("a file was saved", async || {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().path());
        names.into_iter().find(|it| it.extension().is_some_and(|it| it == "zip"))
    })
    .await;
    browser.click("#erase").await;
    for _ in 0..2 {
        browser.click("dialog[open] button[value=yes]").await;
    }
    browser.see("#receipt").await;

    let zip = std::fs::read(file).unwrap();
    let has = |name: &str| zip.windows(name.len()).any(|it| it == name.as_bytes());
    assert!(
        zip.starts_with(b"PK") && has("manifest.json") && has(&format!("sessions/{session}/session.json"))
    );
    assert_eq!(service.only_session().await, None);
}
