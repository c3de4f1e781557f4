//! The file in which acknowledged writes wait: an embedded database of one table.

use super::write::{Subject, Write, WriteKind};
use crate::metadata::Backlog;
use crate::metadata::sqlite::columns::{Json, Millis, Word};
use crate::metadata::sqlite::{blocking, connection, failure, forget_log, in_write};
use crate::metrics::JournalMetrics;
use crate::session::{Owner, Session, SessionId};
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};
use rusqlite_migration::{M, Migrations};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Every change of the table in order; one that was released is never edited.
const STEPS: &[M<'static>] = &[
    M::up(include_str!("../../../migrations/journal/0001_writes.sql")),
    M::up(include_str!("../../../migrations/journal/0002_set_aside.sql")),
    M::up(include_str!("../../../migrations/journal/0003_charges.sql")),
];

/// Both numbers come from indexes, so that what waits is not read to be counted.
const COUNT: &str = "SELECT (SELECT count(*) FROM writes),
                            (SELECT count(*) FROM writes WHERE set_aside IS NOT NULL)";

const TABLES: Migrations<'static> = Migrations::from_slice(STEPS);

/// Writes that wait for the store of records, in one file on a disk that outlives the process.
///
/// A write that was appended is on the disk. What is removed is overwritten, in the log of the file too.
#[derive(Debug, Clone)]
pub struct Journal {
    connection: Arc<Mutex<Connection>>,
    max_writes: u64,
    metrics: JournalMetrics,
    /// What keeps other processes from draining the same file; the system gives it free when the process
    /// ends in whichever way. Absent where this process only looks.
    lock: Option<Arc<File>>,
}

/// A write in the journal.
#[derive(Debug)]
pub(super) struct WaitingWrite {
    pub(super) sequence: i64,
    pub(super) about: Subject,
    /// `None` when it cannot be read, as after a return to an earlier version.
    pub(super) write: Option<Write>,
}

/// What waits of an owner's sessions, as far as a page of a list is concerned.
#[derive(Debug)]
pub(super) struct OwnersBacklog {
    /// The newest sessions that are created by a waiting write.
    pub(super) created: Vec<SessionId>,
    /// Number of deletions.
    pub(super) n_deleted: u32,
    /// Every session of anybody about which a write waits.
    pub(super) touched: HashSet<SessionId>,
}

/// What waits of one session or charge, without contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectBacklog {
    /// Of which.
    pub about: Subject,
    /// When its oldest waiting write was acknowledged.
    pub oldest: DateTime<Utc>,
    /// How many writes of each kind wait.
    pub writes: Vec<(WriteKind, u64)>,
    /// In which way the store refused one of them for good.
    pub set_aside: Option<String>,
}

impl fmt::Display for SubjectBacklog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writes: Vec<String> = self.writes.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        write!(f, "{} since {}: {}", self.about, self.oldest.to_rfc3339(), writes.join(", "))?;
        match &self.set_aside {
            Some(way) => write!(f, "; stands still, since one of them was refused ({way})"),
            None => Ok(()),
        }
    }
}

impl Journal {
    /// Opens the file at `path`, or makes it, for this process alone. It holds up to `max_writes` writes.
    ///
    /// # Errors
    /// `Unavailable` when another process has it open. Otherwise as the embedded database: `NotFound`
    /// without the folder, `Unauthorized` when the file may not be written, `Rejected` when it is none.
    pub async fn open(path: &Path, max_writes: u64, metrics: JournalMetrics) -> Result<Self, UpstreamError> {
        let path = connection::absolute(path)?;
        blocking("open journal", move || {
            let lock = Some(Arc::new(lock(&path)?));
            let connection = connection::open_file(&path, &TABLES)?;
            let journal = Self { connection: Arc::new(Mutex::new(connection)), max_writes, metrics, lock };
            journal.with_connection("open journal", |db| journal.measure(db))?;
            Ok(journal)
        })
        .await
    }

    /// Opens the file to look at it, while another process may be working on it. Nothing is changed; a file
    /// that does not exist is an empty journal and is not made.
    pub async fn open_beside(path: &Path) -> Result<Self, UpstreamError> {
        let path = connection::absolute(path)?;
        blocking("open journal", move || {
            let connection = match connection::open_to_read(&path)? {
                Some(connection) => connection,
                None => connection::open_memory(&TABLES)?,
            };
            let connection = Arc::new(Mutex::new(connection));
            Ok(Self { connection, max_writes: 0, metrics: JournalMetrics::default(), lock: None })
        })
        .await
    }

    /// How much waits.
    pub async fn backlog(&self) -> Result<Backlog, UpstreamError> {
        self.read("journal", backlog).await
    }

    /// What waits of each session and charge, the oldest first.
    pub async fn by_subject(&self) -> Result<Vec<SubjectBacklog>, UpstreamError> {
        self.read("journal", select_by_subject).await
    }

    /// Removes for good what waits of a session or a charge, and says what that was; `None` when nothing does.
    ///
    /// # Errors
    /// `Unavailable` when the journal is another process's.
    pub async fn give_up(&self, about: Subject) -> Result<Option<SubjectBacklog>, UpstreamError> {
        self.must_be_ours()?;
        let waiting = self.by_subject().await?.into_iter().find(|it| it.about == about);
        if waiting.is_some() {
            self.forget(about).await?;
        }
        Ok(waiting)
    }

    /// Makes every write that was set aside one that waits, so that the store is asked again.
    pub(super) async fn put_back(&self) -> Result<(), UpstreamError> {
        self.change("journal", |db| {
            db.execute("UPDATE writes SET set_aside = NULL WHERE set_aside IS NOT NULL", []).map(|_| ())
        })
        .await
    }

    /// Whether this process may change the file.
    pub(super) fn is_ours(&self) -> bool {
        self.lock.is_some()
    }

    pub(super) fn must_be_ours(&self) -> Result<(), UpstreamError> {
        if self.is_ours() {
            return Ok(());
        }
        Err(unavailable("the journal belongs to the running service".to_owned()))
    }

    /// Whether the journal takes no more writes.
    pub(super) fn is_full(&self, backlog: Backlog) -> bool {
        self.is_ours() && self.max_writes <= backlog.waiting
    }

    /// Adds a write behind all others. With `instead`, what waits of its subject is removed by it, and needs no
    /// further room.
    ///
    /// # Errors
    /// `Unavailable` when the journal is full or is another process's.
    pub(super) async fn append(&self, write: &Write, instead: bool) -> Result<(), UpstreamError> {
        self.must_be_ours()?;
        let (write, max_writes) = (write.clone(), self.max_writes);
        let appended = self.change("journal", move |db| {
            let mut removed = 0;
            if instead {
                removed = db
                    .prepare_cached("DELETE FROM writes WHERE about = ?1")?
                    .execute([Word(write.about())])?;
            }
            if removed == 0 && max_writes <= backlog(db)?.waiting {
                return Ok(false);
            }
            insert(db, &write)?;
            Ok(true)
        });
        if !appended.await? {
            return Err(unavailable(format!("the journal is full: {max_writes} writes wait for the store")));
        }
        self.metrics.written.inc();
        Ok(())
    }

    /// Every session about which a write waits.
    pub(super) async fn touched(&self) -> Result<HashSet<SessionId>, UpstreamError> {
        self.read("journal", select_touched).await
    }

    /// Whether anything waits of a session or a charge.
    pub(super) async fn holds(&self, about: Subject) -> Result<bool, UpstreamError> {
        self.read("journal", move |db| {
            db.prepare_cached("SELECT EXISTS (SELECT 1 FROM writes WHERE about = ?1)")?
                .query_row([Word(about)], |row| row.get(0))
        })
        .await
    }

    /// Everything that waits of a session, in order, as far as it can be read.
    pub(super) async fn of_session(&self, session: SessionId) -> Result<Vec<Write>, UpstreamError> {
        let writes: Vec<WaitingWrite> = self
            .read("journal", move |db| {
                db.prepare_cached(
                    "SELECT sequence, about, content FROM writes WHERE about = ?1 ORDER BY sequence",
                )?
                .query_map([Word(session)], read_waiting)?
                .collect()
            })
            .await?;
        if writes.iter().any(|it| it.write.is_none()) {
            tracing::error!(
                session.id = %session,
                "a write about the session {session} cannot be read from the journal; what is shown lacks it",
            );
        }
        Ok(writes.into_iter().filter_map(|it| it.write).collect())
    }

    /// What waits of an owner's sessions that are older than `before`; at most `limit` creations, the newest.
    pub(super) async fn of_owner(
        &self,
        owner: &Owner,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<OwnersBacklog, UpstreamError> {
        let owner = owner.clone();
        self.read("journal", move |db| select_of_owner(db, &owner, before, limit)).await
    }

    /// The sessions of an owner that are created by a waiting write.
    pub(super) async fn created_by(&self, owner: &Owner) -> Result<Vec<Session>, UpstreamError> {
        let owner = owner.clone();
        let waiting: Vec<WaitingWrite> = self
            .read("journal", move |db| {
                db.prepare_cached(
                    "SELECT sequence, about, content FROM writes
                     WHERE owner = ?1 AND kind = 'create_session' ORDER BY sequence",
                )?
                .query_map([owner.as_str()], read_waiting)?
                .collect()
            })
            .await?;
        let sessions = waiting.into_iter().filter_map(|it| match it.write {
            Some(Write::CreateSession(session)) => Some(session),
            _ => None,
        });
        Ok(sessions.collect())
    }

    /// Those of the sessions that are created or deleted by a waiting write: its kind, whose and which.
    pub(super) async fn ends_of(
        &self,
        sessions: &[SessionId],
    ) -> Result<Vec<(WriteKind, Owner, SessionId)>, UpstreamError> {
        let sessions = sessions.to_owned();
        self.read("journal", move |db| {
            db.prepare_cached(
                "SELECT kind, owner, about FROM writes
                 WHERE owner IS NOT NULL AND about IN (SELECT value FROM json_each(?1))",
            )?
            .query_map([Json(sessions)], |row| {
                let (Word(kind), Word(session)) = (row.get("kind")?, row.get("about")?);
                Ok((kind, Owner::new(row.get::<_, String>("owner")?), session))
            })?
            .collect()
        })
        .await
    }

    /// The next up to `limit` writes to be sent, in order, none about what is `left_out`. A session of which a
    /// write was set aside stands still, except that it can be deleted.
    pub(super) async fn next(
        &self,
        limit: u32,
        left_out: &[Subject],
    ) -> Result<Vec<WaitingWrite>, UpstreamError> {
        let left_out = left_out.to_owned();
        self.read("journal", move |db| {
            db.prepare_cached(
                "SELECT sequence, about, content FROM writes
                 WHERE set_aside IS NULL
                     AND (kind = 'delete_session' OR about NOT IN (
                         SELECT about FROM writes WHERE set_aside IS NOT NULL
                     ))
                     AND about NOT IN (SELECT value FROM json_each(?2))
                 ORDER BY sequence LIMIT ?1",
            )?
            .query_map(params![limit, Json(left_out)], read_waiting)?
            .collect()
        })
        .await
    }

    /// Removes writes that the store acknowledged, and sets aside those that it refused, with the way in
    /// which it did.
    pub(super) async fn settle(
        &self,
        sent: Vec<i64>,
        refused: Vec<(i64, String)>,
    ) -> Result<(), UpstreamError> {
        self.change("journal", move |db| {
            db.prepare_cached("DELETE FROM writes WHERE sequence IN (SELECT value FROM json_each(?1))")?
                .execute([Json(sent)])?;
            let mut mark = db.prepare_cached("UPDATE writes SET set_aside = ?2 WHERE sequence = ?1")?;
            for (sequence, way) in refused {
                mark.execute(params![sequence, way])?;
            }
            Ok(())
        })
        .await
    }

    /// Removes everything that waits of a session or a charge, and returns what of it can be read.
    pub(super) async fn forget(&self, about: Subject) -> Result<Vec<Write>, UpstreamError> {
        self.change("journal", move |db| {
            let removed: Vec<String> = db
                .prepare_cached("DELETE FROM writes WHERE about = ?1 RETURNING content")?
                .query_map([Word(about)], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            Ok(removed.iter().filter_map(|it| serde_json::from_str(it).ok()).collect())
        })
        .await
    }

    /// Runs `work` in a transaction, then empties the log of what was removed and measures what is left.
    async fn change<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let journal = self.clone();
        blocking(operation, move || {
            journal.with_connection(operation, |db| {
                let value = in_write(db, work)?;
                forget_log(db);
                journal.measure(db)?;
                Ok(value)
            })
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let journal = self.clone();
        blocking(operation, move || journal.with_connection(operation, |db| work(&*db.transaction()?))).await
    }

    fn with_connection<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, UpstreamError> {
        let mut connection = self.connection.lock().map_err(|error| {
            let kind = UpstreamErrorKind::InvalidResponse;
            UpstreamError::new(Service::Records, operation, kind, error.to_string())
        })?;
        work(&mut connection).map_err(|error| failure(operation, error))
    }

    fn measure(&self, db: &Connection) -> rusqlite::Result<()> {
        let backlog = backlog(db)?;
        self.metrics.waiting.set(backlog.waiting);
        self.metrics.set_aside.set(backlog.set_aside);
        Ok(())
    }
}

/// Takes the lock of the file. It is a file of its own, since closing any handle of a database's file gives
/// up the database's locks; it stays when nobody holds it.
fn lock(path: &Path) -> Result<File, UpstreamError> {
    let mut name = OsString::from(path);
    name.push(".lock");
    let path = PathBuf::from(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(|error| connection::unusable_file(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(unavailable(format!(
            "another process has the journal open, and drains it by itself; {} is locked",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(connection::unusable_file(&path, &error)),
    }
}

/// A refusal that passes.
pub(super) fn unavailable(why: String) -> UpstreamError {
    UpstreamError::new(Service::Records, "journal", UpstreamErrorKind::Unavailable, why)
}

fn backlog(db: &Connection) -> rusqlite::Result<Backlog> {
    db.prepare_cached(COUNT)?
        .query_row([], |row| Ok(Backlog { waiting: row.get(0)?, set_aside: row.get(1)? }))
}

fn insert(db: &Connection, write: &Write) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO writes (about, owner, kind, content, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        Word(write.about()),
        write.owner().map(Owner::as_str),
        Word(write.kind()),
        Json(write),
        Millis(Utc::now()),
    ])?;
    Ok(())
}

fn select_of_owner(
    db: &Connection,
    owner: &Owner,
    before: Option<SessionId>,
    limit: u32,
) -> rusqlite::Result<OwnersBacklog> {
    let created = db
        .prepare_cached(
            "SELECT DISTINCT about FROM writes
             WHERE owner = ?1 AND kind = 'create_session' AND (?2 IS NULL OR about < ?2)
             ORDER BY about DESC LIMIT ?3",
        )?
        .query_map(params![owner.as_str(), before.map(Word), limit], read_id)?
        .collect::<rusqlite::Result<_>>()?;
    let n_deleted = db
        .prepare_cached("SELECT count(*) FROM writes WHERE owner = ?1 AND kind = 'delete_session'")?
        .query_row([owner.as_str()], |row| row.get(0))?;
    Ok(OwnersBacklog { created, n_deleted, touched: select_touched(db)? })
}

/// Every session about which a write waits.
fn select_touched(db: &Connection) -> rusqlite::Result<HashSet<SessionId>> {
    db.prepare_cached("SELECT DISTINCT about FROM writes WHERE kind <> 'settle'")?
        .query_map([], read_id)?
        .collect()
}

fn select_by_subject(db: &Connection) -> rusqlite::Result<Vec<SubjectBacklog>> {
    let mut subjects: Vec<SubjectBacklog> = db
        .prepare_cached(
            "SELECT about, min(recorded_at), max(set_aside) FROM writes
             GROUP BY about ORDER BY min(sequence)",
        )?
        .query_map([], |row| {
            let (Word(about), Millis(oldest)) = (row.get(0)?, row.get(1)?);
            Ok(SubjectBacklog { about, oldest, writes: Vec::new(), set_aside: row.get(2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut count = db.prepare_cached(
        "SELECT kind, count(*) FROM writes WHERE about = ?1 GROUP BY kind ORDER BY min(sequence)",
    )?;
    for subject in &mut subjects {
        let counted = count.query_map([Word(subject.about)], |row| {
            let Word(kind) = row.get(0)?;
            Ok((kind, row.get(1)?))
        })?;
        subject.writes = counted.collect::<rusqlite::Result<_>>()?;
    }
    Ok(subjects)
}

fn read_waiting(row: &Row<'_>) -> rusqlite::Result<WaitingWrite> {
    let Word(about) = row.get("about")?;
    let content: String = row.get("content")?;
    Ok(WaitingWrite { sequence: row.get("sequence")?, about, write: serde_json::from_str(&content).ok() })
}

fn read_id(row: &Row<'_>) -> rusqlite::Result<SessionId> {
    row.get(0).map(|Word(id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_waits_is_read_to_be_counted() {
        let db = connection::open_memory(&TABLES).unwrap();
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {COUNT}")).unwrap();
        let steps: Vec<String> =
            plan.query_map([], |row| row.get("detail")).unwrap().collect::<Result<_, _>>().unwrap();

        let scans: Vec<_> = steps.iter().filter(|it| it.starts_with("SCAN writes")).collect();

        assert_eq!(scans.len(), 2, "{steps:?}");
        assert!(scans.iter().all(|it| it.contains(" INDEX ")), "{steps:?}");
    }
}
