//! How records are read from the rows of a result.
//!
//! A row that holds no such value is a failure: nothing is clipped or guessed.

use super::sql_api::{ResultSet, Row};
use crate::analysis::{MicroUsd, Usage};
use crate::ledger::{MonthUsage, StorageUse};
use crate::metadata::rules::{MAX_UNFINISHED, Taken};
use crate::metadata::{Entry, EntryKind, Holdings, SessionRecord, TurnDetails};
use crate::session::{Analysis, AnswerClaim, Owner, Session, SessionId, Turn};
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use chrono::{DateTime, Utc};
use serde::de::IntoDeserializer;
use serde::de::value::Error as WordError;
use serde::{Deserialize, Serialize, ser};
use std::collections::{HashMap, HashSet};

/// A record as it is kept, and what an analysis that is to be started must find unchanged.
#[derive(Debug)]
pub(super) struct KeptRecord {
    /// The session with everything known about it.
    pub(super) record: SessionRecord,
    /// The first state of the analysis that was started last, as the very text that is kept.
    pub(super) started: Option<String>,
}

/// A claim to answer as it is kept, and what it goes by.
#[derive(Debug)]
pub(super) struct KeptClaim {
    /// The very text that is kept.
    pub(super) text: Option<String>,
    /// The claim in it.
    pub(super) claim: Option<AnswerClaim>,
    /// The numbers of the turns of the conversation.
    pub(super) turns: HashSet<u32>,
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

/// What a result of `select_unfinished` says, the ones first that were recorded first.
pub(super) fn read_unfinished(
    operation: &'static str,
    set: &ResultSet,
    since: DateTime<Utc>,
) -> Result<Vec<(Owner, Analysis)>, UpstreamError> {
    let mut unfinished = Vec::new();
    for row in set.rows() {
        let analysis: Analysis = serde_json::from_str(row.text("state")?)
            .map_err(|_quotes_values| invalid(operation, "state", "no analysis"))?;
        if since.timestamp_millis() <= analysis.updated_at.timestamp_millis() {
            unfinished.push((Owner::new(row.text("owner")?), analysis));
        }
    }
    unfinished.sort_by_key(|(_, it)| (it.updated_at, it.id));
    unfinished.truncate(MAX_UNFINISHED as usize);
    Ok(unfinished)
}

/// The claim to answer of a session and what it goes by; `None` when there is no such session.
pub(super) fn read_answering(
    operation: &'static str,
    set: &ResultSet,
) -> Result<Option<KeptClaim>, UpstreamError> {
    let mut kept = KeptClaim { text: None, claim: None, turns: HashSet::new() };
    for row in set.rows() {
        // A copy of the session that was written late has none.
        if let Some(text) = row.optional_text("answering")? {
            kept.text = Some(text.to_owned());
        }
        kept.turns.extend(row.optional_fixed::<u32>("number")?);
    }
    let claim = kept.text.as_deref().map(serde_json::from_str).transpose();
    kept.claim = claim.map_err(|_quotes_values| invalid(operation, "answering", "no claim"))?;
    Ok((!set.is_empty()).then_some(kept))
}

/// What is spent and held, from a result of `select_taken`: all of it, and without what may be withdrawn yet.
pub(super) fn read_taken(operation: &'static str, set: &ResultSet) -> Result<(Taken, Taken), UpstreamError> {
    let row = only_row(operation, set)?;
    let amount = |column| row.fixed(column).map(MicroUsd);
    let all = Taken {
        by_caller: amount("by_caller")?,
        by_service: amount("by_service")?,
        analyses_of_day: row.fixed("analyses_of_day")?,
    };
    let unsure = Taken {
        by_caller: amount("unsure_by_caller")?,
        by_service: amount("unsure_by_service")?,
        analyses_of_day: row.fixed("unsure_of_day")?,
    };
    let sure = Taken {
        by_caller: MicroUsd(all.by_caller.0.saturating_sub(unsure.by_caller.0)),
        by_service: MicroUsd(all.by_service.0.saturating_sub(unsure.by_service.0)),
        analyses_of_day: all.analyses_of_day.saturating_sub(unsure.analyses_of_day),
    };
    Ok((all, sure))
}

/// What a result of `select_usage` says.
pub(super) fn read_usage(operation: &'static str, set: &ResultSet) -> Result<MonthUsage, UpstreamError> {
    let row = only_row(operation, set)?;
    let is_cost_known = row.fixed::<u64>("n_unknown")? == 0;
    let cost: u64 = row.fixed("cost")?;
    let mut storage = StorageUse {
        frames: row.fixed("frames")?,
        bytes: row.fixed("bytes")?,
        class_a: row.fixed("class_a")?,
        class_b: row.fixed("class_b")?,
    };
    storage += StorageUse::of_frames(row.fixed("new_frames")?, row.fixed("new_bytes")?);
    Ok(MonthUsage {
        storage,
        analyses: row.fixed("analyses")?,
        answers: row.fixed("answers")?,
        usage: Usage {
            requests: row.fixed("requests")?,
            input_tokens: row.fixed("input_tokens")?,
            cache_creation_input_tokens: row.fixed("cache_creation_input_tokens")?,
            cache_creation_5m_input_tokens: row.fixed("cache_creation_5m_input_tokens")?,
            cache_creation_1h_input_tokens: row.fixed("cache_creation_1h_input_tokens")?,
            cache_read_input_tokens: row.fixed("cache_read_input_tokens")?,
            output_tokens: row.fixed("output_tokens")?,
            cost: is_cost_known.then_some(MicroUsd(cost)),
        },
        reserved: MicroUsd(row.fixed("reserved")?),
        stored_bytes: row.fixed("stored_bytes")?,
    })
}

/// The small records in a result, each with the id of the write that made it.
pub(super) fn read_entries(
    operation: &'static str,
    kind: EntryKind,
    set: &ResultSet,
) -> Result<Vec<(Entry, String)>, UpstreamError> {
    let read = |row: Row<'_>| {
        let session = row.optional_text("session_id")?.map(str::parse).transpose();
        let entry = Entry {
            kind,
            name: row.text("name")?.to_owned(),
            owner: row.optional_text("owner")?.map(Owner::new),
            session: session.map_err(|_no_id| invalid(operation, "session_id", "no id"))?,
            value: row.text("value")?.to_owned(),
            recorded_at: row.timestamp("recorded_at")?,
        };
        Ok((entry, row.text("write_id")?.to_owned()))
    };
    set.rows().map(read).collect()
}

/// What a result of `select_expired` says.
pub(super) fn read_expired(
    operation: &'static str,
    set: &ResultSet,
) -> Result<Vec<(Owner, SessionId)>, UpstreamError> {
    set.rows().map(|row| Ok((Owner::new(row.text("owner")?), read_session_id(operation, &row)?))).collect()
}

/// What a result of `select_holdings` says.
pub(super) fn read_holdings(operation: &'static str, set: &ResultSet) -> Result<Holdings, UpstreamError> {
    let row = only_row(operation, set)?;
    Ok(Holdings { sessions: row.fixed("n_sessions")?, bytes: row.fixed("n_bytes")? })
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
        Some(known) if !known.has_ended() && known.recency() < started.recency() => *known = started,
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
    let consent = row.optional_text("consent")?.map(serde_json::from_str).transpose();
    Ok(Session {
        id: read_session_id(operation, row)?,
        owner: Owner::new(row.text("owner")?),
        created_at: row.timestamp("created_at")?,
        stroke_type: read_word(operation, row, "stroke_type")?,
        user_notes: row.optional_text("user_notes")?.map(str::to_owned),
        title: row.optional_text("title")?.map(str::to_owned),
        view: optional_word(operation, row, "camera_view")?,
        frames: row.json("frames")?,
        consent: consent.map_err(|_quotes_values| invalid(operation, "consent", "no consent"))?,
        expires_at: row.optional_timestamp("expires_at")?,
    })
}

fn read_turn(operation: &'static str, row: &Row<'_>) -> Result<Turn, UpstreamError> {
    let details = row.optional_text("details")?.map(serde_json::from_str).transpose();
    let details: Option<TurnDetails> =
        details.map_err(|_quotes_values| invalid(operation, "details", "no details of a turn"))?;
    let TurnDetails { frames, usage, request } = details.unwrap_or_default();
    Ok(Turn {
        number: row.fixed("number")?,
        role: read_word(operation, row, "role")?,
        content: row.text("content")?.to_owned(),
        created_at: row.timestamp("created_at")?,
        frames,
        usage,
        request,
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

fn only_row<'a>(operation: &'static str, set: &'a ResultSet) -> Result<Row<'a>, UpstreamError> {
    set.rows().next().ok_or_else(|| {
        let why = "no row came where there is always one";
        UpstreamError::new(Service::Records, operation, UpstreamErrorKind::InvalidResponse, why)
    })
}

/// Values stay out of it: they are what swimmers wrote.
fn invalid(operation: &'static str, column: &str, what: &str) -> UpstreamError {
    let why = format!("{column} holds {what}");
    UpstreamError::new(Service::Records, operation, UpstreamErrorKind::InvalidResponse, why)
}
