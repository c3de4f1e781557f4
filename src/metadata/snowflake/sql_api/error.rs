//! What a failure of the SQL API means to us.

use crate::upstream::{self, Service, UpstreamError, UpstreamErrorKind};
use reqwest::StatusCode;
use serde::Deserialize;
use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::time::Duration;
use uuid::Uuid;

/// A refusal in Snowflake's words: the source of an [`UpstreamError`].
///
/// What it prints leaves out messages that quote values, since those are what swimmers wrote.
#[derive(Clone, PartialEq, Eq)]
pub struct SqlApiError {
    /// The HTTP status.
    pub status: u16,
    /// Snowflake's own code, such as `002003`.
    pub code: Option<String>,
    /// The SQL standard's code, such as `42S02`.
    pub sql_state: Option<String>,
    /// What Snowflake says; empty where the body was not its own.
    pub message: String,
    /// The statement in Snowflake's history.
    pub query_id: Option<String>,
}

impl SqlApiError {
    /// The refusal behind a failure, where there was one.
    pub fn behind(error: &UpstreamError) -> Option<&Self> {
        error.source.downcast_ref()
    }

    /// The id under which an administrator finds why a login failed.
    pub fn login_failure_id(&self) -> Option<Uuid> {
        let (_, id) = self.message.rsplit_once('[')?;
        id.split_once(']')?.0.parse().ok()
    }

    /// Whether it is a database or a schema that does not exist. One code stands for every sort of object; the
    /// message names it first.
    pub fn is_about_schema(&self) -> bool {
        ["Database '", "Schema '"].iter().any(|it| self.message.contains(it))
    }

    fn quotes_values(&self) -> bool {
        // Errors of execution quote what was bound; errors of compilation, names and our own SQL.
        let starts = |it: &Option<String>, prefix| it.as_deref().is_some_and(|it| it.starts_with(prefix));
        let general = self.sql_state.as_deref() == Some("22000");
        starts(&self.code, "100") || starts(&self.sql_state, "22") && !general
    }
}

impl Display for SqlApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        let details = [("code", &self.code), ("SQLSTATE", &self.sql_state), ("query id", &self.query_id)];
        for (name, value) in details {
            if let Some(value) = value {
                write!(f, ", {name} {value}")?;
            }
        }
        if !self.message.is_empty() && !self.quotes_values() {
            let words: Vec<&str> = self.message.split_whitespace().collect();
            write!(f, ": {}", words.join(" "))?;
        }
        match self.login_failure_id() {
            Some(id) => {
                write!(f, "; an administrator sees why: SELECT SYSTEM$GET_LOGIN_FAILURE_DETAILS('{id}')")
            }
            None => Ok(()),
        }
    }
}

impl Debug for SqlApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlApiError({self})")
    }
}

impl Error for SqlApiError {}

/// The body of every answer that is no result: a gateway's page has none of this.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct QueryStatus {
    pub(super) code: Option<String>,
    pub(super) sql_state: Option<String>,
    pub(super) message: Option<String>,
    pub(super) statement_handle: Option<String>,
}

/// What a status that is no success, and its body, mean.
pub(super) fn refusal(
    operation: &'static str,
    status: StatusCode,
    retry_after: Option<Duration>,
    body: &[u8],
) -> UpstreamError {
    let said: QueryStatus = serde_json::from_slice(body).unwrap_or_default();
    let kind = kind(status.as_u16(), said.code.as_deref(), said.sql_state.as_deref(), retry_after);
    let source = SqlApiError {
        status: status.as_u16(),
        code: said.code,
        sql_state: said.sql_state,
        message: said.message.unwrap_or_default(),
        query_id: said.statement_handle,
    };
    UpstreamError::new(Service::Records, operation, kind, source)
}

fn kind(
    status: u16,
    code: Option<&str>,
    sql_state: Option<&str>,
    retry_after: Option<Duration>,
) -> UpstreamErrorKind {
    match status {
        401 | 403 => UpstreamErrorKind::Unauthorized,
        404 => UpstreamErrorKind::NotFound,
        408 => UpstreamErrorKind::Timeout,
        413 => UpstreamErrorKind::TooLarge,
        422 => statement_kind(code.unwrap_or_default(), sql_state.unwrap_or_default()),
        429 => UpstreamErrorKind::RateLimited { retry_after },
        500..=599 => UpstreamErrorKind::Unavailable,
        // A success without a result, since that is too large.
        200 if code == Some("391908") => UpstreamErrorKind::TooLarge,
        // A redirect is not followed, since the token must not be.
        200..=399 => UpstreamErrorKind::InvalidResponse,
        _ => UpstreamErrorKind::Rejected,
    }
}

/// What it means that a statement failed.
fn statement_kind(code: &str, sql_state: &str) -> UpstreamErrorKind {
    match (code, sql_state) {
        // Too many statements wait for the same table.
        ("000625", _) => UpstreamErrorKind::Unavailable,
        // The warehouse cannot be resumed because its resource monitor's quota is used up.
        ("090073", _) => UpstreamErrorKind::Exhausted,
        // No such object, no warehouse, no database, no schema: what a setting names does not exist for this role.
        ("002003" | "002043" | "000606" | "090105" | "090106", _) => UpstreamErrorKind::NotFound,
        ("003001", _) | (_, "42501") => UpstreamErrorKind::Unauthorized,
        // It was cancelled, by its own limit of time or by somebody.
        (_, "57014") => UpstreamErrorKind::Timeout,
        _ => UpstreamErrorKind::Rejected,
    }
}

/// A request that did not come through, or an answer that broke off.
pub(super) fn transport(operation: &'static str, error: reqwest::Error) -> UpstreamError {
    upstream::transport(Service::Records, operation, error)
}

/// An answer that we do not understand.
pub(super) fn invalid(operation: &'static str, why: impl Into<String>) -> UpstreamError {
    UpstreamError::new(Service::Records, operation, UpstreamErrorKind::InvalidResponse, why.into())
}
