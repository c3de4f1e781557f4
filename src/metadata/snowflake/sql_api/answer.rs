//! What comes back: rows of text cells with the names and types of their columns.

use super::cells;
use super::error::invalid;
use crate::upstream::UpstreamError;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt::{self, Debug};
use std::str::FromStr;

/// A row as the API writes it: a cell is text, or `None` for NULL.
pub(super) type Cells = Vec<Option<String>>;

/// A statement's id in Snowflake. It becomes a part of a path, so it holds nothing that could lead
/// elsewhere. The URL that Snowflake sends beside it is not used: it is data, and requests carry our token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Handle(String);

impl Handle {
    /// Below the path of all statements.
    pub(super) fn path(&self) -> String {
        format!("/{}", self.0)
    }
}

impl TryFrom<String> for Handle {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = |it: u8| it.is_ascii_alphanumeric() || it == b'-';
        if text.is_empty() || 64 < text.len() || !text.bytes().all(plain) {
            return Err("the statement's handle is none");
        }
        Ok(Self(text))
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a statement has come.
pub(super) enum Progress {
    /// It has ended: the answer, and its size in bytes.
    Done(Answer, u64),
    /// It goes on, or waits for its turn.
    Running(Handle),
}

/// The answer to a statement that has ended.
pub(super) struct Answer {
    pub(super) handle: Handle,
    pub(super) columns: Vec<Column>,
    /// The rows of the first partition.
    pub(super) rows: Vec<Cells>,
    /// The number of rows in all partitions.
    pub(super) n_rows: u64,
    /// The size of each partition, unpacked, as far as it is known.
    pub(super) partition_bytes: Vec<u64>,
    pub(super) stats: DmlStats,
}

impl Answer {
    /// `None` where it has no result.
    pub(super) fn parse(operation: &'static str, body: &[u8]) -> Result<Option<Self>, UpstreamError> {
        let body: AnswerBody = parse(operation, body)?;
        let Some(meta) = body.result_set_meta_data else { return Ok(None) };
        if !meta.format.eq_ignore_ascii_case("jsonv2") {
            return Err(invalid(operation, format!("the result's format is {}, not jsonv2", meta.format)));
        }
        Ok(Some(Self {
            handle: body.statement_handle,
            columns: meta.row_type,
            rows: body.data,
            n_rows: meta.num_rows,
            partition_bytes: meta.partition_info.iter().map(|it| it.uncompressed_size).collect(),
            stats: body.stats.unwrap_or_default(),
        }))
    }
}

/// The rows of a further partition, which come without metadata.
pub(super) fn partition(operation: &'static str, body: &[u8]) -> Result<Vec<Cells>, UpstreamError> {
    parse(operation, body).map(|it: PartitionBody| it.data)
}

/// The handle of a statement that goes on.
pub(super) fn running(operation: &'static str, body: &[u8]) -> Result<Handle, UpstreamError> {
    parse(operation, body).map(|it: RunningBody| it.statement_handle)
}

fn parse<'a, T: Deserialize<'a>>(operation: &'static str, body: &'a [u8]) -> Result<T, UpstreamError> {
    // The position only: serde's words quote values.
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        invalid(operation, format!("the answer is not of the known shape at line {line}, column {column}"))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerBody {
    statement_handle: Handle,
    result_set_meta_data: Option<MetaData>,
    #[serde(default)]
    data: Vec<Cells>,
    stats: Option<DmlStats>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetaData {
    num_rows: u64,
    format: String,
    row_type: Vec<Column>,
    #[serde(default)]
    partition_info: Vec<PartitionInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartitionInfo {
    #[serde(default)]
    uncompressed_size: u64,
}

#[derive(Deserialize)]
struct PartitionBody {
    data: Vec<Cells>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunningBody {
    statement_handle: Handle,
}

/// What a statement came to.
pub struct ResultSet {
    operation: &'static str,
    columns: Vec<Column>,
    rows: Vec<Cells>,
    stats: DmlStats,
    query_id: String,
}

/// How many rows a statement changed; zeros where it changed none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DmlStats {
    /// Rows that are new.
    #[serde(rename = "numRowsInserted")]
    pub inserted: u64,
    /// Rows that were changed.
    #[serde(rename = "numRowsUpdated")]
    pub updated: u64,
    /// Rows that are gone.
    #[serde(rename = "numRowsDeleted")]
    pub deleted: u64,
}

/// A column of a result.
#[derive(Debug, Clone, Deserialize)]
pub struct Column {
    /// Its name, in upper case unless it was quoted.
    pub name: String,
    /// Its type, such as `FIXED`, `TEXT` or `TIMESTAMP_NTZ`, in either case.
    #[serde(rename = "type")]
    pub kind: String,
}

impl ResultSet {
    pub(super) fn new(
        operation: &'static str,
        columns: Vec<Column>,
        rows: Vec<Cells>,
        stats: DmlStats,
        query_id: String,
    ) -> Result<Self, UpstreamError> {
        if rows.iter().any(|row| row.len() != columns.len()) {
            return Err(invalid(operation, "a row has more or fewer cells than there are columns"));
        }
        Ok(Self { operation, columns, rows, stats, query_id })
    }

    /// The columns in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row { set: self, cells })
    }

    /// How many rows the statement changed.
    pub fn stats(&self) -> DmlStats {
        self.stats
    }

    /// The statement in Snowflake's history.
    pub fn query_id(&self) -> &str {
        &self.query_id
    }
}

/// Shows no cell: they are what swimmers wrote.
impl Debug for ResultSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultSet")
            .field("query_id", &self.query_id)
            .field("columns", &self.columns)
            .field("rows", &self.rows.len())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// A row of a result. Columns are named without regard to case; a cell that is not what it is read as is
/// a failure of kind `InvalidResponse`.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    set: &'a ResultSet,
    cells: &'a Cells,
}

impl<'a> Row<'a> {
    /// Text, or any cell as Snowflake writes it.
    pub fn text(&self, column: &str) -> Result<&'a str, UpstreamError> {
        self.required(column)
    }

    /// Text or NULL.
    pub fn optional_text(&self, column: &str) -> Result<Option<&'a str>, UpstreamError> {
        Ok(self.cell(column)?.1)
    }

    /// Whether the cell is NULL.
    pub fn is_null(&self, column: &str) -> Result<bool, UpstreamError> {
        Ok(self.cell(column)?.1.is_none())
    }

    /// A whole number that fits the type asked for.
    pub fn fixed<T: FromStr>(&self, column: &str) -> Result<T, UpstreamError> {
        self.required(column)?.parse().map_err(|_no_number| self.wrong(column, "no such whole number"))
    }

    /// A whole number or NULL.
    pub fn optional_fixed<T: FromStr>(&self, column: &str) -> Result<Option<T>, UpstreamError> {
        if self.is_null(column)? { Ok(None) } else { self.fixed(column).map(Some) }
    }

    /// True or false.
    pub fn boolean(&self, column: &str) -> Result<bool, UpstreamError> {
        cells::boolean(self.required(column)?).ok_or_else(|| self.wrong(column, "neither true nor false"))
    }

    /// A time; one without a time zone is taken to be in UTC.
    pub fn timestamp(&self, column: &str) -> Result<DateTime<Utc>, UpstreamError> {
        self.of_type(column, "TIMESTAMP_")?;
        cells::timestamp(self.required(column)?).ok_or_else(|| self.wrong(column, "no time"))
    }

    /// A time or NULL.
    pub fn optional_timestamp(&self, column: &str) -> Result<Option<DateTime<Utc>>, UpstreamError> {
        if self.is_null(column)? { Ok(None) } else { self.timestamp(column).map(Some) }
    }

    /// A day.
    pub fn date(&self, column: &str) -> Result<NaiveDate, UpstreamError> {
        self.of_type(column, "DATE")?;
        cells::date(self.required(column)?).ok_or_else(|| self.wrong(column, "no day"))
    }

    /// What JSON text holds, whether the column is a VARIANT or text.
    pub fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, UpstreamError> {
        let text = self.required(column)?;
        // Where and in which way it is wrong; the values stay out of it.
        serde_json::from_str(text).map_err(|error| {
            self.wrong(column, &format!("no such JSON: {:?} at byte {}", error.classify(), error.column()))
        })
    }

    fn cell(&self, column: &str) -> Result<(&'a Column, Option<&'a str>), UpstreamError> {
        let found = self.set.columns.iter().position(|it| it.name.eq_ignore_ascii_case(column));
        let index = found.ok_or_else(|| self.wrong(column, "not there"))?;
        Ok((&self.set.columns[index], self.cells[index].as_deref()))
    }

    fn required(&self, column: &str) -> Result<&'a str, UpstreamError> {
        self.cell(column)?.1.ok_or_else(|| self.wrong(column, "NULL"))
    }

    /// Days, seconds and numbers look alike, and only the type tells them apart.
    fn of_type(&self, column: &str, prefix: &str) -> Result<(), UpstreamError> {
        let kind = &self.cell(column)?.0.kind;
        match kind.get(..prefix.len()) {
            Some(start) if start.eq_ignore_ascii_case(prefix) => Ok(()),
            _ => Err(self.wrong(column, &format!("of type {kind}"))),
        }
    }

    fn wrong(&self, column: &str, what: &str) -> UpstreamError {
        invalid(self.set.operation, format!("column {column} of query {} is {what}", self.set.query_id))
    }
}

/// Shows no cell.
impl Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("columns", &self.set.columns).finish_non_exhaustive()
    }
}
