//! Tokens of an OpenID provider, against one that runs in this process.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::app::TestApp;
use crate::support::eventually::eventually;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _,
};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use swimcoach::config::Settings;
use swimcoach::doctor;
use swimcoach::identity::OidcSettings;
use swimcoach::run::Parts;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PAGE: &str = "https://coach.example";

/// A key that signs tokens.
struct Signer {
    kid: &'static str,
    private: EncodingKey,
    /// The public key as a PEM text, which a forger knows.
    public: String,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let pem = |label: &str, der: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
        };
        let private = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).unwrap();
        Self { kid, private, public: pem("PUBLIC KEY", public.as_ref()) }
    }

    fn jwk(&self) -> Value {
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.private, Algorithm::RS256).unwrap()).unwrap();
        jwk["kid"] = json!(self.kid);
        jwk
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::RS256) };
        encode(&header, claims, &self.private).unwrap()
    }
}

/// The two keys of all tests; making one takes a while.
fn signers() -> &'static [Signer; 2] {
    static SIGNERS: OnceLock<[Signer; 2]> = OnceLock::new();
    SIGNERS.get_or_init(|| [Signer::new("first"), Signer::new("second")])
}

/// A provider that publishes keys.
struct Provider {
    issuer: String,
    keys: Arc<Mutex<(Value, usize)>>,
    /// While it is true, nobody is given the keys.
    holds: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Provider {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new((json!({"keys": [signers()[0].jwk()]}), 0)));
        let holds = watch::Sender::new(false);
        let is_held = holds.subscribe();
        let (published, discovered) = (Arc::clone(&keys), issuer.clone());
        let app = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(async move || {
                    Json(json!({"issuer": discovered, "jwks_uri": format!("{discovered}/jwks")}))
                }),
            )
            .route(
                "/jwks",
                get(async move || {
                    published.lock().unwrap().1 += 1;
                    is_held.clone().wait_for(|it| !it).await.unwrap();
                    Json(published.lock().unwrap().0.clone())
                }),
            );
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { issuer, keys, holds, serving }
    }

    fn publish(&self, keys: &Value) {
        self.keys.lock().unwrap().0 = json!({"keys": keys});
    }

    /// How often its keys were asked for.
    fn asked(&self) -> usize {
        self.keys.lock().unwrap().1
    }

    /// A service that takes its tokens, as Clerk issues them for a page.
    fn service(&self) -> TestApp {
        self.service_with(None, &[PAGE])
    }

    fn service_with(&self, audience: Option<&str>, parties: &[&str]) -> TestApp {
        let issuer = self.issuer.clone();
        TestApp::with(|it| {
            it.access.oidc = Some(OidcSettings {
                issuer,
                audience: audience.map(str::to_owned),
                authorized_parties: parties.iter().map(|it| (*it).to_owned()).collect(),
                jwks_url: None,
            });
        })
    }

    /// Claims that are in order for the next minute.
    fn claims(&self) -> Value {
        let now = Utc::now().timestamp();
        json!({"iss": self.issuer, "sub": "user_2abc", "azp": PAGE, "iat": now, "nbf": now, "exp": now + 60})
    }
}

fn but(mut claims: Value, name: &str, value: Value) -> Value {
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

/// Lets time pass at once. It stands still no longer than that, so that nothing on the wire comes too late.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

async fn status(app: &TestApp, token: &str) -> StatusCode {
    app.with_token(token).get("/api/v1/sessions").await.status
}

#[tokio::test]
async fn a_token_of_the_provider_opens_the_sessions_of_its_subject() {
    let provider = Provider::start().await;
    let app = provider.service();
    let token = signers()[0].sign(&provider.claims());
    let member = app.with_token(&token);

    let session = member.uploaded(crate::support::form::Form::frames(1)).await;
    let later = signers()[0].sign(&but(provider.claims(), "exp", json!(Utc::now().timestamp() + 90)));
    let of_another = signers()[0].sign(&but(provider.claims(), "sub", json!("user_2abd")));

    assert_eq!(member.show(&session).await.status, StatusCode::OK);
    assert_eq!(status(&member, &later).await, StatusCode::OK);
    let stranger = app.with_token(&of_another).show(&session).await;
    stranger.problem(StatusCode::NOT_FOUND, "session_not_found");
}

#[tokio::test]
async fn a_token_that_is_not_wholly_in_order_opens_nothing() {
    let provider = Provider::start().await;
    let app = provider.service();
    let (claims, now) = (provider.claims(), Utc::now().timestamp());
    let [signer, stranger] = signers();
    let unsigned = {
        let part = |it: &Value| BASE64_URL_SAFE_NO_PAD.encode(it.to_string());
        format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT", "kid": "first"})), part(&claims))
    };
    let with_public_key = {
        let header = Header { kid: Some("first".to_owned()), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims, &EncodingKey::from_secret(signer.public.as_bytes())).unwrap()
    };
    let forged = {
        let header = Header { kid: Some("first".to_owned()), ..Header::new(Algorithm::RS256) };
        encode(&header, &claims, &stranger.private).unwrap()
    };
    let other_algorithm = {
        let header = Header { kid: Some("first".to_owned()), ..Header::new(Algorithm::RS512) };
        encode(&header, &claims, &signer.private).unwrap()
    };
    let demanding = {
        let header = Header {
            kid: Some("first".to_owned()),
            crit: Some(vec!["b64".to_owned()]),
            ..Header::new(Algorithm::RS256)
        };
        encode(&header, &claims, &signer.private).unwrap()
    };
    let nameless = encode(&Header::new(Algorithm::RS256), &claims, &signer.private).unwrap();
    let whole = signer.sign(&claims);
    assert_eq!(status(&app, &whole).await, StatusCode::OK);

    for (what, token) in [
        ("another issuer", signer.sign(&but(claims.clone(), "iss", json!("https://evil.example")))),
        ("no issuer", signer.sign(&but(claims.clone(), "iss", Value::Null))),
        ("another page", signer.sign(&but(claims.clone(), "azp", json!("https://evil.example")))),
        ("no page", signer.sign(&but(claims.clone(), "azp", Value::Null))),
        ("expired", signer.sign(&but(claims.clone(), "exp", json!(now - 40)))),
        ("no end", signer.sign(&but(claims.clone(), "exp", Value::Null))),
        ("not yet valid", signer.sign(&but(claims.clone(), "nbf", json!(now + 120)))),
        ("no subject", signer.sign(&but(claims.clone(), "sub", Value::Null))),
        ("an empty subject", signer.sign(&but(claims.clone(), "sub", json!("")))),
        ("unsigned", unsigned),
        ("signed with the public key as a secret", with_public_key),
        ("signed by another key", forged),
        ("an algorithm that is not the key's", other_algorithm),
        ("a demand that is not understood", demanding),
        ("no key named", nameless),
        ("an unknown key", stranger.sign(&claims)),
        ("cut", whole.rsplit_once('.').unwrap().0.to_owned()),
        ("changed", whole.replacen('.', ".e", 1)),
        ("no token", "a.b.c".to_owned()),
        ("too long", format!("{whole}{}", "A".repeat(9_000))),
    ] {
        let reply = app.with_token(&token).get("/api/v1/sessions").await;

        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{what}");
        reply.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    }
}

#[tokio::test]
async fn a_token_must_be_for_the_audience_where_one_is_set() {
    let provider = Provider::start().await;
    let app = provider.service_with(Some("swimcoach"), &[]);
    let with = |audience: Value| signers()[0].sign(&but(provider.claims(), "aud", audience));

    assert_eq!(status(&app, &with(json!("swimcoach"))).await, StatusCode::OK);
    assert_eq!(status(&app, &with(json!(["others", "swimcoach"]))).await, StatusCode::OK);
    for audience in [json!("others"), json!([]), Value::Null] {
        assert_eq!(status(&app, &with(audience.clone())).await, StatusCode::UNAUTHORIZED, "{audience}");
    }
}

#[tokio::test]
async fn keys_that_are_rotated_are_found_and_unknown_ones_do_not_make_us_ask_again_and_again() {
    let provider = Provider::start().await;
    let app = provider.service();
    let [first, second] = signers();
    let [old, new] = [first, second].map(|it| it.sign(&provider.claims()));
    assert_eq!(status(&app, &old).await, StatusCode::OK);

    for _ in 0..20 {
        assert_eq!(status(&app, &new).await, StatusCode::UNAUTHORIZED);
    }
    let asked = provider.asked();
    provider.publish(&json!([second.jwk()]));
    pass(Duration::from_secs(31)).await;

    assert_eq!(asked, 1);
    assert_eq!(status(&app, &new).await, StatusCode::OK);
    assert_eq!(status(&app, &old).await, StatusCode::UNAUTHORIZED);
    assert_eq!(provider.asked(), 2);
}

#[tokio::test]
async fn keys_are_read_although_whoever_waited_for_them_went_away() {
    let provider = Provider::start().await;
    let app = provider.service();
    let token = signers()[0].sign(&provider.claims());
    provider.holds.send_replace(true);

    tokio::select! {
        status = status(&app, &token) => panic!("it was answered {status}"),
        () = eventually("the keys are asked for", async || (provider.asked() == 1).then_some(())) => {}
    }
    provider.holds.send_replace(false);

    assert_eq!(status(&app, &token).await, StatusCode::OK);
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn while_keys_are_asked_for_again_the_known_ones_count() {
    let provider = Provider::start().await;
    let app = provider.service();
    let end = Utc::now().timestamp() + 86_400;
    let token = signers()[0].sign(&but(provider.claims(), "exp", json!(end)));
    assert_eq!(status(&app, &token).await, StatusCode::OK);
    pass(Duration::from_hours(2)).await;
    provider.holds.send_replace(true);

    let mut first = Box::pin(status(&app, &token));
    tokio::select! {
        status = &mut first => panic!("it was answered {status}"),
        () = eventually("the keys are asked for", async || (provider.asked() == 2).then_some(())) => {}
    }
    let second = status(&app, &token).await;
    provider.holds.send_replace(false);

    assert_eq!((first.await, second), (StatusCode::OK, StatusCode::OK));
}

#[tokio::test]
async fn a_provider_that_was_down_for_a_moment_is_asked_again_soon() {
    let provider = Provider::start().await;
    let app = provider.service();
    let token = signers()[0].sign(&provider.claims());
    provider.keys.lock().unwrap().0 = json!("no keys");
    assert_eq!(status(&app, &token).await, StatusCode::BAD_GATEWAY);

    provider.publish(&json!([signers()[0].jwk()]));
    let at_once = status(&app, &token).await;
    pass(Duration::from_secs(6)).await;

    assert_eq!(at_once, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status(&app, &token).await, StatusCode::OK);
}

#[tokio::test]
async fn while_the_provider_is_down_known_keys_count_for_a_day_and_without_any_nobody_is_let_in() {
    let provider = Provider::start().await;
    let (known, unknown) = (provider.service(), provider.service());
    let token = {
        let end = Utc::now().timestamp() + 3 * 86_400;
        signers()[0].sign(&but(provider.claims(), "exp", json!(end)))
    };
    assert_eq!(status(&known, &token).await, StatusCode::OK);
    provider.serving.abort();
    let down = unknown.with_token(&token).get("/api/v1/sessions").await;

    pass(Duration::from_hours(2)).await;
    let after_hours = status(&known, &token).await;
    pass(Duration::from_hours(23)).await;
    let after_a_day = status(&known, &token).await;

    down.problem(StatusCode::SERVICE_UNAVAILABLE, "sign_in_unavailable");
    assert_eq!(after_hours, StatusCode::OK);
    assert_eq!(after_a_day, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_key_that_is_no_signers_is_not_used() {
    let provider = Provider::start().await;
    let secret = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
    let mut for_encryption = signers()[0].jwk();
    for_encryption["use"] = json!("enc");
    provider.publish(&json!([
        {"kty": "oct", "kid": "shared", "k": secret, "alg": "HS256"},
        for_encryption,
    ]));
    let app = provider.service();
    let header = Header { kid: Some("shared".to_owned()), ..Header::new(Algorithm::HS256) };
    let shared = encode(&header, &provider.claims(), &EncodingKey::from_secret(&[7; 32])).unwrap();

    assert_eq!(status(&app, &shared).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&app, &signers()[0].sign(&provider.claims())).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_key_of_a_kind_that_is_not_known_does_not_cost_the_others() {
    let provider = Provider::start().await;
    let new = json!({"kty": "AKP", "kid": "new", "alg": "ML-DSA-65", "pub": "AAAA"});
    provider.publish(&json!([new, {"kid": "broken"}, signers()[0].jwk()]));
    let app = provider.service();

    assert_eq!(status(&app, &signers()[0].sign(&provider.claims())).await, StatusCode::OK);
}

#[tokio::test]
async fn keys_of_every_kind_that_is_promised_count() {
    let provider = Provider::start().await;
    let pem = |pkcs8: &[u8]| {
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64_STANDARD.encode(pkcs8))
    };
    let elliptic = |curve: &'static EcdsaSigningAlgorithm| {
        let pair = EcdsaKeyPair::generate(curve).unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        EncodingKey::from_ec_pem(pem(pkcs8.as_ref()).as_bytes()).unwrap()
    };
    let edwards = {
        let pkcs8 = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        EncodingKey::from_ed_pem(pem(pkcs8.as_ref()).as_bytes()).unwrap()
    };
    let keys = [
        (Algorithm::ES256, elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING)),
        (Algorithm::ES384, elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING)),
        (Algorithm::EdDSA, edwards),
    ];
    let name = |algorithm: Algorithm| format!("{algorithm:?}");
    let published: Vec<Value> = keys
        .iter()
        .map(|(algorithm, key)| {
            let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, *algorithm).unwrap()).unwrap();
            jwk["kid"] = json!(name(*algorithm));
            jwk
        })
        .collect();
    provider.publish(&json!(published));
    let app = provider.service();

    for (algorithm, key) in keys {
        let header = Header { kid: Some(name(algorithm)), ..Header::new(algorithm) };
        let token = encode(&header, &provider.claims(), &key).unwrap();

        assert_eq!(status(&app, &token).await, StatusCode::OK, "{algorithm:?}");
    }
}

#[tokio::test]
async fn doctor_asks_the_provider_for_its_keys_and_names_the_setting_behind_one_that_has_none() {
    let provider = Provider::start().await;
    let somewhere_else = format!("{}/nowhere", provider.issuer);
    let mut told = Vec::new();
    for issuer in [&provider.issuer, &somewhere_else] {
        let settings = Settings::load(&|name| match name {
            "R2_MOCK_MODE" | "SNOWFLAKE_MOCK_MODE" | "ANTHROPIC_MOCK_MODE" => Some("true".to_owned()),
            "OIDC_ISSUER" => Some(issuer.clone()),
            "OIDC_AUTHORIZED_PARTIES" => Some(PAGE.to_owned()),
            _ => None,
        });
        let settings = settings.unwrap();
        let parts = Parts::build_beside(&settings).await.unwrap();
        let mut out = Vec::new();

        let is_well = doctor::examine(&settings, &parts, &mut out).await.unwrap();

        told.push((is_well, String::from_utf8(out).unwrap()));
    }

    assert!(told[0].0 && told[0].1.contains("  ok: the keys of the OpenID provider"), "{told:?}");
    assert!(!told[1].0 && told[1].1.contains("set OIDC_JWKS_URL"), "{told:?}");
}
