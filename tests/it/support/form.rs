//! Multipart bodies, written by hand so that they can also be broken by hand.

use super::pictures;

/// What separates the parts.
const BOUNDARY: &str = "----swimcoach-test-boundary";

/// A multipart body, part by part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form {
    body: Vec<u8>,
}

impl Form {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A form with that many good frames, each another picture.
    pub(crate) fn frames(count: u32) -> Self {
        (1..=count).fold(Self::new(), |form, seed| form.frame(&pictures::jpeg(320, 240, seed)))
    }

    /// The same form with one more frame.
    pub(crate) fn frame(self, jpeg: &[u8]) -> Self {
        let head = "name=\"frames\"; filename=\"frame.jpg\"\r\nContent-Type: image/jpeg";
        self.part(head, jpeg)
    }

    /// The same form with one more text.
    pub(crate) fn text(self, name: &str, text: &str) -> Self {
        self.part(&format!("name=\"{name}\""), text.as_bytes())
    }

    /// The value of `Content-Type`.
    pub(crate) fn content_type() -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    /// The whole body.
    pub(crate) fn body(&self) -> Vec<u8> {
        [&self.body[..], format!("--{BOUNDARY}--\r\n").as_bytes()].concat()
    }

    fn part(mut self, head: &str, content: &[u8]) -> Self {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n");
        self.body.extend(head.bytes());
        self.body.extend(content);
        self.body.extend(b"\r\n");
        self
    }
}
