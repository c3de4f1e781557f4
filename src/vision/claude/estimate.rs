//! What a request takes, told before it is sent. Nobody is asked: counting with the API would send every frame.
//!
//! The tokens of pictures follow from their sizes. Text has as many as its tokenizer makes of it, which is not
//! public: one for 2.7 bytes is more than texts like ours have.

use super::ClaudeVision;
use super::model::Model;
use super::request::Pass;
use crate::analysis::{MicroUsd, PublishedAnalysis, Usage};
use crate::vision::prompt::Prompt;
use crate::vision::{Estimate, Look, Talk};
use serde_json::Value;

/// Text that is counted for each block and each request beside its own: roles, marks, the frame around it.
const BLOCK_BYTES: u64 = 48;
/// How many tokens of a published analysis there may be for one of the answer that it is made from: drills, titles
/// and times are added to it, and as data within a text it has its quotation marks escaped.
const PUBLISHED_PER_ANSWER: u64 = 2;

/// The tokens of one request.
#[derive(Debug, Clone, Copy)]
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

impl ClaudeVision {
    /// A look at the frames.
    pub(super) fn look_tokens(&self, look: &Look) -> Tokens {
        let model = Model::by_id(&self.model);
        let frames =
            look.frames.iter().map(|it| text(&Prompt::label(it)) + model.image_tokens(it.width, it.height));
        Tokens {
            for_an_hour: text(self.prompt.system()) + frames.sum::<u64>(),
            after: text(&self.prompt.question(look)) + text(self.prompt.answer_schema()),
            answer: self.max_tokens(Pass::Look).into(),
        }
    }

    /// An answer to a message: the look, and what was said since.
    pub(super) fn follow_up_tokens(&self, talk: &Talk) -> Tokens {
        let look = self.look_tokens(&talk.look);
        let said = self.prompt.messages(talk).iter().map(|it| text(&it.text)).sum::<u64>();
        Tokens { after: look.after + said, answer: self.max_tokens(Pass::FollowUp).into(), ..look }
    }

    /// An answer to notes, from this analysis or, while there is none, the longest.
    pub(super) fn notes_tokens(&self, notes: &str, analysis: Option<&PublishedAnalysis>) -> Tokens {
        let question = match analysis {
            Some(analysis) => text(&self.prompt.notes_question(notes, analysis)),
            None => text(&Value::from(notes).to_string()) + u64::from(self.max_tokens) * PUBLISHED_PER_ANSWER,
        };
        Tokens {
            for_an_hour: text(self.prompt.notes_system()),
            after: question + text(self.prompt.notes_schema()),
            answer: self.max_tokens(Pass::Notes).into(),
        }
    }

    /// What a request costs at the most.
    pub(super) fn most(&self, tokens: &Tokens) -> MicroUsd {
        self.prices.cost(&tokens.usage())
    }

    /// What these requests take together. Each is priced alone, since those of a long prompt cost more.
    pub(super) fn estimate_of(&self, requests: &[Tokens]) -> Estimate {
        let none = Estimate {
            requests: 0,
            input_tokens: 0,
            output_tokens: 0,
            cost: MicroUsd(0),
            prices_as_of: Some(self.prices.as_of()),
        };
        requests.iter().map(Tokens::usage).fold(none, |sum, usage| Estimate {
            requests: sum.requests + usage.requests,
            input_tokens: sum.input_tokens + usage.cache_creation_input_tokens,
            output_tokens: sum.output_tokens + usage.output_tokens,
            cost: sum.cost + self.prices.cost(&usage),
            ..sum
        })
    }
}

/// Tokens of a block of text at the most. Characters beyond ASCII are counted by how they are escaped, since a
/// tokenizer makes more of them than of letters.
fn text(text: &str) -> u64 {
    let bytes = text.chars().map(|it| match it {
        '"' | '\\' | '\n' | '\t' | '\r' => 2,
        it if it.is_ascii() => 1,
        it => 6 * it.len_utf16() as u64,
    });
    tokens_of(bytes.sum::<u64>() + BLOCK_BYTES)
}

/// Tokens of this many bytes of text at the most.
pub(super) fn tokens_of(bytes: u64) -> u64 {
    (bytes * 10).div_ceil(27)
}
