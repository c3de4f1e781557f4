//! States of analyses.

use super::select_by_session;
use crate::metadata::Recorded;
use crate::metadata::rules::MAX_UNFINISHED;
use crate::metadata::sqlite::columns::{Json, Millis, Word};
use crate::session::{Analysis, Owner, SessionId};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, Result, params};
use std::collections::HashMap;

/// Appends a state of an analysis, unless it is there already, the analysis has ended, a later attempt at it was
/// begun, or its session does not exist.
pub(in crate::metadata::sqlite) fn insert_state(db: &Connection, analysis: &Analysis) -> Result<Recorded> {
    let inserted = db
        .prepare_cached(
            "INSERT INTO analysis_states (session_id, analysis_id, attempt, updated_at, status, state)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6
             WHERE EXISTS (SELECT 1 FROM sessions WHERE session_id = ?1)
                 AND NOT EXISTS (
                     SELECT 1 FROM analysis_states
                     WHERE session_id = ?1 AND analysis_id = ?2 AND (
                         status IN ('complete', 'failed')
                         OR ?3 < attempt AND ?5 NOT IN ('complete', 'failed')
                     )
                 )
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            Word(analysis.session_id),
            Word(analysis.id),
            analysis.attempt,
            Millis(analysis.updated_at),
            Word(analysis.status),
            Json(analysis),
        ])?;
    if 0 < inserted || has_state(db, analysis)? {
        return Ok(Recorded::Kept);
    }
    Ok(Recorded::Superseded)
}

fn has_state(db: &Connection, analysis: &Analysis) -> Result<bool> {
    db.prepare_cached(
        "SELECT EXISTS (
             SELECT 1 FROM analysis_states
             WHERE session_id = ?1 AND analysis_id = ?2 AND attempt = ?3 AND updated_at = ?4 AND status = ?5
         )",
    )?
    .query_row(
        params![
            Word(analysis.session_id),
            Word(analysis.id),
            analysis.attempt,
            Millis(analysis.updated_at),
            Word(analysis.status),
        ],
        |row| row.get(0),
    )
}

/// The latest state of each analysis of these sessions. The inner part reads only the index, so that earlier
/// states cost next to nothing.
pub(in crate::metadata::sqlite) fn select_latest(
    db: &Connection,
    ids: &[SessionId],
) -> Result<HashMap<SessionId, Vec<Analysis>>> {
    let statement = "SELECT session_id, state FROM analysis_states WHERE state_id IN (
             SELECT state_id FROM (
                 SELECT state_id, row_number() OVER (
                     PARTITION BY session_id, analysis_id
                     ORDER BY status IN ('complete', 'failed') DESC, attempt DESC, updated_at DESC,
                         status = 'queued' DESC
                 ) AS place
                 FROM analysis_states WHERE session_id IN (SELECT value FROM json_each(?1))
             )
             WHERE place = 1
         )
         ORDER BY session_id, analysis_id";
    select_by_session(db, statement, ids, |row| row.get("state").map(|Json(analysis)| analysis))
}

/// The latest state of every analysis that has not ended and was last recorded at or after `since`, with its
/// owner, the ones that were recorded first. What has ended is told from the index alone.
pub(in crate::metadata::sqlite) fn select_unfinished(
    db: &Connection,
    since: DateTime<Utc>,
) -> Result<Vec<(Owner, Analysis)>> {
    db.prepare_cached(
        "SELECT s.owner, a.state
         FROM (
             SELECT DISTINCT session_id, analysis_id FROM analysis_states AS seen
             WHERE ?1 <= updated_at AND status IN ('processing', 'queued')
                 AND NOT EXISTS (
                     SELECT 1 FROM analysis_states AS ended
                     WHERE ended.session_id = seen.session_id AND ended.analysis_id = seen.analysis_id
                         AND ended.status IN ('complete', 'failed')
                 )
         ) AS unfinished
         JOIN sessions AS s ON s.session_id = unfinished.session_id
         JOIN analysis_states AS a ON a.state_id = (
             SELECT state_id FROM analysis_states AS latest
             WHERE latest.session_id = unfinished.session_id AND latest.analysis_id = unfinished.analysis_id
             ORDER BY attempt DESC, updated_at DESC, status = 'queued' DESC LIMIT 1
         )
         WHERE ?1 <= a.updated_at
         ORDER BY a.updated_at, a.analysis_id LIMIT ?2",
    )?
    .query_map(params![Millis(since), MAX_UNFINISHED], |row| {
        let Json(analysis) = row.get("state")?;
        Ok((Owner::new(row.get::<_, String>("owner")?), analysis))
    })?
    .collect()
}
