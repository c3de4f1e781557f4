//! The shape that the model is asked for, and the types that read it.

use super::*;
use jsonschema::Validator;
use serde_json::{Value, json};
use swimcoach::review::ModelReply;

const NOTES_SCHEMA: &str = include_str!("../../../prompt/notes.schema.json");
const REPLY_SCHEMA: &str = include_str!("../../../prompt/reply.schema.json");

fn schemas() -> [Value; 3] {
    [
        arbitrary::schema(),
        serde_json::from_str(NOTES_SCHEMA).unwrap(),
        serde_json::from_str(REPLY_SCHEMA).unwrap(),
    ]
}

fn example() -> Value {
    serde_json::from_str(EXAMPLE).unwrap()
}

/// Calls `check` with every schema within a schema.
fn walk(schema: &Value, check: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    let schema = schema.as_object().unwrap();
    check(schema);
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flat_map(|it| it.values())
        .chain(schema.get("items"))
        .for_each(|it| walk(it, check));
}

#[test]
fn the_schemas_keep_within_what_structured_outputs_support() {
    for schema in schemas() {
        walk(&schema, &mut |part| {
            for keyword in part.keys() {
                let known = [
                    "type",
                    "additionalProperties",
                    "required",
                    "properties",
                    "items",
                    "enum",
                    "description",
                ];
                assert!(known.contains(&keyword.as_str()), "{keyword}");
            }
            if part.get("type") == Some(&json!("object")) {
                assert_eq!(part["additionalProperties"], false);
                let required: Vec<&str> =
                    part["required"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
                let mut properties: Vec<&str> =
                    part["properties"].as_object().unwrap().keys().map(String::as_str).collect();
                let mut sorted = required.clone();
                sorted.sort_unstable();
                properties.sort_unstable();
                assert_eq!(sorted, properties, "an optional field is one more way to leave something out");
            }
        });
    }
}

#[test]
fn the_example_of_an_answer_is_one() {
    let validator = jsonschema::validator_for(&arbitrary::schema()).unwrap();

    assert!(validator.is_valid(&example()));
    assert_eq!(serde_json::to_value(ModelAnalysis::parse(EXAMPLE).unwrap()).unwrap(), example());
}

/// Every answer that differs from the example in one place: a field less, a field more, another value.
fn variations(value: &Value) -> Vec<Value> {
    let others =
        [json!(null), json!(true), json!(-1), json!(7.5), json!(7.0), json!("word"), json!([]), json!({})];
    let mut all: Vec<Value> = others.to_vec();
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let mut less = fields.clone();
                less.remove(name);
                all.push(less.into());
                for other in variations(field) {
                    let mut changed = fields.clone();
                    changed.insert(name.clone(), other);
                    all.push(changed.into());
                }
            }
            let mut more = fields.clone();
            more.insert("score".to_owned(), json!(82));
            all.push(more.into());
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                for other in variations(item) {
                    let mut changed = items.clone();
                    changed[index] = other;
                    all.push(changed.into());
                }
            }
        }
        _ => {}
    }
    all
}

#[test]
fn the_types_accept_exactly_what_the_schema_accepts() {
    let validator: Validator = jsonschema::validator_for(&arbitrary::schema()).unwrap();
    let variations = variations(&example());

    let (mut valid, mut invalid) = (0, 0);
    for answer in &variations {
        let is_valid = validator.is_valid(answer);
        assert_eq!(ModelAnalysis::parse(&answer.to_string()).is_ok(), is_valid, "{answer}");
        *if is_valid { &mut valid } else { &mut invalid } += 1;
    }

    assert!(10 < valid && 500 < invalid, "{valid} valid and {invalid} invalid variations show little");
}

#[test]
fn the_types_of_a_reply_accept_exactly_what_its_schema_accepts() {
    let validator = jsonschema::validator_for(&serde_json::from_str(REPLY_SCHEMA).unwrap()).unwrap();
    let example = json!({"text": "In frame 8.", "frames": [8]});

    assert!(validator.is_valid(&example));
    for answer in variations(&example) {
        assert_eq!(ModelReply::read(answer.clone()).is_ok(), validator.is_valid(&answer), "{answer}");
    }
}

#[test]
fn an_analysis_that_is_cut_off_claims_what_is_there_and_is_none_where_the_findings_cannot_be_judged() {
    let after = ["cycles", "summary", "primary_focus", "cannot_tell", "filming_advice"];
    let mut cut = example();
    for name in after {
        cut.as_object_mut().unwrap().remove(name);
    }

    let read = ModelAnalysis::read_beginning(cut.clone()).unwrap();

    let whole = ModelAnalysis::parse(EXAMPLE).unwrap();
    assert_eq!((&read.findings, &read.elements), (&whole.findings, &whole.elements));
    assert_eq!((read.summary.as_str(), read.primary_focus, read.cycles.len()), ("", -1, 0));
    assert_eq!(ModelAnalysis::read_beginning(example()).unwrap(), whole);
    for name in ["capture", "stroke", "content_flag", "elements", "findings"] {
        let mut less = cut.clone();
        less.as_object_mut().unwrap().remove(name);
        assert!(ModelAnalysis::read_beginning(less).is_err(), "{name}");
    }
}

#[test]
fn every_word_of_the_schema_is_one_of_the_types() {
    // Each enum of the schema, at the place where the example has a value of it.
    fn replaced(value: &Value, schema: &Value, whole: &dyn Fn(Value) -> Value, check: &mut dyn FnMut(Value)) {
        if let Some(words) = schema["enum"].as_array() {
            for word in words {
                check(whole(word.clone()));
            }
        }
        if let Some(fields) = value.as_object() {
            for (name, field) in fields {
                let whole = |it| {
                    let mut changed = fields.clone();
                    changed.insert(name.clone(), it);
                    whole(changed.into())
                };
                replaced(field, &schema["properties"][name], &whole, check);
            }
        }
        if let Some(items) = value.as_array() {
            for item in items {
                replaced(item, &schema["items"], &|it| whole(json!([it])), check);
            }
        }
    }

    let mut words = 0;
    replaced(&example(), &arbitrary::schema(), &|it| it, &mut |answer| {
        words += 1;
        ModelAnalysis::parse(&answer.to_string()).unwrap();
    });

    assert!(100 < words, "only {words}");
}
