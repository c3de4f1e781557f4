//! Statements about what changes of a session after it was made: its frames, its terms, its owner.

use super::{n_frames, to_the_millisecond};
use crate::metadata::Amendment;
use crate::metadata::snowflake::sql_api::Statement;
use crate::session::{Frame, Owner, SessionId};
use chrono::{DateTime, Utc};

/// Puts frames in the place of those of the owner's session, if it still has as many as `seen` and no analysis was
/// started. Frames are only added, so their number tells whether any were since. Changes one row or none.
pub(in crate::metadata::snowflake) fn exchange_frames(
    owner: &Owner,
    session: SessionId,
    seen: usize,
    frames: &[Frame],
) -> serde_json::Result<Statement> {
    let statement = Statement::new(
        "UPDATE sessions SET frames = PARSE_JSON(?), n_frames = ?
         WHERE session_id = ? AND owner = ? AND n_frames = ? AND started IS NULL",
    );
    Ok(statement
        .bind(serde_json::to_string(frames)?)
        .bind(n_frames(frames.len()))
        .bind(session.to_string())
        .bind(owner.as_str())
        .bind(n_frames(seen)))
}

/// Changes what was agreed to, and until when the session is kept, which is never moved to a later time.
pub(in crate::metadata::snowflake) fn update_terms(
    owner: &Owner,
    id: SessionId,
    amendment: &Amendment,
) -> serde_json::Result<Statement> {
    let expires_at = amendment.expires_at.map(to_the_millisecond);
    let statement = Statement::new(
        "UPDATE sessions SET
             consent = COALESCE(?, consent),
             expires_at = CASE WHEN expires_at IS NULL OR expires_at > ? THEN ? ELSE expires_at END
         WHERE owner = ? AND session_id = ? AND NOT EXISTS (
             SELECT 1 FROM deletions AS d WHERE d.owner = sessions.owner AND d.session_id = sessions.session_id
         )",
    );
    Ok(statement
        .bind(amendment.consent.as_ref().map(serde_json::to_string).transpose()?)
        .bind(expires_at)
        .bind(expires_at)
        .bind(owner.as_str())
        .bind(id.to_string()))
}

/// Makes a session another's. Changes one row or none.
pub(in crate::metadata::snowflake) fn update_owner(id: SessionId, from: &Owner, to: &Owner) -> Statement {
    Statement::new(
        "UPDATE sessions SET owner = ?
         WHERE session_id = ? AND owner = ? AND NOT EXISTS (
             SELECT 1 FROM deletions AS d WHERE d.owner = sessions.owner AND d.session_id = sessions.session_id
         )",
    )
    .bind(to.as_str())
    .bind(id.to_string())
    .bind(from.as_str())
}

/// Whether the owner has a session: a row or none.
pub(in crate::metadata::snowflake) fn select_owned(owner: &Owner, id: SessionId) -> Statement {
    Statement::new(
        "SELECT DISTINCT s.session_id
         FROM sessions AS s
         WHERE s.owner = ? AND s.session_id = ? AND NOT EXISTS (
             SELECT 1 FROM deletions AS d WHERE d.owner = s.owner AND d.session_id = s.session_id
         )",
    )
    .bind(owner.as_str())
    .bind(id.to_string())
}

/// Sessions that are to be kept no longer, in order of their ids.
pub(in crate::metadata::snowflake) fn select_expired(
    now: DateTime<Utc>,
    unsaid_since: DateTime<Utc>,
    limit: u32,
) -> Statement {
    Statement::new(
        "SELECT DISTINCT s.session_id, s.owner
         FROM sessions AS s
         WHERE (s.expires_at <= ? OR (s.expires_at IS NULL AND s.created_at <= ?)) AND NOT EXISTS (
             SELECT 1 FROM deletions AS d WHERE d.owner = s.owner AND d.session_id = s.session_id
         )
         ORDER BY s.session_id LIMIT ?",
    )
    .bind(to_the_millisecond(now))
    .bind(to_the_millisecond(unsaid_since))
    .bind(limit)
}

/// How much an owner has, as one row.
pub(in crate::metadata::snowflake) fn select_holdings(owner: &Owner) -> Statement {
    Statement::new(
        "SELECT n_sessions, n_bytes
         FROM (
             SELECT COUNT(DISTINCT s.session_id) AS n_sessions
             FROM sessions AS s
             WHERE s.owner = ? AND NOT EXISTS (
                 SELECT 1 FROM deletions AS d WHERE d.owner = s.owner AND d.session_id = s.session_id
             )
         ) AS counted
         CROSS JOIN (
             SELECT CAST(COALESCE(SUM(size_bytes), 0) AS NUMBER(38, 0)) AS n_bytes
             FROM (
                 SELECT CAST(GET_PATH(f.value, 'size_bytes') AS NUMBER(38, 0)) AS size_bytes
                 FROM (
                     SELECT n.frames, ROW_NUMBER() OVER (
                         PARTITION BY n.session_id ORDER BY n.n_frames DESC, n.created_at
                     ) AS place
                     FROM sessions AS n
                     WHERE n.owner = ? AND NOT EXISTS (
                         SELECT 1 FROM deletions AS d WHERE d.owner = n.owner AND d.session_id = n.session_id
                     )
                 ) AS s, TABLE(FLATTEN(INPUT => s.frames)) AS f
                 WHERE s.place = 1
             ) AS sizes
         ) AS stored",
    )
    .bind(owner.as_str())
    .bind(owner.as_str())
}
