//! The bodies of requests.
//!
//! A look and all follow-ups about it have the same bytes from the model's name to the end of the question: the
//! prompt cache holds only what does not change, and pictures are what costs.

use super::body::{Body, Segment};
use super::model::Model;
use super::model::{MANY_IMAGES, MANY_IMAGES_SIDE};
use super::{ClaudeVision, MAX_FOLLOW_UP_TOKENS, MAX_IMAGE_BYTES, MAX_REQUEST_BYTES, MAX_TALK_BYTES};
use crate::analysis::PublishedAnalysis;
use crate::session::Role;
use crate::vision::prompt::{Prompt, Said};
use crate::vision::{Look, Talk, VisionErrorKind};
use serde_json::json;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// To judge the frames.
    Look,
    /// To answer a message about them.
    FollowUp,
    /// To answer notes without them.
    Notes,
}

impl ClaudeVision {
    /// The request to judge the frames.
    pub(super) fn look_body(&self, look: &Look) -> Result<Body, VisionErrorKind> {
        self.check_frames(look)?;
        checked(self.body(Pass::Look, self.look_message(look)), MAX_REQUEST_BYTES)
    }

    /// The request to answer a message: the same, and what was said since.
    pub(super) fn follow_up_body(&self, talk: &Talk) -> Result<Body, VisionErrorKind> {
        self.check_frames(&talk.look)?;
        let mut messages = self.look_message(&talk.look);
        messages.extend(self.prompt.messages(talk).iter().map(message));
        checked(self.body(Pass::FollowUp, messages), MAX_REQUEST_BYTES + MAX_TALK_BYTES)
    }

    /// The request to answer notes.
    pub(super) fn notes_body(&self, notes: &str, analysis: &PublishedAnalysis) -> Body {
        let question = json!({"type": "text", "text": self.prompt.notes_question(notes, analysis)});
        let message = format!(r#"{{"role":"user","content":[{question}]}}"#);
        self.body(Pass::Notes, vec![Segment::json(message)])
    }

    /// The most tokens of an answer, thinking included.
    pub(super) fn max_tokens(&self, pass: Pass) -> u32 {
        match pass {
            Pass::Look | Pass::Notes => self.max_tokens,
            Pass::FollowUp => self.max_tokens.min(MAX_FOLLOW_UP_TOKENS),
        }
    }

    /// The request around its messages. What differs between a look and a follow-up comes first, so that the rest
    /// can be compared; to the cache the limit on tokens does not matter.
    fn body(&self, pass: Pass, messages: Vec<Segment>) -> Body {
        let (system, schema, effort) = match pass {
            Pass::Look | Pass::FollowUp => (self.prompt.system(), self.prompt.answer_schema(), "medium"),
            Pass::Notes => (self.prompt.notes_system(), self.prompt.notes_schema(), "low"),
        };
        let (thinking, effort) = if Model::by_id(&self.model).is_adaptive {
            (r#""thinking":{"type":"adaptive"},"#, format!(r#""effort":"{effort}","#))
        } else {
            ("", String::new())
        };
        let max_tokens = self.max_tokens(pass);
        let model = json!(self.model);
        let system =
            json!([{"type": "text", "text": system, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]);
        // Written by hand, since the fields of the schema must keep their order.
        let head = format!(
            r#"{{"max_tokens":{max_tokens},"model":{model},"stream":true,"cache_control":{{"type":"ephemeral"}},{thinking}"output_config":{{{effort}"format":{{"type":"json_schema","schema":{schema}}}}},"system":{system},"messages":["#
        );
        let mut segments = Vec::with_capacity(messages.len() + 2);
        segments.push(Segment::json(head));
        segments.extend(messages);
        segments.push(Segment::json("]}".to_owned()));
        Body::new(segments)
    }

    /// Label, picture, label, picture … and the question last.
    fn look_message(&self, look: &Look) -> Vec<Segment> {
        let mut message = Vec::with_capacity(look.frames.len() * 3 + 2);
        message.push(Segment::json(r#"{"role":"user","content":["#.to_owned()));
        for (index, frame) in look.frames.iter().enumerate() {
            let label = json!({"type": "text", "text": Prompt::label(frame)});
            // The last picture is marked for an hour, so that follow-ups read all pictures from the cache.
            let mark = if index + 1 == look.frames.len() {
                r#","cache_control":{"type":"ephemeral","ttl":"1h"}"#
            } else {
                ""
            };
            message.push(Segment::json(format!(
                r#"{label},{{"type":"image"{mark},"source":{{"type":"base64","media_type":"image/jpeg","data":""#
            )));
            message.push(Segment::base64(frame.jpeg.clone()));
            message.push(Segment::json(r#""}},"#.to_owned()));
        }
        let question = json!({"type": "text", "text": self.prompt.question(look)});
        message.push(Segment::json(format!("{question}]}}")));
        message
    }

    /// What the API would refuse after megabytes were sent.
    fn check_frames(&self, look: &Look) -> Result<(), VisionErrorKind> {
        let model = Model::by_id(&self.model);
        let too_large = |why| Err(VisionErrorKind::TooLarge(why));
        if model.max_images < look.frames.len() {
            let (frames, most) = (look.frames.len(), model.max_images);
            return too_large(format!("there are {frames} of them, and the model takes {most}"));
        }
        for frame in &look.frames {
            let number = frame.number;
            if MAX_IMAGE_BYTES < frame.jpeg.len().div_ceil(3) * 4 {
                return too_large(format!(
                    "frame {number} has more than {} MB",
                    (MAX_IMAGE_BYTES / 4 * 3) >> 20
                ));
            }
            if MANY_IMAGES < look.frames.len() && MANY_IMAGES_SIDE < frame.width.max(frame.height) {
                return too_large(format!(
                    "frame {number} is {}×{} pixels, and among more than {MANY_IMAGES} frames each may have \
                     {MANY_IMAGES_SIDE} a side",
                    frame.width, frame.height
                ));
            }
        }
        Ok(())
    }
}

/// A message after the first one, with the comma between them.
fn message(said: &Said) -> Segment {
    let role = match said.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let text = json!({"type": "text", "text": said.text});
    Segment::json(format!(r#",{{"role":"{role}","content":[{text}]}}"#))
}

fn checked(body: Body, max_bytes: u64) -> Result<Body, VisionErrorKind> {
    if max_bytes < body.len() {
        let megabytes = body.len() >> 20;
        return Err(VisionErrorKind::TooLarge(format!(
            "they are {megabytes} MB, and the model takes 32 MB at once"
        )));
    }
    Ok(body)
}
