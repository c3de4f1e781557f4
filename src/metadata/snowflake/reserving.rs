//! Amounts held within budgets, without a transaction.
//!
//! A reservation is appended first, and what is then seen of its month is added up: whoever appended last sees all
//! the others, so that no more is held than fits. What does not fit is withdrawn again, by a row that names it. A
//! process reserves one amount at a time, so that it never stands in its own way. Two processes may see each other's
//! reservations before either is withdrawn and both withdraw; where only such stand in the way, a reservation is
//! tried again a little later, as patiently as a request.

use super::statements::charges::{self, Written};
use super::{SnowflakeSessionStore, rows};
use crate::ledger::{Budgets, Charge, Reservation};
use crate::metadata::rules::HELD_FOR;
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind, retry};
use chrono::{TimeDelta, Utc};
use thiserror::Error;
use tokio::sync::Mutex;
use uuid::Uuid;

const OPERATION: &str = "reserve";

/// For how long what another process holds may yet be withdrawn: longer than it commonly takes to add up a month.
const UNSURE_FOR: TimeDelta = TimeDelta::seconds(5);

/// Who reserves, and whose turn it is.
#[derive(Debug)]
pub(super) struct Reserving {
    writer: Uuid,
    turn: Mutex<()>,
}

impl Default for Reserving {
    fn default() -> Self {
        Self { writer: Uuid::new_v4(), turn: Mutex::default() }
    }
}

impl Reserving {
    /// A write of this process, now.
    pub(super) fn written(&self) -> Written {
        Written { write_id: Uuid::now_v7().to_string(), writer: self.writer.to_string(), at: Utc::now() }
    }
}

/// Only what others may yet withdraw stands in the way.
#[derive(Debug, Error)]
#[error("other processes reserve at the same time")]
struct Crowded(Reservation);

impl SnowflakeSessionStore {
    /// Holds the amount of a charge, if it fits.
    pub(super) async fn hold(
        &self,
        charge: &Charge,
        budgets: &Budgets,
    ) -> Result<Reservation, UpstreamError> {
        let charge = Charge { is_settled: false, ..charge.clone() };
        if !budgets.are_set() {
            self.run(OPERATION, charges::insert_charge(&charge, &self.reserving.written())).await?;
            return Ok(Reservation::Held);
        }
        let tried = retry(&self.api.limits().retry, || async {
            match self.try_to_hold(&charge, budgets).await {
                Err(error) if error.source.is::<Crowded>() => Err(error),
                // What the API fails with was tried again already.
                outcome => Ok(outcome),
            }
        });
        match tried.await {
            Ok(outcome) => outcome,
            Err(error) => match error.source.downcast::<Crowded>() {
                Ok(crowded) => Ok(crowded.0),
                Err(source) => Err(UpstreamError { source, ..error }),
            },
        }
    }

    async fn try_to_hold(&self, charge: &Charge, budgets: &Budgets) -> Result<Reservation, UpstreamError> {
        let _turn = self.reserving.turn.lock().await;
        let written = self.reserving.written();
        let outcome = self.hold_and_add_up(charge, budgets, &written).await;
        if matches!(outcome, Ok(Reservation::Held)) {
            return outcome;
        }
        // Also what was not acknowledged: it may have been written, or may be yet.
        let withdrawn = self.run(OPERATION, Ok(charges::insert_withdrawal(&written))).await;
        match (outcome, withdrawn) {
            (Err(error), Err(second)) if !error.source.is::<Crowded>() => {
                tracing::warn!(
                    error = %second, cause = %second.source,
                    "an amount that nobody will spend may be held for a day: it could not be withdrawn",
                );
                Err(error)
            }
            (_, Err(error)) => Err(error),
            (outcome, Ok(_)) => outcome,
        }
    }

    async fn hold_and_add_up(
        &self,
        charge: &Charge,
        budgets: &Budgets,
        written: &Written,
    ) -> Result<Reservation, UpstreamError> {
        self.run(OPERATION, charges::insert_charge(charge, written)).await?;
        let (held_since, unsure_since) = (written.at - HELD_FOR, written.at - UNSURE_FOR);
        let taken = charges::select_taken(charge, held_since, unsure_since, &written.writer);
        let set = self.run(OPERATION, Ok(taken)).await?;
        let (all, sure) = rows::read_taken(OPERATION, &set)?;
        let outcome = all.and(charge, budgets);
        if outcome != Reservation::Held && sure.and(charge, budgets) == Reservation::Held {
            let kind = UpstreamErrorKind::Unavailable;
            return Err(UpstreamError::new(Service::Records, OPERATION, kind, Crowded(outcome)));
        }
        Ok(outcome)
    }
}
