//! Tokens of an OpenID provider: JWTs that are signed with keys which the provider publishes.
//!
//! Which algorithm a token may be signed with is decided by the key, never by the token.

use super::IdentityError;
use crate::access::Caller;
use crate::upstream::{self, Service, UpstreamError, UpstreamErrorKind};
use bytes::BytesMut;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard, RwLock};
use tokio::time::Instant;
use url::Url;

/// How long the provider may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest document that is read from it, in bytes.
const MAX_DOCUMENT: usize = 1 << 20;
/// For how long keys are used before they are asked for again.
const FRESH: Duration = Duration::from_hours(1);
/// For how long keys are used while the provider cannot be reached.
const USABLE: Duration = Duration::from_hours(24);
/// How soon keys may be asked for again, also because tokens name ones that are not known.
const PAUSE: Duration = Duration::from_secs(30);
/// How soon they may be asked for again after the provider did not give them.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// By how much clocks may differ, in seconds.
const LEEWAY: u64 = 30;
/// The longest subject, in bytes.
const MAX_SUBJECT: usize = 255;
/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// An OpenID provider whose tokens count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// Who must have issued a token, exactly as tokens spell it.
    pub issuer: String,
    /// Whom a token must be for, where that is checked.
    pub audience: Option<String>,
    /// For which clients a token may have been issued (`azp`), where that is checked.
    pub authorized_parties: Vec<String>,
    /// Where the provider publishes its keys; asked of the provider when absent.
    pub jwks_url: Option<Url>,
}

/// Checks tokens with the keys of the provider.
#[derive(Debug)]
pub struct OidcProvider {
    settings: OidcSettings,
    http: reqwest::Client,
    keys: RwLock<Option<Arc<Keys>>>,
    /// Whose turn it is to ask for keys, and from when on they may be asked for.
    turn: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug)]
struct Keys {
    set: JwkSet,
    read_at: Instant,
}

#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    azp: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

#[derive(Debug, Deserialize)]
struct Published {
    keys: Vec<Value>,
}

impl OidcProvider {
    /// A provider that was not asked for anything yet.
    pub fn new(settings: OidcSettings) -> Result<Self, UpstreamError> {
        // Whoever answers in the provider's place by a redirect could give out keys of their own.
        let http = reqwest::Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build();
        let http = http.map_err(|error| failure("build", UpstreamErrorKind::Rejected, error))?;
        Ok(Self { settings, http, keys: RwLock::default(), turn: Arc::default() })
    }

    /// Whoever a token was issued to.
    pub(super) async fn caller(self: &Arc<Self>, token: &str) -> Result<Caller, IdentityError> {
        if MAX_TOKEN < token.len() {
            return Err(IdentityError::Invalid("the token is too long"));
        }
        let header = decode_header(token).map_err(|_no_jwt| IdentityError::Invalid("it is no JWT"))?;
        if header.crit.is_some() {
            return Err(IdentityError::Invalid("the token demands what is not understood here"));
        }
        let kid = header.kid.as_deref().ok_or(IdentityError::Invalid("the token names no key"))?;
        let jwk = self.key(kid).await?.ok_or(IdentityError::Invalid("the token names no known key"))?;
        if !fits(&jwk, header.alg) {
            return Err(IdentityError::Invalid("the algorithm of the token is not the key's"));
        }
        let key = DecodingKey::from_jwk(&jwk)
            .map_err(|_unusable| IdentityError::Invalid("the key cannot be used"))?;
        let claims = decode::<Claims>(token, &key, &self.validation(header.alg))
            .map_err(|_refused| IdentityError::Invalid("the token is not valid, or not valid now"))?
            .claims;
        let parties = &self.settings.authorized_parties;
        if !parties.is_empty() && claims.azp.is_none_or(|it| !parties.contains(&it)) {
            return Err(IdentityError::Invalid("the token was issued for another client"));
        }
        if claims.sub.is_empty() || MAX_SUBJECT < claims.sub.len() {
            return Err(IdentityError::Invalid("the token is about nobody"));
        }
        Ok(Caller::of_provider(claims.sub))
    }

    /// Asks for the keys.
    pub(super) async fn check(&self) -> Result<(), UpstreamError> {
        self.ask().await.map(drop)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.set_issuer(&[&self.settings.issuer]);
        match &self.settings.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".to_owned());
            }
            None => validation.validate_aud = false,
        }
        validation
    }

    /// The key of this id. One that is not known is asked for, since keys are rotated, but not at any time.
    async fn key(self: &Arc<Self>, kid: &str) -> Result<Option<Jwk>, UpstreamError> {
        let known = self.usable_keys().await;
        let found = known.as_ref().and_then(|it| it.set.find(kid).cloned());
        if found.is_some() && known.is_some_and(|it| it.read_at.elapsed() < FRESH) {
            return Ok(found);
        }
        let turn = match Arc::clone(&self.turn).try_lock_owned() {
            Ok(turn) => turn,
            // Somebody asks already, and what is known will do until they know more.
            Err(_taken) if found.is_some() => return Ok(found),
            Err(_taken) => Arc::clone(&self.turn).lock_owned().await,
        };
        let refreshed = self.refresh(turn).await;
        match self.usable_keys().await {
            Some(known) => Ok(known.set.find(kid).cloned()),
            None => refreshed.map(|()| None),
        }
    }

    async fn usable_keys(&self) -> Option<Arc<Keys>> {
        self.keys.read().await.clone().filter(|it| it.read_at.elapsed() < USABLE)
    }

    /// Asks for the keys, unless that was done a moment ago.
    async fn refresh(
        self: &Arc<Self>,
        mut turn: OwnedMutexGuard<Option<Instant>>,
    ) -> Result<(), UpstreamError> {
        if turn.is_some_and(|it| Instant::now() < it) {
            let why = "they could not be read a moment ago";
            let unknown = || failure("keys", UpstreamErrorKind::Unavailable, why);
            return self.usable_keys().await.map(drop).ok_or_else(unknown);
        }
        let provider = Arc::clone(self);
        // Whoever waits may go away. Nobody would ever have keys if that ended the asking.
        let asking = tokio::spawn(async move {
            let asked = provider.ask().await;
            let pause = if asked.is_ok() { PAUSE } else { PAUSE_AFTER_FAILURE };
            *turn = Some(Instant::now() + pause);
            let set = asked.inspect_err(|error| {
                tracing::warn!(%error, cause = %error.source, "the keys of the OpenID provider cannot be read");
            })?;
            *provider.keys.write().await = Some(Arc::new(Keys { set, read_at: Instant::now() }));
            Ok(())
        });
        asking.await.unwrap_or_else(|broken| Err(failure("keys", UpstreamErrorKind::Unavailable, broken)))
    }

    async fn ask(&self) -> Result<JwkSet, UpstreamError> {
        let jwks_url = match &self.settings.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let published: Published = self.read("keys", jwks_url).await?;
        // A kind of key that is not known yet must not cost those that are.
        let known = published.keys.into_iter().filter_map(|it| serde_json::from_value(it).ok());
        Ok(JwkSet { keys: known.collect() })
    }

    async fn discover(&self) -> Result<Url, UpstreamError> {
        const OPERATION: &str = "discovery";
        let issuer = self.settings.issuer.trim_end_matches('/');
        let url = Url::parse(&format!("{issuer}/.well-known/openid-configuration"))
            .map_err(|error| failure(OPERATION, UpstreamErrorKind::Rejected, error))?;
        let is_private = url.scheme() == "https";
        let found: Discovered = self.read(OPERATION, url).await?;
        if found.issuer.trim_end_matches('/') != issuer {
            let why = "the document there is another issuer's";
            return Err(failure(OPERATION, UpstreamErrorKind::InvalidResponse, why));
        }
        let jwks_url = Url::parse(&found.jwks_uri)
            .map_err(|error| failure(OPERATION, UpstreamErrorKind::InvalidResponse, error))?;
        if is_private && jwks_url.scheme() != "https" {
            let why = "the keys are where others could change them: their URL is not https";
            return Err(failure(OPERATION, UpstreamErrorKind::InvalidResponse, why));
        }
        Ok(jwks_url)
    }

    async fn read<T: DeserializeOwned>(&self, operation: &'static str, url: Url) -> Result<T, UpstreamError> {
        let transport = |error| upstream::transport(Service::Provider, operation, error);
        let mut answer = self.http.get(url).send().await.map_err(transport)?;
        if !answer.status().is_success() {
            let kind = match answer.status().as_u16() {
                404 => UpstreamErrorKind::NotFound,
                429 | 500.. => UpstreamErrorKind::Unavailable,
                _ => UpstreamErrorKind::Rejected,
            };
            return Err(failure(operation, kind, format!("it answered {}", answer.status())));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(transport)? {
            if MAX_DOCUMENT < body.len() + chunk.len() {
                return Err(failure(
                    operation,
                    UpstreamErrorKind::InvalidResponse,
                    "the document is too large",
                ));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body)
            .map_err(|error| failure(operation, UpstreamErrorKind::InvalidResponse, error))
    }
}

/// Whether tokens that are signed with a key may say that they use this algorithm.
fn fits(jwk: &Jwk, algorithm: Algorithm) -> bool {
    use Algorithm as A;
    let is_for_signatures =
        jwk.common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    let of_kind = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => {
            matches!(algorithm, A::RS256 | A::RS384 | A::RS512 | A::PS256 | A::PS384 | A::PS512)
        }
        AlgorithmParameters::EllipticCurve(it) => match it.curve {
            EllipticCurve::P256 => algorithm == A::ES256,
            EllipticCurve::P384 => algorithm == A::ES384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(_) => algorithm == A::EdDSA,
        // A secret that is published is none.
        _ => false,
    };
    let named = jwk.common.key_algorithm.as_ref().map(ToString::to_string);
    is_for_signatures && of_kind && named.is_none_or(|it| it == format!("{algorithm:?}"))
}

fn failure(
    operation: &'static str,
    kind: UpstreamErrorKind,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> UpstreamError {
    UpstreamError::new(Service::Provider, operation, kind, source)
}
