//! The binary as a process that serves.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

/// Where a service says in its log that it listens. The log is JSON on a standard error that is piped.
pub(crate) async fn address_of(process: &mut Child, patience: Duration) -> String {
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = loop {
        let line = tokio::time::timeout(patience, log.next_line()).await.unwrap().unwrap();
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if let Some(address) = line["address"].as_str() {
            break address.to_owned();
        }
    };
    // A pipe that nobody reads would stop the service once it is full.
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    address
}
