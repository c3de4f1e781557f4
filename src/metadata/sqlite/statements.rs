//! Every statement that is run on the embedded database.
//!
//! The functions here neither begin nor end a transaction: whoever calls them decides what happens
//! together. Statements are prepared once per connection, so their text never depends on a value; a set of
//! ids is bound as one JSON array.

pub(super) mod analyses;
pub(super) mod charges;
pub(super) mod claims;
pub(super) mod entries;
pub(super) mod terms;

use super::columns::{Json, Millis, Word};
use crate::metadata::{SessionRecord, TurnDetails, page_end};
use crate::session::{Frame, FrameNumber, Owner, Session, SessionId, Turn};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use std::collections::HashMap;

/// Writes a session and its frames, unless its id is taken or was deleted.
pub(super) fn insert_session(db: &Connection, session: &Session) -> Result<()> {
    let inserted = db
        .prepare_cached(
            "INSERT INTO sessions (
                 session_id, owner, created_at, stroke_type, user_notes, title, view, consent, expires_at
             )
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
             WHERE NOT EXISTS (SELECT 1 FROM deletions WHERE owner = ?2 AND session_id = ?1)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            Word(session.id),
            session.owner.as_str(),
            Millis(session.created_at),
            Word(session.stroke_type),
            session.user_notes,
            session.title,
            session.view.map(Word),
            session.consent.as_ref().map(Json),
            session.expires_at.map(Millis),
        ])?;
    if inserted == 0 {
        return Ok(());
    }
    session.frames.iter().try_for_each(|it| terms::insert_frame(db, session.id, it))
}

/// Appends turns whose numbers are free, unless their session does not exist.
pub(super) fn insert_turns(db: &Connection, session: SessionId, turns: &[Turn]) -> Result<()> {
    let mut insert_turn = db.prepare_cached(
        "INSERT INTO turns (session_id, number, role, content, created_at, details)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6
         WHERE EXISTS (SELECT 1 FROM sessions WHERE session_id = ?1)
         ON CONFLICT DO NOTHING",
    )?;
    for turn in turns {
        insert_turn.execute(params![
            Word(session),
            turn.number,
            Word(turn.role),
            turn.content,
            Millis(turn.created_at),
            TurnDetails::of(turn).map(Json),
        ])?;
    }
    Ok(())
}

/// Whether there is such a session, whoever owns it.
pub(super) fn session_exists(db: &Connection, id: SessionId) -> Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM sessions WHERE session_id = ?1)")?
        .query_row([Word(id)], |row| row.get(0))
}

/// Reads as little as possible from the tables.
pub(super) fn select_anything(db: &Connection) -> Result<()> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM sessions)")?.query_row([], |_| Ok(()))
}

/// Those of the ids that have a session, whoever owns it.
pub(super) fn select_existing(db: &Connection, ids: &[SessionId]) -> Result<Vec<SessionId>> {
    db.prepare_cached(
        "SELECT session_id FROM sessions WHERE session_id IN (SELECT value FROM json_each(?1))",
    )?
    .query_and_then([Json(ids)], |row| row.get(0).map(|Word(id): Word<SessionId>| id))?
    .collect()
}

/// The owner's session of this id, without its frames.
pub(super) fn select_session(db: &Connection, owner: &Owner, id: SessionId) -> Result<Option<Session>> {
    db.prepare_cached("SELECT * FROM sessions WHERE owner = ?1 AND session_id = ?2")?
        .query_row(params![owner.as_str(), Word(id)], read_session)
        .optional()
}

/// The owner's sessions that are older than `before`, newest first, without their frames.
pub(super) fn select_page(
    db: &Connection,
    owner: &Owner,
    before: Option<SessionId>,
    limit: u32,
) -> Result<Vec<Session>> {
    let before = page_end(before);
    db.prepare_cached(
        "SELECT * FROM sessions WHERE owner = ?1 AND session_id < ?2
         ORDER BY session_id DESC LIMIT ?3",
    )?
    .query_and_then(params![owner.as_str(), before, limit], read_session)?
    .collect()
}

/// Everything known about these sessions, in their order, by three statements however many they are.
pub(super) fn complete_records(db: &Connection, sessions: Vec<Session>) -> Result<Vec<SessionRecord>> {
    let ids: Vec<_> = sessions.iter().map(|session| session.id).collect();
    let mut frames = select_frames(db, &ids)?;
    let mut analyses = analyses::select_latest(db, &ids)?;
    let mut turns = select_turns(db, &ids)?;
    Ok(sessions
        .into_iter()
        .map(|session| SessionRecord {
            analyses: analyses.remove(&session.id).unwrap_or_default(),
            turns: turns.remove(&session.id).unwrap_or_default(),
            session: Session { frames: frames.remove(&session.id).unwrap_or_default(), ..session },
        })
        .collect())
}

/// Whether it is remembered that the owner deleted this session, or lost it to whoever claimed it.
pub(super) fn is_deleted(db: &Connection, owner: &Owner, id: SessionId) -> Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM deletions WHERE owner = ?1 AND session_id = ?2)")?
        .query_row(params![owner.as_str(), Word(id)], |row| row.get(0))
}

/// Remembers a deletion, and forgets those from before `forget_before`.
pub(super) fn insert_deletion(
    db: &Connection,
    owner: &Owner,
    id: SessionId,
    now: DateTime<Utc>,
    forget_before: DateTime<Utc>,
) -> Result<()> {
    db.prepare_cached("DELETE FROM deletions WHERE deleted_at < ?1")?.execute([Millis(forget_before)])?;
    db.prepare_cached(
        "INSERT INTO deletions (owner, session_id, deleted_at) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET deleted_at = excluded.deleted_at",
    )?
    .execute(params![owner.as_str(), Word(id), Millis(now)])?;
    Ok(())
}

/// Forgets the deletion of a session that is the owner's again.
pub(super) fn delete_deletion(db: &Connection, owner: &Owner, id: SessionId) -> Result<()> {
    db.prepare_cached("DELETE FROM deletions WHERE owner = ?1 AND session_id = ?2")?
        .execute(params![owner.as_str(), Word(id)])?;
    Ok(())
}

/// Removes the owner's session with all that belongs to it; returns the number of rows removed.
pub(super) fn delete_session(db: &Connection, owner: &Owner, id: SessionId) -> Result<u64> {
    if select_session(db, owner, id)?.is_none() {
        return Ok(0);
    }
    for uncounted in
        ["DELETE FROM answer_claims WHERE session_id = ?1", "DELETE FROM entries WHERE session_id = ?1"]
    {
        db.prepare_cached(uncounted)?.execute([Word(id)])?;
    }
    let mut removed = 0;
    for statement in [
        "DELETE FROM turns WHERE session_id = ?1",
        "DELETE FROM analysis_states WHERE session_id = ?1",
        "DELETE FROM frames WHERE session_id = ?1",
        "DELETE FROM sessions WHERE session_id = ?1",
    ] {
        removed += db.prepare_cached(statement)?.execute([Word(id)])? as u64;
    }
    Ok(removed)
}

fn read_session(row: &Row<'_>) -> Result<Session> {
    let Word(id) = row.get("session_id")?;
    let Millis(created_at) = row.get("created_at")?;
    let Word(stroke_type) = row.get("stroke_type")?;
    let view: Option<Word<_>> = row.get("view")?;
    let consent: Option<Json<_>> = row.get("consent")?;
    let expires_at: Option<Millis> = row.get("expires_at")?;
    Ok(Session {
        id,
        owner: Owner::new(row.get::<_, String>("owner")?),
        created_at,
        stroke_type,
        user_notes: row.get("user_notes")?,
        title: row.get("title")?,
        view: view.map(|Word(view)| view),
        frames: Vec::new(),
        consent: consent.map(|Json(consent)| consent),
        expires_at: expires_at.map(|Millis(time)| time),
    })
}

/// The frames of these sessions, in order.
pub(super) fn select_frames(db: &Connection, ids: &[SessionId]) -> Result<HashMap<SessionId, Vec<Frame>>> {
    let statement = "SELECT * FROM frames
         WHERE session_id IN (SELECT value FROM json_each(?1)) ORDER BY session_id, number";
    select_by_session(db, statement, ids, |row| {
        let number = row.get("number")?;
        Ok(Frame {
            number: FrameNumber::new(number)
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(1, number.into()))?,
            size_bytes: row.get("size_bytes")?,
            width: row.get("width")?,
            height: row.get("height")?,
            timestamp_ms: row.get("timestamp_ms")?,
            etag: row.get("etag")?,
        })
    })
}

fn select_turns(db: &Connection, ids: &[SessionId]) -> Result<HashMap<SessionId, Vec<Turn>>> {
    let statement = "SELECT * FROM turns
         WHERE session_id IN (SELECT value FROM json_each(?1)) ORDER BY session_id, number";
    select_by_session(db, statement, ids, |row| {
        let Word(role) = row.get("role")?;
        let Millis(created_at) = row.get("created_at")?;
        let details: Option<Json<TurnDetails>> = row.get("details")?;
        let TurnDetails { frames, usage, request } = details.map(|Json(it)| it).unwrap_or_default();
        Ok(Turn {
            number: row.get("number")?,
            role,
            content: row.get("content")?,
            created_at,
            frames,
            usage,
            request,
        })
    })
}

/// Reads what belongs to each of the sessions, in the order of the statement.
fn select_by_session<T>(
    db: &Connection,
    statement: &str,
    ids: &[SessionId],
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<HashMap<SessionId, Vec<T>>> {
    let mut found: HashMap<SessionId, Vec<T>> = HashMap::new();
    let mut statement = db.prepare_cached(statement)?;
    let mut rows = statement.query([Json(ids)])?;
    while let Some(row) = rows.next()? {
        let Word(id) = row.get("session_id")?;
        found.entry(id).or_default().push(read(row)?);
    }
    Ok(found)
}
