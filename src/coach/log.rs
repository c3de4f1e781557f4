//! What is told of an analysis, each thing once.

use super::now;
use crate::analysis::{Finding, Warning};
use crate::events::{AnalysisEvent, Happening, Stage};
use crate::session::{Analysis, AnalysisStatus, Failure};

/// More events than a process tells of an analysis between two looks at its record.
const FROM_AFAR: u32 = 1000;

impl Analysis {
    /// Appends to the log what happened just now.
    pub(super) fn tell(&mut self, what: Happening) {
        let number = self.events.last().map_or(0, |it| it.number) + 1;
        self.events.push(AnalysisEvent { number, at: now(), what });
    }

    /// Ends it where it does not run here. Whoever runs it may be telling something at this very moment, so the number
    /// of the end is one that nobody else comes to.
    pub(super) fn end_from_afar(&mut self, failure: Failure) {
        self.end(Some(failure));
        if let Some(end) = self.events.last_mut() {
            end.number += FROM_AFAR;
        }
    }

    /// Tells of a stage of a look, unless that look was there last; whether it did.
    pub(super) fn tell_stage(&mut self, stage: Stage, look: u8) -> bool {
        let last = self.of_this_attempt().find_map(|it| match it {
            Happening::Progress { stage, look: of } if *of == look => Some(*stage),
            _ => None,
        });
        let is_new = last != Some(stage);
        if is_new {
            self.tell(Happening::Progress { stage, look });
        }
        is_new
    }

    /// Tells of a warning, unless it was told; whether it did.
    pub(super) fn tell_warning(&mut self, warning: &Warning) -> bool {
        let is_new =
            !self.events.iter().any(|it| matches!(&it.what, Happening::Warning(told) if told == warning));
        if is_new {
            self.tell(Happening::Warning(warning.clone()));
        }
        is_new
    }

    /// Tells of a finding, unless this attempt told of one of the same kind, code, element and side; whether it did.
    pub(super) fn tell_finding(&mut self, finding: Finding) -> bool {
        let what_of = |it: &Finding| (it.kind, it.code.clone(), it.element, it.side);
        let what = what_of(&finding);
        let is_new =
            !self.of_this_attempt().any(|it| matches!(it, Happening::Finding(told) if what_of(told) == what));
        if is_new {
            self.tell(Happening::Finding(Box::new(finding)));
        }
        is_new
    }

    /// Ends it: completely, unless there is a failure.
    pub(super) fn end(&mut self, failure: Option<Failure>) {
        self.looks.clear();
        self.status = if failure.is_some() { AnalysisStatus::Failed } else { AnalysisStatus::Complete };
        self.tell(failure.clone().map_or(Happening::Done, Happening::Failed));
        self.failure = failure;
    }

    /// What was told since it was last begun or taken up, the latest first.
    fn of_this_attempt(&self) -> impl Iterator<Item = &Happening> {
        let events = self.events.iter().rev().map(|it| &it.what);
        events.take_while(|it| !matches!(it, Happening::Resumed { .. }))
    }
}
