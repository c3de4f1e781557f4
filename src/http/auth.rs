//! In whose name a request acts, and what that caller may do.
//!
//! A handler takes one of the extractors here. Each proves that the caller has the scope it is named for, so none can
//! be forgotten.

use super::error::ApiError;
use crate::access::Scope;
use crate::session::Owner;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use std::collections::BTreeSet;

/// Who sends a request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// In whose name the request acts.
    pub(super) owner: Owner,
    /// What the caller may do.
    pub(super) scopes: BTreeSet<Scope>,
}

/// Finds out who sends a request; handlers and inner layers find the [`Caller`] in its extensions.
pub(super) async fn identify(mut request: Request, next: Next) -> Response {
    let caller = Caller { owner: Owner::local(), scopes: Scope::ALL.into() };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

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

macro_rules! scoped {
    ($($extractor:ident: $scope:ident,)*) => {$(
        impl<S: Send + Sync> FromRequestParts<S> for $extractor {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
                caller_with(parts, Scope::$scope).map(Self)
            }
        }
    )*};
}

scoped! {
    MayRead: Read,
    MayUpload: Upload,
    MayAsk: Ask,
    MayDelete: Delete,
}

/// The owner in whose name the request acts, if its caller has the scope.
fn caller_with(parts: &Parts, scope: Scope) -> Result<Owner, ApiError> {
    // A route that no layer finds the caller of lets nobody in.
    let caller = parts.extensions.get::<Caller>().ok_or(ApiError::Unauthenticated)?;
    if !caller.scopes.contains(&scope) {
        return Err(ApiError::MissingScope(scope));
    }
    Ok(caller.owner.clone())
}
