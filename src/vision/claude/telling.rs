//! Telling whoever asks how a try goes: its stage, what it takes, and what is certain of its answer.

use super::estimate;
use super::partial::{Findings, ReplyText};
use super::request::Pass;
use crate::analysis::Usage;
use crate::events::Stage;
use crate::pricing::ModelPrices;
use crate::vision::{Asking, Progress};
use tokio::sync::watch;

/// One try of an asking. What it takes so far is in [`Telling::usage`], also when the try breaks off.
#[derive(Debug)]
pub(super) struct Telling<'a> {
    /// What the stream of this try said so far. What it writes it counts only at its end, so until then the answer
    /// counts by what was heard of it.
    pub(super) usage: Usage,
    /// Bytes of text and thinking that came.
    heard: u64,
    /// What earlier tries took.
    before: Usage,
    prices: &'a ModelPrices,
    progress: &'a watch::Sender<Progress>,
    reading: Reading,
}

/// What is made of an answer while it is written.
#[derive(Debug)]
enum Reading {
    Findings(Findings),
    ReplyText(ReplyText),
    Nothing,
}

impl<'a> Telling<'a> {
    /// A try begins, and with it what is told, but for what earlier ones took.
    pub(super) fn begin(asking: &'a Asking, pass: Pass, before: Usage, prices: &'a ModelPrices) -> Self {
        let fresh = Progress { usage: before, ..Progress::default() };
        asking.progress.send_if_modified(|it| {
            let is_new = *it != fresh;
            *it = fresh;
            is_new
        });
        let reading = match pass {
            Pass::Look => Reading::Findings(Findings::default()),
            Pass::FollowUp => Reading::ReplyText(ReplyText::default()),
            Pass::Notes => Reading::Nothing,
        };
        Self { usage: Usage::default(), heard: 0, before, prices, progress: &asking.progress, reading }
    }

    /// All that was spent until now.
    pub(super) fn spent(&self) -> Usage {
        let mut spent = self.before;
        // By the prices of one request, since those of a long prompt differ.
        spent += Usage { cost: Some(self.prices.cost(&self.usage)), ..self.usage };
        spent
    }

    /// This many more bytes of the answer came. Nobody is woken for it: whoever cuts the try reads it.
    pub(super) fn heard(&mut self, bytes: usize) {
        self.heard += bytes as u64;
        self.usage.output_tokens = self.usage.output_tokens.max(estimate::tokens_of(self.heard));
        let spent = self.spent();
        self.progress.send_if_modified(|it| {
            it.usage = spent;
            false
        });
    }

    /// The try is at this stage at least.
    pub(super) fn reached(&self, stage: Stage) {
        self.progress.send_if_modified(|it| {
            let is_later = it.stage < Some(stage);
            it.stage = it.stage.max(Some(stage));
            is_later
        });
    }

    /// The figures in `usage` changed.
    pub(super) fn used(&self) {
        let spent = self.spent();
        self.progress.send_modify(|it| it.usage = spent);
    }

    /// Of the answer this much is written.
    pub(super) fn wrote(&mut self, text: &str) {
        self.reached(Stage::Writing);
        match &mut self.reading {
            Reading::Findings(findings) => {
                if let Some(analysis) = findings.read(text) {
                    self.progress.send_modify(|it| it.analysis = Some(analysis));
                }
            }
            Reading::ReplyText(reply) => {
                let more = reply.read(text);
                if !more.is_empty() {
                    self.progress.send_modify(|it| it.text.push_str(&more));
                }
            }
            Reading::Nothing => {}
        }
    }
}
