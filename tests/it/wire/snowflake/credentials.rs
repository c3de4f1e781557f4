//! Who we are: tokens that are signed, given, read from files, refused and renewed.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{connect, statement};
use crate::support::snowflake_server::{Reply, SnowflakeServer};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use pkcs8::der::SecretDocument;
use pkcs8::pkcs5::pbes2;
use pkcs8::{LineEnding, PrivateKeyInfoRef};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::LazyLock;
use swimcoach::metadata::snowflake::key_pair::{Credentials, Secret};
use swimcoach::metadata::snowflake::sql_api::{SqlApi, SqlApiError, SqlApiSettings};
use swimcoach::upstream::UpstreamErrorKind;

const PASSPHRASE: &str = "Füße hoch";

/// A key of a user, made anew for every run.
struct Key {
    document: SecretDocument,
    public: Vec<u8>,
}

impl Key {
    fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let private = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let document = SecretDocument::try_from(private.as_ref()).unwrap();
        Self { document, public: public.as_ref().to_vec() }
    }

    fn pem(&self) -> String {
        self.document.to_pem("PRIVATE KEY", LineEnding::LF).unwrap().to_string()
    }

    /// In PBES2 with AES, as `openssl pkcs8 -topk8 -v2 aes256` writes it.
    fn encrypted_pem(&self) -> String {
        let parameters =
            pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(2, b"8 bytes!", [7; 16]).unwrap();
        let key = PrivateKeyInfoRef::try_from(self.document.as_bytes()).unwrap();
        let sealed = key.encrypt_with_params(parameters, PASSPHRASE).unwrap();
        sealed.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).unwrap().to_string()
    }

    /// What the token says, where this key signed it.
    fn claims(&self, authorization: &str) -> Option<Value> {
        let token = authorization.strip_prefix("Bearer ")?;
        // The public key itself stands 24 bytes into its envelope.
        let key = DecodingKey::from_rsa_der(&self.public[24..]);
        jsonwebtoken::decode(token, &key, &Validation::new(Algorithm::RS256)).ok().map(|it| it.claims)
    }
}

static KEY: LazyLock<Key> = LazyLock::new(Key::generate);
static OTHER_KEY: LazyLock<Key> = LazyLock::new(Key::generate);

fn key_pair(private_key: Secret, passphrase: Option<&str>) -> Credentials {
    Credentials::KeyPair {
        account: "myorg-my_account".to_owned(),
        user: "svc_user@example.com".to_owned(),
        private_key,
        passphrase: passphrase.map(Into::into),
    }
}

fn settings(server: &SnowflakeServer, credentials: Credentials) -> SqlApiSettings {
    SqlApiSettings { credentials, ..server.settings() }
}

fn file(path: &Path) -> Secret {
    Secret::File(path.to_owned())
}

#[tokio::test]
async fn a_token_names_account_user_and_key_and_lives_less_than_an_hour() {
    let server = SnowflakeServer::start([Reply::done(), Reply::done()]).await;
    let client = connect(&settings(&server, key_pair(Secret::Text(KEY.pem().into()), None)));

    client.execute("SELECT", &statement()).await.unwrap();
    client.execute("SELECT", &statement()).await.unwrap();

    let received = server.received();
    assert_eq!(received[0].header("x-snowflake-authorization-token-type"), Some("KEYPAIR_JWT"));
    let authorization = received[0].header("authorization").unwrap();
    let claims = KEY.claims(authorization).unwrap();
    let subject = "MYORG-MY_ACCOUNT.SVC_USER@EXAMPLE.COM";
    let fingerprint = BASE64_STANDARD.encode(Sha256::digest(&KEY.public));
    assert_eq!(claims["sub"], subject);
    assert_eq!(claims["iss"], format!("{subject}.SHA256:{fingerprint}"));
    let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((Utc::now().timestamp() - issued).abs() < 60);
    assert!((1..3600).contains(&(expires - issued)), "{claims}");
    assert_eq!(received[1].header("authorization"), Some(authorization), "not signed anew each time");
}

#[tokio::test]
async fn a_key_is_read_in_every_form_in_which_it_fits_into_a_setting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rsa_key.p8");
    std::fs::write(&path, KEY.encrypted_pem()).unwrap();
    let text = |it: String| Secret::Text(it.into());
    let one_line = KEY.pem().replace('\n', "\\n");
    for (private_key, passphrase) in [
        (text(KEY.pem()), None),
        (text(one_line), None),
        (text(BASE64_STANDARD.encode(KEY.pem())), None),
        (text(BASE64_STANDARD.encode(KEY.document.as_bytes())), None),
        (text(KEY.pem()), Some("not needed")),
        (text(KEY.encrypted_pem()), Some(PASSPHRASE)),
        (text(BASE64_STANDARD.encode(KEY.encrypted_pem())), Some(PASSPHRASE)),
        (file(&path), Some(PASSPHRASE)),
    ] {
        let server = SnowflakeServer::start([Reply::done()]).await;
        let client = connect(&settings(&server, key_pair(private_key, passphrase)));

        client.execute("SELECT", &statement()).await.unwrap();

        assert!(KEY.claims(server.received()[0].header("authorization").unwrap()).is_some());
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_refused_at_the_start_with_a_sentence() {
    let server = SnowflakeServer::start([]).await;
    let text = |it: &str| Secret::Text(it.to_owned().into());
    let pkcs1 = KEY.pem().replace("PRIVATE KEY", "RSA PRIVATE KEY");
    let cut_off: String = KEY.pem().lines().take(5).collect();
    for (credentials, word) in [
        (key_pair(text(&KEY.encrypted_pem()), None), "no passphrase"),
        (key_pair(text(&KEY.encrypted_pem()), Some("wrong")), "does not open"),
        (key_pair(text(&pkcs1), None), "openssl pkcs8 -topk8"),
        (key_pair(text(&cut_off), None), "broken PEM"),
        (key_pair(text("hello, world"), None), "neither PEM nor base64"),
        (key_pair(text("aGVsbG8="), None), "neither PEM nor PKCS#8"),
        (key_pair(file(Path::new("/no/such/key.p8")), None), "/no/such/key.p8 cannot be read"),
        (Credentials::AccessToken(text(" ")), "empty"),
        (Credentials::AccessToken(text("a\nb")), "characters"),
    ] {
        let error = SqlApi::connect(&settings(&server, credentials)).unwrap_err();

        assert_eq!(error.kind, UpstreamErrorKind::Unauthorized);
        let why = error.source.to_string();
        assert!(why.contains(word), "{why}");
        assert!(!why.contains("MII"), "{why}");
    }
}

#[tokio::test]
async fn a_key_that_was_exchanged_is_read_again_when_snowflake_refuses_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rsa_key.p8");
    std::fs::write(&path, KEY.pem()).unwrap();
    let server = SnowflakeServer::answering(|received| {
        match OTHER_KEY.claims(received.header("authorization").unwrap()) {
            Some(_) => Reply::done(),
            None => {
                Reply::unauthorized("390144", "JWT token is invalid. [0f2a1b3c-0000-4000-8000-000000000001]")
            }
        }
    })
    .await;
    let client = connect(&settings(&server, key_pair(file(&path), None)));

    std::fs::write(&path, OTHER_KEY.pem()).unwrap();
    client.execute("INSERT", &statement()).await.unwrap();
    client.execute("INSERT", &statement()).await.unwrap();

    let received = server.received();
    assert_eq!(received.len(), 3);
    assert_eq!(received[0].query("requestId"), received[1].query("requestId"));
}

#[tokio::test]
async fn an_oauth_token_that_was_renewed_in_its_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "old\n").unwrap();
    let replies = [Reply::unauthorized("390303", "Invalid OAuth access token."), Reply::done()];
    let server = SnowflakeServer::start(replies).await;
    let client = connect(&settings(&server, Credentials::OAuth(file(&path))));

    std::fs::write(&path, "new\n").unwrap();
    client.execute("SELECT", &statement()).await.unwrap();

    let received = server.received();
    let sent: Vec<_> = received.iter().map(|it| it.header("authorization").unwrap()).collect();
    assert_eq!(sent, ["Bearer old", "Bearer new"]);
    assert_eq!(received[0].header("x-snowflake-authorization-token-type"), Some("OAUTH"));
}

#[tokio::test]
async fn a_login_that_stays_refused_says_where_an_administrator_finds_why() {
    let id = "0f2a1b3c-0000-4000-8000-000000000001";
    let refused = || Reply::unauthorized("390144", &format!("JWT token is invalid. [{id}]"));
    let server = SnowflakeServer::start([refused(), refused()]).await;
    let client = connect(&settings(&server, key_pair(Secret::Text(KEY.pem().into()), None)));

    let error = client.execute("SELECT", &statement()).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::Unauthorized);
    assert_eq!(server.received().len(), 2, "one renewal and no more");
    let refusal = SqlApiError::behind(&error).unwrap();
    assert_eq!(refusal.login_failure_id(), Some(id.parse().unwrap()));
    let hint = format!("SELECT SYSTEM$GET_LOGIN_FAILURE_DETAILS('{id}')");
    assert!(refusal.to_string().contains(&hint), "{refusal}");
}

#[tokio::test]
async fn a_refusal_while_a_statement_is_polled_for_does_not_run_it_twice() {
    let refused = Reply::unauthorized("390144", "JWT token is invalid.");
    let server = SnowflakeServer::start([Reply::running(), refused, Reply::done()]).await;

    server.client().execute("INSERT", &statement()).await.unwrap();

    assert_eq!(server.received().iter().filter(|it| it.method == "POST").count(), 1);
}
