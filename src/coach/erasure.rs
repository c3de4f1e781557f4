//! Everything of one owner, removed at once.

use super::{Coach, CoachError};
use crate::metadata::EntryKind;
use crate::session::Owner;
use chrono::{TimeDelta, Utc};

/// Sessions that are looked for at one time.
const PAGE: u32 = 100;

/// How much an erasure removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Sessions.
    pub sessions: u64,
    /// Frames in storage.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records.
    pub records: u64,
}

impl Coach {
    /// Removes every session of an owner, expired ones as well, and what is remembered of their requests. What cannot be
    /// removed keeps nothing else from it; the first such failure is the outcome then, and the erasure can be repeated.
    /// What was charged stays.
    pub async fn erase(&self, owner: &Owner) -> Result<Erased, CoachError> {
        let (mut erased, mut failure, mut before) = (Erased::default(), None, None);
        loop {
            let page = self.sessions.list_sessions(owner, before, PAGE).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.session.id);
            for record in page {
                match self.delete_session(owner, record.session.id).await {
                    Ok(deleted) => {
                        erased.sessions += 1;
                        erased.frames += deleted.frames.frames;
                        erased.bytes += deleted.frames.bytes;
                        erased.records += deleted.records;
                    }
                    Err(CoachError::NoSuchSession(_)) => {}
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
        }
        self.forget_requests(owner).await?;
        match failure {
            None => Ok(erased),
            Some(error) => Err(error),
        }
    }

    async fn forget_requests(&self, owner: &Owner) -> Result<(), CoachError> {
        let mut after: Option<String> = None;
        loop {
            // Clocks of machines differ a little.
            let ever = Utc::now() + TimeDelta::days(1);
            let page = self.sessions.entries(EntryKind::Request, ever, after.as_deref()).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name.clone());
            for entry in page.iter().filter(|it| it.owner.as_ref() == Some(owner)) {
                self.sessions.remove_entry(entry.kind, &entry.name, &entry.value).await?;
            }
        }
    }
}
