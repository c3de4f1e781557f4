//! The nouns of what things cost: charges, budgets, and what a month came to.
//!
//! A charge outlives the session that it was for. It holds ids, amounts and counts, and nothing of what was said
//! or shown.

use crate::analysis::{MicroUsd, Usage};
use crate::session::{AnalysisId, InvalidId, Owner, Session, SessionId, parse_uuid};
use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A charge's id: a UUID. An analysis and its charge have the same one, and so have a session and the charge for
/// its upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChargeId(Uuid);

impl ChargeId {
    /// A new id, for what has none of its own.
    #[expect(clippy::new_without_default, reason = "two ids are never equal; a default would hide that")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl FromStr for ChargeId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_uuid(text).map(Self)
    }
}

impl From<AnalysisId> for ChargeId {
    fn from(id: AnalysisId) -> Self {
        Self(id.into())
    }
}

impl From<SessionId> for ChargeId {
    fn from(id: SessionId) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for ChargeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a charge is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeKind {
    /// An analysis, all of its attempts.
    Analysis,
    /// An answer in the conversation.
    Answer,
    /// The frames of a session that was deleted. Those of sessions that exist are counted from their records.
    Upload,
}

/// Something that costs money, or may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Its id. A later charge of the same id takes the place of the earlier one.
    pub id: ChargeId,
    /// Who is charged.
    pub owner: Owner,
    /// What for.
    pub kind: ChargeKind,
    /// The model that was asked, where one was to be.
    pub model: Option<String>,
    /// When it began, in milliseconds; it counts for the month of this time, in UTC.
    pub at: DateTime<Utc>,
    /// Whether it is over. A charge that is not over holds its amount in reserve.
    pub is_settled: bool,
    /// What it came to, or may come to at the most while it is not settled.
    pub amount: MicroUsd,
    /// What was asked of the model.
    pub usage: Usage,
    /// What was asked of storage, and what was put there.
    pub storage: StorageUse,
}

/// What was asked of storage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageUse {
    /// Frames that were put there.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Writes and listings, which cost as class A.
    pub class_a: u64,
    /// Reads, which cost as class B.
    pub class_b: u64,
}

impl StorageUse {
    /// What the upload of a session took.
    pub fn of_upload(session: &Session) -> Self {
        let bytes = session.frames.iter().map(|it| it.size_bytes).sum();
        Self::of_frames(session.frames.len() as u64, bytes)
    }

    /// What it takes to put so many frames of so many bytes there: one write for each frame.
    pub fn of_frames(frames: u64, bytes: u64) -> Self {
        Self { frames, bytes, class_a: frames, class_b: 0 }
    }
}

impl std::ops::AddAssign for StorageUse {
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.class_a += other.class_a;
        self.class_b += other.class_b;
    }
}

/// How much may be spent on the model; nothing is a limit when absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budgets {
    /// By each caller in a month.
    pub caller: Option<MicroUsd>,
    /// By the whole service in a month.
    pub service: Option<MicroUsd>,
    /// Analyses of each caller in a day, in UTC. One that never asked the model does not count.
    pub analyses_per_day: Option<u32>,
}

impl Budgets {
    /// Whether there is any limit.
    pub fn are_set(&self) -> bool {
        self.caller.is_some() || self.service.is_some() || self.analyses_per_day.is_some()
    }
}

/// Whose budget it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetScope {
    /// The caller's.
    Caller,
    /// The service's.
    Service,
}

/// What became of a wish to reserve an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    /// The amount is held until the charge is settled.
    Held,
    /// It would not have fitted, and nothing is held.
    OverBudget {
        /// Whose budget it does not fit.
        scope: BudgetScope,
        /// The budget.
        budget: MicroUsd,
        /// What is spent or held of it already.
        taken: MicroUsd,
    },
    /// The caller has had as many analyses as one may have in a day, and nothing is held.
    EnoughToday {
        /// How many that are.
        limit: u32,
    },
}

/// A month in UTC, written `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month(NaiveDate);

impl Month {
    /// The month of a time.
    pub fn of(time: DateTime<Utc>) -> Self {
        let date = time.date_naive();
        Self(date.with_day(1).unwrap_or(date))
    }

    /// Its first moment.
    pub fn start(self) -> DateTime<Utc> {
        self.0.and_time(NaiveTime::MIN).and_utc()
    }

    /// The first moment after it.
    pub fn end(self) -> DateTime<Utc> {
        (self.0 + Months::new(1)).and_time(NaiveTime::MIN).and_utc()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl FromStr for Month {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let date = format!("{text}-01").parse().map_err(|_no_date| "a month is written like 2026-11")?;
        // One spelling only, and a year that every store can write.
        let month = Self(date);
        if month.to_string() == text { Ok(month) } else { Err("a month is written like 2026-11") }
    }
}

/// What a month came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MonthUsage {
    /// Frames put into storage in that month and what else was asked of it, deleted sessions included.
    pub storage: StorageUse,
    /// Analyses that asked anything of storage or the model, failed ones included.
    pub analyses: u64,
    /// Answers in conversations that asked anything of them.
    pub answers: u64,
    /// What was asked of the model, and what it came to.
    pub usage: Usage,
    /// What is held for what still runs.
    pub reserved: MicroUsd,
    /// Bytes of frames that are in storage now, whenever they came.
    pub stored_bytes: u64,
}
