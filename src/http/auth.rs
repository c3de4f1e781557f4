//! In whose name a request acts, and what that caller may do.
//!
//! A handler takes one of the extractors here. Each proves that the caller has the scope it is named for, so none can
//! be forgotten.

use super::AppState;
use super::error::ApiError;
use super::layers::Named;
use crate::access::{Caller, Scope, SessionToken};
use crate::audit::{self, Deed};
use crate::identity::{Credentials, IdentityError};
use crate::session::Owner;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use std::convert::Infallible;

/// Where the first version's front end puts its key.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Whom a key acts for.
pub(super) const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
/// The token of anonymous sessions: given out with the first one, and sent to claim them.
pub(super) const SESSION_TOKEN: HeaderName = HeaderName::from_static("x-session-token");

/// What somebody may do who is nobody yet.
const MAKES_SESSIONS: [&str; 2] = ["/api/v1/analysis/upload", "/api/v1/sessions"];

/// A caller who may read.
#[derive(Debug)]
pub(super) struct MayRead(pub(super) Owner);

/// A caller who may upload.
#[derive(Debug)]
pub(super) struct MayUpload(pub(super) Owner);

/// A caller who may ask for what is paid for.
#[derive(Debug)]
pub(super) struct MayAsk(pub(super) Owner);

/// A caller who may delete.
#[derive(Debug)]
pub(super) struct MayDelete(pub(super) Owner);

/// A caller who may take everything out.
#[derive(Debug)]
pub(super) struct MayExport(pub(super) Owner);

macro_rules! scoped {
    ($($extractor:ident: $scope:ident,)*) => {$(
        impl<S: Send + Sync> FromRequestParts<S> for $extractor {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
                caller_with(parts, Scope::$scope).map(|it| Self(it.owner.clone()))
            }
        }
    )*};
}

scoped! {
    MayRead: Read,
    MayUpload: Upload,
    MayAsk: Ask,
    MayDelete: Delete,
    MayExport: Export,
}

/// A caller who may take an anonymous session, and whose that is until then.
#[derive(Debug)]
pub(super) struct MayClaim {
    /// Who claims it.
    pub(super) caller: Caller,
    /// The holder of the token that came with the request.
    pub(super) from: Owner,
}

impl<S: Send + Sync> FromRequestParts<S> for MayClaim {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let caller = caller_with(parts, Scope::Upload)?.clone();
        if !caller.is_known {
            return Err(IdentityError::Missing.into());
        }
        let token = text(&parts.headers, &SESSION_TOKEN).and_then(SessionToken::parse);
        // What is the caller's own already needs no token.
        let from = token.map_or_else(|| caller.owner.clone(), |it| it.owner());
        Ok(Self { caller, from })
    }
}

/// The token of the anonymous session that a request makes, for the body of its answer.
#[derive(Debug)]
pub(super) struct NewToken(pub(super) Option<SecretString>);

impl<S: Send + Sync> FromRequestParts<S> for NewToken {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get::<Caller>().and_then(|it| it.new_token.clone())))
    }
}

/// The caller, who has the scope.
fn caller_with(parts: &Parts, scope: Scope) -> Result<&Caller, ApiError> {
    // A route that no layer finds the caller of lets nobody in.
    let caller = parts.extensions.get::<Caller>().ok_or(IdentityError::Missing)?;
    if caller.scopes.contains(&scope) { Ok(caller) } else { Err(ApiError::MissingScope(scope)) }
}

/// Finds out who sends a request; handlers and inner layers find the [`Caller`] in its extensions. Somebody new is told
/// the token that their sessions belong to.
pub(super) async fn identify(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let caller = match caller(&app, &parts).await {
        Ok(caller) => caller,
        Err(refusal) => {
            super::extract::drain(Request::from_parts(parts, body)).await;
            return ApiError::from(refusal).into_response();
        }
    };
    let new_token = caller.new_token.clone();
    let mut audited = Audited::new(&caller, &parts);
    parts.extensions.insert(caller);
    let mut response = next.run(Request::from_parts(parts, body)).await;
    audited.status = Some(response.status());
    if response.status().is_success()
        && let Some(token) = new_token
        && let Ok(mut value) = HeaderValue::from_str(token.expose_secret())
    {
        value.set_sensitive(true);
        response.headers_mut().insert(SESSION_TOKEN, value);
    }
    response
}

/// What the audit says of a request once it is over, also when nobody waited for its end.
struct Audited {
    owner: Owner,
    action: String,
    path: String,
    request_id: String,
    status: Option<StatusCode>,
}

impl Audited {
    fn new(caller: &Caller, parts: &Parts) -> Self {
        let route = parts.extensions.get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
        let named = parts.extensions.get::<Named>();
        Self {
            owner: caller.owner.clone(),
            action: format!("{} {route}", parts.method),
            path: parts.uri.path().to_owned(),
            request_id: named.map(|it| it.request_id.clone()).unwrap_or_default(),
            status: None,
        }
    }
}

impl Drop for Audited {
    fn drop(&mut self) {
        let session = self.path.split('/').find_map(|it| it.parse().ok());
        audit::record(&Deed {
            owner: &self.owner,
            action: &self.action,
            session,
            object: &self.path,
            status: self.status.map(|it| it.as_u16()),
            request_id: &self.request_id,
        });
    }
}

async fn caller(app: &AppState, parts: &Parts) -> Result<Caller, IdentityError> {
    // Where nobody signs in, whatever a request brings means nothing.
    if !app.identity.signs_in() {
        return Ok(Caller::local());
    }
    let headers = &parts.headers;
    let route = parts.extensions.get::<MatchedPath>().map(|it| it.as_str().trim_end_matches('/'));
    let makes_sessions = parts.method == Method::POST && route.is_some_and(|it| MAKES_SESSIONS.contains(&it));
    let credentials = Credentials { token: token(headers)?, user: text(headers, &USER_ID) };
    app.identity.caller(credentials, makes_sessions).await
}

/// The key or token of a request. Two that differ are none: it is not known which of them counts.
fn token(headers: &HeaderMap) -> Result<Option<&str>, IdentityError> {
    let unreadable = IdentityError::Invalid("the header cannot be read, or names another scheme than Bearer");
    let mut tokens = Vec::new();
    for value in headers.get_all(header::AUTHORIZATION) {
        let value = value.to_str().ok().and_then(|it| it.split_once(' '));
        match value.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
            Some((_, token)) => tokens.push(token.trim()),
            None => return Err(unreadable),
        }
    }
    for value in headers.get_all(API_KEY) {
        match value.to_str() {
            Ok(key) => tokens.push(key.trim()),
            Err(_) => return Err(unreadable),
        }
    }
    tokens.dedup();
    match tokens[..] {
        [] => Ok(None),
        [token] => Ok(Some(token)),
        _ => Err(IdentityError::Invalid("there are two that differ")),
    }
}

/// A header's text. One that cannot be read or that is there twice must not count as none, so it is an empty one.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(if values.next().is_none() { first.to_str().unwrap_or_default() } else { "" })
}
