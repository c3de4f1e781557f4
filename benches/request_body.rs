//! What it costs to make and send the body of a look: CPU of the sending thread and peak memory, beside the
//! same request made with `serde_json::Value` and beside one copy of the frames.
//!
//! `cargo bench --bench request_body`. Linux only: it reads `/proc`. Each line is measured in a process of
//! its own, so that the memory of one does not show in another.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed measurement")]
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use swimcoach::catalog::Catalog;
use swimcoach::session::{FrameNumber, Stroke};
use swimcoach::vision::claude::{ClaudeSettings, ClaudeVision};
use swimcoach::vision::prompt::Prompt;
use swimcoach::vision::{Asking, Look, LookFrame, VisionClient};

const FRAME_BYTES: usize = 100_000;
const ROUNDS: u32 = 40;
const ANALYSIS: &str = include_str!("../tests/it/fixtures/analysis.example.json");
/// What is measured, the one that others are compared with first.
const WAYS: [&str; 5] = ["ClaudeVision", "serde_json::Value", "base64", "base64-simd", "memcpy"];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, way, frames] = arguments.as_slice()
        && WAYS.contains(&way.as_str())
    {
        println!("{}", measure(way, frames.parse().unwrap()));
        return;
    }
    for frames in [15, 60] {
        println!("\n{frames} frames of {} kB, mean of {ROUNDS}", FRAME_BYTES / 1000);
        println!("{:<20}{:>10}{:>10}{:>12}{:>10}", "", "CPU ms", "ratio", "peak MB", "ratio");
        let mut ours = None;
        for way in WAYS {
            let Measured { cpu_ms, peak_mb } = in_a_process(way, frames);
            let (cpu, peak) = *ours.get_or_insert((cpu_ms, peak_mb));
            println!("{way:<20}{cpu_ms:>10.2}{:>10.2}{peak_mb:>12.1}{:>10.2}", cpu_ms / cpu, peak_mb / peak);
        }
    }
}

struct Measured {
    cpu_ms: f64,
    peak_mb: f64,
}

fn in_a_process(way: &str, frames: u32) -> Measured {
    let output =
        Command::new(std::env::current_exe().unwrap()).args([way, &frames.to_string()]).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    let (cpu_ms, peak_mb) = line.trim().split_once(' ').unwrap();
    Measured { cpu_ms: cpu_ms.parse().unwrap(), peak_mb: peak_mb.parse().unwrap() }
}

/// Milliseconds of CPU of a round, and the most megabytes above what the frames themselves take.
fn measure(way: &str, frames: u32) -> String {
    let look = look_at(frames);
    let catalog = Catalog::embedded().unwrap();
    let mut settings = ClaudeSettings::new(SecretString::from("a-key"));
    settings.base_url = sink();
    let vision = ClaudeVision::new(&settings, &catalog).unwrap();
    let prompt = Prompt::embedded(&catalog).unwrap();
    let http = reqwest::Client::new();
    // One thread sends, so its CPU is that of the way; the sink has its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let round = || match way {
        "ClaudeVision" => drop(runtime.block_on(vision.look(&look, &Asking::default())).unwrap()),
        "serde_json::Value" => {
            let request =
                http.post(settings.base_url.join("v1/messages").unwrap()).json(&value(&prompt, &look));
            runtime.block_on(async { request.send().await.unwrap().bytes().await.unwrap() });
        }
        "base64" => look.frames.iter().for_each(|it| {
            it.jpeg.chunks(48 * 1024).for_each(|it| drop(black_box(STANDARD.encode(it))));
        }),
        "base64-simd" => look.frames.iter().for_each(|it| {
            it.jpeg
                .chunks(48 * 1024)
                .for_each(|it| drop(black_box(base64_simd::STANDARD.encode_to_string(it))));
        }),
        _ => drop(black_box(look.frames.iter().map(|it| it.jpeg.to_vec()).collect::<Vec<_>>())),
    };

    round();
    std::fs::write("/proc/self/clear_refs", "5").unwrap(); // from here the peak is measured
    let (memory, cpu) = (status_kb("VmRSS"), cpu_ns());
    (0..ROUNDS).for_each(|_| round());
    let cpu_ms = (cpu_ns() - cpu) / 1e6 / f64::from(ROUNDS);
    format!("{cpu_ms} {}", (status_kb("VmHWM") - memory).max(0.0) / 1000.0)
}

fn look_at(frames: u32) -> Look {
    // Random bytes of a fixed seed (xorshift): like a JPEG they do not compress.
    let mut state = 0x5eed_0001_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    let mut jpeg = || -> Bytes { (0..FRAME_BYTES).map(|_| byte()).collect() };
    let frames = (1..=frames).map(|number| LookFrame {
        number: FrameNumber::new(number).unwrap(),
        timestamp_ms: Some(u64::from(number) * 100),
        width: 1280,
        height: 720,
        jpeg: jpeg(),
    });
    Look { stroke: Stroke::Freestyle, view: None, frames: frames.collect() }
}

/// The same request, made the short way.
fn value(prompt: &Prompt, look: &Look) -> Value {
    let pictures = look.frames.iter().flat_map(|it| {
        let source = json!({"type": "base64", "media_type": "image/jpeg", "data": STANDARD.encode(&it.jpeg)});
        [json!({"type": "text", "text": Prompt::label(it)}), json!({"type": "image", "source": source})]
    });
    let mut content: Vec<Value> = pictures.collect();
    content.push(json!({"type": "text", "text": prompt.question(look)}));
    let schema: Value = serde_json::from_str(prompt.answer_schema()).unwrap();
    json!({
        "model": "claude-sonnet-5-5", "max_tokens": 16_000, "stream": true, "thinking": {"type": "adaptive"},
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
        "system": prompt.system(), "messages": [{"role": "user", "content": content}],
    })
}

/// A server that reads what comes and answers each request with the same short stream.
fn sink() -> url::Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().for_each(|it| swallow(it.unwrap())));
    url::Url::parse(&url).unwrap()
}

fn swallow(mut stream: TcpStream) {
    let mut buffer = vec![0; 1 << 20];
    let mut head = Vec::new();
    let end = loop {
        if let Some(end) = head.windows(4).position(|it| it == b"\r\n\r\n") {
            break end + 4;
        }
        let read = stream.read(&mut buffer[..4096]).unwrap();
        head.extend_from_slice(&buffer[..read]);
    };
    let lines = String::from_utf8_lossy(&head[..end]).to_lowercase();
    let length: usize =
        lines.lines().find_map(|it| it.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut left = length - (head.len() - end);
    while 0 < left {
        left -= stream.read(&mut buffer).unwrap();
    }
    let answer = format!(r#"{{"reply":null,"analysis":{ANALYSIS}}}"#);
    let events = [
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": answer}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ];
    let answer = events.map(|it| format!("data: {it}\n\n")).concat();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
}

/// Time that this thread was on a CPU, in nanoseconds.
fn cpu_ns() -> f64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    times.split(' ').next().unwrap().parse().unwrap()
}

fn status_kb(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|it| it.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
