//! What a request takes, told before it is sent. Nobody is asked: counting with the API would send every frame.
//!
//! The tokens of pictures follow from their sizes. Text has as many as its tokenizer makes of it, which is not
//! public: one for 2.7 bytes is more than texts like ours have.

use crate::analysis::Usage;
use serde_json::Value;

/// Text that is counted for each block and each request beside its own: roles, marks, the frame around it.
const BLOCK_BYTES: u64 = 48;
/// How much longer the published analysis may be than the answer that it is made from: drills, titles and times
/// are added to it, and as data within a text it has its quotation marks escaped.
const PUBLISHED_PER_ANSWER: u64 = 2;

/// The tokens of one request.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// What is written to the cache for an hour.
    pub(super) for_an_hour: u64,
    /// What comes after it.
    pub(super) after: u64,
    /// The longest answer.
    pub(super) answer: u64,
}

impl Tokens {
    /// The dearest usage of this request: all that may be written to the cache is.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            requests: 1,
            cache_creation_input_tokens: self.for_an_hour + self.after,
            cache_creation_5m_input_tokens: self.after,
            cache_creation_1h_input_tokens: self.for_an_hour,
            output_tokens: self.answer,
            ..Usage::default()
        }
    }
}

/// Tokens of a block of text at the most. Characters beyond ASCII are counted by how they are escaped, since a
/// tokenizer makes more of them than of letters.
pub(super) fn text(text: &str) -> u64 {
    let bytes = text.chars().map(|it| match it {
        '"' | '\\' | '\n' | '\t' | '\r' => 2,
        it if it.is_ascii() => 1,
        it => 6 * it.len_utf16() as u64,
    });
    ((bytes.sum::<u64>() + BLOCK_BYTES) * 10).div_ceil(27)
}

/// Tokens of what describes the shape of an answer.
pub(super) fn schema(schema: &Value) -> u64 {
    text(&schema.to_string())
}

/// Tokens of a published analysis, out of those of the longest answer that it may be made from.
pub(super) fn published(answer_tokens: u64) -> u64 {
    answer_tokens * PUBLISHED_PER_ANSWER
}
