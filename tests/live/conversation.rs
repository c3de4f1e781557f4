//! A conversation about frames reads them from the prompt cache, the first follow-up included.
//!
//! Costs one look and three answers.

use crate::{pictures, settings};
use chrono::Utc;
use swimcoach::analysis::{Provenance, PublishedAnalysis, Usage};
use swimcoach::catalog::Catalog;
use swimcoach::config::ModelSettings;
use swimcoach::review::{ModelAnalysis, ReviewContext, SentFrame, review, review_reply};
use swimcoach::session::{FrameNumber, Role, Stroke, Turn};
use swimcoach::vision::claude::ClaudeVision;
use swimcoach::vision::mock::MockVision;
use swimcoach::vision::{Asking, Look, LookFrame, Talk, VisionClient};

/// Frames of the look, of a size at which they are most of what is read.
const N_FRAMES: u32 = 15;
/// What is asked, one after the other.
const MESSAGES: [&str; 3] = [
    "Which of these should I work on first, and in which frame do I see it best?",
    "Is my head too high when I breathe?",
    "How should I film next time so that you can judge the kick?",
];

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the figures are what an operator wants to see")]
async fn every_follow_up_reads_the_frames_from_the_cache_and_the_first_one_too() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::embedded().unwrap();
    let vision: Box<dyn VisionClient> = match settings(folder.path()).model {
        ModelSettings::Mock => Box::new(MockVision::new()),
        ModelSettings::Claude(claude) => Box::new(ClaudeVision::new(&claude, &catalog).unwrap()),
    };
    let look = Look { stroke: Stroke::Freestyle, view: None, frames: (1..=N_FRAMES).map(frame).collect() };
    let sent: Vec<FrameNumber> = look.frames.iter().map(|it| it.number).collect();

    let looked = vision.look(&look, &Asking::default()).await.unwrap();
    println!("look: {:?}", looked.usage);
    let analysis = published(&looked.value, &look, &catalog, vision.as_ref());
    let mut talk = Talk { look, analysis, turns: Vec::new(), message: String::new() };
    for message in MESSAGES {
        message.clone_into(&mut talk.message);
        let estimate = vision.estimate_follow_up(&talk);
        let answer = vision.follow_up(&talk, &Asking::default()).await.unwrap();
        let reply = review_reply(&answer.value, &sent);

        println!("follow-up: {:?}", answer.usage);
        let read = input_tokens(&answer.usage);
        // Without a model nothing is read, from the cache or not.
        assert!(95 * read <= 100 * answer.usage.cache_read_input_tokens, "{:?}", answer.usage);
        // Tries that broke off come on top of what was estimated.
        assert!(estimate.requests < answer.usage.requests || read <= estimate.input_tokens);
        assert!(!reply.text.is_empty());
        talk.turns.push(turn(&talk, Role::User, message, Vec::new()));
        talk.turns.push(turn(&talk, Role::Assistant, &reply.text, reply.frames));
    }
}

fn frame(number: u32) -> LookFrame {
    LookFrame {
        number: FrameNumber::new(number).unwrap(),
        timestamp_ms: Some(u64::from(number - 1) * 40),
        width: 1280,
        height: 720,
        jpeg: pictures::jpeg(1280, 720, number).into(),
    }
}

fn published(
    answer: &ModelAnalysis,
    look: &Look,
    catalog: &Catalog,
    vision: &dyn VisionClient,
) -> PublishedAnalysis {
    let frames: Vec<SentFrame> =
        look.frames.iter().map(|it| SentFrame { number: it.number, timestamp_ms: it.timestamp_ms }).collect();
    let provenance = Provenance {
        model: vision.model().to_owned(),
        prompt_version: vision.prompt_version().to_owned(),
        catalog_version: catalog.version().to_owned(),
        frames_sha256: "00".repeat(32),
        samples: None,
    };
    let declared = look.stroke;
    let context = ReviewContext {
        declared,
        frames: &frames,
        capture_warnings: &[],
        capture_advice: &[],
        catalog,
        provenance,
    };
    review(answer, &context)
}

fn turn(talk: &Talk, role: Role, content: &str, frames: Vec<FrameNumber>) -> Turn {
    let number = u32::try_from(talk.turns.len()).unwrap();
    Turn {
        number,
        role,
        content: content.to_owned(),
        created_at: Utc::now(),
        frames,
        usage: None,
        request: None,
    }
}

/// All that was read, from the cache or not.
fn input_tokens(usage: &Usage) -> u64 {
    usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens
}
