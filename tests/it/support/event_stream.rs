//! Server-Sent Events as a client reads them, whole or as they come.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Response, StatusCode};
use futures_util::StreamExt;
use serde_json::Value;
use std::time::Duration;

/// How long the next event may take. Only what never happens takes so long.
const PATIENCE: Duration = Duration::from_mins(1);

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SentEvent {
    /// What `Last-Event-ID` takes; empty where it has none.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// The events of a whole stream, without what is between them.
pub(crate) fn events(body: &[u8]) -> Vec<SentEvent> {
    let text = std::str::from_utf8(body).unwrap();
    assert!(text.is_empty() || text.ends_with("\n\n"), "the stream breaks off within an event: {text}");
    text.split_terminator("\n\n").filter_map(event).collect()
}

/// The event of a block; `None` for one that a client takes for none.
fn event(block: &str) -> Option<SentEvent> {
    let (mut id, mut name, mut data) = (String::new(), String::new(), None);
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap();
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut id),
            "event" => value.clone_into(&mut name),
            "data" => assert!(data.replace(serde_json::from_str(value).unwrap()).is_none(), "{block}"),
            "" | "retry" => {}
            _ => panic!("no client knows the field {field:?} of {block:?}"),
        }
    }
    data.map(|data| SentEvent { id, name, data })
}

/// A stream that is read as it comes.
pub(crate) struct EventStream {
    /// 200, or 204 where nothing comes any more.
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: BodyDataStream,
    /// What came and is no whole block yet.
    rest: String,
}

impl EventStream {
    pub(crate) fn new(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        assert!(head.status.is_success(), "{} {:?}", head.status, head.headers);
        Self {
            status: head.status,
            headers: head.headers,
            body: body.into_data_stream(),
            rest: String::new(),
        }
    }

    /// The next block, whatever it is; `None` at the end of the stream.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.rest = rest;
                return Some(block);
            }
            let Some(chunk) = within(self.body.next()).await else {
                assert_eq!(self.rest, "", "the stream breaks off within a block");
                return None;
            };
            self.rest.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<SentEvent> {
        let next = async {
            while let Some(block) = self.block().await {
                if let Some(event) = event(&block) {
                    return Some(event);
                }
            }
            None
        };
        within(next).await
    }
}

async fn within<T>(next: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, next).await.expect("the stream is silent")
}
