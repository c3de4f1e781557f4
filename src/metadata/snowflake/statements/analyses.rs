//! Statements about analyses.

use super::to_the_millisecond;
use crate::metadata::rules::MAX_UNFINISHED;
use crate::metadata::snowflake::rows::word;
use crate::metadata::snowflake::sql_api::Statement;
use crate::session::{Analysis, SessionId};
use chrono::{DateTime, Utc};

/// Appends a state of an analysis, unless it is there already, the analysis has ended, a later attempt at it was begun,
/// or its session is not there. `state` is the analysis as JSON.
pub(in crate::metadata::snowflake) fn insert_state(
    analysis: &Analysis,
    state: &str,
) -> serde_json::Result<Statement> {
    let statement = Statement::new(
        "INSERT INTO analysis_states (session_id, owner, analysis_id, attempt, updated_at, status, state)
         SELECT DISTINCT
             s.session_id, s.owner, asked.analysis_id, asked.attempt, asked.updated_at, asked.status, asked.state
         FROM (
             SELECT ? AS session_id, ? AS analysis_id, ? AS attempt, ? AS updated_at, ? AS status, ? AS state
         ) AS asked
         JOIN sessions AS s ON s.session_id = asked.session_id
         WHERE NOT EXISTS (
                 SELECT 1 FROM deletions AS d WHERE d.owner = s.owner AND d.session_id = s.session_id
             )
             AND NOT EXISTS (
                 SELECT 1 FROM analysis_states AS ended
                 WHERE ended.session_id = asked.session_id AND ended.analysis_id = asked.analysis_id
                     AND ended.status IN ('complete', 'failed')
             )
             AND NOT EXISTS (
                 SELECT 1 FROM analysis_states AS later
                 WHERE later.session_id = asked.session_id AND later.analysis_id = asked.analysis_id
                     AND later.attempt > asked.attempt AND asked.status NOT IN ('complete', 'failed')
             )
             AND NOT EXISTS (
                 SELECT 1 FROM analysis_states AS known
                 WHERE known.session_id = asked.session_id AND known.analysis_id = asked.analysis_id
                     AND COALESCE(known.attempt, 1) = asked.attempt
                     AND known.updated_at = asked.updated_at AND known.status = asked.status
             )",
    );
    Ok(statement
        .bind(analysis.session_id.to_string())
        .bind(analysis.id.to_string())
        .bind(analysis.attempt)
        .bind(to_the_millisecond(analysis.updated_at))
        .bind(word(&analysis.status)?)
        .bind(state))
}

/// Whether a state of an analysis is there, and its session is: a row or none.
pub(in crate::metadata::snowflake) fn select_state(analysis: &Analysis) -> serde_json::Result<Statement> {
    let statement = Statement::new(
        "SELECT DISTINCT a.analysis_id
         FROM analysis_states AS a
         JOIN sessions AS s ON s.session_id = a.session_id
         WHERE a.session_id = ? AND a.analysis_id = ? AND COALESCE(a.attempt, 1) = ? AND a.updated_at = ?
             AND a.status = ? AND NOT EXISTS (
                 SELECT 1 FROM deletions AS d WHERE d.owner = s.owner AND d.session_id = s.session_id
             )",
    );
    Ok(statement
        .bind(analysis.session_id.to_string())
        .bind(analysis.id.to_string())
        .bind(analysis.attempt)
        .bind(to_the_millisecond(analysis.updated_at))
        .bind(word(&analysis.status)?))
}

/// The latest states of analyses that have not ended and were recorded at or after `since`, the ones that were recorded
/// first, and the first states of such as were started and have no state yet, whenever that was.
pub(in crate::metadata::snowflake) fn select_unfinished(since: DateTime<Utc>) -> Statement {
    Statement::new(concat!(
        "SELECT owner, state
         FROM (
             SELECT s.owner, n.state
             FROM (
                 SELECT a.session_id, a.analysis_id, a.updated_at, a.state, ROW_NUMBER() OVER (
                     PARTITION BY a.session_id, a.analysis_id
                     ORDER BY ",
        latest_first!("a"),
        "
                 ) AS place
                 FROM analysis_states AS a
                 WHERE a.updated_at >= ? AND NOT EXISTS (
                     SELECT 1 FROM analysis_states AS ended
                     WHERE ended.session_id = a.session_id AND ended.analysis_id = a.analysis_id
                         AND ended.status IN ('complete', 'failed')
                 )
             ) AS n
             JOIN (SELECT DISTINCT session_id, owner FROM sessions) AS s ON s.session_id = n.session_id
             WHERE n.place = 1 AND NOT EXISTS (
                 SELECT 1 FROM deletions AS d WHERE d.owner = s.owner AND d.session_id = s.session_id
             )
             ORDER BY n.updated_at, n.analysis_id LIMIT ?
         ) AS recorded
         UNION ALL
         SELECT owner, state
         FROM (
             SELECT
                 s.session_id, s.owner, s.started AS state,
                 CAST(GET_PATH(PARSE_JSON(s.started), 'id') AS VARCHAR) AS analysis_id,
                 COALESCE(CAST(GET_PATH(PARSE_JSON(s.started), 'attempt') AS NUMBER(10, 0)), 1) AS attempt
             FROM sessions AS s
             WHERE s.started IS NOT NULL
         ) AS n
         WHERE NOT EXISTS (
                 SELECT 1 FROM analysis_states AS known
                 WHERE known.session_id = n.session_id AND known.analysis_id = n.analysis_id
                     AND COALESCE(known.attempt, 1) >= n.attempt
             )
             AND NOT EXISTS (
                 SELECT 1 FROM analysis_states AS ended
                 WHERE ended.session_id = n.session_id AND ended.analysis_id = n.analysis_id
                     AND ended.status IN ('complete', 'failed')
             )
             AND NOT EXISTS (
                 SELECT 1 FROM deletions AS d WHERE d.owner = n.owner AND d.session_id = n.session_id
             )",
    ))
    .bind(to_the_millisecond(since))
    .bind(MAX_UNFINISHED)
}

/// Says that an analysis was started last, if none was since `expected` was read. Changes one row or none.
pub(in crate::metadata::snowflake) fn exchange_started(
    session: SessionId,
    expected: Option<&str>,
    started: &str,
) -> Statement {
    Statement::new("UPDATE sessions SET started = ? WHERE session_id = ? AND started IS NOT DISTINCT FROM ?")
        .bind(started)
        .bind(session.to_string())
        .bind(expected)
}
