//! The body of a request: JSON with pictures in it, never in memory as a whole.
//!
//! Pieces of JSON and the frames' own bytes stand in a row; base64 is made a piece at a time while the body
//! is sent. The length is known beforehand, and a copy for another try shares everything.

use base64_simd::STANDARD;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Bytes that are encoded at a time; a multiple of three, so that pieces need no padding between them.
const PIECE: usize = 48 * 1024;

/// A part of a body.
#[derive(Clone)]
pub(super) enum Segment {
    /// Sent as it is.
    Json(Bytes),
    /// Sent as base64.
    Base64(Bytes),
}

/// Without the prompt and the pictures, which no log may hold.
impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({} bytes)", self.len())
    }
}

impl Segment {
    pub(super) fn json(text: String) -> Self {
        Self::Json(text.into())
    }

    pub(super) fn base64(bytes: Bytes) -> Self {
        Self::Base64(bytes)
    }

    fn len(&self) -> u64 {
        match self {
            Self::Json(text) => text.len() as u64,
            Self::Base64(bytes) => bytes.len().div_ceil(3) as u64 * 4,
        }
    }
}

/// A body of known length. Clones share the segments and begin at the beginning.
#[derive(Debug)]
pub(super) struct Body {
    segments: Arc<[Segment]>,
    /// The segment that is being sent, and how many of its bytes are.
    at: (usize, usize),
    left: u64,
}

impl Clone for Body {
    fn clone(&self) -> Self {
        Self {
            segments: Arc::clone(&self.segments),
            at: (0, 0),
            left: self.segments.iter().map(Segment::len).sum(),
        }
    }
}

impl Body {
    pub(super) fn new(segments: Vec<Segment>) -> Self {
        let left = segments.iter().map(Segment::len).sum();
        Self { segments: segments.into(), at: (0, 0), left }
    }

    /// Bytes still to be sent; all of them before the first is.
    pub(super) fn len(&self) -> u64 {
        self.left
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        let (index, from) = self.at;
        match self.segments.get(index)? {
            Segment::Json(text) => {
                self.at = (index + 1, 0);
                Some(text.clone())
            }
            Segment::Base64(bytes) => {
                let to = bytes.len().min(from + PIECE);
                self.at = if to == bytes.len() { (index + 1, 0) } else { (index, to) };
                Some(STANDARD.encode_to_string(bytes.slice(from..to)).into())
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next_piece().map(|piece| {
            self.left -= piece.len() as u64;
            Ok(Frame::data(piece))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent(mut body: Body) -> Vec<u8> {
        std::iter::from_fn(|| body.next_piece()).flatten().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_body_is_as_long_as_it_says_and_decodes_to_what_went_in(
            sizes in proptest::collection::vec(0_usize..3 * PIECE, 1..4),
        ) {
            let pictures: Vec<Bytes> = sizes.iter().map(|it| (0..*it).map(|at| u8::try_from(at % 251).unwrap()).collect()).collect();
            let segments = pictures.iter().flat_map(|it| [Segment::base64(it.clone()), Segment::json(",".to_owned())]);
            let body = Body::new(segments.collect());

            let text = String::from_utf8(sent(body.clone())).unwrap();

            prop_assert_eq!(text.len() as u64, body.len());
            let decoded: Vec<Bytes> = text.split_terminator(',').map(|it| STANDARD.decode_to_vec(it).unwrap().into()).collect();
            prop_assert_eq!(decoded, pictures);
        }
    }
}
