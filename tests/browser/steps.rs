//! The steps from a clip to its coaching, as anybody takes them.

use super::browser::Browser;
use serde_json::Value;
use std::path::Path;

/// A few cycles of a drawn swimmer, 1600×900.
pub(crate) const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/swim.webm");
/// What a clip is chosen by; where it is seen, the page is ready for one.
pub(crate) const CHOOSE: &str = "label[for=clip-file]";
/// How long the clip is.
pub(crate) const CLIP_MS: u64 = 4000;

/// Chooses the clip and has its frames made, at the times that the page suggests; how many there are.
pub(crate) async fn make_frames(browser: &Browser) -> usize {
    browser.choose_file("#clip-file", Path::new(CLIP)).await;
    browser.click("#make-frames").await;
    browser.see("#upload").await;
    usize::try_from(browser.count("#strip > li").await).unwrap()
}

/// Agrees to what must be agreed to, and sends the frames off.
pub(crate) async fn agree_and_upload(browser: &Browser) {
    browser.click("#consent").await;
    browser.click("#upload").await;
}

/// The session that the page shows, once it shows one.
pub(crate) async fn shown_session(browser: &Browser) -> String {
    let address = "/^#\\/sessions\\/([0-9a-f-]{36})$/.exec(location.hash)?.[1]";
    browser.until("a session is shown", address).await.as_str().unwrap().to_owned()
}

/// Has the session that is shown analysed, and waits for what to work on.
pub(crate) async fn analyse(browser: &Browser) {
    browser.click("#analyse").await;
    browser.see("#focus").await;
}

/// What the page says in English under a key.
pub(crate) fn said(key: &str) -> String {
    let words: Value = serde_json::from_str(include_str!("../../web/lang/en.json")).unwrap();
    words[key].as_str().unwrap_or_else(|| panic!("no text {key}")).to_owned()
}
