//! A server in a process of its own, and what it takes of the machine. Linux only: it reads `/proc`.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use swimcoach::config::Settings;
use swimcoach::run::{self, Parts};
use tokio_util::sync::CancellationToken;

/// A server in a process of its own.
pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    /// Runs this program with these arguments, and waits until it says where it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, address: line.trim().parse().unwrap() }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The time that all threads spent on a processor.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let nanoseconds = threads.map(|thread| {
            let stat = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
            stat.split_whitespace().next().unwrap().parse::<f64>().unwrap()
        });
        nanoseconds.sum::<f64>() / 1e9
    }

    /// A line of `/proc/PID/status` that counts kB, in bytes.
    pub(crate) fn memory(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process ends with its standard input.
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

/// Cancelled when the standard input ends, as that of a [`Server`] does.
pub(crate) fn told_to_stop() -> CancellationToken {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    std::thread::spawn(move || {
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        stopped.cancel();
    });
    stop
}

/// Runs `SwimCoach`, and says where it listens.
pub(crate) async fn serve(settings: &Settings, stop: CancellationToken) {
    let listener = run::listen(settings).await.unwrap();
    let address = listener.local_addr().unwrap();
    println!("{address}");
    let parts = Parts::build(settings, address).await.unwrap();
    run::serve(listener, parts, settings, stop).await.unwrap();
}
