//! In whose name a request acts.

use crate::session::Owner;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;

/// The owner in whose name a request acts. This version has no sign-in, so it is always the local one,
/// and the service listens only where that is safe (see `HOST` in [`crate::config`]).
#[derive(Debug)]
pub(super) struct Caller(pub(super) Owner);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(_parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Owner::local()))
    }
}
