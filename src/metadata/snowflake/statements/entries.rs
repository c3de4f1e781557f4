//! Statements about small records.

use super::to_the_millisecond;
use crate::metadata::snowflake::sql_api::Statement;
use crate::metadata::{Entry, EntryKind, MAX_ENTRIES};
use crate::session::{Owner, SessionId};
use chrono::{DateTime, Utc};

/// Whether a small record `$entry` counts: not where its owner deleted the session that it is about.
macro_rules! counts {
    ($entry:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM deletions AS d WHERE d.owner = ",
            $entry,
            ".owner AND d.session_id = ",
            $entry,
            ".session_id)"
        )
    };
}

/// Every row of a small record, the one that counts first: there are two only while two are made at once.
pub(in crate::metadata::snowflake) fn select_entry(kind: EntryKind, name: &str) -> Statement {
    Statement::new(concat!(
        "SELECT e.name, e.owner, e.session_id, e.value, e.recorded_at, e.write_id
         FROM entries AS e
         WHERE e.kind = ? AND e.name = ? AND ",
        counts!("e"),
        " ORDER BY e.write_id",
    ))
    .bind(kind.as_str())
    .bind(name)
}

/// Those of a kind that were written before a time, by name.
pub(in crate::metadata::snowflake) fn select_entries(
    kind: EntryKind,
    before: DateTime<Utc>,
    after: Option<&str>,
) -> Statement {
    Statement::new(concat!(
        "SELECT name, owner, session_id, value, recorded_at, write_id
         FROM (
             SELECT e.*, ROW_NUMBER() OVER (PARTITION BY e.name ORDER BY e.write_id) AS place
             FROM entries AS e
             WHERE e.kind = ? AND e.name > ? AND ",
        counts!("e"),
        "
         ) AS written
         WHERE place = 1 AND recorded_at < ?
         ORDER BY name LIMIT ?",
    ))
    .bind(kind.as_str())
    .bind(after.unwrap_or_default())
    .bind(to_the_millisecond(before))
    .bind(MAX_ENTRIES)
}

/// Appends a small record where there is none of its kind and name.
pub(in crate::metadata::snowflake) fn insert_entry(entry: &Entry, write_id: &str) -> Statement {
    Statement::new(concat!(
        "INSERT INTO entries (kind, name, owner, session_id, value, recorded_at, write_id)
         SELECT asked.*
         FROM (
             SELECT
                 ? AS kind, ? AS name, ? AS owner, ? AS session_id, ? AS value, ? AS recorded_at, ? AS write_id
         ) AS asked
         WHERE NOT EXISTS (
             SELECT 1 FROM entries AS taken
             WHERE taken.kind = asked.kind AND taken.name = asked.name AND ",
        counts!("taken"),
        "
         )",
    ))
    .bind(entry.kind.as_str())
    .bind(entry.name.as_str())
    .bind(entry.owner.as_ref().map(Owner::as_str))
    .bind(entry.session.map(|it| it.to_string()))
    .bind(entry.value.as_str())
    .bind(to_the_millisecond(entry.recorded_at))
    .bind(write_id)
}

/// Changes a small record whose value is `seen`. Changes one row or none.
pub(in crate::metadata::snowflake) fn exchange_entry(seen: &str, new: &Entry) -> Statement {
    Statement::new(concat!(
        "UPDATE entries SET owner = ?, session_id = ?, value = ?, recorded_at = ?
         WHERE kind = ? AND name = ? AND value = ? AND ",
        counts!("entries"),
    ))
    .bind(new.owner.as_ref().map(Owner::as_str))
    .bind(new.session.map(|it| it.to_string()))
    .bind(new.value.as_str())
    .bind(to_the_millisecond(new.recorded_at))
    .bind(new.kind.as_str())
    .bind(new.name.as_str())
    .bind(seen)
}

/// Makes small records about a session another's.
pub(in crate::metadata::snowflake) fn update_owner(id: SessionId, from: &Owner, to: &Owner) -> Statement {
    Statement::new("UPDATE entries SET owner = ? WHERE session_id = ? AND owner = ?")
        .bind(to.as_str())
        .bind(id.to_string())
        .bind(from.as_str())
}

/// Removes those about the sessions of every deletion that is remembered.
pub(in crate::metadata::snowflake) fn delete_deleted() -> Statement {
    Statement::new(
        "DELETE FROM entries WHERE EXISTS (
             SELECT 1 FROM deletions AS d
             WHERE d.owner = entries.owner AND d.session_id = entries.session_id
         )",
    )
}

/// Takes back what was appended by this write.
pub(in crate::metadata::snowflake) fn withdraw_entry(entry: &Entry, write_id: &str) -> Statement {
    Statement::new("DELETE FROM entries WHERE kind = ? AND name = ? AND write_id = ? AND value = ?")
        .bind(entry.kind.as_str())
        .bind(entry.name.as_str())
        .bind(write_id)
        .bind(entry.value.as_str())
}

/// Removes a small record whose value this is.
pub(in crate::metadata::snowflake) fn delete_entry(kind: EntryKind, name: &str, seen: &str) -> Statement {
    Statement::new("DELETE FROM entries WHERE kind = ? AND name = ? AND value = ?")
        .bind(kind.as_str())
        .bind(name)
        .bind(seen)
}
