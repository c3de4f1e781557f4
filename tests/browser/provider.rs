//! An OpenID provider that knows one person, who agrees to everything at once.

use super::service::Service;
use aws_lc_rs::signature::Ed25519KeyPair;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tower_http::cors::CorsLayer;
use url::Url;

/// The client that the page is at the provider.
const CLIENT: &str = "the-page";
/// The name of the person.
pub(crate) const NAME: &str = "A swimmer";

const KEY_ID: &str = "key";

/// A provider on a port of its own, stopped with the runtime of the test.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) issuer: String,
}

struct Here {
    issuer: String,
    key: EncodingKey,
    /// What was asked for, by the code that was given for it. A code counts once.
    codes: Mutex<HashMap<String, HashMap<String, String>>>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let pkcs8 = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        let key = EncodingKey::from_ed_der(pkcs8.as_ref());
        let here = Here { issuer: issuer.clone(), key, codes: Mutex::default() };
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .layer(CorsLayer::permissive())
            .with_state(Arc::new(here));
        tokio::spawn(axum::serve(listener, app).into_future());
        Self { issuer }
    }

    /// A service to which it signs people in, and which has no model.
    pub(crate) async fn service(&self) -> Service {
        Service::start(&[
            ("SNOWFLAKE_MOCK_MODE", "true"),
            ("ANTHROPIC_MOCK_MODE", "true"),
            ("OIDC_ISSUER", &self.issuer),
            ("OIDC_AUDIENCE", CLIENT),
            ("OIDC_CLIENT_ID", CLIENT),
            ("OIDC_SCOPE", "openid profile"),
        ])
        .await
    }
}

async fn discovery(State(here): State<Arc<Here>>) -> Json<Value> {
    let at = |path: &str| format!("{}/{path}", here.issuer);
    Json(json!({
        "issuer": here.issuer, "jwks_uri": at("keys"),
        "authorization_endpoint": at("authorize"), "token_endpoint": at("token"),
    }))
}

async fn keys(State(here): State<Arc<Here>>) -> Json<Value> {
    let mut key = serde_json::to_value(Jwk::from_encoding_key(&here.key, Algorithm::EdDSA).unwrap()).unwrap();
    key["kid"] = json!(KEY_ID);
    Json(json!({ "keys": [key] }))
}

/// Sends the person back at once, with a code.
async fn authorize(
    State(here): State<Arc<Here>>,
    Query(asked): Query<HashMap<String, String>>,
) -> Result<Redirect, StatusCode> {
    let is_in_order = asked["response_type"] == "code"
        && asked["client_id"] == CLIENT
        && asked["code_challenge_method"] == "S256"
        && asked["scope"].split(' ').any(|it| it == "openid");
    if !is_in_order {
        return Err(StatusCode::BAD_REQUEST);
    }
    let mut codes = here.codes.lock().unwrap();
    let code = format!("code-{}", codes.len());
    let mut back = Url::parse(&asked["redirect_uri"]).unwrap();
    back.query_pairs_mut().append_pair("code", &code).append_pair("state", &asked["state"]);
    codes.insert(code, asked);
    Ok(Redirect::to(back.as_str()))
}

/// Gives tokens for a code to whoever knows what its challenge was made of.
async fn token(State(here): State<Arc<Here>>, body: String) -> Response {
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let asked = here.codes.lock().unwrap().remove(&form["code"]);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
    let asked = asked.filter(|it| {
        it["code_challenge"] == challenge
            && it["redirect_uri"] == form["redirect_uri"]
            && form["grant_type"] == "authorization_code"
            && form["client_id"] == CLIENT
    });
    let Some(asked) = asked else {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
    };
    let now = Utc::now().timestamp();
    let claims = json!({
        "iss": here.issuer, "sub": "user-1", "aud": CLIENT, "nonce": asked["nonce"], "name": NAME,
        "iat": now, "exp": now + 300,
    });
    let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::EdDSA) };
    let id_token = encode(&header, &claims, &here.key).unwrap();
    Json(json!({"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": id_token}))
        .into_response()
}
