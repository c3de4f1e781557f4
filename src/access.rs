//! Nouns of access: who sends a request, and what they may do.

mod key;

pub use key::{ApiKey, KeyId, PresentedKey};

use crate::session::Owner;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::str::FromStr;

/// Bytes of a secret that we make: nobody guesses 256 bits.
const SECRET_BYTES: usize = 32;

/// What the tokens of anonymous sessions begin with.
const TOKEN_PREFIX: &str = "swa_";

/// What a caller may do. A key is made with some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read sessions, frames, events and usage.
    Read,
    /// Make sessions, put frames into them, change what is said about them, and claim them.
    Upload,
    /// Ask for what is paid for: analyses and answers. Cancelling belongs to it.
    Ask,
    /// Delete sessions, and everything at once.
    Delete,
    /// Take everything out in one file.
    Export,
    /// Act in the name of the user that `X-User-Id` names.
    Impersonate,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Upload, Self::Ask, Self::Delete, Self::Export, Self::Impersonate];

    /// What callers may do in their own name.
    pub fn of_users() -> BTreeSet<Self> {
        Self::ALL.into_iter().filter(|it| *it != Self::Impersonate).collect()
    }

    /// The name used in keys and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Upload => "upload",
            Self::Ask => "ask",
            Self::Delete => "delete",
            Self::Export => "export",
            Self::Impersonate => "impersonate",
        }
    }
}

impl FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let scope = Self::ALL.into_iter().find(|it| it.as_str() == text);
        scope.ok_or("a scope is one of read, upload, ask, delete, export, impersonate")
    }
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// In whose name the request acts.
    pub owner: Owner,
    /// How that somebody is called where they come from.
    pub user_id: String,
    /// What the caller may do.
    pub scopes: BTreeSet<Scope>,
    /// The token of an anonymous session that is to be made, when the request came without any.
    pub new_token: Option<SecretString>,
    /// Whether it is known who that is: everybody but the holder of a token of an anonymous session.
    pub is_known: bool,
}

impl Caller {
    /// Everybody, where nobody signs in.
    pub fn local() -> Self {
        Self::known(Owner::local(), "local".to_owned(), Scope::of_users())
    }

    /// Whoever holds an API key that was made for this owner.
    pub fn with_key(key: &ApiKey) -> Self {
        Self::known(Owner::new(format!("key:{}", key.owner)), key.owner.clone(), key.scopes.clone())
    }

    /// A user of whoever holds an API key. No other key's users are among them.
    pub fn user_of_key(key: &ApiKey, user: &str) -> Self {
        let owner = Owner::new(format!("key:{}/{user}", key.owner));
        Self::known(owner, user.to_owned(), key.scopes.clone())
    }

    /// Somebody whom the OpenID provider knows by this subject.
    pub fn of_provider(subject: String) -> Self {
        Self::known(Owner::new(format!("oidc:{subject}")), subject, Scope::of_users())
    }

    /// Whoever holds the token of anonymous sessions.
    pub fn anonymous(token: &SessionToken) -> Self {
        let owner = token.owner();
        let user_id = owner.as_str().to_owned();
        let scopes = Scope::of_users();
        Self { owner, user_id, scopes, new_token: None, is_known: false }
    }

    /// Somebody new, with a token of anonymous sessions of their own.
    pub fn newcomer() -> Self {
        let token = SessionToken::new();
        Self { new_token: Some(SecretString::from(token.0.clone())), ..Self::anonymous(&token) }
    }

    fn known(owner: Owner, user_id: String, scopes: BTreeSet<Scope>) -> Self {
        Self { owner, user_id, scopes, new_token: None, is_known: true }
    }
}

/// What anonymous sessions belong to: whoever holds it is their owner.
pub struct SessionToken(String);

impl SessionToken {
    fn new() -> Self {
        Self(format!("{TOKEN_PREFIX}{}", new_secret()))
    }

    /// The token that a text is, if it has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let secret = text.strip_prefix(TOKEN_PREFIX)?;
        is_secret(secret).then(|| Self(text.to_owned()))
    }

    /// The owner that it stands for. Records never hold the token itself.
    pub fn owner(&self) -> Owner {
        Owner::new(format!("anonymous:{}", hex::encode(Sha256::digest(&self.0))))
    }
}

/// Without the token, which is a credential.
impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

/// A secret that nobody guesses, in the alphabet of URLs.
fn new_secret() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>())
}

/// Whether a text has the form of a secret that we made.
fn is_secret(text: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.decode(text).is_ok_and(|it| it.len() == SECRET_BYTES)
}
