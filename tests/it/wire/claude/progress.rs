//! What is told of an asking while it goes on, and what it may cost.

use super::*;
use crate::support::eventually::eventually;
use crate::support::records;
use swimcoach::events::Stage;
use swimcoach::vision::Progress;

/// A piece of the answer that ends within its second finding; the example with its finding twice.
fn two_findings() -> (String, usize) {
    let mut example: Value = serde_json::from_str(EXAMPLE).unwrap();
    let mut second = example["findings"][0].clone();
    second["observation"] = json!("The second one.");
    example["findings"].as_array_mut().unwrap().push(second);
    // The types write their fields in the order of the schema, and a map by name.
    let text = analysis(&serde_json::to_string(&ModelAnalysis::read(example).unwrap()).unwrap());
    let within = text.find("The second one.").unwrap();
    (text, within)
}

/// Every state that was told until `done`, without those that nobody had the time to see.
async fn told_until(steps: Vec<Step>, done: impl Fn(&Progress) -> bool) -> Vec<Progress> {
    let server = ClaudeServer::start([steps]).await;
    let vision = vision(&settings(server.url()));
    let (asking, look) = (Asking::default(), look_at(2));
    let mut progress = asking.progress.subscribe();
    let mut told = Vec::new();
    let watch = async {
        while !told.last().is_some_and(&done) {
            progress.changed().await.unwrap();
            told.push(progress.borrow_and_update().clone());
        }
    };
    tokio::select! {
        biased;
        () = watch => {}
        looked = vision.look(&look, &asking) => panic!("it ended before it was told: {looked:?}"),
    }
    told
}

#[tokio::test]
async fn it_is_told_when_the_request_is_taken_when_the_model_thinks_and_when_it_writes() {
    let thinking = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}});
    let pause = || Step::Wait(Duration::from_millis(50));
    let steps = vec![
        stream_head(),
        pause(),
        Step::Write(written(&[message_start(1000)])),
        pause(),
        Step::Write(written(std::slice::from_ref(&thinking))),
        pause(),
        Step::Write(written(&[text_delta("{"), thinking])),
        Step::WaitUntilGone,
    ];

    let told = told_until(steps, |it| it.stage == Some(Stage::Writing)).await;

    let mut stages: Vec<Option<Stage>> = told.iter().map(|it| it.stage).collect();
    stages.dedup();
    assert_eq!(stages, [Stage::Sent, Stage::Thinking, Stage::Writing].map(Some));
    // What is read is known from the first word on.
    assert_eq!(told.last().unwrap().usage.input_tokens, 1000);
    assert_eq!(told.last().unwrap().usage.cost, Some(MicroUsd(2116)));
}

#[tokio::test]
async fn a_finding_is_told_as_soon_as_it_is_whole() {
    let (text, within_the_second) = two_findings();
    let first = text.get(..within_the_second).unwrap();
    let steps = vec![
        stream_head(),
        Step::Write(written(&[message_start(1000), text_delta(first)])),
        Step::WaitUntilGone,
    ];

    let told = told_until(steps, |it| it.analysis.is_some()).await;

    let analysis = told.last().unwrap().analysis.clone().unwrap();
    assert_eq!(analysis.findings, ModelAnalysis::parse(EXAMPLE).unwrap().findings);
    assert_eq!(analysis.summary, "");
}

#[tokio::test]
async fn a_look_that_breaks_off_is_told_anew_but_for_what_it_cost() {
    let (text, within_the_second) = two_findings();
    let half = text.get(..within_the_second).unwrap();
    let broken = vec![stream_head(), Step::Write(written(&[message_start(500), text_delta(half)]))];
    let silent = vec![Step::WaitUntilGone];
    let server = ClaudeServer::start([broken, silent]).await;
    let vision = vision(&settings(server.url()));
    let (asking, look) = (Asking::default(), look_at(2));
    let mut progress = asking.progress.subscribe();

    let told = tokio::select! {
        biased;
        _ = vision.look(&look, &asking) => panic!("it does not end"),
        told = async {
            progress.wait_for(|it| it.analysis.is_some()).await.unwrap();
            let told = progress.wait_for(|it| it.stage.is_none()).await.unwrap().clone();
            eventually("it is asked again", async || (server.requests().len() == 2).then_some(())).await;
            told
        } => told,
    };

    // By the text that came, at 2.7 bytes a token.
    let output_tokens = (half.len() as u64 * 10).div_ceil(27);
    let cost = Some(MicroUsd(1106 + output_tokens * 10));
    let usage = Usage { input_tokens: 500, output_tokens, cost, ..WHOLE };
    assert_eq!(told, Progress { usage, ..Progress::default() });
}

#[tokio::test]
async fn what_was_spent_is_known_when_nobody_waits_any_more() {
    let steps = vec![stream_head(), Step::Write(written(&[message_start(1000)])), Step::WaitUntilGone];
    let mut server = ClaudeServer::start([steps]).await;
    let vision = vision(&settings(server.url()));
    let (asking, look) = (Asking::default(), look_at(2));
    let mut progress = asking.progress.subscribe();

    tokio::select! {
        _ = vision.look(&look, &asking) => panic!("it does not end"),
        _ = progress.wait_for(|it| it.usage.requests == 1) => {}
    }

    server.client_gone().await;
    assert_eq!(asking.progress.borrow().usage.cost, Some(MicroUsd(2116)));
}

#[tokio::test]
async fn an_answer_to_notes_is_told_of_too() {
    let notes_answer = json!({"text": "Frame 8 bears you out.", "frames": [8]}).to_string();
    let server = ClaudeServer::start([stream(&events(&notes_answer))]).await;
    let session = records::session(&records::new_owner(), 1);
    let published = records::completed(&records::analysis(&session), 1).result.unwrap();
    let asking = Asking::default();

    vision(&settings(server.url())).answer_notes(NOTES, &published, &asking).await.unwrap();

    let told = asking.progress.borrow().clone();
    assert_eq!(told, Progress { stage: Some(Stage::Writing), usage: WHOLE, ..Progress::default() });
}

#[tokio::test]
async fn no_request_begins_that_could_cost_more_than_is_allowed() {
    let server = ClaudeServer::start([whole()]).await;
    let vision = vision(&settings(server.url()));
    let most = vision.estimate(&look_at(2), None, 1).cost;

    let error = vision.look(&look_at(2), &Asking::within(MicroUsd(most.0 - 1))).await.unwrap_err();
    let looked = vision.look(&look_at(2), &Asking::within(most)).await;

    assert!(matches!(error.kind, VisionErrorKind::OverAllowance), "{error:?}");
    assert_eq!(error.usage, Usage::default());
    assert_eq!(looked.unwrap().usage, WHOLE);
}

#[tokio::test]
async fn what_a_broken_try_cost_is_taken_off_what_another_may() {
    let broken = || vec![stream_head(), Step::Write(written(&[message_start(500)]))];
    let server = ClaudeServer::start([broken(), broken(), whole()]).await;
    let vision = vision(&settings(server.url()));
    let most = vision.estimate(&look_at(2), None, 1).cost;
    let one_broken = MicroUsd(1116);

    let error = vision.look(&look_at(2), &Asking::within(most)).await.unwrap_err();
    let looked = vision.look(&look_at(2), &Asking::within(most + one_broken)).await;

    assert!(matches!(error.kind, VisionErrorKind::OverAllowance), "{error:?}");
    assert_eq!(error.usage.cost, Some(one_broken));
    assert_eq!(looked.unwrap().usage.cost, WHOLE.cost.map(|it| it + one_broken));
}

#[tokio::test]
async fn the_estimate_of_notes_is_enough_to_have_them_answered() {
    let notes_answer = json!({"text": "Frame 8 bears you out.", "frames": [8]}).to_string();
    let server = ClaudeServer::start([stream(&events(&notes_answer))]).await;
    let vision = vision(&settings(server.url()));
    let session = records::session(&records::new_owner(), 1);
    let published = records::completed(&records::analysis(&session), 1).result.unwrap();
    let (look, both) = (vision.estimate(&look_at(2), None, 1), vision.estimate(&look_at(2), Some(NOTES), 1));
    let for_notes = MicroUsd(both.cost.0 - look.cost.0);

    vision.answer_notes(NOTES, &published, &Asking::within(for_notes)).await.unwrap();
    let error = vision.answer_notes(NOTES, &published, &Asking::within(MicroUsd(0))).await.unwrap_err();

    assert!(matches!(error.kind, VisionErrorKind::OverAllowance), "{error:?}");
}
