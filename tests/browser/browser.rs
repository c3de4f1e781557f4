//! A browser as a person uses it: looks, clicks, types. Each verb waits until the page is ready for it.

use super::eventually::eventually;
use super::webdriver::{Refusal, WebDriver, save_picture};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

/// The name under which the protocol hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What somebody holds in their hands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Device {
    Phone,
    Desktop,
}

impl Device {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Desktop => "desktop",
        }
    }
}

/// How a browser is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) device: Device,
    /// The language that pages are asked for in.
    pub(crate) language: &'static str,
    pub(crate) runs_scripts: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { device: Device::Desktop, language: "en", runs_scripts: true }
    }
}

/// A browser with one window and a profile that nobody used before.
#[derive(Debug)]
pub(crate) struct Browser {
    // Before the folder, so that the browser is closed when it goes.
    driver: WebDriver,
    _profile: TempDir,
}

impl Browser {
    pub(crate) async fn start(setup: Setup) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut arguments: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
            "--window-size=1280,900",
            // What moves by itself is for eyes, and takes long without a graphics card.
            "--force-prefers-reduced-motion",
            // A camera that shows a moving picture, and somebody who lets the page film.
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            // No name leads anywhere, so what asks another host fails.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        arguments.push(format!("--lang={}", setup.language));
        let scripts = if setup.runs_scripts { 1 } else { 2 };
        let mut options = json!({
            "args": arguments,
            "prefs": {
                "intl.accept_languages": setup.language,
                "profile.managed_default_content_settings.javascript": scripts,
            },
        });
        if setup.device == Device::Phone {
            let screen = json!({"width": 390, "height": 844, "pixelRatio": 2, "mobile": true, "touch": true});
            options["mobileEmulation"] = json!({ "deviceMetrics": screen });
        }
        Self { driver: WebDriver::open(options).await, _profile: profile }
    }

    pub(crate) async fn open(&self, url: &str) {
        self.driver.post("url", &json!({ "url": url })).await.unwrap();
    }

    /// What a script returns, or what the promise it returns comes to.
    pub(crate) async fn evaluate(&self, script: &str) -> Value {
        let body = json!({"script": script, "args": []});
        self.driver.post("execute/sync", &body).await.unwrap_or_else(|it| panic!("{script}: {it:?}"))
    }

    /// What a script returns once that is true.
    pub(crate) async fn until(&self, what: &str, condition: &str) -> Value {
        let body = json!({"script": format!("return {condition}"), "args": []});
        eventually(what, async || match self.driver.post("execute/sync", &body).await {
            Ok(value) => is_true(&value).then_some(value),
            // The page is being left for another one.
            Err(_) => None,
        })
        .await
    }

    /// How many elements of this kind there are.
    pub(crate) async fn count(&self, css: &str) -> u64 {
        self.evaluate(&format!("return document.querySelectorAll({}).length", json!(css)))
            .await
            .as_u64()
            .unwrap()
    }

    /// The text that is seen in an element, once the element is seen.
    pub(crate) async fn text(&self, css: &str) -> String {
        let read = async |element: &str| self.driver.get(&format!("element/{element}/text")).await;
        self.with(css, read).await.as_str().unwrap().to_owned()
    }

    /// Waits until an element is seen.
    pub(crate) async fn see(&self, css: &str) {
        self.with(css, async |_| Ok(())).await;
    }

    /// Waits until an element is seen in which this text stands.
    pub(crate) async fn see_text(&self, css: &str, text: &str) {
        let what = format!("{text:?} in {css}");
        eventually(&what, async || self.text(css).await.contains(text).then_some(())).await;
    }

    pub(crate) async fn click(&self, css: &str) {
        self.with(css, async |element| {
            self.driver.post(&format!("element/{element}/click"), &json!({})).await
        })
        .await;
    }

    /// Writes a text into a field in the place of what is there.
    pub(crate) async fn write(&self, css: &str, text: &str) {
        self.with(css, async |element| {
            self.driver.post(&format!("element/{element}/clear"), &json!({})).await?;
            self.send_keys(element, text).await
        })
        .await;
    }

    /// Hands a file to an input, as the dialog of the system does. The input itself need not be seen.
    pub(crate) async fn choose_file(&self, css: &str, path: &Path) {
        eventually(css, async || {
            let element = self.find(css).await?;
            self.send_keys(&element, path.to_str().unwrap()).await.ok()
        })
        .await;
    }

    /// Presses one key on whatever has the focus, with others held down.
    pub(crate) async fn press(&self, held: &[char], key: char) {
        let mut actions: Vec<Value> = held.iter().map(|it| json!({"type": "keyDown", "value": it})).collect();
        actions.push(json!({"type": "keyDown", "value": key}));
        actions.push(json!({"type": "keyUp", "value": key}));
        actions.extend(held.iter().map(|it| json!({"type": "keyUp", "value": it})));
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.driver.post("actions", &json!({"actions": [keyboard]})).await.unwrap();
    }

    /// Has a command carried out by Chromium's developer tools.
    pub(crate) async fn tell_chromium(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.driver.post("goog/cdp/execute", &body).await.unwrap()
    }

    /// Takes a picture of the whole page for people to look at: `target/browser/<name>.png`.
    pub(crate) async fn picture(&self, name: &str) {
        let size = self.tell_chromium("Page.getLayoutMetrics", &json!({})).await["cssContentSize"].take();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        // A dialog is over what is seen and no more.
        let is_whole = self.count("dialog[open]").await == 0;
        let whole = if is_whole { json!({"captureBeyondViewport": true, "clip": clip}) } else { json!({}) };
        let picture = self.tell_chromium("Page.captureScreenshot", &whole).await;
        save_picture(name, picture["data"].as_str().unwrap());
    }

    /// The errors that the browser noted since it was last asked: of scripts, of requests, of the page's policy.
    pub(crate) async fn errors(&self) -> Vec<String> {
        let log = self.driver.post("se/log", &json!({"type": "browser"})).await.unwrap();
        let errors = log.as_array().unwrap().iter().filter(|it| it["level"] == "SEVERE");
        errors.map(|it| it["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Does something to an element once it is seen and the page lets it be done.
    async fn with<T>(&self, css: &str, act: impl AsyncFn(&str) -> Result<T, Refusal>) -> T {
        eventually(css, async || {
            let element = self.find(css).await?;
            for state in ["displayed", "enabled"] {
                let is_so = self.driver.get(&format!("element/{element}/{state}")).await.ok()?;
                is_true(&is_so).then_some(())?;
            }
            // It went away in the meantime, or something that moves is over it.
            act(&element).await.ok()
        })
        .await
    }

    async fn find(&self, css: &str) -> Option<String> {
        let query = json!({"using": "css selector", "value": css});
        let found = self.driver.post("element", &query).await.ok()?;
        Some(found[ELEMENT].as_str().unwrap().to_owned())
    }

    async fn send_keys(&self, element: &str, text: &str) -> Result<Value, Refusal> {
        self.driver.post(&format!("element/{element}/value"), &json!({ "text": text })).await
    }
}

/// Whether a script would take this as true.
fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && *value != json!(0) && *value != json!("")
}
