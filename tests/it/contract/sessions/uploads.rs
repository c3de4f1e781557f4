//! Sessions with everything known about them: written, read, listed, deleted.

use super::*;

pub(super) async fn what_is_written_is_read_back_equal(store: &dyn SessionStore) {
    let session = session(&new_owner(), 60);
    let analyses = vec![completed(&analysis(&session), 7), failed(&analysis(&session), 9)];
    let turns = vec![turn(0, DIFFICULT_TEXT), answer(1, ""), turn(2, ""), turn(3, "")];

    store.create_session(&session).await.unwrap();
    for analysis in &analyses {
        store.record_analysis(analysis).await.unwrap();
    }
    store.append_turns(session.id, &turns).await.unwrap();

    let record = record_of(store, &session).await.unwrap();
    assert_eq!(record, SessionRecord { session, analyses, turns });
}

pub(super) async fn a_session_without_optional_fields_is_read_back_equal(store: &dyn SessionStore) {
    let session = bare_session(&new_owner());

    store.create_session(&session).await.unwrap();

    let record = record_of(store, &session).await.unwrap();
    assert_eq!(record, SessionRecord { session, analyses: vec![], turns: vec![] });
}

pub(super) async fn times_are_kept_to_the_millisecond(store: &dyn SessionStore) {
    let finer = at(0) + TimeDelta::microseconds(999);
    let session = Session { created_at: finer, expires_at: Some(finer), ..session(&new_owner(), 1) };

    store.create_session(&session).await.unwrap();

    let kept = record_of(store, &session).await.unwrap().session;
    assert_eq!((kept.created_at, kept.expires_at), (at(0), Some(at(0))));
}

pub(super) async fn the_same_write_twice_is_the_same_as_once(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let complete = completed(&started(store, &session).await, 5);
    let turns = [turn(0, "Why?"), turn(1, "Because.")];

    for _ in 0..2 {
        store.create_session(&session).await.unwrap();
        store.record_analysis(&complete).await.unwrap();
        store.append_turns(session.id, &turns).await.unwrap();
    }

    let record = record_of(store, &session).await.unwrap();
    assert_eq!(record.session, session);
    assert_eq!(record.analyses, [complete]);
    assert_eq!(record.turns, turns);
    let removed = store.delete_session(&session.owner, session.id).await.unwrap();
    assert_eq!(removed, 1 + 2 + 2 + 2, "session, frames, states, turns");
}

pub(super) async fn a_session_whose_id_is_taken_is_left_as_it_is(store: &dyn SessionStore) {
    let first = created(store, &new_owner()).await;
    let second = Session { id: first.id, title: Some("Another".to_owned()), ..session(&new_owner(), 5) };

    store.create_session(&second).await.unwrap();

    assert_eq!(record_of(store, &first).await.unwrap().session, first);
    assert_eq!(record_of(store, &second).await, None);
}

pub(super) async fn another_owner_sees_nothing_and_deletes_nothing(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let stranger = new_owner();

    let removed = store.delete_session(&stranger, session.id).await.unwrap();

    assert_eq!(removed, 0);
    assert_eq!(store.session(&stranger, session.id).await.unwrap(), None);
    assert_eq!(store.list_sessions(&stranger, None, 10).await.unwrap(), []);
    assert!(record_of(store, &session).await.is_some());
}

pub(super) async fn sessions_are_listed_newest_first_in_pages_without_gap_or_repeat(
    store: &dyn SessionStore,
) {
    let owner = new_owner();
    let mut ids = Vec::new();
    for _ in 0..7 {
        created(store, &new_owner()).await;
        ids.push(created(store, &owner).await.id);
    }
    ids.reverse();

    for limit in [1, 2, 3, 7, 50] {
        let mut listed: Vec<SessionId> = Vec::new();
        loop {
            let before = listed.last().copied();
            let page = store.list_sessions(&owner, before, limit).await.unwrap();
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            listed.extend(page.iter().map(|record| record.session.id));
            assert!(listed.len() <= ids.len(), "pages of {limit} repeat sessions");
        }
        assert_eq!(listed, ids, "pages of {limit}");
    }
}

pub(super) async fn a_listed_session_comes_with_everything_known_about_it(store: &dyn SessionStore) {
    let owner = new_owner();
    let mut expected = Vec::new();
    for n_turns in 0..3 {
        let session = created(store, &owner).await;
        let complete = completed(&started(store, &session).await, 5);
        store.record_analysis(&complete).await.unwrap();
        let turns: Vec<_> = (0..n_turns).map(|number| turn(number, "Hm.")).collect();
        store.append_turns(session.id, &turns).await.unwrap();
        expected.insert(0, SessionRecord { session, analyses: vec![complete], turns });
    }

    let listed = store.list_sessions(&owner, None, 10).await.unwrap();

    assert_eq!(listed, expected);
}

pub(super) async fn an_owner_without_sessions_has_an_empty_list(store: &dyn SessionStore) {
    let owner = new_owner();

    assert_eq!(store.list_sessions(&owner, None, 10).await.unwrap(), []);
    assert_eq!(store.session(&owner, SessionId::new()).await.unwrap(), None);
}

pub(super) async fn deletion_removes_everything_counts_it_and_can_be_repeated(store: &dyn SessionStore) {
    let owner = new_owner();
    let session = created(store, &owner).await;
    let analysis = started(store, &session).await;
    store.record_analysis(&completed(&analysis, 5)).await.unwrap();
    let turns = [turn(0, "Why?"), turn(1, "Because."), turn(2, "Thanks.")];
    store.append_turns(session.id, &turns).await.unwrap();

    let removed = store.delete_session(&owner, session.id).await.unwrap();
    let removed_again = store.delete_session(&owner, session.id).await.unwrap();

    assert_eq!(removed, 1 + 2 + 2 + 3, "session, frames, states, turns");
    assert_eq!(removed_again, 0);
    assert_eq!(record_of(store, &session).await, None);
    assert_eq!(store.list_sessions(&owner, None, 10).await.unwrap(), []);
    assert_eq!(store.existing_sessions(&[session.id]).await.unwrap(), []);
}

pub(super) async fn deletion_leaves_other_sessions_alone(store: &dyn SessionStore) {
    let owner = new_owner();
    let [kept, gone] = [created(store, &owner).await, created(store, &owner).await];
    let analysis = started(store, &kept).await;
    store.append_turns(kept.id, &[turn(0, "Why?")]).await.unwrap();

    store.delete_session(&owner, gone.id).await.unwrap();

    let listed = store.list_sessions(&owner, None, 10).await.unwrap();
    let expected = SessionRecord { session: kept, analyses: vec![analysis], turns: vec![turn(0, "Why?")] };
    assert_eq!(listed, [expected]);
}

pub(super) async fn a_late_write_about_a_deleted_session_changes_nothing(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let analysis = started(store, &session).await;
    store.delete_session(&session.owner, session.id).await.unwrap();

    let end = recorded(store, &completed(&analysis, 5)).await;
    store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();
    store.create_session(&session).await.unwrap();
    let outcome = store.start_analysis(&taken_up(&analysis, 9), long_ago()).await.unwrap();

    assert_eq!(end, Recorded::Superseded);
    assert_eq!(outcome, StartedAnalysis::NoSession);
    assert_eq!(record_of(store, &session).await, None);
    assert_eq!(store.existing_sessions(&[session.id]).await.unwrap(), []);
    let removed = store.delete_session(&session.owner, session.id).await.unwrap();
    assert_eq!(removed, 0, "nothing was left behind");
}

pub(super) async fn a_session_deleted_while_it_is_created_does_not_come_back(store: &dyn SessionStore) {
    let session = session(&new_owner(), 2);

    store.delete_session(&session.owner, session.id).await.unwrap();
    store.create_session(&session).await.unwrap();

    assert_eq!(record_of(store, &session).await, None);
}

pub(super) async fn nobody_keeps_another_from_creating_a_session(store: &dyn SessionStore) {
    let session = session(&new_owner(), 2);

    store.delete_session(&new_owner(), session.id).await.unwrap();
    store.create_session(&session).await.unwrap();

    assert!(record_of(store, &session).await.is_some());
}

pub(super) async fn existing_sessions_are_told_whoever_owns_them(store: &dyn SessionStore) {
    let mine = created(store, &new_owner()).await.id;
    let theirs = created(store, &new_owner()).await.id;

    let existing = store.existing_sessions(&[theirs, SessionId::new(), mine]).await.unwrap();

    assert_eq!(existing.len(), 2);
    assert_eq!(HashSet::from_iter(existing), HashSet::from([mine, theirs]));
    assert_eq!(store.existing_sessions(&[]).await.unwrap(), []);
}

pub(super) async fn a_healthy_store_passes_its_checks(store: &dyn SessionStore) {
    assert_eq!(store.check().await.unwrap(), StoreHealth::Well);
    store.probe().await.unwrap();
}
