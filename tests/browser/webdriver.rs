//! ChromeDriver as a process, and the protocol it speaks: a request is a verb and JSON, an answer is a value or
//! an error with a name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long one command may take; opening a browser on a busy machine takes the longest.
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser that runs, as ChromeDriver drives it. It is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct WebDriver {
    port: u16,
    session: String,
    client: reqwest::Client,
    _process: Child,
}

/// Why the browser did not carry out a command, such as `stale element reference: …`.
pub(crate) type Refusal = String;

impl WebDriver {
    /// Opens a browser with these options of Chromium's.
    pub(crate) async fn open(mut chrome_options: Value) -> Self {
        chrome_options["binary"] = program("CHROMIUM", "chromium").to_str().unwrap().into();
        let mut process = Command::new(program("CHROMEDRIVER", "chromedriver"))
            .arg("--port=0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut driver = Self {
            port: port(&mut process).await,
            session: String::new(),
            client: client(),
            _process: process,
        };
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": chrome_options,
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let body = json!({"capabilities": {"alwaysMatch": capabilities}});
        let opened = driver.send(Method::POST, "session", &body).await.unwrap();
        opened["sessionId"].as_str().unwrap().clone_into(&mut driver.session);
        driver
    }

    /// Sends a command to the browser.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        self.send(Method::POST, &format!("session/{}/{path}", self.session), body).await
    }

    /// Asks the browser for something.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Refusal> {
        self.send(Method::GET, &format!("session/{}/{path}", self.session), &Value::Null).await
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, Refusal> {
        let mut request = self.client.request(method, format!("http://127.0.0.1:{}/{path}", self.port));
        if !body.is_null() {
            request = request.json(body);
        }
        let mut answer: Value = request.send().await.unwrap().json().await.unwrap();
        let value = answer["value"].take();
        match value["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", value["message"])),
            None => Ok(value),
        }
    }
}

impl Drop for WebDriver {
    /// Closes the browser, and waits for that: it would outlive a driver that is only killed.
    fn drop(&mut self) {
        // The runtime of the test waits for this very function.
        std::thread::scope(|scope| {
            let is_failed = std::thread::panicking();
            let name = std::thread::current().name().unwrap_or("test").replace("::", "-");
            let closing = scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(self.close(is_failed.then_some(name)));
            });
            let _browser_is_gone_already = closing.join();
        });
    }
}

impl WebDriver {
    /// Closes the browser; what a failed test saw last says more than what it waited for, so it is left as a picture.
    async fn close(&mut self, failed: Option<String>) {
        self.client = client();
        if let Some(test) = failed {
            let seen = self.get("screenshot").await.unwrap();
            save_picture(&format!("failed-{test}"), seen.as_str().unwrap());
        }
        self.send(Method::DELETE, &format!("session/{}", self.session), &Value::Null).await.unwrap();
    }
}

/// One that keeps connections on the runtime that it is used on.
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

/// Leaves a picture for people to look at: `target/browser/<name>.png`.
pub(crate) fn save_picture(name: &str, base64: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("browser");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.png")), STANDARD.decode(base64).unwrap()).unwrap();
}

/// Where the driver says that it listens.
async fn port(process: &mut Child) -> u16 {
    let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
    let port = loop {
        let line = tokio::time::timeout(PATIENCE, said.next_line()).await.unwrap().unwrap().unwrap();
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            break port.trim_end_matches('.').parse().unwrap();
        }
    };
    // A pipe that nobody reads would stop the driver once it is full.
    tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
    port
}

/// A program that the variable names, or that is on the path.
fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|it| it.join(name)).find(|it| it.is_file()).unwrap_or_else(|| {
        panic!(
            "the tests of the page need Chromium and ChromeDriver, and there is no {name} on the PATH: tests/run \
             installs both in Debian (chromium and chromium-driver); elsewhere name it in {variable}"
        )
    })
}
