//! Holds every answer of every test to the published description of the API.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::event_stream;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::OnceLock;

/// The description as the service gives it out.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::to_value(swimcoach::http::openapi()).unwrap())
}

/// Fails unless the description knows this answer of this route: its status, its content type and the shape
/// of its body, which only an answer to `HEAD` goes without. Routes that are for developers only are not
/// described.
pub(crate) fn assert_described(
    method: &Method,
    path: &str,
    status: StatusCode,
    content_type: &str,
    body: &[u8],
) {
    let Some(operations) = operations(path) else { return };
    let is_head = *method == Method::HEAD;
    let method = if is_head { Method::GET } else { method.clone() };
    if method == Method::OPTIONS {
        return;
    }
    let Some(operation) = operations.get(method.as_str().to_lowercase()) else {
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path} is not described");
        return;
    };
    let code = status.as_u16().to_string();
    let response = operation["responses"].get(&code);
    let response =
        response.unwrap_or_else(|| panic!("{method} {path} answered {code}, which is not described"));
    let Some(content) = response.get("content") else {
        assert!(body.is_empty(), "{method} {path} {code} is described without a body");
        return;
    };
    let schema = content.get(content_type);
    let schema =
        schema.unwrap_or_else(|| panic!("{method} {path} {code} is not described as {content_type:?}"));
    if is_head {
        assert!(body.is_empty(), "{path} answered HEAD with a body");
    } else if content_type == "text/event-stream" {
        for event in event_stream::events(body) {
            assert_valid(&schema["schema"], &json!({"event": event.name, "data": event.data}), path);
        }
    } else if ["image/jpeg", "application/zip"].contains(&content_type) {
        assert!(!body.is_empty(), "{path} answered with an empty picture");
    } else {
        assert_valid(&schema["schema"], &serde_json::from_slice(body).unwrap(), path);
    }
}

/// Fails unless the value has the shape; `schema` may point into the description.
fn assert_valid(schema: &Value, value: &Value, path: &str) {
    let mut schema = schema.clone();
    schema["components"] = document()["components"].clone();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(value).map(|it| format!("{} at {}", it, it.instance_path())).collect();
    assert!(errors.is_empty(), "{path} does not have its described shape: {errors:#?}\n{value:#}");
}

fn operations(path: &str) -> Option<&'static Value> {
    let paths = document()["paths"].as_object()?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let segments: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        template.len() == segments.len()
            && template.iter().zip(&segments).all(|(it, segment)| it.starts_with('{') || it == segment)
    };
    // A fixed segment counts before a parameter.
    paths.get(path).or_else(|| paths.iter().find(|(it, _)| fits(it)).map(|it| it.1))
}
