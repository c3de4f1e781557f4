//! How records are read from the rows of a result.
//!
//! A row that holds no such value is a failure: nothing is clipped or guessed.

use super::sql_api::{ResultSet, Row};
use crate::metadata::SessionRecord;
use crate::session::{Analysis, AnalysisStatus, Owner, Session, SessionId, Turn};
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use chrono::{DateTime, Utc};
use serde::de::IntoDeserializer;
use serde::de::value::Error as WordError;
use serde::{Deserialize, Serialize, ser};
use std::collections::HashMap;

/// A record as it is kept, and what an analysis that is to be started must find unchanged.
#[derive(Debug)]
pub(super) struct KeptRecord {
    /// The session with everything known about it.
    pub(super) record: SessionRecord,
    /// The first state of the analysis that was started last, as the very text that is kept.
    pub(super) started: Option<String>,
}

impl KeptRecord {
    /// An analysis that runs, other than by the very state that is to be recorded.
    pub(super) fn running(&self, starting: &Analysis, stale_before: DateTime<Utc>) -> Option<&Analysis> {
        self.record.analyses.iter().find(|it| {
            let is_the_same = it.id == starting.id && it.recency() == starting.recency();
            it.status == AnalysisStatus::Processing
                && stale_before.timestamp_millis() <= it.updated_at.timestamp_millis()
                && !is_the_same
        })
    }
}

/// The records in a result of `select_records`, the newest session first.
pub(super) fn read_records(
    operation: &'static str,
    set: &ResultSet,
) -> Result<Vec<KeptRecord>, UpstreamError> {
    let mut records: HashMap<SessionId, KeptRecord> = HashMap::new();
    for row in rows_of_kind(set, "session") {
        let row = row?;
        let session = read_session(operation, &row)?;
        let started = row.optional_text("state")?.map(str::to_owned);
        let record = SessionRecord { session, analyses: Vec::new(), turns: Vec::new() };
        records.insert(record.session.id, KeptRecord { record, started });
    }
    for row in rows_of_kind(set, "state") {
        let row = row?;
        if let Some(kept) = records.get_mut(&read_session_id(operation, &row)?) {
            kept.record.analyses.push(row.json("state")?);
        }
    }
    for row in rows_of_kind(set, "turn") {
        let row = row?;
        if let Some(kept) = records.get_mut(&read_session_id(operation, &row)?) {
            kept.record.turns.push(read_turn(operation, &row)?);
        }
    }
    let mut records: Vec<_> = records.into_values().collect();
    for kept in &mut records {
        if let Some(started) = &kept.started {
            let started = serde_json::from_str(started)
                .map_err(|_quotes_values| invalid(operation, "started", "no analysis"))?;
            add_started(&mut kept.record.analyses, started);
        }
        kept.record.analyses.sort_by_key(|it| it.id);
        kept.record.turns.sort_by_key(|it| it.number);
    }
    records.sort_by_key(|it| std::cmp::Reverse(it.record.session.id));
    Ok(records)
}

/// The session ids in a result.
pub(super) fn read_ids(operation: &'static str, set: &ResultSet) -> Result<Vec<SessionId>, UpstreamError> {
    set.rows().map(|row| read_session_id(operation, &row)).collect()
}

/// A value whose name on the wire is one string, as that string.
pub(super) fn word<T: Serialize>(value: &T) -> serde_json::Result<String> {
    match serde_json::to_value(value)? {
        serde_json::Value::String(word) => Ok(word),
        _ => Err(ser::Error::custom("not a word")),
    }
}

/// The analysis that was started last counts from the moment that it was, also where the process ended
/// before its first state was recorded.
fn add_started(analyses: &mut Vec<Analysis>, started: Analysis) {
    match analyses.iter_mut().find(|it| it.id == started.id) {
        None => analyses.push(started),
        Some(known) if known.recency() < started.recency() => *known = started,
        Some(_) => {}
    }
}

fn rows_of_kind<'a>(
    set: &'a ResultSet,
    kind: &'static str,
) -> impl Iterator<Item = Result<Row<'a>, UpstreamError>> {
    set.rows().filter_map(move |row| match row.text("kind") {
        Ok(found) => (found == kind).then_some(Ok(row)),
        Err(error) => Some(Err(error)),
    })
}

fn read_session(operation: &'static str, row: &Row<'_>) -> Result<Session, UpstreamError> {
    Ok(Session {
        id: read_session_id(operation, row)?,
        owner: Owner::new(row.text("owner")?),
        created_at: row.timestamp("created_at")?,
        stroke_type: read_word(operation, row, "stroke_type")?,
        user_notes: row.optional_text("user_notes")?.map(str::to_owned),
        title: row.optional_text("title")?.map(str::to_owned),
        view: optional_word(operation, row, "camera_view")?,
        frames: row.json("frames")?,
    })
}

fn read_turn(operation: &'static str, row: &Row<'_>) -> Result<Turn, UpstreamError> {
    Ok(Turn {
        number: row.fixed("number")?,
        role: read_word(operation, row, "role")?,
        content: row.text("content")?.to_owned(),
        created_at: row.timestamp("created_at")?,
        frames: Vec::new(),
        usage: None,
    })
}

fn read_session_id(operation: &'static str, row: &Row<'_>) -> Result<SessionId, UpstreamError> {
    let id = row.text("session_id")?.parse();
    id.map_err(|_no_id| invalid(operation, "session_id", "no id"))
}

fn read_word<T: for<'a> Deserialize<'a>>(
    operation: &'static str,
    row: &Row<'_>,
    column: &str,
) -> Result<T, UpstreamError> {
    optional_word(operation, row, column)?.ok_or_else(|| invalid(operation, column, "NULL"))
}

fn optional_word<T: for<'a> Deserialize<'a>>(
    operation: &'static str,
    row: &Row<'_>,
    column: &str,
) -> Result<Option<T>, UpstreamError> {
    let Some(word) = row.optional_text(column)? else { return Ok(None) };
    T::deserialize(word.into_deserializer())
        .map(Some)
        .map_err(|_unknown: WordError| invalid(operation, column, "no word that is known"))
}

/// Values stay out of it: they are what swimmers wrote.
fn invalid(operation: &'static str, column: &str, what: &str) -> UpstreamError {
    let why = format!("{column} holds {what}");
    UpstreamError::new(Service::Records, operation, UpstreamErrorKind::InvalidResponse, why)
}
