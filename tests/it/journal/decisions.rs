//! What decides whether money is spent never waits, and what was spent is never lost.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{Bench, DOWN, degraded, kind, path_in, with_a_refused_write};
use crate::support::breakable_records::BreakableRecords;
use crate::support::records::{
    analysis, at, charge, claim, completed, failed, frame, given_back, new_owner, renewed, session, turn,
};
use std::sync::Arc;
use std::time::Duration;
use swimcoach::analysis::MicroUsd;
use swimcoach::ledger::{Budgets, Charge, ChargeKind, Month, MonthUsage, Reservation, StorageUse};
use swimcoach::metadata::journal::{Journal, Subject, WriteKind};
use swimcoach::metadata::{
    AddedFrames, Amendment, ClaimedAnswer, Entry, EntryKind, Holdings, Recorded, SessionStore,
    StartedAnalysis,
};
use swimcoach::metrics::JournalMetrics;
use swimcoach::session::{Analysis, Session};

/// What the store itself knows of the owner's month.
async fn arrived(bench: &Bench, session: &Session) -> MonthUsage {
    bench.records.unbroken().month_usage(&session.owner, Month::of(at(0))).await.unwrap()
}

async fn started(bench: &Bench, session: &Session) -> Analysis {
    let analysis = analysis(session);
    let outcome = bench.store.start_analysis(&analysis, at(-1)).await.unwrap();
    assert_eq!(outcome, StartedAnalysis::Started);
    analysis
}

#[tokio::test(start_paused = true)]
async fn what_a_charge_came_to_waits_out_an_outage_and_the_deletion_of_its_session() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let session = bench.created().await;
    let storage = StorageUse { class_a: 3, ..StorageUse::of_upload(&session) };
    let upload =
        Charge { id: session.id.into(), kind: ChargeKind::Upload, storage, ..charge(&session.owner, 0) };

    bench.store.settle(&charge(&session.owner, 300)).await.unwrap();
    bench.store.settle(&upload).await.unwrap();
    bench.store.delete_session(&session.owner, session.id).await.unwrap();
    assert_eq!(bench.metrics.waiting.get(), 3, "the creation goes with the session");
    bench.records.mend();
    bench.drained().await;

    let expected = MonthUsage { storage, analyses: 1, ..MonthUsage::default() };
    assert_eq!(arrived(&bench, &session).await, expected);
    assert_eq!(bench.arrived_of(&session).await, None);
}

#[tokio::test(start_paused = true)]
async fn what_a_charge_came_to_does_not_wait_for_a_session_that_stands_still() {
    let bench = Bench::new().await;
    let session = with_a_refused_write(&bench).await;

    bench.store.settle(&charge(&session.owner, 300)).await.unwrap();

    assert_eq!(arrived(&bench, &session).await.analyses, 1);
    bench.comes_to(degraded(1, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_that_decides_whether_money_is_spent_waits_for_the_store() {
    let bench = Bench::new().await;
    let session = bench.created().await;
    let charge = charge(&session.owner, 300);
    bench.records.fail_all(DOWN);
    let other = bench.created().await;

    assert_eq!(kind(bench.store.start_analysis(&analysis(&session), at(-1)).await), DOWN);
    assert_eq!(kind(bench.store.claim_answer(&claim(&session, 0), at(-1)).await), DOWN);
    assert_eq!(kind(bench.store.reserve(&charge, &Budgets::default()).await), DOWN);
    assert_eq!(kind(bench.store.month_usage(&session.owner, Month::of(at(0))).await), DOWN);
    assert_eq!(kind(bench.store.unfinished_analyses(at(0)).await), DOWN);
    assert_eq!(bench.metrics.waiting.get(), 1, "the creation of another session");
    bench.records.mend();
    bench.drained().await;
    assert_eq!(bench.store.claim_answer(&claim(&other, 0), at(-1)).await.unwrap(), ClaimedAnswer::Claimed);
    assert_eq!(bench.store.reserve(&charge, &Budgets::default()).await.unwrap(), Reservation::Held);
}

#[tokio::test(start_paused = true)]
async fn frames_terms_and_owners_do_not_change_while_the_creation_of_their_session_waits() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let session = bench.created().await;
    let (owner, id, to) = (&session.owner, session.id, new_owner());
    let terms = Amendment { expires_at: Some(at(1)), ..Amendment::default() };
    let lease = Entry {
        kind: EntryKind::Lease,
        name: "sweep".to_owned(),
        owner: None,
        session: None,
        value: "{}".to_owned(),
        recorded_at: at(0),
    };

    assert_eq!(kind(bench.store.add_frames(owner, id, &[frame(3)]).await), DOWN);
    assert_eq!(kind(bench.store.amend_session(owner, id, &terms).await), DOWN);
    assert_eq!(kind(bench.store.claim_session(id, owner, &to).await), DOWN);
    assert_eq!(kind(bench.store.exchange_entry(None, &lease).await), DOWN);
    assert_eq!(bench.metrics.waiting.get(), 1);
    bench.records.mend();
    bench.drained().await;

    let added = bench.store.add_frames(owner, id, &[frame(3)]).await.unwrap();
    assert_eq!(added, AddedFrames::Added { taken: Vec::new() });
    assert!(bench.store.claim_session(id, owner, &to).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_created_is_held_by_its_owner_too_and_counts_once() {
    let bench = Bench::new().await;
    let arrived = bench.created().await;
    let waiting = Session { owner: arrived.owner.clone(), ..session(&new_owner(), 3) };
    bench.records.fail_next(1, DOWN);
    bench.records.refuse(waiting.id);
    bench.store.create_session(&waiting).await.unwrap();
    bench.comes_to(degraded(1, 1)).await;
    let bytes = |session: &Session| session.frames.iter().map(|it| it.size_bytes).sum::<u64>();
    let both = Holdings { sessions: 2, bytes: bytes(&arrived) + bytes(&waiting) };

    let before = bench.store.holdings(&arrived.owner).await.unwrap();
    bench.records.unbroken().create_session(&waiting).await.unwrap();
    let after = bench.store.holdings(&arrived.owner).await.unwrap();
    bench.records.fail_all(DOWN);

    assert_eq!((before, after), (both, both));
    assert_eq!(kind(bench.store.holdings(&arrived.owner).await), DOWN);
}

#[tokio::test(start_paused = true)]
async fn whoever_lost_a_session_to_a_claim_removes_nothing_that_waits_of_it() {
    let bench = Bench::new().await;
    let session = bench.created().await;
    let claimed = Session { owner: new_owner(), ..session.clone() };
    bench.records.lose_next_answers(1);
    bench.store.claim_session(session.id, &session.owner, &claimed.owner).await.unwrap_err();
    bench.records.fail_all(DOWN);
    bench.store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();

    bench.store.delete_session(&session.owner, session.id).await.unwrap();
    bench.records.mend();
    bench.drained().await;

    assert_eq!(bench.arrived_of(&claimed).await.unwrap().turns, [turn(0, "Why?")]);
}

#[tokio::test(start_paused = true)]
async fn while_turns_wait_nobody_answers_the_next_message_and_nobody_in_their_place() {
    let bench = Bench::new().await;
    let session = bench.created().await;
    let holder = claim(&session, 0);
    assert_eq!(bench.store.claim_answer(&holder, at(-1)).await.unwrap(), ClaimedAnswer::Claimed);
    bench.records.fail_next(1, DOWN);
    bench.records.refuse(session.id);
    bench.store.append_turns(session.id, &[turn(0, "Why?"), turn(1, "Because.")]).await.unwrap();
    bench.comes_to(degraded(1, 1)).await;

    bench.store.release_answer(&holder).await.unwrap();

    assert_eq!(kind(bench.store.claim_answer(&claim(&session, 2), at(-1)).await), DOWN);
    let elsewhere = bench.records.unbroken().claim_answer(&claim(&session, 0), at(-1)).await.unwrap();
    assert_eq!(elsewhere, ClaimedAnswer::Taken(holder));
}

#[tokio::test(start_paused = true)]
async fn a_state_that_was_superseded_while_it_waited_is_done_with() {
    let bench = Bench::new().await;
    let session = bench.created().await;
    let analysis = started(&bench, &session).await;
    bench.records.fail_all(DOWN);

    let waiting = bench.store.record_analysis(&completed(&analysis, 10)).await.unwrap();
    let ended = failed(&analysis, 5);
    bench.records.unbroken().record_analysis(&ended).await.unwrap();
    bench.records.mend();
    bench.drained().await;

    assert_eq!(waiting, Recorded::Kept);
    assert_eq!(bench.record_of(&session).await.unwrap().analyses, [ended]);
    let late = bench.store.record_analysis(&renewed(&analysis, 20)).await.unwrap();
    assert_eq!(late, Recorded::Superseded);
}

#[tokio::test(start_paused = true)]
async fn an_analysis_whose_end_waits_is_not_unfinished() {
    let bench = Bench::new().await;
    let sessions = [bench.created().await, bench.created().await];
    let analyses = [started(&bench, &sessions[0]).await, started(&bench, &sessions[1]).await];
    let states = [completed(&analyses[0], 5), given_back(&analyses[1], 5)];
    for (n_waiting, (session, state)) in (1..).zip(sessions.iter().zip(states)) {
        bench.records.fail_next(1, DOWN);
        bench.records.refuse(session.id);
        bench.store.record_analysis(&state).await.unwrap();
        bench.comes_to(degraded(n_waiting, n_waiting)).await;
    }

    let unfinished = bench.store.unfinished_analyses(at(0)).await.unwrap();

    let unfinished: Vec<_> = unfinished.into_iter().map(|(_, it)| it.id).collect();
    assert_eq!(unfinished, [analyses[1].id]);
}

#[tokio::test(start_paused = true)]
async fn a_charge_that_waits_is_shown_and_can_be_given_up_by_its_name() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let owner = new_owner();
    let charge = charge(&owner, 300);
    for amount in [300, 400] {
        bench.store.settle(&Charge { amount: MicroUsd(amount), ..charge.clone() }).await.unwrap();
    }
    assert!(bench.store.shut_down(Duration::from_mins(1)).await);
    drop(bench.store);
    let journal = Journal::open(&path_in(&bench.folder), 10, JournalMetrics::default()).await.unwrap();

    let [waiting] = &journal.by_subject().await.unwrap()[..] else { panic!("one charge waits") };
    let name = format!("charge:{}", charge.id);
    assert!(waiting.to_string().starts_with(&name), "{waiting}");
    assert!(waiting.to_string().ends_with("2 settlement"), "{waiting}");
    let given_up = journal.give_up(name.parse().unwrap()).await.unwrap().unwrap();

    assert_eq!(given_up.writes, [(WriteKind::Settle, 2)]);
    assert_eq!(given_up.about, Subject::Charge(charge.id));
    assert_eq!(journal.by_subject().await.unwrap(), []);
}

#[tokio::test]
async fn what_waits_in_a_file_of_an_earlier_version_arrives() {
    let bench = Bench::new().await;
    let session = Session { consent: None, expires_at: None, ..session(&new_owner(), 2) };
    let mut content = serde_json::to_value(&session).unwrap();
    for field in ["consent", "expires_at"] {
        content.as_object_mut().unwrap().remove(field);
    }
    let path = bench.folder.path().join("earlier.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(include_str!("../../../migrations/journal/0001_writes.sql")).unwrap();
    file.execute_batch(include_str!("../../../migrations/journal/0002_set_aside.sql")).unwrap();
    file.pragma_update(None, "user_version", 2).unwrap();
    file.execute(
        "INSERT INTO writes (session_id, owner, kind, content, recorded_at) VALUES (?1, ?2, ?3, ?4, 0)",
        (
            session.id.to_string(),
            session.owner.as_str(),
            "create_session",
            serde_json::json!({ "create_session": content }).to_string(),
        ),
    )
    .unwrap();
    drop(file);

    let journal = Journal::open(&path, 10, JournalMetrics::default()).await.unwrap();
    let drained =
        swimcoach::metadata::journal::drain(journal, Arc::<BreakableRecords>::clone(&bench.records))
            .await
            .unwrap();

    assert_eq!((drained.arrived, drained.left.waiting), (1, 0));
    assert_eq!(bench.arrived_of(&session).await.unwrap().session, session);
}
