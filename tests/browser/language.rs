//! The page speaks the language that the browser asks for.

use super::browser::{Browser, Setup};
use super::service::Service;
use super::steps::said;

#[tokio::test]
async fn a_browser_that_asks_for_german_is_answered_in_german() {
    let service = Service::without_a_model().await;
    let browser = Browser::start(Setup { language: "de", ..Setup::default() }).await;

    browser.open(&service.url("/")).await;

    browser.until("the page is in German", "document.documentElement.lang === 'de'").await;
    browser.see_text("h1", "Sieh, was dein Zug macht").await;
    browser.see_text("nav", "Verlauf").await;
    browser.picture("desktop-german").await;
}

#[tokio::test]
async fn a_browser_that_asks_for_a_language_that_is_not_there_is_answered_in_english() {
    let service = Service::without_a_model().await;
    let browser = Browser::start(Setup { language: "fi", ..Setup::default() }).await;

    browser.open(&service.url("/")).await;

    browser.until("the page is in English", "document.documentElement.lang === 'en'").await;
    browser.see_text("h1", &said("start.title")).await;
}
