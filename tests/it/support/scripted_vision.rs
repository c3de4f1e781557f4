//! A model that says what a test wrote down, and remembers what it was shown.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::Mutex;
use swimcoach::analysis::{ContentFlag, MicroUsd, PublishedAnalysis, Usage, View};
use swimcoach::review::{ModelAnalysis, ModelNotesAnswer, ModelReply};
use swimcoach::session::Stroke;
use swimcoach::upstream::{Service, UpstreamError, UpstreamErrorKind};
use swimcoach::vision::{
    Answer, Asking, Estimate, Look, Progress, Talk, VisionClient, VisionError, VisionErrorKind,
};
use tokio::sync::{Semaphore, watch};

/// What a look takes when a test does not say otherwise.
pub(crate) const LOOK_USAGE: Usage = Usage {
    requests: 1,
    input_tokens: 20_000,
    cache_creation_input_tokens: 3_000,
    cache_creation_5m_input_tokens: 500,
    cache_creation_1h_input_tokens: 2_400,
    cache_read_input_tokens: 0,
    output_tokens: 2_500,
    cost: Some(MicroUsd(76_251)),
};

/// What an answer to notes takes.
pub(crate) const NOTES_USAGE: Usage = Usage {
    requests: 1,
    input_tokens: 4_000,
    cache_creation_input_tokens: 0,
    cache_creation_5m_input_tokens: 0,
    cache_creation_1h_input_tokens: 0,
    cache_read_input_tokens: 1_000,
    output_tokens: 300,
    cost: Some(MicroUsd(11_100)),
};

/// What the model was shown in one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenLook {
    pub(crate) stroke: Stroke,
    pub(crate) view: Option<View>,
    /// Numbers and times of the frames, in order.
    pub(crate) frames: Vec<(u16, Option<u64>)>,
    /// Their bytes.
    pub(crate) jpegs: Vec<Vec<u8>>,
}

/// Gives the scripted answers in order. One question more than there are answers is a panic.
#[derive(Debug)]
pub(crate) struct ScriptedVision {
    looks: Mutex<VecDeque<Result<Answer<ModelAnalysis>, VisionError>>>,
    notes: Mutex<VecDeque<Result<Answer<ModelNotesAnswer>, VisionError>>>,
    seen: Mutex<Vec<SeenLook>>,
    asked_notes: Mutex<Vec<String>>,
    replies: Mutex<VecDeque<Result<Answer<ModelReply>, VisionError>>>,
    talks: Mutex<Vec<Talk>>,
    /// The looks and follow-ups that began, in order.
    askings: Mutex<Vec<Asking>>,
    /// Number of looks and follow-ups that began.
    began: watch::Sender<usize>,
    /// A look or follow-up takes one of these before it answers.
    may_answer: Semaphore,
    down: Mutex<Option<UpstreamErrorKind>>,
}

impl ScriptedVision {
    pub(crate) fn new() -> Self {
        Self {
            looks: Mutex::default(),
            notes: Mutex::default(),
            seen: Mutex::default(),
            asked_notes: Mutex::default(),
            replies: Mutex::default(),
            talks: Mutex::default(),
            askings: Mutex::default(),
            began: watch::Sender::new(0),
            may_answer: Semaphore::new(Semaphore::MAX_PERMITS),
            down: Mutex::default(),
        }
    }

    /// The next look finds what the example finds.
    pub(crate) fn finds(&self) {
        let value = serde_json::from_str(include_str!("../fixtures/analysis.example.json")).unwrap();
        self.looks.lock().unwrap().push_back(Ok(Answer { value, usage: LOOK_USAGE }));
    }

    /// The next look finds the same, in frames that the model calls unfit for coaching.
    pub(crate) fn flags(&self, flag: ContentFlag) {
        self.finds();
        if let Some(Ok(answer)) = self.looks.lock().unwrap().back_mut() {
            answer.value.content_flag = flag;
        }
    }

    /// The look that was scripted last says something else instead.
    pub(crate) fn says(&self, change: impl FnOnce(&mut ModelAnalysis)) {
        if let Some(Ok(answer)) = self.looks.lock().unwrap().back_mut() {
            change(&mut answer.value);
        }
    }

    /// The look that was scripted last takes that much instead.
    pub(crate) fn costs(&self, usage: Usage) {
        if let Some(Ok(answer)) = self.looks.lock().unwrap().back_mut() {
            answer.usage = usage;
        }
    }

    /// The next look fails, having cost that much.
    pub(crate) fn fails(&self, kind: VisionErrorKind, usage: Usage) {
        self.looks.lock().unwrap().push_back(Err(VisionError { kind, usage }));
    }

    /// The next notes are answered so.
    pub(crate) fn answers_notes(&self, text: &str) {
        let value = ModelNotesAnswer { text: text.to_owned(), frames: vec![1, 8, 4711] };
        self.notes.lock().unwrap().push_back(Ok(Answer { value, usage: NOTES_USAGE }));
    }

    /// The next notes are not answered, which cost that much.
    pub(crate) fn fails_notes(&self, kind: VisionErrorKind, usage: Usage) {
        self.notes.lock().unwrap().push_back(Err(VisionError { kind, usage }));
    }

    /// The next message is answered so, having cost that much.
    pub(crate) fn replies(&self, text: &str, frames: &[i64], usage: Usage) {
        let value = ModelReply { text: text.to_owned(), frames: frames.to_vec() };
        self.replies.lock().unwrap().push_back(Ok(Answer { value, usage }));
    }

    /// The next message is not answered, which cost that much.
    pub(crate) fn fails_reply(&self, kind: VisionErrorKind, usage: Usage) {
        self.replies.lock().unwrap().push_back(Err(VisionError { kind, usage }));
    }

    /// What it was asked to talk about, message by message.
    pub(crate) fn talks(&self) -> Vec<Talk> {
        self.talks.lock().unwrap().clone()
    }

    /// What each look and follow-up that began may cost.
    pub(crate) fn allowances(&self) -> Vec<MicroUsd> {
        self.askings.lock().unwrap().iter().map(|it| it.allowance).collect()
    }

    /// Says how far the look or follow-up is that began last.
    pub(crate) fn tells(&self, change: impl FnOnce(&mut Progress)) {
        let asking = self.askings.lock().unwrap().last().unwrap().clone();
        asking.progress.send_modify(change);
    }

    /// Looks and follow-ups do not answer until [`ScriptedVision::release`].
    pub(crate) fn hold(&self) {
        self.may_answer.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// One held look goes on.
    pub(crate) fn release(&self) {
        self.may_answer.add_permits(1);
    }

    /// Waits until that many looks began.
    pub(crate) async fn began(&self, looks: usize) {
        self.began.subscribe().wait_for(|it| looks <= *it).await.unwrap();
    }

    /// What it was shown, look by look.
    pub(crate) fn seen(&self) -> Vec<SeenLook> {
        self.seen.lock().unwrap().clone()
    }

    /// The notes that it was asked to answer.
    pub(crate) fn asked_notes(&self) -> Vec<String> {
        self.asked_notes.lock().unwrap().clone()
    }

    /// Whether it can be asked, as its check says.
    pub(crate) fn set_down(&self, kind: Option<UpstreamErrorKind>) {
        *self.down.lock().unwrap() = kind;
    }
}

#[async_trait]
impl VisionClient for ScriptedVision {
    async fn look(&self, look: &Look, asking: &Asking) -> Result<Answer<ModelAnalysis>, VisionError> {
        self.askings.lock().unwrap().push(asking.clone());
        self.seen.lock().unwrap().push(SeenLook {
            stroke: look.stroke,
            view: look.view,
            frames: look.frames.iter().map(|it| (it.number.get(), it.timestamp_ms)).collect(),
            jpegs: look.frames.iter().map(|it| it.jpeg.to_vec()).collect(),
        });
        self.began.send_modify(|it| *it += 1);
        self.may_answer.acquire().await.unwrap().forget();
        let answer = self.looks.lock().unwrap().pop_front();
        let Some(answer) = answer else { panic!("the model was asked to look once more than scripted") };
        answer
    }

    async fn answer_notes(
        &self,
        notes: &str,
        _analysis: &PublishedAnalysis,
        _asking: &Asking,
    ) -> Result<Answer<ModelNotesAnswer>, VisionError> {
        self.asked_notes.lock().unwrap().push(notes.to_owned());
        let answer = self.notes.lock().unwrap().pop_front();
        let Some(answer) = answer else { panic!("the model was asked about notes once more than scripted") };
        answer
    }

    async fn follow_up(&self, talk: &Talk, asking: &Asking) -> Result<Answer<ModelReply>, VisionError> {
        self.askings.lock().unwrap().push(asking.clone());
        self.talks.lock().unwrap().push(talk.clone());
        self.began.send_modify(|it| *it += 1);
        self.may_answer.acquire().await.unwrap().forget();
        let answer = self.replies.lock().unwrap().pop_front();
        let Some(answer) = answer else { panic!("the model was asked to talk once more than scripted") };
        answer
    }

    fn estimate_follow_up(&self, talk: &Talk) -> Estimate {
        self.estimate(&talk.look, None, 1)
    }

    fn sent_size(&self, width: u32, height: u32, _n_frames: usize) -> (u32, u32) {
        (width, height)
    }

    /// A thousand tokens a frame and one for each character of the notes, which cost a micro-USD each.
    fn estimate(&self, look: &Look, notes: Option<&str>, _samples: u8) -> Estimate {
        let input_tokens = look.frames.len() as u64 * 1000 + notes.map_or(0, |it| it.chars().count() as u64);
        Estimate {
            requests: 1 + u32::from(notes.is_some()),
            input_tokens,
            output_tokens: 0,
            cost: MicroUsd(input_tokens),
            prices_as_of: "2026-11-23".parse().ok(),
        }
    }

    fn model(&self) -> &'static str {
        "scripted-model-1"
    }

    fn prompt_version(&self) -> &'static str {
        "prompt-7"
    }

    fn is_third_party(&self) -> bool {
        true
    }

    async fn check(&self) -> Result<(), UpstreamError> {
        match *self.down.lock().unwrap() {
            Some(kind) => Err(UpstreamError::new(Service::Model, "check", kind, "secret-cause of the test")),
            None => Ok(()),
        }
    }
}
