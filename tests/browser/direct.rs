//! Frames that go straight to the bucket, where the service offers that.

use super::browser::{Browser, Setup};
use super::service::Service;
use super::steps::{agree_and_upload, make_frames, shown_session};

/// The paths of everything that scripts of the page asked for.
const FETCHED: &str = "return performance.getEntriesByType('resource')
    .filter((it) => it.initiatorType === 'fetch').map((it) => new URL(it.name).pathname)";

#[tokio::test]
async fn frames_go_straight_to_the_bucket_where_the_service_offers_that() {
    let settings =
        [("SNOWFLAKE_MOCK_MODE", "true"), ("ANTHROPIC_MOCK_MODE", "true"), ("DIRECT_UPLOADS", "true")];
    let service = Service::start(&settings).await;
    let browser = Browser::start(Setup::default()).await;
    browser.open(&service.url("/")).await;
    let n_frames = make_frames(&browser).await;

    agree_and_upload(&browser).await;
    let session = shown_session(&browser).await;
    browser.see("#analyse").await;

    let frames = service.frames(&session).await;
    assert_eq!(frames.len(), n_frames);
    let times: Vec<u64> = frames.iter().map(|it| it["timestamp_ms"].as_u64().unwrap()).collect();
    assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
    let asked: Vec<String> = serde_json::from_value(browser.evaluate(FETCHED).await).unwrap();
    let to_bucket = asked.iter().filter(|it| it.starts_with("/_mock/storage/pending/")).count();
    assert_eq!(to_bucket, n_frames, "{asked:?}");
    assert_eq!(browser.errors().await, [""; 0]);
}
