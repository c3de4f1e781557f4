//! How values of the domain are written into columns and read from them.
//!
//! A value that a column cannot hold is refused when it is bound, and a column that holds no such value is
//! an error when it is read: nothing is clipped or guessed.

use chrono::{DateTime, Utc};
use rusqlite::Error;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::de::IntoDeserializer;
use serde::de::value::Error as WordError;
use serde::{Deserialize, Serialize};

/// A value whose name on the wire is one string, kept as that string: an id, a stroke, a status.
#[derive(Debug)]
pub(in crate::metadata) struct Word<T>(pub(in crate::metadata) T);

impl<T: Serialize> ToSql for Word<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match serde_json::to_value(&self.0) {
            Ok(serde_json::Value::String(word)) => Ok(word.into()),
            Ok(_) => Err(Error::ToSqlConversionFailure("not a word".into())),
            Err(error) => Err(Error::ToSqlConversionFailure(error.into())),
        }
    }
}

impl<T: for<'a> Deserialize<'a>> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text: &str = value.as_str()?;
        T::deserialize(text.into_deserializer())
            .map(Self)
            .map_err(|error: WordError| FromSqlError::other(error))
    }
}

/// A value kept as JSON text.
#[derive(Debug)]
pub(in crate::metadata) struct Json<T>(pub(in crate::metadata) T);

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        serde_json::to_string(&self.0)
            .map(ToSqlOutput::from)
            .map_err(|error| Error::ToSqlConversionFailure(error.into()))
    }
}

impl<T: for<'a> Deserialize<'a>> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(FromSqlError::other)
    }
}

/// A time, kept in milliseconds since the Unix epoch.
#[derive(Debug)]
pub(in crate::metadata) struct Millis(pub(in crate::metadata) DateTime<Utc>);

impl ToSql for Millis {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.timestamp_millis().into())
    }
}

impl FromSql for Millis {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let millis = value.as_i64()?;
        DateTime::from_timestamp_millis(millis).map(Self).ok_or(FromSqlError::OutOfRange(millis))
    }
}
