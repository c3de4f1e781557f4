//! From a clip to its coaching, to a question about it, and to nothing being left.

use super::browser::{Browser, Device, Setup};
use super::eventually::eventually;
use super::service::{ANSWER, Service, model_asked_on};
use super::steps::{CLIP, CLIP_MS, agree_and_upload, shown_session};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::path::Path;

const QUESTION: &str = "What does my palm do in the catch?";

#[tokio::test]
async fn on_a_phone_a_clip_becomes_coaching_that_answers_and_is_deleted() {
    go_the_whole_way(Device::Phone).await;
}

#[tokio::test]
async fn on_a_desktop_a_clip_becomes_coaching_that_answers_and_is_deleted() {
    go_the_whole_way(Device::Desktop).await;
}

async fn go_the_whole_way(device: Device) {
    let model = model_asked_on().await;
    let service = Service::asking(&model).await;
    let browser = Browser::start(Setup { device, ..Setup::default() }).await;
    let way = Way { browser, service, device };

    way.browser.open(&way.service.url("/")).await;
    let n_frames = way.make_frames().await;
    let session = way.upload().await;
    way.the_frames_are_those_of_the_clip(&session, n_frames).await;
    way.analyse(&session).await;
    way.look_at_the_evidence().await;
    way.ask_on(&session).await;
    way.no_step_was_wider_than_the_screen_or_went_wrong().await;
    way.delete(&session, n_frames).await;
}

struct Way {
    browser: Browser,
    service: Service,
    device: Device,
}

impl Way {
    async fn picture(&self, step: &str) {
        self.browser.picture(&format!("{}-{step}", self.device.name())).await;
    }

    async fn make_frames(&self) -> usize {
        self.browser.see("h1").await;
        self.picture("1-start").await;

        self.browser.choose_file("#clip-file", Path::new(CLIP)).await;
        self.browser.see("#make-frames").await;
        self.picture("2-clip").await;

        self.browser.click("#make-frames").await;
        self.browser.see("#upload").await;
        self.picture("3-frames").await;
        usize::try_from(self.browser.count("#strip > li").await).unwrap()
    }

    async fn upload(&self) -> String {
        agree_and_upload(&self.browser).await;
        let session = shown_session(&self.browser).await;
        self.browser.see("#analyse").await;
        // What it costs is told before it is paid.
        self.browser.see_text("main", "$").await;
        self.picture("4-uploaded").await;
        session
    }

    async fn the_frames_are_those_of_the_clip(&self, session: &str, n_frames: usize) {
        let frames = self.service.frames(session).await;
        let times: Vec<u64> = frames.iter().map(|it| it["timestamp_ms"].as_u64().unwrap()).collect();

        assert_eq!(frames.len(), n_frames);
        assert!(13 <= n_frames, "the model's answer speaks of frame 13, and there are {n_frames}");
        assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
        assert!(*times.last().unwrap() <= CLIP_MS, "{times:?}");
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!(frame["number"], index + 1);
            assert_eq!((&frame["width"], &frame["height"]), (&json!(1280), &json!(720)));
        }
        assert!(8.0 <= frames_per_second(&times), "{times:?}");
    }

    async fn analyse(&self, session: &str) {
        self.browser.click("#analyse").await;
        self.browser.see("#focus").await;
        self.browser.see_text("#focus", "Dropped elbow in the catch").await;
        self.picture("5-result").await;

        let kept = self.session(session).await;
        assert_eq!(kept["status"], "complete");
        let n_findings = kept["analysis"]["findings"].as_array().unwrap().len();
        assert_eq!(self.browser.count(".finding").await, n_findings as u64);
    }

    async fn look_at_the_evidence(&self) {
        self.browser.click(".finding .evidence").await;
        self.browser.see("#viewer").await;
        self.browser.see_text("#viewer", "forearm slopes down").await;
        let loaded = "[...document.querySelectorAll('#viewer img')].some((it) => 0 < it.naturalWidth)";
        self.browser.until("the frame is shown", loaded).await;
        self.picture("6-evidence").await;
        if self.device == Device::Phone {
            // There it is over everything else.
            self.browser.click("#viewer .close").await;
        }
    }

    async fn ask_on(&self, session: &str) {
        self.browser.write("#chat-message", QUESTION).await;
        self.browser.click("#chat-send").await;
        self.browser.see_text("main", ANSWER).await;
        self.picture("7-conversation").await;

        let kept = self.session(session).await;
        let messages: Vec<_> = kept["messages"].as_array().unwrap().iter().map(|it| &it["content"]).collect();
        assert_eq!(messages, [QUESTION, ANSWER]);
    }

    async fn no_step_was_wider_than_the_screen_or_went_wrong(&self) {
        let overhang = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(self.browser.evaluate(overhang).await, 0);
        assert_eq!(self.browser.errors().await, [""; 0]);
    }

    async fn delete(&self, session: &str, n_frames: usize) {
        self.browser.click("#delete-session").await;
        self.browser.see("dialog button[value=yes]").await;
        self.picture("8-sure").await;
        self.browser.click("dialog button[value=yes]").await;

        let path = format!("/api/v1/sessions/{session}");
        eventually("the session is gone", async || {
            (self.service.response(&path).await.status() == StatusCode::NOT_FOUND).then_some(())
        })
        .await;
        self.browser.see_text("#receipt", &n_frames.to_string()).await;
        self.picture("9-deleted").await;
    }

    async fn session(&self, session: &str) -> Value {
        self.service.get(&format!("/api/v1/sessions/{session}")).await
    }
}

/// How dense the densest run of ten frames is.
fn frames_per_second(times_ms: &[u64]) -> f64 {
    let spans = times_ms.windows(10).map(|it| u32::try_from(it[9] - it[0]).unwrap());
    9000.0 / f64::from(spans.min().unwrap())
}
