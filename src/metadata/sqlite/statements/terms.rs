//! What changes about a session after it was made: its frames, its terms, its owner.

use crate::metadata::sqlite::columns::{Json, Millis, Word};
use crate::metadata::{Amendment, Holdings};
use crate::session::{Frame, Owner, SessionId};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, Result, params};

/// Whether an analysis of the session was started.
pub(in crate::metadata::sqlite) fn is_closed(db: &Connection, session: SessionId) -> Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM analysis_states WHERE session_id = ?1)")?
        .query_row([Word(session)], |row| row.get(0))
}

/// Writes a frame, whose number is free.
pub(in crate::metadata::sqlite) fn insert_frame(
    db: &Connection,
    session: SessionId,
    frame: &Frame,
) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO frames (session_id, number, size_bytes, width, height, timestamp_ms, etag)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        Word(session),
        frame.number.get(),
        frame.size_bytes,
        frame.width,
        frame.height,
        frame.timestamp_ms,
        frame.etag,
    ])?;
    Ok(())
}

/// Changes what was agreed to, and until when the session is kept, which is never moved to a later time.
pub(in crate::metadata::sqlite) fn update_terms(
    db: &Connection,
    owner: &Owner,
    id: SessionId,
    amendment: &Amendment,
) -> Result<bool> {
    db.prepare_cached(
        "UPDATE sessions SET
             consent = coalesce(?3, consent),
             expires_at = coalesce(min(expires_at, ?4), expires_at, ?4)
         WHERE owner = ?1 AND session_id = ?2",
    )?
    .execute(params![
        owner.as_str(),
        Word(id),
        amendment.consent.as_ref().map(Json),
        amendment.expires_at.map(Millis),
    ])
    .map(|changed| 0 < changed)
}

/// Makes a session another's, with its small records.
pub(in crate::metadata::sqlite) fn update_owner(
    db: &Connection,
    id: SessionId,
    from: &Owner,
    to: &Owner,
) -> Result<()> {
    for statement in [
        "UPDATE sessions SET owner = ?3 WHERE session_id = ?1 AND owner = ?2",
        "UPDATE entries SET owner = ?3 WHERE session_id = ?1 AND owner = ?2",
    ] {
        db.prepare_cached(statement)?.execute(params![Word(id), from.as_str(), to.as_str()])?;
    }
    Ok(())
}

/// Sessions that are to be kept no longer, in order of their ids.
pub(in crate::metadata::sqlite) fn select_expired(
    db: &Connection,
    now: DateTime<Utc>,
    unsaid_since: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<(Owner, SessionId)>> {
    db.prepare_cached(
        "SELECT owner, session_id FROM sessions
         WHERE expires_at <= ?1 OR expires_at IS NULL AND created_at <= ?2
         ORDER BY session_id LIMIT ?3",
    )?
    .query_and_then(params![Millis(now), Millis(unsaid_since), limit], |row| {
        let Word(id) = row.get("session_id")?;
        Ok((Owner::new(row.get::<_, String>("owner")?), id))
    })?
    .collect()
}

/// How much an owner has.
pub(in crate::metadata::sqlite) fn select_holdings(db: &Connection, owner: &Owner) -> Result<Holdings> {
    db.prepare_cached(
        "SELECT
             (SELECT count(*) FROM sessions WHERE owner = ?1) AS sessions,
             (SELECT coalesce(sum(f.size_bytes), 0)
              FROM sessions AS s JOIN frames AS f ON f.session_id = s.session_id
              WHERE s.owner = ?1) AS bytes",
    )?
    .query_row([owner.as_str()], |row| {
        Ok(Holdings { sessions: row.get("sessions")?, bytes: row.get("bytes")? })
    })
}
