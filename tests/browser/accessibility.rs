//! Whom the page shuts out: axe-core looks at every view, in light and in dark.

use super::browser::{Browser, Device, Setup};
use super::claude_server::{ClaudeServer, analysis, events, stream};
use super::service::{LOOK, Service};
use super::steps::{CHOOSE, agree_and_upload, analyse, make_frames, shown_session};
use serde_json::{Value, json};

const AXE: &str = include_str!("axe.min.js");
/// What axe-core takes for serious or worse, each in a line.
const LOOK_AROUND: &str = "
    return axe.run({resultTypes: ['violations']}).then(({violations}) => violations
        .filter((it) => ['serious', 'critical'].includes(it.impact))
        .flatMap((it) => it.nodes.map((node) => `${it.id}: ${node.target}: ${node.failureSummary}`)));
";

#[tokio::test]
async fn no_view_has_anything_serious_against_it_on_a_phone() {
    look_at_every_view(Device::Phone).await;
}

#[tokio::test]
async fn no_view_has_anything_serious_against_it_on_a_desktop() {
    look_at_every_view(Device::Desktop).await;
}

async fn look_at_every_view(device: Device) {
    let model = ClaudeServer::start([LOOK, LOOK].map(|it| stream(&events(&analysis(it))))).await;
    let service = Service::asking(&model).await;
    let before = service.analyzed_session().await;
    let browser = Browser::start(Setup { device, ..Setup::default() }).await;
    let mut inspector = Inspector { browser: &browser, device, found: Vec::new() };

    browser.open(&service.url("/")).await;
    browser.see(CHOOSE).await;
    inspector.inspect("start").await;
    make_frames(&browser).await;
    inspector.inspect("frames").await;
    agree_and_upload(&browser).await;
    let after = shown_session(&browser).await;
    browser.see("#analyse").await;
    inspector.inspect("uploaded").await;
    analyse(&browser).await;
    inspector.inspect("result").await;
    browser.click(".finding .evidence").await;
    browser.see("#viewer").await;
    inspector.inspect("evidence").await;

    let views = [
        ("#/sessions", "history"),
        (&*format!("#/compare/{before}/{after}"), "comparison"),
        ("#/account", "account"),
        ("#/nothing", "nothing"),
    ];
    for (address, name) in views {
        browser.open(&service.url(&format!("/{address}"))).await;
        browser
            .until(name, "document.querySelector('main h1') && !document.querySelector('[aria-busy=true]')")
            .await;
        inspector.inspect(name).await;
    }

    assert!(inspector.found.is_empty(), "{}", inspector.found.join("\n\n"));
}

struct Inspector<'a> {
    browser: &'a Browser,
    device: Device,
    found: Vec<String>,
}

impl Inspector<'_> {
    /// Looks at what is shown, in both schemes, and leaves a picture of each.
    async fn inspect(&mut self, view: &str) {
        for scheme in ["light", "dark"] {
            let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
            self.browser.tell_chromium("Emulation.setEmulatedMedia", &json!({ "features": features })).await;
            self.browser.evaluate(&format!("if (!window.axe) {{ {AXE} }}")).await;
            let violations: Vec<String> = match self.browser.evaluate(LOOK_AROUND).await {
                Value::Array(lines) => lines.iter().map(|it| it.as_str().unwrap().to_owned()).collect(),
                other => panic!("axe-core found {other}"),
            };
            let name = format!("{}-{view}-{scheme}", self.device.name());
            self.browser.picture(&name).await;
            self.found.extend(violations.iter().map(|it| format!("{name}: {it}")));
        }
    }
}
