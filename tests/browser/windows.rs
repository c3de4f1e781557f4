//! One session in two windows: whatever they show, an analysis is paid for once.

use super::browser::{Browser, Setup};
use super::claude_server::ClaudeServer;
use super::service::{Service, model};
use super::steps::{analyse, said};

/// Two windows that offer to analyse the same session.
struct Windows {
    one: Browser,
    other: Browser,
    session: String,
    model: ClaudeServer,
    _service: Service,
}

impl Windows {
    async fn open() -> Self {
        let model = model().await;
        let service = Service::asking(&model).await;
        let session = service.uploaded_session().await;
        let window = async || {
            let browser = Browser::start(Setup::default()).await;
            browser.open(&service.url(&format!("/#/sessions/{session}"))).await;
            browser.see("#analyse").await;
            browser
        };
        let (one, other) = (window().await, window().await);
        Self { one, other, session, model, _service: service }
    }
}

#[tokio::test]
async fn a_window_that_still_offers_what_was_done_shows_the_result_and_asks_for_nothing() {
    let windows = Windows::open().await;

    analyse(&windows.one).await;
    analyse(&windows.other).await;

    let announced = windows.other.evaluate("return document.getElementById('announcer').textContent").await;
    assert_eq!(announced, said("session.changed"));
    assert_eq!(windows.model.requests().len(), 1);
}

#[tokio::test]
async fn two_windows_that_ask_in_the_same_moment_pay_for_one_analysis() {
    let windows = Windows::open().await;
    // The other one looks before the first asks, and asks after it.
    let look_too_early = format!(
        "return (async () => {{
            const path = '/api/v1/sessions/{}';
            const before = await (await fetch(path)).json();
            const fetched = window.fetch;
            window.asked = [];
            window.fetch = async (address, options) => {{
                window.asked.push(String(address));
                const isFirst = window.asked.filter((it) => it.endsWith(path)).length === 1;
                return String(address).endsWith(path) && isFirst ? Response.json(before) : fetched(address, options);
            }};
        }})()",
        windows.session
    );
    windows.other.evaluate(&look_too_early).await;

    analyse(&windows.one).await;
    analyse(&windows.other).await;

    let has_asked = windows.other.evaluate("return asked.some((it) => it.endsWith('/analyze'))").await;
    assert_eq!(has_asked, true);
    assert_eq!(windows.model.requests().len(), 1);
}
