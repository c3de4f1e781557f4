//! The data of server-sent events, out of bytes that are cut anywhere.
//!
//! The kind of an event stands in its data too, so fields other than `data` are skipped. Lines are found
//! before anything is read as text, so a character that arrives in two pieces is whole when it is read.

use memchr::memchr;

/// What came and was not handed out yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    received: Vec<u8>,
    /// Where the first line begins that was not read.
    line: usize,
    /// How far there is no end of that line.
    searched: usize,
    /// The data lines of the event that is not whole yet.
    data: Vec<u8>,
}

impl Events {
    /// Takes what came.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.received.drain(..self.line);
        self.searched -= self.line;
        self.line = 0;
        self.received.extend_from_slice(chunk);
    }

    /// The data of the next event that is whole.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        while let Some(length) = self.received.get(self.searched..).and_then(|it| memchr(b'\n', it)) {
            let end = self.searched + length;
            let line = self.received.get(self.line..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let is_end = line.is_empty() && !self.data.is_empty();
            if let Some(data) = line.strip_prefix(b"data:") {
                self.data.extend_from_slice(data);
                self.data.push(b'\n');
            }
            self.line = end + 1;
            self.searched = self.line;
            if is_end {
                return Some(std::mem::take(&mut self.data));
            }
        }
        self.searched = self.received.len();
        None
    }

    /// Bytes of the event that is not whole yet.
    pub(super) fn pending(&self) -> usize {
        self.received.len() - self.line + self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "event: ping\ndata: {}\n\n: a comment\r\nevent: x\r\ndata: {\"a\":\"Füße 🏊\"}\r\n\r\ndata: two\ndata: lines\n\n";
    const EVENTS: [&str; 3] = [" {}\n", " {\"a\":\"Füße 🏊\"}\n", " two\n lines\n"];

    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut events = Events::default();
        let mut read = Vec::new();
        for chunk in chunks {
            events.push(chunk);
            read.extend(std::iter::from_fn(|| events.next()).map(|it| String::from_utf8(it).unwrap()));
        }
        read
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let bytes = STREAM.as_bytes();

        for cut in 0..=bytes.len() {
            assert_eq!(read([&bytes[..cut], &bytes[cut..]]), EVENTS, "cut at {cut}");
        }
        assert_eq!(read(bytes.chunks(1)), EVENTS);
    }

    #[test]
    fn an_event_that_is_not_whole_is_kept_and_counted() {
        let mut events = Events::default();

        events.push(b"data: one\n\ndata: tw");

        assert_eq!(events.next().unwrap(), b" one\n");
        assert_eq!(events.next(), None);
        assert_eq!(events.pending(), b"data: tw".len());
    }
}
