//! Answers that arrive, and what they are worth.

use super::*;

/// An answer of one text with this end.
fn ended(text: &str, stop_reason: &str) -> Reply {
    stream(&[
        message_start(1000),
        text_delta(text),
        message_delta(stop_reason, 200),
        json!({"type": "message_stop"}),
    ])
}

async fn failed(reply: Reply) -> VisionErrorKind {
    let (looked, _) = looked([reply]).await;
    let error = looked.unwrap_err();
    assert_eq!(error.usage, WHOLE);
    error.kind
}

#[tokio::test]
async fn a_whole_answer_is_read_as_it_was_said() {
    let (looked, _) = looked([whole()]).await;

    let answer = looked.unwrap();
    assert_eq!(answer.value, ModelAnalysis::parse(EXAMPLE).unwrap());
    assert_eq!(answer.usage, WHOLE);
}

#[tokio::test]
async fn an_answer_that_arrives_byte_by_byte_with_marks_of_any_kind_is_the_same() {
    let text = EXAMPLE.replace("Level body line", "Füße hoch 🏊 水泳");
    let mut reply = vec![stream_head()];
    reply.extend(written(&events(&analysis(&text))).chunks(1).map(|it| Step::Write(it.to_vec())));

    let (looked, _) = looked([reply]).await;

    assert_eq!(looked.unwrap().value.summary, "Füße hoch 🏊 水泳; the right catch slips.");
}

#[tokio::test]
async fn line_ends_of_a_gateway_change_nothing() {
    let text = String::from_utf8(written(&events(&analysis(EXAMPLE)))).unwrap().replace('\n', "\r\n");

    let (looked, _) = looked([vec![stream_head(), Step::Write(text.into_bytes())]]).await;

    looked.unwrap();
}

#[tokio::test]
async fn thinking_pings_and_what_is_yet_to_be_invented_are_passed_over() {
    let mut all = events(&analysis(EXAMPLE));
    let delta = |delta: Value| json!({"type": "content_block_delta", "index": 0, "delta": delta});
    let others = [
        json!({"type": "ping"}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        delta(json!({"type": "thinking_delta", "thinking": "{\"not\": \"the answer\"}"})),
        delta(json!({"type": "signature_delta", "signature": "abc"})),
        delta(json!({"type": "a_delta_yet_to_be_invented", "text": "not the answer"})),
        json!({"type": "an_event_yet_to_be_invented", "text": [1, 2, {"three": null}]}),
    ];
    for (at, other) in others.into_iter().enumerate() {
        all.insert(1 + 2 * at, other);
    }

    let (looked, _) = looked([stream(&all)]).await;

    assert_eq!(looked.unwrap().value, ModelAnalysis::parse(EXAMPLE).unwrap());
}

#[tokio::test]
async fn the_last_word_on_each_figure_of_the_bill_counts() {
    let mut all = events(&analysis(EXAMPLE));
    let last = all.len() - 2;
    all[last]["usage"] = json!({"input_tokens": 7, "output_tokens": 9, "server_tool_use": null});

    let (looked, _) = looked([stream(&all)]).await;

    assert_eq!(
        looked.unwrap().usage,
        Usage { input_tokens: 7, output_tokens: 9, cost: Some(MicroUsd(210)), ..WHOLE }
    );
}

#[tokio::test]
async fn a_refusal_is_never_an_answer_before_or_after_some_text() {
    let mut delta = message_delta("refusal", 200);
    delta["delta"]["stop_details"] =
        json!({"type": "refusal", "category": "general_harms", "explanation": null});
    let stop = json!({"type": "message_stop"});
    for events in [
        vec![message_start(1000), delta.clone(), stop.clone()],
        vec![message_start(1000), text_delta(&analysis(EXAMPLE)), delta, stop],
    ] {
        let kind = failed(stream(&events)).await;

        assert!(
            matches!(&kind, VisionErrorKind::Refused { category: Some(it) } if it == "general_harms"),
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn a_refusal_without_a_reason_is_a_refusal() {
    let kind = failed(ended("", "refusal")).await;

    assert!(matches!(kind, VisionErrorKind::Refused { category: None }), "{kind:?}");
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_none_even_where_it_happens_to_be_whole() {
    for reason in ["max_tokens", "model_context_window_exceeded"] {
        assert!(
            matches!(failed(ended(&analysis(EXAMPLE), reason)).await, VisionErrorKind::CutOff),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn an_end_that_nobody_asked_for_is_no_answer() {
    for reason in ["stop_sequence", "tool_use", "pause_turn", "yet_to_be_invented"] {
        assert!(
            matches!(failed(ended(&analysis(EXAMPLE), reason)).await, VisionErrorKind::Malformed(_)),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn an_answer_without_words_is_none() {
    for text in ["", " \n"] {
        assert!(matches!(failed(ended(text, "end_turn")).await, VisionErrorKind::Malformed(_)));
    }
}

#[tokio::test]
async fn an_answer_that_has_another_shape_is_none_and_the_log_hears_where() {
    let whole = analysis(EXAMPLE);
    let mut missing: Value = serde_json::from_str(EXAMPLE).unwrap();
    missing["findings"][0].as_object_mut().unwrap().remove("cue");
    let mut extra: Value = serde_json::from_str(EXAMPLE).unwrap();
    extra["score"] = json!(82);
    let mut unknown_word: Value = serde_json::from_str(EXAMPLE).unwrap();
    unknown_word["elements"][1]["visibility"] = json!("hardly");
    let mut wrong_type: Value = serde_json::from_str(EXAMPLE).unwrap();
    wrong_type["findings"][0]["evidence"][0]["frame"] = json!("8");
    for (text, place) in [
        (whole.get(..500).unwrap().to_owned(), "not JSON"),
        (format!("Here it is: {whole}"), "not JSON"),
        (format!("{whole}{whole}"), "not JSON"),
        (format!("[{whole}]"), "not an object"),
        (EXAMPLE.to_owned(), "the field reply is missing"),
        ("{\"reply\": null}".to_owned(), "the field analysis is missing"),
        (whole.replacen('{', "{\"score\": 82, ", 1), "a field that the schema does not have"),
        (analysis("null"), "analysis: null"),
        (analysis(&missing.to_string()), "/findings/0: the field cue is missing"),
        (analysis(&extra.to_string()), "a field that the schema does not have"),
        (analysis(&unknown_word.to_string()), "/elements/1/visibility"),
        (analysis(&wrong_type.to_string()), "/findings/0/evidence/0/frame: expected integer, found a string"),
    ] {
        let kind = failed(ended(&text, "end_turn")).await;

        assert!(matches!(&kind, VisionErrorKind::Malformed(why) if why.contains(place)), "{place}: {kind:?}");
    }
}

#[tokio::test]
async fn the_letter_case_of_a_word_of_the_vocabulary_does_not_matter() {
    let text = EXAMPLE.replace("\"freestyle\"", "\"Freestyle\"").replace("\"fault\"", "\"FAULT\"");

    let (looked, _) = looked([ended(&analysis(&text), "end_turn")]).await;

    assert_eq!(looked.unwrap().value.stroke.observed, ObservedStroke::Freestyle);
}
