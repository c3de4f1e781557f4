//! Sessions, analyses and turns as records keep them, with something in every field.
//!
//! Owners and ids are new at each call, so that tests may share a store that outlives them.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use swimcoach::analysis::{MicroUsd, PublishedAnalysis, Usage, View};
use swimcoach::consent::{Basis, Consent, Purpose, Subject};
use swimcoach::ledger::{Charge, ChargeId, ChargeKind, StorageUse};
use swimcoach::session::{
    Analysis, AnalysisId, AnalysisOptions, AnalysisStatus, AnswerClaim, Failure, Frame, FrameNumber, Owner,
    Role, Session, SessionId, Stroke, Turn,
};
use uuid::Uuid;

/// Text that is lost by anything that is not careful: quotes, marks, a combining accent, an emoji.
pub(crate) const DIFFICULT_TEXT: &str =
    "Warum sinken meine Füße? 'ok'; -- \"x\" \\ 水泳 e\u{301} 🏊🏽‍♀️ %_ \n\t?1";

/// An owner whom no other test has.
pub(crate) fn new_owner() -> Owner {
    Owner::new(format!("owner-{}", Uuid::now_v7()))
}

/// A time so many milliseconds after a fixed one.
pub(crate) fn at(offset_ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_790_000_000_123).unwrap() + TimeDelta::milliseconds(offset_ms)
}

/// A session of `n_frames` frames with every optional field filled.
pub(crate) fn session(owner: &Owner, n_frames: u32) -> Session {
    Session {
        id: SessionId::new(),
        owner: owner.clone(),
        created_at: at(0),
        stroke_type: Stroke::Butterfly,
        user_notes: Some(DIFFICULT_TEXT.to_owned()),
        title: Some("Heat 2, lane 4".to_owned()),
        view: Some(View::Overhead),
        frames: (1..=n_frames).map(frame).collect(),
        consent: Some(Consent {
            subject: Subject::Adult,
            basis: Basis::Swimmer,
            purposes: [Purpose::Analysis, Purpose::ThirdPartyAi].into(),
        }),
        expires_at: Some(at(3_000_000_000_000)),
    }
}

/// A session with no more than a session must have.
pub(crate) fn bare_session(owner: &Owner) -> Session {
    let frame = Frame { timestamp_ms: None, ..frame(9999) };
    Session {
        user_notes: None,
        title: None,
        view: None,
        frames: vec![frame],
        consent: None,
        expires_at: None,
        ..session(owner, 0)
    }
}

/// An analysis of the session as it is first recorded: running since `at(0)`.
pub(crate) fn analysis(session: &Session) -> Analysis {
    Analysis {
        id: AnalysisId::new(),
        session_id: session.id,
        requested_at: at(0),
        updated_at: at(0),
        stroke_type: Stroke::Mixed,
        user_notes: Some(DIFFICULT_TEXT.to_owned()),
        status: AnalysisStatus::Processing,
        failure: None,
        result: None,
        usage: Usage::default(),
        options: AnalysisOptions::default(),
        attempt: 1,
        events: Vec::new(),
        looks: Vec::new(),
        left_out: Vec::new(),
        model: Some("claude-sonnet-5-5".to_owned()),
        runner: Some(Uuid::new_v4()),
    }
}

/// The same analysis, still running at `at(offset_ms)`.
pub(crate) fn renewed(analysis: &Analysis, offset_ms: i64) -> Analysis {
    Analysis { updated_at: at(offset_ms), ..analysis.clone() }
}

/// The same analysis, done at `at(offset_ms)` with a whole result.
pub(crate) fn completed(analysis: &Analysis, offset_ms: i64) -> Analysis {
    Analysis {
        status: AnalysisStatus::Complete,
        result: Some(published()),
        usage: Usage {
            requests: 2,
            input_tokens: 40_000,
            cache_creation_input_tokens: 1,
            cache_creation_5m_input_tokens: 0,
            cache_creation_1h_input_tokens: 1,
            cache_read_input_tokens: 9_007_199_254_740_993,
            output_tokens: 5_000,
            cost: Some(MicroUsd(9_007_199_254_740_995)),
        },
        ..renewed(analysis, offset_ms)
    }
}

/// The same analysis, failed at `at(offset_ms)`.
pub(crate) fn failed(analysis: &Analysis, offset_ms: i64) -> Analysis {
    Analysis {
        status: AnalysisStatus::Failed,
        failure: Some(Failure {
            code: "model_unavailable".to_owned(),
            detail: DIFFICULT_TEXT.to_owned(),
            can_resume: true,
        }),
        ..renewed(analysis, offset_ms)
    }
}

/// The same analysis, given back at `at(offset_ms)`.
pub(crate) fn given_back(analysis: &Analysis, offset_ms: i64) -> Analysis {
    Analysis { status: AnalysisStatus::Queued, ..renewed(analysis, offset_ms) }
}

/// The next attempt at the same analysis, begun at `at(offset_ms)`.
pub(crate) fn taken_up(analysis: &Analysis, offset_ms: i64) -> Analysis {
    let attempt = analysis.attempt + 1;
    Analysis {
        status: AnalysisStatus::Processing,
        failure: None,
        attempt,
        runner: Some(Uuid::new_v4()),
        ..renewed(analysis, offset_ms)
    }
}

/// The turn of this number; even ones are the swimmer's.
pub(crate) fn turn(number: u32, content: &str) -> Turn {
    Turn {
        number,
        role: if number.is_multiple_of(2) { Role::User } else { Role::Assistant },
        content: content.to_owned(),
        created_at: at(number.into()),
        frames: Vec::new(),
        usage: None,
        request: None,
    }
}

/// The same with everything that an answer has.
pub(crate) fn answer(number: u32, content: &str) -> Turn {
    let usage = Usage { requests: 1, cost: None, ..Usage::default() };
    let frames = vec![FrameNumber::new(4).unwrap(), FrameNumber::LAST];
    Turn { frames, usage: Some(usage), ..turn(number, content) }
}

/// The right to answer the message of this number, taken at `at(0)`.
pub(crate) fn claim(session: &Session, number: u32) -> AnswerClaim {
    AnswerClaim {
        session: session.id,
        id: Uuid::new_v4(),
        number,
        message_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        renewed_at: at(0),
    }
}

/// What an analysis that began at `at(0)` may come to.
pub(crate) fn charge(owner: &Owner, amount: u64) -> Charge {
    Charge {
        id: ChargeId::new(),
        owner: owner.clone(),
        kind: ChargeKind::Analysis,
        model: Some("claude-sonnet-5-5".to_owned()),
        at: at(0),
        is_settled: false,
        amount: MicroUsd(amount),
        usage: Usage::default(),
        storage: StorageUse::default(),
    }
}

/// A frame with every optional field filled.
pub(crate) fn frame(number: u32) -> Frame {
    Frame {
        number: FrameNumber::new(number).unwrap(),
        size_bytes: 5_000_000_000 + u64::from(number),
        width: 1920,
        height: 1080,
        timestamp_ms: Some(u64::from(number) * 40),
        etag: format!("9b2cf535f27731c974343645a3985{number:03}-1"),
    }
}

/// A published result with something in every list, and numbers that a careless reader rounds.
fn published() -> PublishedAnalysis {
    serde_json::from_value(json!({
        "schema": "swimcoach.analysis/1",
        "capture": {
            "view": "side", "medium": "underwater", "segment": "free_swimming",
            "swimmer_visible": "yes", "swimmer_count": "one", "quality": "good",
            "frames_sent": 15, "frames_per_cycle": 1.0 / 3.0,
        },
        "stroke": { "declared": "mixed", "observed": "medley", "certainty": "medium" },
        "summary": DIFFICULT_TEXT,
        "elements": [{
            "element": "catch", "visibility": "clear", "rating": 3, "certainty": "high",
            "frames": [4, 5], "note": "The elbow drops.",
        }],
        "findings": [{
            "id": "f1", "kind": "fault", "code": "OTHER", "title": null, "element": "catch",
            "side": "left", "priority": "primary", "certainty": "high",
            "evidence": [{ "frame": 4, "timestamp_ms": 160, "seen": "The elbow is below the hand." }],
            "observation": DIFFICULT_TEXT, "why_it_matters": "It slips.", "cue": "Elbow high.",
            "drills": [{ "id": "D01", "name": "Fist swim", "dose": "6x25" }],
        }],
        "metrics": [{
            "name": "stroke_rate", "value": 39.430_133_835_633_676, "uncertainty": 0.1 + 0.2,
            "unit": "cycles/min", "cycles": 2, "method": "entry to entry", "frames": [1, 9],
        }],
        "cannot_tell": ["The kick."],
        "filming_advice": ["Keep the feet in the picture."],
        "warnings": [{ "code": "timestamps_missing", "detail": "No times.", "frames": [] }],
        "notes_answer": { "text": DIFFICULT_TEXT, "frames": [4] },
        "dropped": {
            "no_evidence": 1, "unknown_frame": 2, "outside_view": 3, "unknown_code": 4,
            "unfit_drill": 5, "priority_lowered": 6, "unused_event": 7,
        },
        "content_flag": "none",
        "provenance": {
            "model": "mock", "prompt_version": "1", "catalog_version": "1",
            "frames_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        },
    }))
    .unwrap()
}
