//! Every statement that is run on Snowflake about records.
//!
//! The texts are constants but for the number of turns in one write, so that no text depends on a value; a
//! set of ids is bound as one JSON array. Whatever is compared with a column is named in a subquery first,
//! so that each value is bound once.

/// What orders the states of an analysis `$states`, the latest first. Two ends are there only where they were written
/// at once; a whole result counts then.
macro_rules! latest_first {
    ($states:literal) => {
        concat!(
            "CASE ",
            $states,
            ".status WHEN 'complete' THEN 0 WHEN 'failed' THEN 1 ELSE 2 END,
                    COALESCE(",
            $states,
            ".attempt, 1) DESC, ",
            $states,
            ".updated_at DESC,
                    CASE WHEN ",
            $states,
            ".status = 'queued' THEN 0 ELSE 1 END"
        )
    };
}

pub(super) mod analyses;
pub(super) mod charges;
pub(super) mod claims;
pub(super) mod entries;
pub(super) mod terms;

use super::rows::word;
use super::sql_api::{Bind, Statement};
use crate::metadata::{TurnDetails, page_end};
use crate::session::{Owner, Session, SessionId, Turn};
use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

/// Decimals of a second that are kept.
const MILLISECONDS: u16 = 3;

/// The records of the sessions that are `$chosen`, at most as many as the last value says, as rows of three
/// kinds: a session, the latest state of an analysis, a turn. A key that was written twice counts once. Ids
/// are chosen first and from two columns only, since everything else of a table lies in other columns.
macro_rules! select_records {
    ($chosen:literal) => {
        concat!(
            "WITH page AS (
                SELECT DISTINCT s.owner, s.session_id
                FROM sessions AS s
                WHERE ",
            $chosen,
            " AND NOT EXISTS (
                    SELECT 1 FROM deletions AS d WHERE d.owner = s.owner AND d.session_id = s.session_id
                )
                ORDER BY s.session_id DESC LIMIT ?
            )
            SELECT
                'session' AS kind, session_id, owner, created_at, stroke_type, user_notes, title, camera_view,
                TO_JSON(frames) AS frames, started AS state, NULL AS number, NULL AS role, NULL AS content,
                NULL AS details, consent, expires_at
            FROM (
                SELECT s.*, ROW_NUMBER() OVER (
                    PARTITION BY s.session_id
                    ORDER BY CASE WHEN s.started IS NULL THEN 1 ELSE 0 END, s.n_frames DESC, s.created_at
                ) AS place
                FROM sessions AS s JOIN page ON page.owner = s.owner AND page.session_id = s.session_id
            ) AS sessions_written
            WHERE place = 1
            UNION ALL
            SELECT 'state', session_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, state, NULL, NULL, NULL,
                NULL, NULL, NULL
            FROM (
                SELECT a.session_id, a.state, ROW_NUMBER() OVER (
                    PARTITION BY a.session_id, a.analysis_id
                    ORDER BY ",
            latest_first!("a"),
            "
                ) AS place
                FROM analysis_states AS a JOIN page ON page.session_id = a.session_id
            ) AS states_written
            WHERE place = 1
            UNION ALL
            SELECT
                'turn', session_id, NULL, created_at, NULL, NULL, NULL, NULL, NULL, NULL, number, role, content,
                details, NULL, NULL
            FROM (
                SELECT t.session_id, t.number, t.role, t.content, t.created_at, t.details, ROW_NUMBER() OVER (
                    PARTITION BY t.session_id, t.number ORDER BY t.write_id
                ) AS place
                FROM turns AS t JOIN page ON page.session_id = t.session_id
            ) AS turns_written
            WHERE place = 1"
        )
    };
}

/// The owner's session of this id.
pub(super) fn select_session(owner: &Owner, id: SessionId) -> Statement {
    Statement::new(select_records!("s.owner = ? AND s.session_id = ?"))
        .bind(owner.as_str())
        .bind(id.to_string())
        .bind(1)
}

/// The session of this id, whoever owns it.
pub(super) fn select_anybodys_session(id: SessionId) -> Statement {
    Statement::new(select_records!("s.session_id = ?")).bind(id.to_string()).bind(1)
}

/// The owner's newest sessions that are older than `before`.
pub(super) fn select_page(owner: &Owner, before: Option<SessionId>, limit: u32) -> Statement {
    let before = page_end(before);
    Statement::new(select_records!("s.owner = ? AND s.session_id < ?"))
        .bind(owner.as_str())
        .bind(before)
        .bind(limit)
}

/// Those of the ids that have a session, whoever owns it.
pub(super) fn select_existing(ids: &[SessionId]) -> serde_json::Result<Statement> {
    let statement = Statement::new(
        "SELECT DISTINCT s.session_id
         FROM sessions AS s
         WHERE s.session_id IN (SELECT CAST(value AS VARCHAR) FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))))
             AND NOT EXISTS (
                 SELECT 1 FROM deletions AS d WHERE d.owner = s.owner AND d.session_id = s.session_id
             )",
    );
    Ok(statement.bind(serde_json::to_string(ids)?))
}

/// Writes a session with its frames, unless its id is taken or was deleted.
pub(super) fn insert_session(session: &Session) -> serde_json::Result<Statement> {
    let statement = Statement::new(
        "INSERT INTO sessions (
             session_id, owner, created_at, stroke_type, user_notes, title, camera_view, n_frames, frames, consent,
             expires_at
         )
         SELECT
             asked.session_id, asked.owner, asked.created_at, asked.stroke_type, asked.user_notes, asked.title,
             asked.camera_view, asked.n_frames, PARSE_JSON(asked.frames), asked.consent, asked.expires_at
         FROM (
             SELECT
                 ? AS session_id, ? AS owner, ? AS created_at, ? AS stroke_type, ? AS user_notes, ? AS title,
                 ? AS camera_view, ? AS n_frames, ? AS frames, ? AS consent, ? AS expires_at
         ) AS asked
         WHERE NOT EXISTS (SELECT 1 FROM sessions AS taken WHERE taken.session_id = asked.session_id)
             AND NOT EXISTS (
                 SELECT 1 FROM deletions AS d WHERE d.owner = asked.owner AND d.session_id = asked.session_id
             )",
    );
    Ok(statement
        .bind(session.id.to_string())
        .bind(session.owner.as_str())
        .bind(to_the_millisecond(session.created_at))
        .bind(session.stroke_type.as_str())
        .bind(session.user_notes.clone())
        .bind(session.title.clone())
        .bind(session.view.as_ref().map(word).transpose()?)
        .bind(n_frames(session.frames.len()))
        .bind(serde_json::to_string(&session.frames)?)
        .bind(session.consent.as_ref().map(serde_json::to_string).transpose()?)
        .bind(session.expires_at.map(to_the_millisecond)))
}

/// Appends turns whose numbers are free, unless their session does not exist.
pub(super) fn insert_turns(session: SessionId, turns: &[Turn]) -> serde_json::Result<Statement> {
    let mut text = String::from(
        "INSERT INTO turns (session_id, owner, number, role, content, created_at, details, write_id)
         SELECT DISTINCT
             s.session_id, s.owner, asked.number, asked.role, asked.content, asked.created_at, asked.details,
             asked.write_id
         FROM (
             SELECT
                 ? AS session_id, ? AS number, ? AS role, ? AS content, ? AS created_at, ? AS details,
                 ? AS write_id",
    );
    for _ in turns.iter().skip(1) {
        text.push_str(" UNION ALL SELECT ?, ?, ?, ?, ?, ?, ?");
    }
    text.push_str(
        "
         ) AS asked
         JOIN sessions AS s ON s.session_id = asked.session_id
         WHERE NOT EXISTS (
                 SELECT 1 FROM deletions AS d WHERE d.owner = s.owner AND d.session_id = s.session_id
             )
             AND NOT EXISTS (
                 SELECT 1 FROM turns AS taken
                 WHERE taken.session_id = asked.session_id AND taken.number = asked.number
             )",
    );
    let write_id = Uuid::now_v7().to_string();
    let mut statement = Statement::new(text);
    for turn in turns {
        statement = statement
            .bind(session.to_string())
            .bind(turn.number)
            .bind(word(&turn.role)?)
            .bind(turn.content.as_str())
            .bind(to_the_millisecond(turn.created_at))
            .bind(TurnDetails::of(turn).as_ref().map(serde_json::to_string).transpose()?)
            .bind(write_id.as_str());
    }
    Ok(statement)
}

/// Remembers a deletion.
pub(super) fn insert_deletion(owner: &Owner, id: SessionId, now: DateTime<Utc>) -> Statement {
    Statement::new("INSERT INTO deletions (session_id, owner, deleted_at) SELECT ?, ?, ?")
        .bind(id.to_string())
        .bind(owner.as_str())
        .bind(to_the_millisecond(now))
}

/// Forgets the deletion of a session that is to be the owner's again.
pub(super) fn forget_deletion(owner: &Owner, id: SessionId) -> Statement {
    Statement::new("DELETE FROM deletions WHERE owner = ? AND session_id = ?")
        .bind(owner.as_str())
        .bind(id.to_string())
}

/// How many records there are of the owner's session, frames included, in rows that add up.
pub(super) fn count_records(owner: &Owner, id: SessionId) -> Statement {
    Statement::new(
        "SELECT 1 + MAX(n_frames) AS n_records FROM sessions WHERE owner = ? AND session_id = ?
         UNION ALL
         SELECT COUNT(*) FROM (
             SELECT DISTINCT a.analysis_id, a.attempt, a.updated_at, a.status
             FROM analysis_states AS a
             JOIN sessions AS s ON s.session_id = a.session_id
             WHERE s.owner = ? AND s.session_id = ?
         ) AS states
         UNION ALL
         SELECT COUNT(DISTINCT t.number)
         FROM turns AS t
         JOIN sessions AS s ON s.session_id = t.session_id
         WHERE s.owner = ? AND s.session_id = ?",
    )
    .bind(owner.as_str())
    .bind(id.to_string())
    .bind(owner.as_str())
    .bind(id.to_string())
    .bind(owner.as_str())
    .bind(id.to_string())
}

/// What removes what belongs to the sessions of every deletion that is remembered, one statement for each table. Turns
/// and states may name an owner of before a claim, so they go where no session of their id is left that counts.
pub(super) fn delete_what_belonged_to_deleted() -> [Statement; 3] {
    macro_rules! delete_from {
        ($table:literal) => {
            Statement::new(concat!(
                "DELETE FROM ",
                $table,
                " WHERE EXISTS (SELECT 1 FROM deletions AS d WHERE d.session_id = ",
                $table,
                ".session_id) AND NOT EXISTS (
                     SELECT 1
                     FROM sessions AS s
                     LEFT JOIN deletions AS g ON g.owner = s.owner AND g.session_id = s.session_id
                     WHERE g.session_id IS NULL AND s.session_id = ",
                $table,
                ".session_id)",
            ))
        };
    }
    [delete_from!("turns"), delete_from!("analysis_states"), entries::delete_deleted()]
}

/// What removes the sessions of every deletion that is remembered, once nothing belongs to them any more.
pub(super) fn delete_deleted_sessions() -> Statement {
    Statement::new(
        "DELETE FROM sessions WHERE EXISTS (
             SELECT 1 FROM deletions AS d
             WHERE d.owner = sessions.owner AND d.session_id = sessions.session_id
         )",
    )
}

/// Forgets the deletions from before `forget_before`.
pub(super) fn forget_deletions(forget_before: DateTime<Utc>) -> Statement {
    Statement::new("DELETE FROM deletions WHERE deleted_at < ?").bind(to_the_millisecond(forget_before))
}

/// Asks whether we are let in, without a warehouse.
pub(super) fn select_constant() -> Statement {
    Statement::new("SELECT 1").without_warehouse()
}

/// A number of frames.
fn n_frames(count: usize) -> Bind {
    Bind::Fixed(i64::try_from(count).ok())
}

fn to_the_millisecond(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(MILLISECONDS)
}
