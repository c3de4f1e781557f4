//! The way from a clip to its coaching without a pointer.

use super::browser::{Browser, Setup};
use super::service::{Service, model};
use super::steps::{CHOOSE, CLIP, shown_session};
use serde_json::json;
use std::path::Path;

const TAB: char = '\u{E004}';
const ENTER: char = '\u{E007}';
const SPACE: char = ' ';
const ARROW_RIGHT: char = '\u{E014}';
/// More than there are things to stop at on any view.
const STOPS: usize = 120;

#[tokio::test]
async fn the_keyboard_alone_gets_from_the_clip_to_its_evidence() {
    let model = model().await;
    let service = Service::asking(&model).await;
    let browser = Browser::start(Setup::default()).await;

    browser.open(&service.url("/")).await;
    browser.see(CHOOSE).await;
    tab_to(&browser, "#clip-file").await;
    browser.choose_file("#clip-file", Path::new(CLIP)).await;
    tab_to_and_press(&browser, "#make-frames", ENTER).await;
    tab_to_and_press(&browser, "#consent", SPACE).await;
    tab_to_and_press(&browser, "#upload", ENTER).await;
    shown_session(&browser).await;
    tab_to_and_press(&browser, "#analyse", ENTER).await;
    browser.see("#focus").await;
    tab_to_and_press(&browser, ".finding .evidence", ENTER).await;
    browser.see("#viewer").await;

    let shown = "document.querySelector('#viewer').innerText";
    let before = browser.evaluate(&format!("return {shown}")).await;
    browser.press(&[], ARROW_RIGHT).await;
    browser.until("the next frame is shown", &format!("{shown} !== {before}")).await;
}

/// Goes on from where the focus is until it is on this element, and sees that it is shown there.
async fn tab_to(browser: &Browser, css: &str) {
    browser.until(css, &format!("document.querySelector({})", json!(css))).await;
    let is_there = format!("return document.activeElement.matches({})", json!(css));
    let mut passed = Vec::new();
    for _ in 0..STOPS {
        if browser.evaluate(&is_there).await == true {
            return;
        }
        browser.press(&[], TAB).await;
        let focused = "const it = document.activeElement; return `${it.localName}#${it.id}.${it.className}`";
        passed.push(browser.evaluate(focused).await);
    }
    panic!("no way by Tab to {css}, past {passed:?}");
}

async fn tab_to_and_press(browser: &Browser, css: &str, key: char) {
    browser.see(css).await;
    tab_to(browser, css).await;
    browser.press(&[], key).await;
}
