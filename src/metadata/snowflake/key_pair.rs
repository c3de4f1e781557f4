//! Who we are to Snowflake: a token that is signed with a private key, or one that was handed to us.
//!
//! A token that we sign names the account, the user and the fingerprint of the public key, and Snowflake
//! takes it for an hour at most. Files are read again when Snowflake refuses what they held, so that keys
//! and tokens can be exchanged while the service runs. Source: docs.snowflake.com, "Authenticating to the
//! server".

use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pkcs8::der::SecretDocument;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt::{self, Debug};
use std::path::PathBuf;
use tokio::sync::Mutex;

/// How long a token that we sign may be used. Snowflake takes none for more than an hour, and what is left
/// of that is for clocks that differ.
const TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(59);
/// After this a new token is signed: a try that waits for its answer never outlives its token, and a clock
/// that is wrong by minutes does no harm.
const TOKEN_USED_FOR: TimeDelta = TimeDelta::minutes(5);

/// How we say who we are; exactly one of three ways.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Tokens signed with the private key of a user of the account.
    KeyPair {
        /// The account as [`AccountIdentifier`](super::account::AccountIdentifier) names it.
        account: String,
        /// The user's login name.
        user: String,
        /// An RSA key in PKCS#8: PEM, or base64 of PEM or DER.
        private_key: Secret,
        /// What opens the key where it is encrypted.
        passphrase: Option<SecretString>,
    },
    /// A programmatic access token.
    AccessToken(Secret),
    /// An OAuth access token that somebody else fetches and renews.
    OAuth(Secret),
}

/// A secret, or the file that holds it.
#[derive(Debug, Clone)]
pub enum Secret {
    /// The secret itself.
    Text(SecretString),
    /// A file that is read at the start, and again when Snowflake refuses what it held.
    File(PathBuf),
}

impl Secret {
    fn read(&self) -> Result<SecretString, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => std::fs::read_to_string(path)
                .map(SecretString::from)
                .map_err(|error| format!("{} cannot be read: {error}", path.display())),
        }
    }
}

/// Gives every request its `Authorization` header.
pub(super) struct Authorizer {
    credentials: Credentials,
    bearer: Mutex<Bearer>,
}

enum Bearer {
    Signed { key: SigningKey, token: Option<SignedToken> },
    Given(HeaderValue),
}

struct SignedToken {
    header: HeaderValue,
    at: DateTime<Utc>,
}

impl Authorizer {
    /// Reads the key or the token.
    pub(super) fn new(credentials: &Credentials) -> Result<Self, UpstreamError> {
        let bearer = Bearer::read(credentials).map_err(unusable)?;
        Ok(Self { credentials: credentials.clone(), bearer: Mutex::new(bearer) })
    }

    /// What `X-Snowflake-Authorization-Token-Type` says.
    pub(super) fn token_type(&self) -> &'static str {
        match self.credentials {
            Credentials::KeyPair { .. } => "KEYPAIR_JWT",
            Credentials::AccessToken(_) => "PROGRAMMATIC_ACCESS_TOKEN",
            Credentials::OAuth(_) => "OAUTH",
        }
    }

    /// The header for a request that is sent now.
    pub(super) async fn header(&self, now: DateTime<Utc>) -> Result<HeaderValue, UpstreamError> {
        match &mut *self.bearer.lock().await {
            Bearer::Given(header) => Ok(header.clone()),
            Bearer::Signed { key, token } => {
                // A clock that was set back must not keep a token in use.
                let fresh = |it: &&mut SignedToken| (it.at..it.at + TOKEN_USED_FOR).contains(&now);
                if let Some(token) = token.as_mut().filter(fresh) {
                    return Ok(token.header.clone());
                }
                let header = key.sign(now).map_err(unusable)?;
                *token = Some(SignedToken { header: header.clone(), at: now });
                Ok(header)
            }
        }
    }

    /// Reads the key or the token anew, because Snowflake refused this header; once for all requests that
    /// were refused with it.
    pub(super) async fn renew(&self, refused: &HeaderValue) {
        let mut bearer = self.bearer.lock().await;
        if bearer.current() != Some(refused) {
            return;
        }
        let credentials = self.credentials.clone();
        // Reading blocks, and opening an encrypted key is slow on purpose.
        let read = tokio::task::spawn_blocking(move || Bearer::read(&credentials)).await;
        match read.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(read) => *bearer = read,
            Err(why) => tracing::error!(why, "Snowflake's credentials were refused and cannot be read again"),
        }
    }
}

impl Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

impl Bearer {
    fn read(credentials: &Credentials) -> Result<Self, String> {
        match credentials {
            Credentials::KeyPair { account, user, private_key, passphrase } => {
                let key = SigningKey::read(account, user, &private_key.read()?, passphrase.as_ref())?;
                Ok(Self::Signed { key, token: None })
            }
            Credentials::AccessToken(token) | Credentials::OAuth(token) => {
                bearer(token.read()?.expose_secret().trim()).map(Self::Given)
            }
        }
    }

    fn current(&self) -> Option<&HeaderValue> {
        match self {
            Self::Given(header) => Some(header),
            Self::Signed { token, .. } => token.as_ref().map(|it| &it.header),
        }
    }
}

/// A private key, and what its tokens say.
struct SigningKey {
    key: EncodingKey,
    subject: String,
    issuer: String,
}

impl SigningKey {
    fn read(
        account: &str,
        user: &str,
        text: &SecretString,
        passphrase: Option<&SecretString>,
    ) -> Result<Self, String> {
        let der = private_key_der(text.expose_secret(), passphrase)?;
        let not_rsa =
            |why: &dyn fmt::Display| format!("the private key is no RSA key of 2048 bits or more: {why}");
        let pair = KeyPair::from_pkcs8(der.as_bytes()).map_err(|error| not_rsa(&error))?;
        let public = pair.public_key().as_der().map_err(|error| not_rsa(&error))?;
        let inner = PrivateKeyInfoRef::try_from(der.as_bytes()).map_err(|error| not_rsa(&error))?;
        let fingerprint = BASE64_STANDARD.encode(Sha256::digest(public.as_ref()));
        let subject = format!("{}.{}", account.replace('.', "-"), user).to_uppercase();
        Ok(Self {
            key: EncodingKey::from_rsa_der(inner.private_key.as_bytes()),
            issuer: format!("{subject}.SHA256:{fingerprint}"),
            subject,
        })
    }

    fn sign(&self, now: DateTime<Utc>) -> Result<HeaderValue, String> {
        let claims = json!({
            "iss": self.issuer,
            "sub": self.subject,
            "iat": now.timestamp(),
            "exp": (now + TOKEN_LIFETIME).timestamp(),
        });
        let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key);
        bearer(&token.map_err(|error| format!("the private key does not sign: {error}"))?)
    }
}

/// The key in unencrypted PKCS#8.
fn private_key_der(text: &str, passphrase: Option<&SecretString>) -> Result<SecretDocument, String> {
    let (encrypted, document) = decode(text)?;
    if !encrypted {
        return Ok(document);
    }
    let Some(passphrase) = passphrase else {
        return Err("the private key is encrypted and there is no passphrase".to_owned());
    };
    let sealed = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|error| format!("the private key is no PKCS#8: {error}"))?;
    sealed.decrypt(passphrase.expose_secret()).map_err(|error| {
        format!(
            "the passphrase does not open the private key, or the key is encrypted otherwise than with AES as \
             `openssl pkcs8 -topk8 -v2 aes256` does: {error}"
        )
    })
}

/// The document in PEM, or in base64 of PEM or DER, and whether it is encrypted.
fn decode(text: &str) -> Result<(bool, SecretDocument), String> {
    // Environment variables often hold PEM in one line.
    let text = text.trim().replace("\\n", "\n");
    if text.starts_with("-----BEGIN") {
        let (label, document) = SecretDocument::from_pem(&text)
            .map_err(|error| format!("the private key is broken PEM: {error}"))?;
        return match label {
            "PRIVATE KEY" => Ok((false, document)),
            "ENCRYPTED PRIVATE KEY" => Ok((true, document)),
            other => Err(format!(
                "the private key is a {other} and not in PKCS#8; `openssl pkcs8 -topk8 -in key.pem` makes it one"
            )),
        };
    }
    let compact: String = text.split_whitespace().collect();
    let bytes = BASE64_STANDARD
        .decode(compact)
        .map_err(|_no_base64| "the private key is neither PEM nor base64".to_owned())?;
    if let Ok(pem) = std::str::from_utf8(&bytes)
        && pem.trim_start().starts_with("-----BEGIN")
    {
        return decode(pem);
    }
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(bytes.as_slice()).is_ok();
    let document = SecretDocument::try_from(bytes)
        .map_err(|error| format!("the private key is base64 of neither PEM nor PKCS#8: {error}"))?;
    Ok((encrypted, document))
}

fn bearer(token: &str) -> Result<HeaderValue, String> {
    if token.is_empty() {
        return Err("the token is empty".to_owned());
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_bad_token| "the token has characters that no token has".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

fn unusable(why: String) -> UpstreamError {
    UpstreamError::new(
        Service::Records,
        "reading Snowflake's credentials",
        UpstreamErrorKind::Unauthorized,
        why,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::Pkcs8V1Der;
    use aws_lc_rs::rsa::KeySize;

    fn authorizer() -> Authorizer {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let document = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        let private_key = Secret::Text(BASE64_STANDARD.encode(document.as_ref()).into());
        let (account, user) = ("myorg-myaccount".to_owned(), "svc_user".to_owned());
        Authorizer::new(&Credentials::KeyPair { account, user, private_key, passphrase: None }).unwrap()
    }

    #[tokio::test]
    async fn a_token_is_used_for_a_while_and_a_new_one_is_signed_long_before_it_expires() {
        let authorizer = authorizer();
        let start = DateTime::from_timestamp(1_790_000_000, 0).unwrap();

        let first = authorizer.header(start).await.unwrap();

        let later = |by| authorizer.header(start + by);
        assert_eq!(later(TOKEN_USED_FOR - TimeDelta::seconds(1)).await.unwrap(), first);
        assert_ne!(later(TOKEN_USED_FOR).await.unwrap(), first);
        assert!(TOKEN_USED_FOR < TOKEN_LIFETIME / 2);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_makes_a_new_token() {
        let authorizer = authorizer();
        let start = DateTime::from_timestamp(1_790_000_000, 0).unwrap();

        let first = authorizer.header(start).await.unwrap();

        assert_ne!(authorizer.header(start - TimeDelta::hours(1)).await.unwrap(), first);
    }

    #[tokio::test]
    async fn of_many_requests_that_are_refused_with_one_token_the_first_renews_it() {
        let authorizer = authorizer();
        let start = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let refused = authorizer.header(start).await.unwrap();
        authorizer.renew(&refused).await;
        let renewed = authorizer.header(start + TimeDelta::seconds(1)).await.unwrap();

        authorizer.renew(&refused).await;

        let next = authorizer.header(start + TimeDelta::seconds(2)).await.unwrap();
        assert_ne!(renewed, refused);
        assert_eq!(next, renewed);
    }
}
