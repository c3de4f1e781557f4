//! API keys: how they are made, what is kept of them, and when they count.

use super::{Scope, is_secret, new_secret};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::{self, Debug, Display};
use std::str::FromStr;

/// What keys begin with, so that tools which look for leaked ones know them.
const PREFIX: &str = "swc_";

/// The public part of a key, by which it is found: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyId(String);

impl KeyId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_digit = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        let is_id = text.len() == 16 && text.bytes().all(is_digit);
        is_id.then(|| Self(text.to_owned())).ok_or("the id of a key is 16 hexadecimal digits")
    }
}

/// What is kept of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its public part.
    pub id: KeyId,
    /// For whom it was made. Keys of one owner see the same sessions.
    pub owner: String,
    /// What it is for, in the words of whoever made it.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// SHA-256 of its secret, in hex. The secret has 256 bits of chance, so no slower hash is needed.
    pub secret_sha256: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it counts no more.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl ApiKey {
    /// Longest owner, in characters.
    pub const MAX_OWNER: usize = 64;

    /// A new key: what is kept of it, and the key itself, which is shown once.
    pub fn new(
        owner: &str,
        name: &str,
        scopes: BTreeSet<Scope>,
        now: DateTime<Utc>,
        expires_at: Option<DateTime<Utc>>,
    ) -> (Self, SecretString) {
        let id = hex::encode(rand::random::<[u8; 8]>());
        let secret = new_secret();
        let shown = SecretString::from(format!("{PREFIX}{id}_{secret}"));
        let key = Self {
            id: KeyId(id),
            owner: owner.to_owned(),
            name: name.to_owned(),
            scopes,
            secret_sha256: hex::encode(Sha256::digest(&secret)),
            created_at: now,
            expires_at,
            revoked_at: None,
        };
        (key, shown)
    }

    /// Whether a text can be the owner of keys: letters, digits, and `. _ @ -`, so that nothing else is taken for it.
    pub fn is_owner(text: &str) -> bool {
        let fits = |it: u8| it.is_ascii_alphanumeric() || b"._@-".contains(&it);
        (1..=Self::MAX_OWNER).contains(&text.len()) && text.bytes().all(fits)
    }

    /// Whether a key that was presented is this one, and still counts.
    pub fn accepts(&self, presented: &PresentedKey, now: DateTime<Utc>) -> bool {
        let sha256 = hex::encode(Sha256::digest(&presented.secret));
        let is_same = verify_slices_are_equal(sha256.as_bytes(), self.secret_sha256.as_bytes()).is_ok();
        is_same && self.id == presented.id && self.counts(now)
    }

    /// Whether it has neither expired nor been revoked.
    pub fn counts(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|it| now < it) && self.revoked_at.is_none_or(|it| now < it)
    }
}

/// A key as a request brings it.
pub struct PresentedKey {
    /// Its public part.
    pub id: KeyId,
    secret: String,
}

impl PresentedKey {
    /// The key that a text is, if it has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let id = id.parse().ok()?;
        is_secret(secret).then(|| Self { id, secret: secret.to_owned() })
    }
}

/// Without the secret.
impl Debug for PresentedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use secrecy::ExposeSecret;

    #[test]
    fn a_key_is_accepted_until_it_expires_or_is_revoked_and_no_other_is() {
        let now = Utc::now();
        let later = now + TimeDelta::seconds(1);
        let (key, shown) = ApiKey::new("club", "the club's page", Scope::of_users(), now, Some(later));
        let (_, other) = ApiKey::new("club", "another", Scope::of_users(), now, None);
        let presented = PresentedKey::parse(shown.expose_secret()).unwrap();
        let forged = PresentedKey {
            secret: PresentedKey::parse(other.expose_secret()).unwrap().secret,
            id: key.id.clone(),
        };

        assert!(key.accepts(&presented, now));
        assert!(!key.accepts(&presented, later));
        assert!(!ApiKey { revoked_at: Some(now), ..key.clone() }.accepts(&presented, now));
        assert!(!key.accepts(&forged, now));
        let kept = serde_json::to_string(&key).unwrap();
        assert!(!kept.contains(&presented.secret), "the secret is kept");
    }

    #[test]
    fn what_has_not_the_form_of_a_key_is_none() {
        let (_, shown) = ApiKey::new("club", "", Scope::of_users(), Utc::now(), None);
        let shown = shown.expose_secret();
        assert!(PresentedKey::parse(shown).is_some());
        for text in [
            "",
            "swc_",
            "swc__",
            shown.trim_start_matches("swc_"),
            &shown.replacen("swc_", "swc", 1),
            &format!("{shown}A"),
            &shown.to_uppercase(),
            &shown.replace("swc_", "swa_"),
        ] {
            assert!(PresentedKey::parse(text).is_none(), "{text}");
        }
    }
}
