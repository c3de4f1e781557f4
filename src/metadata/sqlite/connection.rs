//! How a connection is made: the file, what holds for the connection, the tables.

use super::{failure, kind_of};
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use rusqlite::{Connection, MAIN_DB, OpenFlags, TransactionBehavior};
use rusqlite_migration::{M, Migrations};
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Every change of the tables in order; one that was released is never edited.
const RECORDS_STEPS: &[M<'static>] = &[
    M::up(include_str!("../../../migrations/sqlite/0001_sessions.sql")),
    M::up(include_str!("../../../migrations/sqlite/0002_attempts_answers_and_charges.sql")),
    M::up(include_str!("../../../migrations/sqlite/0003_terms_and_entries.sql")),
];

/// The tables of records.
pub(in crate::metadata) const RECORDS: Migrations<'static> = Migrations::from_slice(RECORDS_STEPS);

/// The path from the root, so that no name of a file means anything else, as `:memory:` does.
pub(in crate::metadata) fn absolute(path: &Path) -> Result<PathBuf, UpstreamError> {
    std::path::absolute(path).map_err(|error| unusable_file(path, &error))
}

/// Opens the file, making it when there is none, and brings its tables up to date.
pub(in crate::metadata) fn open_file(
    path: &Path,
    tables: &Migrations<'static>,
) -> Result<Connection, UpstreamError> {
    create_file(path).map_err(|error| unusable_file(path, &error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|error| failure("open", error))?;
    // Without the right to write, the file is opened for reading only and without an error.
    if connection.is_readonly(MAIN_DB).map_err(|error| failure("open", error))? {
        let read_only = io::Error::from(io::ErrorKind::PermissionDenied);
        return Err(unusable_file(path, &read_only));
    }
    prepare(&mut connection, tables)?;
    Ok(connection)
}

/// Opens the file for reading only; `None` when there is none, or its tables are still to come.
pub(in crate::metadata) fn open_to_read(path: &Path) -> Result<Option<Connection>, UpstreamError> {
    if !path.try_exists().map_err(|error| unusable_file(path, &error))? {
        return Ok(None);
    }
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok((0 < version).then_some(connection))
    };
    open().map_err(|error| failure("open", error))
}

/// Opens a database of its own in memory.
pub(in crate::metadata) fn open_memory(tables: &Migrations<'static>) -> Result<Connection, UpstreamError> {
    let mut connection = Connection::open_in_memory().map_err(|error| failure("open", error))?;
    prepare(&mut connection, tables)?;
    Ok(connection)
}

/// Makes an empty file for its owner only, unless there is one. The database gives its log the same mode.
fn create_file(path: &Path) -> io::Result<()> {
    // When a process closes any handle of a file, it loses all of its locks on it. Nobody else here opens
    // the file before the handle below is closed, since this function comes first.
    static CREATING: Mutex<()> = Mutex::new(());
    let _guard = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map(drop),
    }
}

/// Sets what holds for the connection, and brings the tables up to date.
fn prepare(connection: &mut Connection, tables: &Migrations<'static>) -> Result<(), UpstreamError> {
    configure(connection).map_err(|error| failure("open", error))?;
    let Err(error) = tables.to_latest(connection) else {
        return Ok(());
    };
    // Another process that opened the same file may have been a moment ahead.
    if tables.pending_migrations(connection) == Ok(0) {
        return Ok(());
    }
    let kind = match &error {
        rusqlite_migration::Error::RusqliteError { err, .. } => kind_of(err),
        _ => UpstreamErrorKind::Rejected,
    };
    Err(UpstreamError::new(Service::Records, "migrate", kind, error))
}

fn configure(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // A transaction that turns from reading to writing cannot wait for another writer; one that is to
    // write from its start can. This holds for the migrations too.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    // With the log, readers and a writer of different processes do not wait for each other. In memory, or
    // on a file system without shared memory, another mode stays in force, which is as safe.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // NORMAL would survive the end of the process but not of the machine, and the frames of a session
    // whose record is lost are orphans.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    // What a statement sorts is as private as the file, and a temporary file would lie elsewhere.
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// A file that cannot be made or written, named together with what is wrong.
pub(in crate::metadata) fn unusable_file(path: &Path, error: &io::Error) -> UpstreamError {
    let path = path.display();
    let (kind, what) = match error.kind() {
        io::ErrorKind::NotFound => (UpstreamErrorKind::NotFound, "its folder does not exist"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (UpstreamErrorKind::Unauthorized, "it may not be written")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (UpstreamErrorKind::Exhausted, "the disk is full")
        }
        _ => (UpstreamErrorKind::Rejected, "it cannot be used"),
    };
    let source = format!("the file {path}: {what} ({error})");
    UpstreamError::new(Service::Records, "open", kind, source)
}
