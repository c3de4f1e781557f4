//! Small records beside sessions.

use crate::metadata::sqlite::columns::{Millis, Word};
use crate::metadata::{Entry, EntryKind, MAX_ENTRIES};
use crate::session::{Owner, SessionId};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

/// The small record of this kind and name.
pub(in crate::metadata::sqlite) fn select_entry(
    db: &Connection,
    kind: EntryKind,
    name: &str,
) -> Result<Option<Entry>> {
    db.prepare_cached("SELECT * FROM entries WHERE kind = ?1 AND name = ?2")?
        .query_row([kind.as_str(), name], |row| read_entry(kind, row))
        .optional()
}

/// Those of a kind that were written before a time, by name.
pub(in crate::metadata::sqlite) fn select_entries(
    db: &Connection,
    kind: EntryKind,
    before: DateTime<Utc>,
    after: Option<&str>,
) -> Result<Vec<Entry>> {
    db.prepare_cached(
        "SELECT * FROM entries WHERE kind = ?1 AND recorded_at < ?2 AND coalesce(?3, '') < name
         ORDER BY name LIMIT ?4",
    )?
    .query_and_then(params![kind.as_str(), Millis(before), after, MAX_ENTRIES], |row| read_entry(kind, row))?
    .collect()
}

/// Puts a small record in the place of an earlier one.
pub(in crate::metadata::sqlite) fn put_entry(db: &Connection, entry: &Entry) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO entries (kind, name, owner, session_id, value, recorded_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        entry.kind.as_str(),
        entry.name,
        entry.owner.as_ref().map(Owner::as_str),
        entry.session.map(Word),
        entry.value,
        Millis(entry.recorded_at),
    ])?;
    Ok(())
}

/// Removes a small record whose value this is; says whether there was one.
pub(in crate::metadata::sqlite) fn delete_entry(
    db: &Connection,
    kind: EntryKind,
    name: &str,
    seen: &str,
) -> Result<bool> {
    db.prepare_cached("DELETE FROM entries WHERE kind = ?1 AND name = ?2 AND value = ?3")?
        .execute([kind.as_str(), name, seen])
        .map(|removed| 0 < removed)
}

/// Removes the small record of this kind and name, whatever it says.
pub(in crate::metadata::sqlite) fn delete_any_entry(
    db: &Connection,
    kind: EntryKind,
    name: &str,
) -> Result<()> {
    db.prepare_cached("DELETE FROM entries WHERE kind = ?1 AND name = ?2")?.execute([kind.as_str(), name])?;
    Ok(())
}

fn read_entry(kind: EntryKind, row: &Row<'_>) -> Result<Entry> {
    let session: Option<Word<SessionId>> = row.get("session_id")?;
    let Millis(recorded_at) = row.get("recorded_at")?;
    Ok(Entry {
        kind,
        name: row.get("name")?,
        owner: row.get::<_, Option<String>>("owner")?.map(Owner::new),
        session: session.map(|Word(session)| session),
        value: row.get("value")?,
        recorded_at,
    })
}
