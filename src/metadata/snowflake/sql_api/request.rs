//! What is asked: a statement, the values bound to it, and the body of the request.

use super::SqlApiSettings;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::time::Duration;

/// One SQL statement with a value for each of its `?`.
#[derive(Debug, Clone)]
pub struct Statement {
    text: Cow<'static, str>,
    binds: Vec<Bind>,
    warehouse: bool,
    timeout: Option<Duration>,
}

impl Statement {
    /// A statement of this SQL. Values are bound and never written into it.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), binds: Vec::new(), warehouse: true, timeout: None }
    }

    /// Binds the next `?`.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Bind>) -> Self {
        self.binds.push(value.into());
        self
    }

    /// Names no warehouse, for a statement that needs none and must not wake one.
    #[must_use]
    pub fn without_warehouse(mut self) -> Self {
        self.warehouse = false;
        self
    }

    /// Gives it this long instead of [`SqlApiLimits::statement_timeout`](super::SqlApiLimits).
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    pub(super) fn needs_warehouse(&self) -> bool {
        self.warehouse
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The body of the request, the same at every try.
    pub(super) fn body(&self, settings: &SqlApiSettings, timeout: Duration) -> serde_json::Result<Vec<u8>> {
        let binds = self.binds.iter().enumerate();
        serde_json::to_vec(&Body {
            statement: &self.text,
            timeout: whole_seconds(timeout),
            database: &settings.database,
            schema: &settings.schema,
            warehouse: self.warehouse.then_some(&settings.warehouse),
            role: settings.role.as_deref(),
            bindings: binds.map(|(index, bind)| ((index + 1).to_string(), bind.on_the_wire())).collect(),
            parameters: Parameters { timezone: "UTC", query_tag: &settings.query_tag },
        })
    }
}

/// A value for a `?`. `None` is NULL. [`Bind::Text`] goes into a column of any type, as a literal would.
#[derive(Clone, PartialEq)]
pub enum Bind {
    /// Text.
    Text(Option<String>),
    /// A whole number.
    Fixed(Option<i64>),
    /// True or false.
    Boolean(Option<bool>),
    /// A time in UTC, to the nanosecond, for a column without a time zone.
    TimestampNtz(Option<DateTime<Utc>>),
    /// A day.
    Date(Option<NaiveDate>),
}

impl Bind {
    /// Type and value as the API takes them: every value is a string, a date is in milliseconds and a time
    /// in nanoseconds since the epoch.
    fn on_the_wire(&self) -> Value {
        let (kind, value) = match self {
            Self::Text(value) => ("TEXT", value.clone()),
            Self::Fixed(value) => ("FIXED", value.map(|it| it.to_string())),
            Self::Boolean(value) => ("BOOLEAN", value.map(|it| it.to_string())),
            Self::TimestampNtz(value) => ("TIMESTAMP_NTZ", value.map(|it| nanoseconds(it).to_string())),
            Self::Date(value) => ("DATE", value.map(|it| milliseconds(it).to_string())),
        };
        json!({"type": kind, "value": value})
    }
}

/// Shows the type only: values are what swimmers wrote.
impl Debug for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(..)",
            Self::Fixed(_) => "Fixed(..)",
            Self::Boolean(_) => "Boolean(..)",
            Self::TimestampNtz(_) => "TimestampNtz(..)",
            Self::Date(_) => "Date(..)",
        })
    }
}

/// Rounded up: Snowflake must not be the first to give up, and takes zero for a week.
fn whole_seconds(timeout: Duration) -> u64 {
    timeout.saturating_add(Duration::from_nanos(999_999_999)).as_secs().max(1)
}

/// Since the epoch. 64 bits would end in the year 2262.
fn nanoseconds(time: DateTime<Utc>) -> i128 {
    i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos())
}

/// From the epoch to the start of the day.
fn milliseconds(day: NaiveDate) -> i64 {
    i64::from(day.to_epoch_days()) * 86_400_000
}

macro_rules! bind_from {
    ($($from:ty => $variant:ident),+ $(,)?) => {$(
        impl From<$from> for Bind {
            fn from(value: $from) -> Self {
                Self::$variant(Some(value.into()))
            }
        }

        impl From<Option<$from>> for Bind {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value.map(Into::into))
            }
        }
    )+};
}

bind_from! {
    &str => Text, String => Text, i64 => Fixed, i32 => Fixed, u32 => Fixed, u16 => Fixed, bool => Boolean,
    DateTime<Utc> => TimestampNtz, NaiveDate => Date,
}

#[derive(Serialize)]
struct Body<'a> {
    statement: &'a str,
    timeout: u64,
    database: &'a str,
    schema: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    warehouse: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    bindings: Map<String, Value>,
    parameters: Parameters<'a>,
}

#[derive(Serialize)]
struct Parameters<'a> {
    timezone: &'a str,
    query_tag: &'a str,
}
