//! What holds for any answer at all.

use super::*;
use crate::support::random::cases;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::Union;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Codes and drill ids that exist, that exist for something else, and that do not.
const WORDS: [&str; 10] = [
    "OTHER",
    "FR-CATCH-DROPPED-ELBOW",
    "FR-SNAKING",
    "BK-SITTING",
    "BR-KICK-SCISSOR",
    "TU-ONE-HAND-TOUCH",
    "FR-MADE-UP",
    "fist",
    "l_drill",
    "Ignore \u{202E}this <b>https://example.com 82/100",
];

/// Any instance of a schema, in the few keywords that ours use.
fn instance(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(words) = schema["enum"].as_array() {
        return select(words.clone()).boxed();
    }
    match schema["type"].as_str().unwrap() {
        "string" => Union::new([
            select(WORDS.as_slice()).prop_map(|it| json!(it)).boxed(),
            any::<String>().prop_map(|it| json!(it)).boxed(),
        ])
        .boxed(),
        "integer" => {
            Union::new([(-2_i64..20).boxed(), any::<i64>().boxed()]).prop_map(|it| json!(it)).boxed()
        }
        "array" => proptest::collection::vec(instance(&schema["items"]), 0..6).prop_map(Value::from).boxed(),
        _ => {
            let fields = schema["properties"].as_object().unwrap();
            let all = fields.iter().map(|(name, schema)| {
                let name = name.clone();
                instance(schema).prop_map(move |it| (name.clone(), it)).boxed()
            });
            all.collect::<Vec<_>>()
                .prop_map(|it| Value::Object(it.into_iter().collect::<Map<_, _>>()))
                .boxed()
        }
    }
}

pub(super) fn schema() -> Value {
    serde_json::from_str(include_str!("../../../prompt/analysis.schema.json")).unwrap()
}

pub(super) fn answers() -> impl Strategy<Value = ModelAnalysis> {
    // Most answers are about frames that are fit, or the rules would hardly be met.
    (instance(&schema()), any::<Index>()).prop_map(|(mut answer, index)| {
        if 0 < index.index(4) {
            answer["content_flag"] = json!("none");
            answer["capture"]["swimmer_visible"] = json!("yes");
        }
        ModelAnalysis::parse(&answer.to_string()).unwrap()
    })
}

fn frames() -> impl Strategy<Value = Vec<SentFrame>> {
    let times = Union::new([
        proptest::collection::vec(proptest::option::of(any::<u64>()), 1..20).boxed(),
        (1_u64..2000, 1_usize..20)
            .prop_map(|(gap, n)| (0..n as u64).map(|it| Some(it * gap)).collect())
            .boxed(),
    ]);
    times.prop_map(frames_at)
}

/// Every text in a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn any_answer_is_published_within_the_rules(answer in answers(), frames in frames()) {
        let published = published_of(&answer, &frames);

        // Every cited frame was sent, and every claim cites one.
        let sent: BTreeSet<FrameNumber> = frames.iter().map(|it| it.number).collect();
        for finding in &published.findings {
            prop_assert!(!finding.evidence.is_empty());
            prop_assert!(finding.evidence.iter().all(|it| sent.contains(&it.frame)));
            prop_assert!(!finding.observation.is_empty());
            prop_assert!(finding.drills.len() <= 3);
        }
        for element in &published.elements {
            prop_assert!(!element.frames.is_empty() && element.frames.iter().all(|it| sent.contains(it)));
            prop_assert!(element.visibility != Visibility::NotVisible);
        }
        prop_assert!(published.metrics.iter().all(|it| it.frames.iter().all(|it| sent.contains(it))));
        prop_assert!(published.metrics.iter().all(|it| it.value.is_finite() && 0.0 <= it.uncertainty));

        // Nothing disappears uncounted.
        let claimed = answer.elements.iter().filter(|it| it.visibility != Visibility::NotVisible).count() + answer.findings.len();
        let dropped = published.dropped;
        let counted = dropped.no_evidence + dropped.outside_view + dropped.repeated;
        prop_assert_eq!(published.elements.len() + published.findings.len() + counted as usize, claimed);

        // One focus, in order.
        let to_work_on: Vec<_> = published.findings.iter().filter(|it| it.kind != FindingKind::Strength).collect();
        prop_assert_eq!(to_work_on.iter().filter(|it| it.priority == Priority::Primary).count(), usize::from(!to_work_on.is_empty()));
        prop_assert!(to_work_on.iter().filter(|it| it.priority == Priority::Secondary).count() <= 2);
        prop_assert!(published.findings.is_sorted_by_key(|it| (it.kind == FindingKind::Strength, it.priority)));
        let ids: Vec<String> = (1..=published.findings.len()).map(|it| format!("f{it}")).collect();
        prop_assert!(published.findings.iter().map(|it| &it.id).eq(&ids));

        // The same answer gives the same result, which is read back as it was written and holds no link, no
        // score, no markup and nothing that turns text around.
        prop_assert_eq!(&published, &published_of(&answer, &frames));
        let json = serde_json::to_value(&published).unwrap();
        for text in texts(&json) {
            prop_assert!(["://", "82/100", "<b>", "\u{202E}"].iter().all(|it| !text.contains(it)), "{text:?}");
        }
        prop_assert_eq!(serde_json::from_value::<PublishedAnalysis>(json).unwrap(), published);
    }
}
