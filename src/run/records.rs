//! The store of records that the settings choose, with the journal and the copies that stand before it.

use super::RunError;
use crate::config::{RecordSettings, Settings};
use crate::metadata::SessionStore;
use crate::metadata::journal::{self, Drained, Journal, JournaledSessionStore};
use crate::metadata::polled::PolledSessionStore;
use crate::metadata::snowflake::SnowflakeSessionStore;
use crate::metadata::sqlite::SqliteSessionStore;
use crate::metrics::{JournalMetrics, Metrics};
use std::sync::Arc;

/// What a process does with the journal of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JournalUse {
    /// Writes to it and drains it, as the service does. One process at a time can.
    Drain,
    /// Looks at what waits in it, beside the service.
    Look,
}

/// Where records are kept.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) sessions: Arc<dyn SessionStore>,
    /// What stands before the store, so that it can be shut down.
    pub(super) journal: Option<Arc<JournaledSessionStore>>,
}

impl Records {
    pub(super) async fn build(
        settings: &Settings,
        journal_use: JournalUse,
        metrics: &Metrics,
    ) -> Result<Self, RunError> {
        let snowflake: Arc<dyn SessionStore> = match &settings.records {
            RecordSettings::InMemory => return Ok(Self::bare(SqliteSessionStore::in_memory()?)),
            RecordSettings::File(path) => return Ok(Self::bare(SqliteSessionStore::open(path).await?)),
            RecordSettings::Snowflake(snowflake) => Arc::new(SnowflakeSessionStore::connect(snowflake)?),
        };
        let Some(path) = &settings.journal.path else {
            return Ok(Self { sessions: Arc::new(PolledSessionStore::new(snowflake)), journal: None });
        };
        let journal = match journal_use {
            JournalUse::Drain => {
                Journal::open(path, settings.journal.max_writes.into(), metrics.journal()).await?
            }
            JournalUse::Look => Journal::open_beside(path).await?,
        };
        let journaled = Arc::new(JournaledSessionStore::new(snowflake, journal));
        let sessions = Arc::new(PolledSessionStore::new(Arc::<JournaledSessionStore>::clone(&journaled)));
        Ok(Self { sessions, journal: Some(journaled) })
    }

    /// Records that are local already need nothing before them.
    fn bare(store: SqliteSessionStore) -> Self {
        Self { sessions: Arc::new(store), journal: None }
    }
}

/// The journal, to look at it; `None` when the settings have none.
pub async fn look_at_journal(settings: &Settings) -> Result<Option<Journal>, RunError> {
    match (&settings.records, &settings.journal.path) {
        (RecordSettings::Snowflake(_), Some(path)) => Ok(Some(Journal::open_beside(path).await?)),
        _ => Ok(None),
    }
}

/// The journal, for this process alone; `None` when the settings have none.
pub async fn open_journal(settings: &Settings) -> Result<Option<Journal>, RunError> {
    match (&settings.records, &settings.journal.path) {
        (RecordSettings::Snowflake(_), Some(path)) => {
            let max_writes = settings.journal.max_writes.into();
            Ok(Some(Journal::open(path, max_writes, JournalMetrics::default()).await?))
        }
        _ => Ok(None),
    }
}

/// Sends everything that waits in the journal to Snowflake, and what was set aside before as well; `None` when
/// the settings have no journal.
pub async fn drain_journal(settings: &Settings) -> Result<Option<Drained>, RunError> {
    let RecordSettings::Snowflake(snowflake) = &settings.records else { return Ok(None) };
    let Some(journal) = open_journal(settings).await? else { return Ok(None) };
    let store = Arc::new(SnowflakeSessionStore::connect(snowflake)?);
    Ok(Some(journal::drain(journal, store).await?))
}
