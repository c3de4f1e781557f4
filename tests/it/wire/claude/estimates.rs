//! What an analysis takes at the most, told without asking anybody.

use super::*;
use crate::support::records;
use swimcoach::pricing::PriceList;
use swimcoach::vision::{Asking, Estimate, Talk};

/// What a model that reads for $2, writes to its cache for $2.50 and $4, and answers for $10 is estimated to take.
async fn estimate(look: &Look, notes: Option<&str>) -> Estimate {
    let nobody = ClaudeServer::start([]).await;
    vision(&settings(nobody.url())).estimate(look, notes, 1)
}

fn of_size(width: u32, height: u32, n_frames: u32) -> Look {
    let mut look = look_at(n_frames);
    for frame in &mut look.frames {
        (frame.width, frame.height, frame.jpeg) = (width, height, Bytes::new());
    }
    look
}

#[tokio::test]
async fn a_frame_more_costs_its_label_and_as_many_tokens_as_the_model_sees_of_it() {
    for (width, height, picture) in [(1280, 720, 1196), (1920, 1080, 2691), (28, 28, 1), (8000, 8000, 4761)] {
        let one = estimate(&of_size(width, height, 1), None).await;
        let two = estimate(&of_size(width, height, 2), None).await;

        // "Frame 2 · t=1.160 s" is 23 bytes as it is escaped; with those of a block they are 71, of which 2.7 are a token.
        let frame = picture + 27;
        assert_eq!(two.input_tokens - one.input_tokens, frame, "{width}×{height}");
        // For an hour in the cache, at $4 for a million.
        assert_eq!(two.cost.0 - one.cost.0, frame * 4, "{width}×{height}");
    }
}

#[tokio::test]
async fn the_whole_request_is_estimated_at_more_bytes_than_it_has_text() {
    let look = of_size(1280, 720, 15);
    let server = ClaudeServer::start([whole()]).await;
    let vision = vision(&settings(server.url()));

    vision.look(&look, &Asking::default()).await.unwrap();
    let estimate = vision.estimate(&look, None, 1);

    let body = server.requests()[0].json();
    let texts =
        body["messages"][0]["content"].as_array().unwrap().iter().filter_map(|it| it["text"].as_str());
    let texts = texts.chain(body["system"][0]["text"].as_str()).map(str::len).sum::<usize>();
    let schema = body["output_config"]["format"]["schema"].to_string();
    let bytes = (texts + schema.len()) as u64;
    let tokens = estimate.input_tokens - 15 * 1196;
    assert!((bytes * 10 / 27..bytes * 10 / 22).contains(&tokens), "{tokens} tokens for {bytes} bytes");
    assert_eq!((estimate.requests, estimate.output_tokens), (1, 16_000));
    assert_eq!(
        estimate.prices_as_of,
        PriceList::embedded().unwrap().model("claude-sonnet-5-5").map(|it| it.as_of())
    );
}

#[tokio::test]
async fn notes_add_a_request_that_reads_the_longest_analysis_and_answers_at_length() {
    let look = look_at(2);

    let without = estimate(&look, None).await;
    let with = estimate(&look, Some("Why?")).await;
    let with_more = estimate(&look, Some("Why is that so?")).await;

    assert_eq!((with.requests, with.output_tokens), (2, 2 * 16_000));
    assert!(without.input_tokens + 2 * 16_000 < with.input_tokens);
    assert!(with.input_tokens < with_more.input_tokens && with.cost < with_more.cost);
    assert!(without.cost.0 + 160_000 < with.cost.0);
}

#[tokio::test]
async fn looks_that_are_asked_for_together_cost_as_much_as_one_each_and_notes_are_answered_once() {
    let look = look_at(2);
    let vision = vision(&settings(&Url::parse("http://127.0.0.1:1/").unwrap()));

    let one = vision.estimate(&look, Some("Why?"), 1);
    let three = vision.estimate(&look, Some("Why?"), 3);

    let look = vision.estimate(&look, None, 1);
    assert_eq!((one.requests, three.requests), (2, 4));
    assert_eq!(three.cost.0, one.cost.0 + 2 * look.cost.0);
    assert_eq!(three.input_tokens, one.input_tokens + 2 * look.input_tokens);
    assert_eq!(three.output_tokens, one.output_tokens + 2 * look.output_tokens);
}

#[tokio::test]
async fn a_follow_up_takes_what_the_look_does_and_what_was_said_since() {
    let vision = vision(&settings(&Url::parse("http://127.0.0.1:1/").unwrap()));
    let session = records::session(&records::new_owner(), 1);
    let analysis = records::completed(&records::analysis(&session), 1).result.unwrap();
    let talk = |n_turns, message: &str| Talk {
        look: look_at(2),
        analysis: analysis.clone(),
        turns: (0..n_turns).map(|it| records::turn(it, "Something is said about the elbow.")).collect(),
        message: message.to_owned(),
    };

    let estimates =
        [talk(0, "Why?"), talk(0, "Why is that so?"), talk(2, "Why?"), talk(40, "Why?"), talk(400, "Why?")]
            .map(|it| vision.estimate_follow_up(&it));

    let look = vision.estimate(&look_at(2), None, 1);
    assert!(look.input_tokens < estimates[0].input_tokens);
    assert!(estimates[..4].is_sorted_by(|a, b| a.input_tokens < b.input_tokens && a.cost < b.cost));
    // However long the conversation is, what is read of it is bounded.
    assert!(estimates[4].input_tokens < estimates[3].input_tokens + 1000);
    assert!(estimates.iter().all(|it| (it.requests, it.output_tokens) == (1, 8000)));
}

#[tokio::test]
async fn a_coarse_model_sees_less_of_a_large_frame() {
    let mut settings = settings(&Url::parse("http://127.0.0.1:1/").unwrap());
    "claude-opus-4-6".clone_into(&mut settings.model);
    let vision = vision(&settings);

    let one = vision.estimate(&of_size(1920, 1080, 1), None, 1);
    let two = vision.estimate(&of_size(1920, 1080, 2), None, 1);

    assert_eq!(two.input_tokens - one.input_tokens, 1560 + 27);
}

#[tokio::test]
async fn no_client_is_made_for_a_model_without_a_price() {
    let mut settings = settings(&Url::parse("http://127.0.0.1:1/").unwrap());
    "claude-of-tomorrow".clone_into(&mut settings.model);

    let error = ClaudeVision::new(&settings, &Catalog::embedded().unwrap()).unwrap_err();

    assert!(upstream::chain(&error).contains("PRICES_PATH"), "{}", upstream::chain(&error));
}
