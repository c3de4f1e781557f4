//! Statements about small records.

use super::to_the_millisecond;
use crate::metadata::snowflake::sql_api::Statement;
use crate::metadata::{Entry, EntryKind, MAX_ENTRIES};
use crate::session::Owner;
use chrono::{DateTime, Utc};

/// Every row of a small record, the one that counts first: there are two only while two are made at once.
pub(in crate::metadata::snowflake) fn select_entry(kind: EntryKind, name: &str) -> Statement {
    Statement::new(
        "SELECT name, owner, session_id, value, recorded_at, write_id
         FROM entries
         WHERE kind = ? AND name = ?
         ORDER BY write_id",
    )
    .bind(kind.as_str())
    .bind(name)
}

/// Those of a kind that were written before a time, by name.
pub(in crate::metadata::snowflake) fn select_entries(
    kind: EntryKind,
    before: DateTime<Utc>,
    after: Option<&str>,
) -> Statement {
    Statement::new(
        "SELECT name, owner, session_id, value, recorded_at, write_id
         FROM (
             SELECT e.*, ROW_NUMBER() OVER (PARTITION BY e.name ORDER BY e.write_id) AS place
             FROM entries AS e
             WHERE e.kind = ? AND e.name > ?
         ) AS written
         WHERE place = 1 AND recorded_at < ?
         ORDER BY name LIMIT ?",
    )
    .bind(kind.as_str())
    .bind(after.unwrap_or_default())
    .bind(to_the_millisecond(before))
    .bind(MAX_ENTRIES)
}

/// Appends a small record where there is none of its kind and name.
pub(in crate::metadata::snowflake) fn insert_entry(entry: &Entry, write_id: &str) -> Statement {
    Statement::new(
        "INSERT INTO entries (kind, name, owner, session_id, value, recorded_at, write_id)
         SELECT asked.*
         FROM (
             SELECT
                 ? AS kind, ? AS name, ? AS owner, ? AS session_id, ? AS value, ? AS recorded_at, ? AS write_id
         ) AS asked
         WHERE NOT EXISTS (
             SELECT 1 FROM entries AS taken WHERE taken.kind = asked.kind AND taken.name = asked.name
         )",
    )
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
    Statement::new(
        "UPDATE entries SET owner = ?, session_id = ?, value = ?, recorded_at = ?
         WHERE kind = ? AND name = ? AND value = ?",
    )
    .bind(new.owner.as_ref().map(Owner::as_str))
    .bind(new.session.map(|it| it.to_string()))
    .bind(new.value.as_str())
    .bind(to_the_millisecond(new.recorded_at))
    .bind(new.kind.as_str())
    .bind(new.name.as_str())
    .bind(seen)
}

/// Takes back what was appended by this write.
pub(in crate::metadata::snowflake) fn withdraw_entry(entry: &Entry, write_id: &str) -> Statement {
    Statement::new("DELETE FROM entries WHERE kind = ? AND name = ? AND write_id = ?")
        .bind(entry.kind.as_str())
        .bind(entry.name.as_str())
        .bind(write_id)
}

/// Removes a small record whose value this is.
pub(in crate::metadata::snowflake) fn delete_entry(kind: EntryKind, name: &str, seen: &str) -> Statement {
    Statement::new("DELETE FROM entries WHERE kind = ? AND name = ? AND value = ?")
        .bind(kind.as_str())
        .bind(name)
        .bind(seen)
}
