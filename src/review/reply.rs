//! What of a reply to a message is published, whole and while it is still written.

use super::model::ModelReply;
use super::text::{clean_long, clean_so_far};
use crate::session::FrameNumber;
use std::collections::BTreeSet;

/// A reply to a message of the conversation, as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedReply {
    /// The reply; empty where nothing of it may be published.
    pub text: String,
    /// The frames that it speaks of, in order.
    pub frames: Vec<FrameNumber>,
}

/// Publishes a reply: the text by the rules of every text, and of the frames those that were sent, once each.
pub fn review_reply(reply: &ModelReply, sent: &[FrameNumber]) -> PublishedReply {
    let cited: BTreeSet<FrameNumber> =
        sent.iter().copied().filter(|it| reply.frames.contains(&i64::from(it.get()))).collect();
    PublishedReply { text: clean_long(&reply.text), frames: cited.into_iter().collect() }
}

/// The beginning of the text that [`review_reply`] will publish, from what is written of it so far. The last few
/// words are held back, since what comes after them decides whether they are published.
pub fn reply_so_far(text: &str) -> String {
    clean_so_far(text)
}
