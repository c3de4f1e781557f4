//! Small records, exchanged without a transaction.
//!
//! To change one is an UPDATE whose condition names the value that was seen, and which therefore changes one row or
//! none, as with the analysis that was started last. To make one there is no row to change, so it is appended, and
//! then all rows of its kind and name are looked at. Whoever sees its own row alone has made it: of two who were both
//! alone when they looked, one would have looked before the other's row was there, and the other after, so that the
//! other saw two. Whoever sees another's takes its own back, unless somebody changed that meanwhile. Both may do so
//! where they came at the same time; then each tries again a little later, as patiently as a request. So does whoever
//! appended nothing for the sake of a row that is gone when all are looked at.

use super::statements::entries;
use super::{SnowflakeSessionStore, rows};
use crate::metadata::{Entry, EntryKind, Exchanged};
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind, retry};
use thiserror::Error;
use uuid::Uuid;

const OPERATION: &str = "exchange_entry";

/// Others make one at the same time, such as this, and may take it back.
#[derive(Debug, Error)]
#[error("others make the same record at the same time")]
struct Crowded(Box<Option<Entry>>);

impl Crowded {
    fn by(other: Option<&Entry>) -> UpstreamError {
        let crowded = Self(Box::new(other.cloned()));
        UpstreamError::new(Service::Records, OPERATION, UpstreamErrorKind::Unavailable, crowded)
    }
}

impl SnowflakeSessionStore {
    /// The rows of a small record, each with the id of its write, the one first that counts.
    pub(super) async fn rows_of_entry(
        &self,
        operation: &'static str,
        kind: EntryKind,
        name: &str,
    ) -> Result<Vec<(Entry, String)>, UpstreamError> {
        let set = self.run(operation, Ok(entries::select_entry(kind, name))).await?;
        rows::read_entries(operation, kind, &set)
    }

    /// Changes a small record whose value is `seen`.
    pub(super) async fn change_entry(&self, seen: &str, new: &Entry) -> Result<Exchanged, UpstreamError> {
        if 0 < self.run(OPERATION, Ok(entries::exchange_entry(seen, new))).await?.stats().updated {
            return Ok(Exchanged::Put);
        }
        let there = self.rows_of_entry(OPERATION, new.kind, &new.name).await?;
        Ok(exchanged(there.into_iter().next().map(|(entry, _)| entry), new))
    }

    /// Makes a small record where there is none.
    pub(super) async fn make_entry(&self, new: &Entry) -> Result<Exchanged, UpstreamError> {
        let made = retry(&self.api.limits().retry, || async {
            match self.try_to_make(new).await {
                Err(error) if error.source.is::<Crowded>() => Err(error),
                // What the API fails with was tried again already.
                outcome => Ok(outcome),
            }
        });
        match made.await {
            Ok(outcome) => outcome,
            Err(error) => match error.source.downcast::<Crowded>() {
                Ok(crowded) => Ok(Exchanged::Changed(*crowded.0)),
                Err(source) => Err(UpstreamError { source, ..error }),
            },
        }
    }

    async fn try_to_make(&self, new: &Entry) -> Result<Exchanged, UpstreamError> {
        let write_id = Uuid::now_v7().to_string();
        let inserted = self.run(OPERATION, Ok(entries::insert_entry(new, &write_id))).await?.stats().inserted;
        let rows = self.rows_of_entry(OPERATION, new.kind, &new.name).await?;
        let is_mine = |(_, id): &&(Entry, String)| *id == write_id;
        let Some((other, _)) = rows.iter().find(|it| !is_mine(it)) else {
            // Where not even its own is there, it went with a session that was deleted, if it ever was.
            let was_there = 0 < inserted || !rows.is_empty();
            return if was_there { Ok(Exchanged::Put) } else { Err(Crowded::by(None)) };
        };
        if !rows.iter().any(|it| is_mine(&it)) {
            return Ok(exchanged(Some(other.clone()), new));
        }
        self.run(OPERATION, Ok(entries::withdraw_entry(new, &write_id))).await?;
        Err(Crowded::by(Some(other)))
    }
}

/// What became of an exchange where this is there now.
fn exchanged(there: Option<Entry>, new: &Entry) -> Exchanged {
    match there {
        // It was put, and the answer was lost.
        Some(there) if there.value == new.value => Exchanged::Put,
        there => Exchanged::Changed(there),
    }
}
