//! Brings an answer into exactly the shape that its schema asks for, or says where it differs.
//!
//! Only the few keywords that the schemas use are known: `type`, `properties`, `required`, `items` and
//! `enum`. Deserializing alone would refuse an answer too, but without saying where.

use serde_json::Value;

/// Checks `value` against `schema`, and replaces enum values that differ only in letter case.
///
/// The error names the place as a JSON pointer.
pub(super) fn conform(value: &mut Value, schema: &Value, place: &str) -> Result<(), String> {
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
        return conform_enum(value, allowed, place);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => conform_object(value, schema, place),
        Some("array") => conform_array(value, schema, place),
        Some("integer") => conform_integer(value, place),
        Some("string") if value.is_string() => Ok(()),
        Some(expected) => Err(wrong_type(place, expected, value)),
        None => Ok(()),
    }
}

fn conform_enum(value: &mut Value, allowed: &[Value], place: &str) -> Result<(), String> {
    let Some(text) = value.as_str() else {
        return Err(wrong_type(place, "string", value));
    };
    let found = allowed.iter().find(|it| it.as_str().is_some_and(|it| it.eq_ignore_ascii_case(text)));
    match found {
        Some(found) => {
            *value = found.clone();
            Ok(())
        }
        None => Err(format!("{}: not one of the allowed values", shown(place))),
    }
}

fn conform_object(value: &mut Value, schema: &Value, place: &str) -> Result<(), String> {
    let Value::Object(fields) = value else {
        return Err(wrong_type(place, "object", value));
    };
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            return Err(format!("{}: the field {name} is missing", shown(place)));
        }
    }
    for (name, field) in fields.iter_mut() {
        let Some(schema) = schema.get("properties").and_then(|it| it.get(name)) else {
            return Err(format!("{}: a field that the schema does not have", shown(place)));
        };
        conform(field, schema, &format!("{place}/{name}"))?;
    }
    Ok(())
}

fn conform_array(value: &mut Value, schema: &Value, place: &str) -> Result<(), String> {
    let Value::Array(items) = value else {
        return Err(wrong_type(place, "array", value));
    };
    let Some(schema) = schema.get("items") else {
        return Ok(());
    };
    for (index, item) in items.iter_mut().enumerate() {
        conform(item, schema, &format!("{place}/{index}"))?;
    }
    Ok(())
}

/// JSON Schema counts 7.0 among the integers and serde does not, so such a number is rewritten.
fn conform_integer(value: &mut Value, place: &str) -> Result<(), String> {
    if value.as_i64().is_some() {
        return Ok(());
    }
    // Beyond 2^53 a float does not name one integer; no frame number is anywhere near.
    let whole = value.as_f64().filter(|it| it.fract() == 0.0 && it.abs() < 9e15);
    match whole.and_then(|it| format!("{it:.0}").parse::<i64>().ok()) {
        Some(whole) => {
            *value = Value::from(whole);
            Ok(())
        }
        None => Err(wrong_type(place, "integer", value)),
    }
}

/// Names the types only: the value is the model's text and does not belong in a log.
fn wrong_type(place: &str, expected: &str, value: &Value) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "another number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("{}: expected {expected}, found {found}", shown(place))
}

fn shown(place: &str) -> &str {
    if place.is_empty() { "the answer" } else { place }
}
