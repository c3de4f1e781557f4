//! Analyses: started once, ended once, taken up where a process went away.

use super::*;

/// Starts all of these at once and returns the ids of those that started.
async fn start_all(
    store: &dyn SessionStore,
    analyses: &[Analysis],
    stale_before: DateTime<Utc>,
) -> Vec<AnalysisId> {
    let starts = analyses.iter().map(|analysis| store.start_analysis(analysis, stale_before));
    let outcomes = join_all(starts).await.into_iter().map(Result::unwrap);
    let (started, blocked): (Vec<_>, Vec<_>) =
        outcomes.zip(analyses).partition(|(outcome, _)| *outcome == StartedAnalysis::Started);
    for (outcome, _) in blocked {
        assert!(matches!(outcome, StartedAnalysis::AlreadyRunning(_)), "{outcome:?}");
    }
    started.into_iter().map(|(_, analysis)| analysis.id).collect()
}

pub(super) async fn of_many_analyses_asked_for_at_once_one_starts(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let asked: Vec<_> = (0..20).map(|_| analysis(&session)).collect();

    let started = start_all(store, &asked, long_ago()).await;

    assert_eq!(started.len(), 1);
    let [recorded] = &analyses_of(store, &session).await[..] else { panic!("one analysis is recorded") };
    assert_eq!(recorded.id, started[0]);
}

pub(super) async fn of_many_takeovers_of_a_stale_analysis_one_starts(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let abandoned = started(store, &session).await;
    let takeovers: Vec<_> = (1..=20).map(|ms| taken_up(&abandoned, 60_000 + ms)).collect();

    let started = start_all(store, &takeovers, at(60_000)).await;

    assert_eq!(started, [abandoned.id]);
    assert_eq!(analyses_of(store, &session).await.len(), 1);
}

pub(super) async fn starting_an_analysis_again_after_a_lost_answer_still_starts_it(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let analysis = started(store, &session).await;

    let again = store.start_analysis(&analysis, long_ago()).await.unwrap();

    assert_eq!(again, StartedAnalysis::Started);
    assert_eq!(analyses_of(store, &session).await, [analysis]);
}

pub(super) async fn a_running_analysis_blocks_until_it_is_stale(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let first = started(store, &session).await;
    let first = renewed(&first, 1_000);
    store.record_analysis(&first).await.unwrap();
    let second = renewed(&analysis(&session), 2_000);

    let before_stale = store.start_analysis(&second, at(1_000)).await.unwrap();
    let when_stale = store.start_analysis(&second, at(1_001)).await.unwrap();

    assert_eq!(before_stale, StartedAnalysis::AlreadyRunning(Box::new(first.clone())));
    assert_eq!(when_stale, StartedAnalysis::Started);
    assert_eq!(analyses_of(store, &session).await, [first, second]);
}

pub(super) async fn of_two_takeovers_in_the_same_millisecond_one_starts(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let abandoned = started(store, &session).await;
    let [one, other] = [taken_up(&abandoned, 60_000), taken_up(&abandoned, 60_000)];

    let first = store.start_analysis(&one, at(60_000)).await.unwrap();
    let second = store.start_analysis(&other, at(60_000)).await.unwrap();

    assert_eq!(first, StartedAnalysis::Started);
    assert_eq!(second, StartedAnalysis::AlreadyRunning(Box::new(one)));
}

pub(super) async fn an_analysis_that_was_given_back_is_taken_up_at_once_and_blocks_no_other(
    store: &dyn SessionStore,
) {
    let session = created(store, &new_owner()).await;
    let waiting = given_back(&started(store, &session).await, 5);
    assert_eq!(recorded(store, &waiting).await, Recorded::Kept);
    let other = started(store, &session).await;
    assert_eq!(recorded(store, &completed(&other, 6)).await, Recorded::Kept);

    let next = taken_up(&waiting, 7);
    let outcome = store.start_analysis(&next, long_ago()).await.unwrap();

    assert_eq!(outcome, StartedAnalysis::Started);
    assert_eq!(analyses_of(store, &session).await, [next, completed(&other, 6)]);
}

pub(super) async fn an_attempt_that_another_process_has_begun_is_not_begun_again(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let abandoned = started(store, &session).await;
    let [begun, late] = [taken_up(&abandoned, 60_000), taken_up(&abandoned, 60_001)];
    store.start_analysis(&begun, at(60_000)).await.unwrap();
    let waiting = given_back(&begun, 60_002);
    assert_eq!(recorded(store, &waiting).await, Recorded::Kept);

    let outcome = store.start_analysis(&late, at(60_000)).await.unwrap();

    assert_eq!(outcome, StartedAnalysis::AlreadyRunning(Box::new(waiting.clone())));
    assert_eq!(analyses_of(store, &session).await, [waiting]);
}

pub(super) async fn an_analysis_that_ended_does_not_block_the_next(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;

    for end in [completed, failed] {
        let ended = end(&started(store, &session).await, 5);
        store.record_analysis(&ended).await.unwrap();
    }

    started(store, &session).await;
}

pub(super) async fn an_analysis_that_ended_is_not_taken_up(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let ended = failed(&started(store, &session).await, 5);
    assert_eq!(recorded(store, &ended).await, Recorded::Kept);

    let outcome = store.start_analysis(&taken_up(&ended, 60_000), at(60_000)).await.unwrap();

    assert_eq!(outcome, StartedAnalysis::HasEnded(Box::new(ended.clone())));
    assert_eq!(analyses_of(store, &session).await, [ended]);
}

pub(super) async fn the_latest_state_wins_in_whatever_order_states_arrive(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let analysis = started(store, &session).await;
    let latest = renewed(&analysis, 20);

    for state in [&renewed(&analysis, 10), &latest, &renewed(&analysis, 15)] {
        assert_eq!(recorded(store, state).await, Recorded::Kept);
    }

    assert_eq!(analyses_of(store, &session).await, [latest]);
}

pub(super) async fn an_analysis_that_ends_in_the_millisecond_of_its_start_has_ended(
    store: &dyn SessionStore,
) {
    let session = created(store, &new_owner()).await;
    let complete = completed(&started(store, &session).await, 0);

    store.record_analysis(&complete).await.unwrap();

    assert_eq!(analyses_of(store, &session).await, [complete]);
    started(store, &session).await;
}

pub(super) async fn an_analysis_that_is_given_back_in_the_millisecond_of_its_start_is_given_back(
    store: &dyn SessionStore,
) {
    let session = created(store, &new_owner()).await;
    let waiting = given_back(&started(store, &session).await, 0);

    assert_eq!(recorded(store, &waiting).await, Recorded::Kept);

    assert_eq!(analyses_of(store, &session).await, [waiting]);
}

pub(super) async fn nothing_is_recorded_of_an_analysis_after_its_end(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let analysis = started(store, &session).await;
    let complete = completed(&analysis, 10);

    let first = recorded(store, &complete).await;
    let again = recorded(store, &complete).await;

    assert_eq!([first, again], [Recorded::Kept, Recorded::Kept]);
    for later in
        [failed(&analysis, 5), failed(&analysis, 20), renewed(&analysis, 30), given_back(&analysis, 40)]
    {
        assert_eq!(recorded(store, &later).await, Recorded::Superseded);
    }
    assert_eq!(analyses_of(store, &session).await, [complete]);
}

pub(super) async fn the_same_state_again_is_kept_whatever_came_after_it(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let analysis = started(store, &session).await;
    let [earlier, later] = [renewed(&analysis, 10), failed(&analysis, 20)];
    assert_eq!(recorded(store, &earlier).await, Recorded::Kept);
    assert_eq!(recorded(store, &later).await, Recorded::Kept);

    assert_eq!(recorded(store, &earlier).await, Recorded::Kept);

    assert_eq!(analyses_of(store, &session).await, [later]);
}

pub(super) async fn nothing_of_an_earlier_attempt_is_recorded_but_an_end(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let first = started(store, &session).await;
    let second = taken_up(&first, 60_000);
    store.start_analysis(&second, at(60_000)).await.unwrap();

    let renewal = recorded(store, &renewed(&first, 60_001)).await;
    let return_of_it = recorded(store, &given_back(&first, 60_002)).await;
    let before_end = analyses_of(store, &session).await;
    let end = recorded(store, &completed(&first, 59_999)).await;
    let late = recorded(store, &completed(&second, 60_003)).await;

    assert_eq!([renewal, return_of_it, late], [Recorded::Superseded; 3]);
    assert_eq!(before_end, [second]);
    assert_eq!(end, Recorded::Kept);
    assert_eq!(analyses_of(store, &session).await, [completed(&first, 59_999)]);
}

pub(super) async fn earlier_analyses_stay_in_the_order_in_which_they_were_asked_for(
    store: &dyn SessionStore,
) {
    let session = created(store, &new_owner()).await;
    let mut expected = Vec::new();

    for n in 0..3 {
        let ended = completed(&started(store, &session).await, 100 - n);
        store.record_analysis(&ended).await.unwrap();
        expected.push(ended);
    }

    assert_eq!(analyses_of(store, &session).await, expected);
}

pub(super) async fn unfinished_analyses_are_told_with_their_owners_the_oldest_first(
    store: &dyn SessionStore,
) {
    let owners = [new_owner(), new_owner()];
    let mut unfinished = Vec::new();
    for (owner, ms) in owners.iter().zip([2_000, 1_000]) {
        let analysis = started(store, &created(store, owner).await).await;
        recorded(store, &renewed(&analysis, ms)).await;
        unfinished.insert(0, (owner.clone(), renewed(&analysis, ms)));
    }
    let waiting = given_back(&started(store, &created(store, &owners[0]).await).await, 3_000);
    recorded(store, &waiting).await;
    unfinished.push((owners[0].clone(), waiting));
    let ended = started(store, &created(store, &owners[0]).await).await;
    recorded(store, &completed(&ended, 4_000)).await;
    recorded(store, &renewed(&ended, 5_000)).await;
    let too_old = started(store, &created(store, &owners[0]).await).await;
    recorded(store, &renewed(&too_old, 999)).await;
    let deleted = created(store, &owners[0]).await;
    recorded(store, &renewed(&started(store, &deleted).await, 6_000)).await;
    store.delete_session(&deleted.owner, deleted.id).await.unwrap();

    let mut told = store.unfinished_analyses(at(1_000)).await.unwrap();

    told.retain(|(owner, _)| owners.contains(owner));
    assert_eq!(told, unfinished);
}
