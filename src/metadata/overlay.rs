//! How a write changes a record: the rules of the stores, for records that are held in memory.

use super::SessionRecord;
use crate::session::{Analysis, Session, Turn};
use chrono::SubsecRound;

impl SessionRecord {
    /// The record of a session that was just created.
    pub(super) fn created(session: &Session) -> Self {
        let created_at = session.created_at.trunc_subsecs(3);
        let expires_at = session.expires_at.map(|it| it.trunc_subsecs(3));
        let session = Session { created_at, expires_at, ..session.clone() };
        Self { session, analyses: Vec::new(), turns: Vec::new() }
    }

    /// Appends a state of an analysis, unless that has ended. The latest is kept.
    pub(super) fn put_state(&mut self, state: &Analysis) {
        match self.analyses.binary_search_by_key(&state.id, |it| it.id) {
            Ok(place) => {
                let latest = &mut self.analyses[place];
                if !latest.has_ended() && latest.recency() < state.recency() {
                    *latest = state.clone();
                }
            }
            Err(place) => self.analyses.insert(place, state.clone()),
        }
    }

    /// Appends turns. One whose number is taken is left as it is.
    pub(super) fn put_turns(&mut self, turns: &[Turn]) {
        for turn in turns {
            if let Err(place) = self.turns.binary_search_by_key(&turn.number, |it| it.number) {
                let created_at = turn.created_at.trunc_subsecs(3);
                self.turns.insert(place, Turn { created_at, ..turn.clone() });
            }
        }
    }
}
