//! What a client that follows an analysis costs while nothing happens: the memory and the CPU of many idle event
//! streams, as ratios to those of as many idle connections of the same server.
//!
//! An idle connection asks for `/health` as often as a stream is sent a heartbeat. Streams are followed twice: in the
//! process that runs the analyses, and in another that reads their records from the same file. Each round is made of
//! fresh processes, in turn, so that the ratios hold on a machine whose speed drifts. Linux only: it reads `/proc`.

#![expect(clippy::cast_precision_loss, reason = "what is measured has no 16 digits")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that fails should stop and say where")]

mod server;

use self::server::Server;
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use swimcoach::config::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const LISTENERS: usize = 2000;
/// Analyses that run, and that the listeners are spread over.
const ANALYSES: usize = 50;
const ROUNDS: usize = 3;
/// How often a stream is sent a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long CPU is measured: two heartbeats.
const WATCHED: Duration = Duration::from_secs(30);
/// Open files that are needed beside the listeners'.
const OTHER_FILES: usize = 200;
const FRAME: &[u8] = include_bytes!("../examples/frames/0001.jpg");

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, verb, records, model] = &*arguments
        && verb == "serve"
    {
        return Runtime::new().unwrap().block_on(serve(records, model));
    }
    there_are_enough_files();
    println!(
        "{LISTENERS} connections, {ANALYSES} analyses that run, {} s, {ROUNDS} rounds",
        WATCHED.as_secs()
    );
    let runtime = Runtime::new().unwrap();
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 1..=ROUNDS {
        let idle = runtime.block_on(taken(Scene::Idle));
        println!("round {round}, {:<34} {idle}", Scene::Idle.name());
        for (scene, ratios) in [Scene::Here, Scene::Elsewhere].into_iter().zip(&mut ratios) {
            let streams = runtime.block_on(taken(scene));
            let ratio = (streams.memory / idle.memory, streams.cpu / idle.cpu);
            println!(
                "round {round}, {:<34} {streams}; ratio {:.2} memory, {:.2} CPU",
                scene.name(),
                ratio.0,
                ratio.1
            );
            ratios.push(ratio);
        }
    }
    for (scene, ratios) in [Scene::Here, Scene::Elsewhere].into_iter().zip(ratios) {
        let (memory, cpu): (Vec<f64>, Vec<f64>) = ratios.into_iter().unzip();
        println!(
            "{}: {} the memory and {} the CPU of an idle connection",
            scene.name(),
            middle(memory),
            middle(cpu)
        );
    }
}

/// What the connections are.
#[derive(Debug, Clone, Copy)]
enum Scene {
    Idle,
    Here,
    Elsewhere,
}

impl Scene {
    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle connections",
            Self::Here => "event streams",
            Self::Elsewhere => "event streams in another process",
        }
    }
}

/// What all connections of a scene take together.
struct Taken {
    /// Bytes of memory, beyond those of the server without them.
    memory: f64,
    /// CPU time in a second, in seconds, without that of the server without them.
    cpu: f64,
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each = self.memory / 1024.0 / LISTENERS as f64;
        write!(f, "{each:.1} KiB each, {:.2} % of a processor", self.cpu * 100.0)
    }
}

/// What the connections of a scene take of fresh servers.
async fn taken(scene: Scene) -> Taken {
    let folder = tempfile::tempdir().unwrap();
    let records = format!("sqlite://{}", folder.path().join("records.db").display());
    let model = silent_model().await;
    let running = Server::start(&["serve", &records, &model]);
    let sessions = running_analyses(running.address()).await;
    let other;
    let server = match scene {
        Scene::Elsewhere => {
            other = Server::start(&["serve", &records, &model]);
            &other
        }
        Scene::Idle | Scene::Here => &running,
    };

    // One first, so that what is made once is not counted.
    let _first = open(server.address(), 1, scene, &sessions).await;
    let without = (cpu_of(server).await, server.memory("VmRSS"));
    let heard = Arc::new(AtomicUsize::new(0));
    let _open = keep_up(open(server.address(), LISTENERS, scene, &sessions).await, scene, &heard);
    let with = (cpu_of(server).await, server.memory("VmRSS"));

    let beats = heard.load(Ordering::Relaxed);
    assert!(LISTENERS <= beats, "{beats} heartbeats were heard: the connections do not live");
    Taken { memory: with.1 - without.1, cpu: with.0 - without.0 }
}

/// CPU time in a second while nothing changes.
async fn cpu_of(server: &Server) -> f64 {
    let before = server.cpu_seconds();
    tokio::time::sleep(WATCHED).await;
    (server.cpu_seconds() - before) / WATCHED.as_secs_f64()
}

/// Opens connections, each of which has been answered.
async fn open(address: SocketAddr, n: usize, scene: Scene, sessions: &[String]) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for session in sessions.iter().cycle().take(n) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let path = match scene {
            Scene::Idle => "/health".to_owned(),
            Scene::Here | Scene::Elsewhere => format!("/api/v1/sessions/{session}/events"),
        };
        ask(&mut stream, &path).await;
        streams.push(stream);
    }
    streams
}

async fn ask(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let n = stream.read(&mut answer).await.unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..n]));
}

/// Reads what comes over streams of events, and asks again over idle connections, and counts either.
fn keep_up(streams: Vec<TcpStream>, scene: Scene, heard: &Arc<AtomicUsize>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (number, stream) in streams.into_iter().enumerate() {
        let heard = Arc::clone(heard);
        match scene {
            Scene::Idle => tasks.spawn(ask_again(stream, number, heard)),
            Scene::Here | Scene::Elsewhere => tasks.spawn(listen(stream, heard)),
        };
    }
    tasks
}

async fn ask_again(mut stream: TcpStream, number: usize, heard: Arc<AtomicUsize>) {
    // Spread over the time, as streams are that were not opened at once.
    tokio::time::sleep(HEARTBEAT.mul_f64(number as f64 / LISTENERS as f64)).await;
    loop {
        ask(&mut stream, "/health").await;
        heard.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(HEARTBEAT).await;
    }
}

async fn listen(mut stream: TcpStream, heard: Arc<AtomicUsize>) {
    let mut events = [0; 4096];
    while 0 < stream.read(&mut events).await.unwrap() {
        heard.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sessions whose analyses run, and go on to run since the model says nothing.
async fn running_analyses(address: SocketAddr) -> Vec<String> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut sessions = Vec::new();
    for _ in 0..ANALYSES {
        let form = Form::new().part("frames", Part::bytes(FRAME).file_name("frame.jpg"));
        let upload = client.post(format!("http://{address}/api/v1/analysis/upload")).multipart(form);
        let uploaded: Value = upload.send().await.unwrap().json().await.unwrap();
        let session = uploaded["session_id"].as_str().unwrap().to_owned();
        let analyze = client.post(format!("http://{address}/api/v1/analysis/{session}/analyze"));
        analyze.send().await.unwrap().error_for_status().unwrap();
        sessions.push(session);
    }
    sessions
}

/// A model that takes connections and never answers.
async fn silent_model() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    url
}

/// The middle of several ratios and how far they lie apart.
fn middle(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    format!("{:.2} times (median; {least:.2} to {most:.2})", ratios[ratios.len() / 2])
}

/// Stops where the system allows this process too few open files.
fn there_are_enough_files() {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|it| it.strip_prefix("Max open files")).unwrap();
    let allowed = line.split_whitespace().next().unwrap();
    let needed = LISTENERS + OTHER_FILES;
    assert!(
        allowed == "unlimited" || needed <= allowed.parse().unwrap(),
        "this needs {needed} open files and {allowed} are allowed: run `ulimit -n {needed}` before it"
    );
}

async fn serve(records: &str, model: &str) {
    let settings = Settings::load(&|name| {
        let value = match name {
            "R2_MOCK_MODE" => "true",
            "DATABASE_URL" => records,
            "ANTHROPIC_API_KEY" => "key",
            "ANTHROPIC_BASE_URL" => model,
            // The pictures are drawn, so nobody has to agree.
            "CONSENT_WHEN_UNSAID" => "adult",
            "PORT" => "0",
            "MAX_RUNNING_ANALYSES" => "50",
            // A stop must not wait for a model that says nothing.
            "SHUTDOWN_DRAIN_SECONDS" | "SHUTDOWN_TIMEOUT_SECONDS" => "1",
            _ => return None,
        };
        Some(value.to_owned())
    });
    server::serve(&settings.unwrap(), server::told_to_stop()).await;
}
