//! Who sends a request, found out from what it brings: an API key, a token of an OpenID provider, or the token of
//! anonymous sessions.
//!
//! What cannot be checked is not let in: records that do not answer, a provider that was never reached.

mod keys;
mod oidc;

pub use keys::{KeyRing, KeyRingError};
pub use oidc::{OidcProvider, OidcSettings};

use crate::access::{Caller, PresentedKey, Scope, SessionToken};
use crate::metadata::SessionStore;
use crate::upstream::UpstreamError;
use std::sync::Arc;
use thiserror::Error;

/// Longest name of a user that a key may act for, in characters.
const MAX_USER: usize = 128;

/// How callers may sign in; nobody does when neither keys nor a provider are set.
#[derive(Debug, Clone, Default)]
pub struct AccessSettings {
    /// Whether API keys count.
    pub api_keys: bool,
    /// The OpenID provider whose tokens count.
    pub oidc: Option<OidcSettings>,
    /// Whether sessions may be made without signing in, which then belong to a token.
    pub anonymous: bool,
}

impl AccessSettings {
    /// Whether callers must say who they are.
    pub fn signs_in(&self) -> bool {
        self.api_keys || self.oidc.is_some()
    }
}

/// What a request brings to say who sends it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Credentials<'a> {
    /// The token behind `Authorization: Bearer`, or the value of `X-API-Key`.
    pub token: Option<&'a str>,
    /// The value of `X-User-Id`.
    pub user: Option<&'a str>,
}

/// Why a caller is not let in.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The request says nothing, and this is nothing that may be done so.
    #[error("say who you are: send a key or a token as Authorization: Bearer")]
    Missing,
    /// What it says is not true, or is no more. Which of the two is for the log.
    #[error("the key or token is not one that counts here, or counts no more")]
    Invalid(&'static str),
    /// `X-User-Id` names somebody else, and the caller may not act for others.
    #[error(
        "X-User-Id may only be sent with a key that has the scope impersonate; leave it out, or use such a key"
    )]
    MayNotImpersonate,
    /// `X-User-Id` is no name of a user.
    #[error("X-User-Id is a name of 1 to {MAX_USER} visible ASCII characters")]
    InvalidUser,
    /// It cannot be found out now.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

/// Finds out who sends a request.
#[derive(Debug, Clone)]
pub struct Identity {
    keys: Option<KeyRing>,
    provider: Option<Arc<OidcProvider>>,
    anonymous: bool,
}

impl Identity {
    /// The ways in that the settings choose. Nothing is asked yet.
    pub fn new(settings: &AccessSettings, sessions: Arc<dyn SessionStore>) -> Result<Self, UpstreamError> {
        Ok(Self {
            keys: settings.api_keys.then(|| KeyRing::new(sessions)),
            provider: settings.oidc.clone().map(OidcProvider::new).transpose()?.map(Arc::new),
            anonymous: settings.anonymous && settings.signs_in(),
        })
    }

    /// Whether callers must say who they are; otherwise everybody is [`Caller::local`].
    pub fn signs_in(&self) -> bool {
        self.keys.is_some() || self.provider.is_some()
    }

    /// Who sends a request. `makes_sessions` says whether it is one that somebody may send who is nobody yet.
    pub async fn caller(
        &self,
        credentials: Credentials<'_>,
        makes_sessions: bool,
    ) -> Result<Caller, IdentityError> {
        let Some(token) = credentials.token else {
            let may_come = self.anonymous && makes_sessions && credentials.user.is_none();
            return if may_come { Ok(Caller::newcomer()) } else { Err(IdentityError::Missing) };
        };
        if let (Some(keys), Some(presented)) = (&self.keys, PresentedKey::parse(token)) {
            return keys.caller(&presented, credentials.user).await;
        }
        if let Some(token) = SessionToken::parse(token).filter(|_| self.anonymous) {
            return own_name(Caller::anonymous(&token), credentials.user);
        }
        match &self.provider {
            Some(provider) => own_name(provider.caller(token).await?, credentials.user),
            None => Err(IdentityError::Invalid("it has not the form of a key")),
        }
    }

    /// Asks the provider for its keys, where there is one.
    pub async fn check(&self) -> Result<(), UpstreamError> {
        match &self.provider {
            Some(provider) => provider.check().await,
            None => Ok(()),
        }
    }
}

/// The caller, who may name nobody else.
fn own_name(caller: Caller, user: Option<&str>) -> Result<Caller, IdentityError> {
    match user {
        Some(user) if user != caller.user_id => Err(IdentityError::MayNotImpersonate),
        _ => Ok(caller),
    }
}

/// Whether a text can be the name of a user that a key acts for.
fn is_user(text: &str) -> bool {
    (1..=MAX_USER).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic())
}
