//! Taking an answer apart: `{"reply": …, "analysis": …}`, of which one was asked for.

use crate::review::{ModelAnalysis, ModelReply};
use serde_json::Value;

/// The fields of an answer.
const FIELDS: [&str; 2] = ["reply", "analysis"];

/// The analysis in the answer to a look. The error names the place and is for the log.
pub(super) fn analysis(text: &str) -> Result<ModelAnalysis, String> {
    ModelAnalysis::read(asked_for("analysis", text)?).map_err(|why| format!("analysis: {why}"))
}

/// The reply in the answer to a message, which has words. The error names the place and is for the log.
pub(super) fn reply(text: &str) -> Result<ModelReply, String> {
    let reply = ModelReply::read(asked_for("reply", text)?).map_err(|why| format!("reply: {why}"))?;
    if reply.text.trim().is_empty() { Err("reply: no words".to_owned()) } else { Ok(reply) }
}

fn asked_for(name: &str, text: &str) -> Result<Value, String> {
    let answer = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Object(mut fields) = answer else {
        return Err("the answer: not an object".to_owned());
    };
    if let Some(missing) = FIELDS.iter().find(|it| !fields.contains_key(**it)) {
        return Err(format!("the answer: the field {missing} is missing"));
    }
    if fields.len() != FIELDS.len() {
        return Err("the answer: a field that the schema does not have".to_owned());
    }
    match fields.remove(name) {
        None | Some(Value::Null) => Err(format!("{name}: null, and it was asked for")),
        Some(value) => Ok(value),
    }
}
