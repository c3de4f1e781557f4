//! Settings of the service that looks at frames before they are stored.

use super::reader::{Reader, is_private};
use crate::moderation::{ModerationLimits, ModerationSettings};
use secrecy::SecretString;
use url::Url;

impl Reader<'_> {
    /// Where frames are judged, where they are to be.
    pub(super) fn moderation(&mut self) -> Option<ModerationSettings> {
        let url: Option<Url> = self.parsed("MODERATION_URL", "a URL like https://moderation.example/frames");
        let token = self.text("MODERATION_TOKEN").map(SecretString::from);
        let url = url?;
        if !matches!(url.scheme(), "http" | "https") || !is_private(&url) {
            self.problem("MODERATION_URL must be https: the pictures would travel in clear".to_owned());
        }
        Some(ModerationSettings { url, token, limits: ModerationLimits::default() })
    }
}
