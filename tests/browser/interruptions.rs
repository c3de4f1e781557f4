//! What happens to an upload whose connection breaks, or whose page is reloaded.

use super::browser::{Browser, Device, Setup};
use super::eventually::eventually;
use super::line::Line;
use super::service::Service;
use super::steps::{CHOOSE, agree_and_upload, make_frames, said, shown_session};
use serde_json::Value;

/// A few frames, and not all.
const SOME_BYTES: u64 = 400_000;

/// An upload that broke off when some of its frames were there.
struct HalfUpload {
    service: Service,
    line: Line,
    browser: Browser,
    session: String,
    n_frames: usize,
    stored: Vec<Value>,
}

impl HalfUpload {
    async fn start() -> Self {
        let service = Service::without_a_model().await;
        let line = Line::to(service.address()).await;
        let browser = Browser::start(Setup { device: Device::Phone, ..Setup::default() }).await;
        browser.open(&line.url("/")).await;
        let n_frames = make_frames(&browser).await;
        line.cut_after_sending(SOME_BYTES);
        agree_and_upload(&browser).await;
        line.was_cut().await;
        let session = service.only_session().await.unwrap();
        let stored = service.frames(&session).await;
        assert!(!stored.is_empty() && stored.len() < n_frames, "{} of {n_frames}", stored.len());
        Self { service, line, browser, session, n_frames, stored }
    }

    /// Leaves the page while the connection is broken, and opens it again once it is not.
    async fn reopen(&self) {
        self.browser.open("about:blank").await;
        self.line.mend();
        self.browser.open(&self.line.url("/")).await;
    }

    /// Fails unless the one session that there is has every frame once, and what it had is as it was.
    async fn is_whole(&self) {
        let frames = self.service.frames(&self.session).await;
        let numbers: Vec<usize> =
            frames.iter().map(|it| usize::try_from(it["number"].as_u64().unwrap()).unwrap()).collect();
        assert_eq!(numbers, (1..=self.n_frames).collect::<Vec<_>>());
        for before in &self.stored {
            assert!(frames.contains(before), "{before} is not in {frames:?}");
        }
        assert_eq!(self.service.only_session().await.as_ref(), Some(&self.session));
    }
}

#[tokio::test]
async fn an_upload_whose_connection_breaks_says_that_it_waits_and_goes_on_by_itself() {
    let half = HalfUpload::start().await;

    half.browser.see_text("main", said("clip.waiting").rsplit('}').next().unwrap()).await;
    half.browser.picture("phone-upload-waits").await;
    half.line.mend();
    let shown = shown_session(&half.browser).await;

    assert_eq!(shown, half.session);
    half.is_whole().await;
}

#[tokio::test]
async fn an_upload_whose_page_is_closed_in_the_midst_is_offered_again_and_goes_on_where_it_was() {
    let half = HalfUpload::start().await;

    half.reopen().await;
    half.browser.see("#resume").await;
    half.browser.picture("phone-upload-resumable").await;
    half.browser.click("#resume").await;
    let shown = shown_session(&half.browser).await;

    assert_eq!(shown, half.session);
    half.is_whole().await;
}

#[tokio::test]
async fn an_upload_whose_frames_the_browser_has_lost_is_not_taken_for_whole() {
    let half = HalfUpload::start().await;

    half.reopen().await;
    half.browser.see("#resume").await;
    let clear = "return new Promise((resolve) => {
        indexedDB.open('swimcoach').onsuccess = ({ target: { result: database } }) => {
            const clearing = database.transaction('frames', 'readwrite');
            clearing.objectStore('frames').clear();
            clearing.oncomplete = resolve;
        };
    })";
    half.browser.evaluate(clear).await;
    half.browser.click("#resume").await;

    half.browser.see_text("main [role=alert]", &said("upload.frames_lost")).await;
    eventually("the half session is gone", async || {
        half.service.only_session().await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_was_broken_off_can_be_given_up_and_nothing_of_it_stays() {
    let half = HalfUpload::start().await;

    half.reopen().await;
    half.browser.click("#discard").await;

    eventually("the half session is gone", async || {
        half.service.only_session().await.is_none().then_some(())
    })
    .await;
    half.browser.see(CHOOSE).await;
}
