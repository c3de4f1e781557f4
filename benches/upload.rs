//! What an upload costs: the CPU of the route as a ratio to a bare axum handler that reads the same
//! multipart body and keeps the bytes, and the memory of many uploads at once.
//!
//! Both servers run as processes of their own, in turn, round after round, and are fed the same requests,
//! so that the ratio holds on a machine whose speed drifts. Linux only: it reads `/proc`.

#![expect(clippy::cast_precision_loss, reason = "what is measured has no 16 digits")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "levels are clamped")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that fails should stop and say where")]

mod server;

use self::server::Server;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Multipart, State};
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use std::env;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use swimcoach::config::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const FRAMES: u32 = 15;
const ROUNDS: usize = 7;
/// Uploads of one measurement of CPU, and the connections that send them.
const UPLOADS: usize = 480;
const CONNECTIONS: usize = 8;
/// Uploads at once for the measurement of memory.
const AT_ONCE: usize = 32;
const BOUNDARY: &str = "a-boundary-as-long-as-those-of-browsers";
/// How much noise is in a frame, in levels of 256.
const NOISE: f32 = 7.0;
const MIB: f64 = 1024.0 * 1024.0;

fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some("serve") {
        return Runtime::new().unwrap().block_on(serve(&arguments.next().unwrap()));
    }
    let upload: Bytes = request().into();
    let gigabytes = (upload.len() * UPLOADS) as f64 / 1e9;
    println!(
        "{FRAMES} frames, {} KB a request, {UPLOADS} requests over {CONNECTIONS} connections, {ROUNDS} rounds",
        upload.len() / 1000
    );

    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let [bare, swimcoach] = ["bare", "swimcoach"].map(|which| cpu_seconds(which, &upload) / gigabytes);
        println!(
            "round {round}: bare {bare:.3} CPU-s/GB, swimcoach {swimcoach:.3}, ratio {:.2}",
            swimcoach / bare
        );
        ratios.push(swimcoach / bare);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "CPU of the upload route: {:.2} times the bare handler's (median; {:.2} to {:.2})",
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );

    for which in ["bare", "swimcoach"] {
        let (idle, peak) = peak_memory(which, &upload);
        println!(
            "{AT_ONCE} uploads at once, {which}: peak {:.0} MB, {:.0} MB idle, {:.2} MB for each upload of {:.2} MB",
            peak / MIB,
            idle / MIB,
            (peak - idle) / MIB / AT_ONCE as f64,
            upload.len() as f64 / MIB,
        );
    }
}

/// One upload as it goes over the wire.
fn request() -> Vec<u8> {
    let mut body = Vec::new();
    for seed in 0..FRAMES {
        write!(
            body,
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"frames\"; filename=\"{seed}.jpg\"\r\n\
             content-type: image/jpeg\r\n\r\n"
        )
        .unwrap();
        body.extend(frame(seed));
        body.extend(b"\r\n");
    }
    write!(body, "--{BOUNDARY}--\r\n").unwrap();
    let head = format!(
        "POST /api/v1/analysis/upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\
         content-type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// A frame like those of a phone after the browser has made it smaller: 1280×720, about 100 KB, soft waves
/// under a little noise. How often its data has an FF matters, since the door looks at each.
fn frame(seed: u32) -> Vec<u8> {
    let (width, height) = (1280_u16, 720_u16);
    let mut noise = seed + 1;
    let mut pixels = Vec::with_capacity(usize::from(width) * usize::from(height) * 3);
    for y in 0..height {
        for x in 0..width {
            // A linear congruential generator, of which the highest bits are the best.
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (x, y, shift) = (f32::from(x), f32::from(y), seed as f32);
            let wave = (x / 61.0 + shift).sin() * (y / 43.0).cos() + (x / 9.0 - y / 7.0 + shift).sin() * 0.3;
            let level = 120.0 + 60.0 * wave + (noise >> 24) as f32 * NOISE / 256.0;
            pixels.extend([level * 0.6, level, level * 1.1].map(|it| it.clamp(0.0, 255.0) as u8));
        }
    }
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 85);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.encode(&pixels, width, height, ColorType::Rgb).unwrap();
    file
}

/// The CPU time that a fresh server spends on all uploads.
fn cpu_seconds(which: &str, upload: &Bytes) -> f64 {
    let server = Server::start(&["serve", which]);
    send_all(&server, upload, CONNECTIONS, 1);
    let before = server.cpu_seconds();
    send_all(&server, upload, CONNECTIONS, UPLOADS / CONNECTIONS);
    server.cpu_seconds() - before
}

/// The memory of a fresh server before and at the height of many uploads at once, in bytes.
fn peak_memory(which: &str, upload: &Bytes) -> (f64, f64) {
    let server = Server::start(&["serve", which]);
    let idle = server.memory("VmRSS");
    send_all(&server, upload, AT_ONCE, 1);
    (idle, server.memory("VmHWM"))
}

/// Sends the request so many times over each of so many connections.
fn send_all(server: &Server, request: &Bytes, connections: usize, times: usize) {
    let address = server.address();
    Runtime::new().unwrap().block_on(async {
        let senders: Vec<_> =
            (0..connections).map(|_| tokio::spawn(send(address, request.clone(), times))).collect();
        for sender in senders {
            sender.await.unwrap();
        }
    });
}

async fn send(address: SocketAddr, request: Bytes, times: usize) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.set_nodelay(true).unwrap();
    for _ in 0..times {
        connection.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            assert_ne!(connection.read_buf(&mut answer).await.unwrap(), 0, "the connection was closed");
        }
        assert!(answer.starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&answer));
    }
}

/// Whether an answer is there up to the length that it announces.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = memchr::memmem::find(answer, b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    let length = text.lines().find_map(|it| it.strip_prefix("content-length: ")?.parse::<usize>().ok());
    head + 4 + length.unwrap() <= answer.len()
}

/// Runs one of the two servers until its standard input ends.
async fn serve(which: &str) {
    let stop = server::told_to_stop();
    match which {
        "bare" => serve_bare(stop).await,
        _ => serve_swimcoach(stop).await,
    }
}

type Kept = Arc<Mutex<Vec<Bytes>>>;

async fn serve_bare(stop: CancellationToken) {
    let table = Router::new().route("/api/v1/analysis/upload", post(keep));
    let app = table.layer(DefaultBodyLimit::max(64 << 20)).with_state(Kept::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await.unwrap();
}

async fn keep(State(kept): State<Kept>, mut parts: Multipart) -> (StatusCode, String) {
    let mut frames = Vec::new();
    while let Some(part) = parts.next_field().await.unwrap() {
        frames.push(part.bytes().await.unwrap());
    }
    let count = frames.len();
    kept.lock().unwrap().extend(frames);
    (StatusCode::CREATED, format!("{count} frames"))
}

async fn serve_swimcoach(stop: CancellationToken) {
    let settings = Settings::load(&|name| match name {
        "R2_MOCK_MODE" | "SNOWFLAKE_MOCK_MODE" | "ANTHROPIC_MOCK_MODE" => Some("true".to_owned()),
        "PORT" => Some("0".to_owned()),
        // The pictures are drawn, so nobody has to agree.
        "CONSENT_WHEN_UNSAID" => Some("adult".to_owned()),
        "MOCK_STORAGE_MB" => Some("4096".to_owned()),
        _ => None,
    });
    server::serve(&settings.unwrap(), stop).await;
}
