//! What the page shows while an answer is still on its way.

use super::browser::{Browser, Setup};
use super::service::{Service, model};
use super::steps::CHOOSE;

/// A browser that shows a result, with what is at such an address held back until [`go_on`].
async fn result_without(service: &Service, end_of_address: &str) -> Browser {
    let session = service.analyzed_session().await;
    let browser = Browser::start(Setup::default()).await;
    browser.open(&service.url("/")).await;
    browser.see(CHOOSE).await;
    let hold = format!(
        "const fetched = window.fetch;
        const held = new Promise((resolve) => {{ window.goOn = resolve; }});
        window.fetch = async (address, options) => {{
            if (String(address).endsWith('{end_of_address}')) await held;
            return fetched(address, options);
        }};
        location.hash = '#/sessions/{session}';"
    );
    browser.evaluate(&hold).await;
    browser.see("#focus").await;
    browser
}

async fn go_on(browser: &Browser) {
    browser.evaluate("goOn()").await;
}

#[tokio::test]
async fn a_frame_that_is_on_its_way_is_not_shown_by_the_picture_of_another() {
    let model = model().await;
    let service = Service::asking(&model).await;
    let browser = result_without(&service, "/frames/12").await;
    let shows = |has_picture: bool| {
        format!(
            "[...document.querySelectorAll('#viewer .viewer-shown img')]
                .some((it) => it.alt === 'Frame 12' && it.hasAttribute('src') === {has_picture})"
        )
    };
    browser.until("some frame is shown", "document.querySelector('#viewer .viewer-shown img[src]')").await;

    let choose_it = "const range = document.querySelector('#viewer input[type=range]');
        range.value = 12;
        range.dispatchEvent(new Event('input'));";
    browser.evaluate(choose_it).await;
    browser.see_text("#viewer .viewer-shown figcaption", "Frame 12").await;
    browser.until("no picture stands there", &shows(false)).await;

    go_on(&browser).await;
    browser.until("its own picture stands there", &shows(true)).await;
}

#[tokio::test]
async fn a_result_does_not_wait_for_the_catalogue_which_tells_later_how_drills_are_done() {
    let model = model().await;
    let service = Service::asking(&model).await;
    let browser = result_without(&service, "/api/v1/catalog").await;
    assert_ne!(browser.count("#focus .drill").await, 0);
    assert_eq!(browser.count("#focus .drill p").await, 0);

    go_on(&browser).await;
    browser.see("#focus .drill p").await;
}
