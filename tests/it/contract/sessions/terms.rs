//! What changes about a session after it was made: frames, terms, owner.

use super::*;

fn consent(purposes: &[Purpose]) -> Consent {
    Consent {
        subject: Subject::Minor13To17,
        basis: Basis::Guardian,
        purposes: purposes.iter().copied().collect(),
    }
}

fn added() -> AddedFrames {
    AddedFrames::Added { taken: Vec::new() }
}

async fn add(store: &dyn SessionStore, session: &Session, frames: &[Frame]) -> AddedFrames {
    store.add_frames(&session.owner, session.id, frames).await.unwrap()
}

async fn frames_of(store: &dyn SessionStore, session: &Session) -> Vec<Frame> {
    record_of(store, session).await.unwrap().session.frames
}

pub(super) async fn frames_that_are_added_are_read_back_in_order(store: &dyn SessionStore) {
    let session = Session { frames: Vec::new(), ..session(&new_owner(), 0) };
    store.create_session(&session).await.unwrap();
    let bare = Frame { timestamp_ms: None, ..frame(3) };

    assert_eq!(add(store, &session, &[frame(7), bare.clone()]).await, added());
    assert_eq!(add(store, &session, &[frame(1)]).await, added());

    assert_eq!(frames_of(store, &session).await, [frame(1), bare, frame(7)]);
}

pub(super) async fn a_frame_whose_number_is_taken_is_left_as_it_is(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let other = Frame { etag: "other".to_owned(), ..frame(2) };

    let outcome = add(store, &session, &[other, frame(3)]).await;
    let again = add(store, &session, &[frame(2), frame(3)]).await;

    assert_eq!(outcome, AddedFrames::Added { taken: vec![frame(2)] });
    assert_eq!(again, added());
    assert_eq!(frames_of(store, &session).await, [frame(1), frame(2), frame(3)]);
}

pub(super) async fn of_many_frames_that_are_added_at_once_each_number_gets_one(store: &dyn SessionStore) {
    let session = Session { frames: Vec::new(), ..session(&new_owner(), 0) };
    store.create_session(&session).await.unwrap();
    let wanted: Vec<_> = (0..8).map(|n| Frame { etag: n.to_string(), ..frame(1 + n / 2) }).collect();

    let outcomes =
        join_all(wanted.iter().map(|it| async { add(store, &session, std::slice::from_ref(it)).await }))
            .await;

    let there = frames_of(store, &session).await;
    assert_eq!(there.iter().map(|it| it.number.get()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for (wanted, outcome) in wanted.iter().zip(outcomes) {
        let holder = there.iter().find(|it| it.number == wanted.number).unwrap();
        let taken = if holder == wanted { Vec::new() } else { vec![holder.clone()] };
        assert_eq!(outcome, AddedFrames::Added { taken });
    }
}

pub(super) async fn no_frame_is_added_once_an_analysis_was_started(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let analysis = started(store, &session).await;

    assert_eq!(add(store, &session, &[frame(3)]).await, AddedFrames::Closed);
    recorded(store, &failed(&analysis, 5)).await;

    assert_eq!(add(store, &session, &[frame(3)]).await, AddedFrames::Closed);
    // It was added before, and the answer was lost.
    assert_eq!(add(store, &session, &[frame(2)]).await, added());
    assert_eq!(frames_of(store, &session).await, [frame(1), frame(2)]);
}

pub(super) async fn nobody_adds_a_frame_to_what_is_not_theirs(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let theirs = Session { owner: new_owner(), ..session.clone() };

    assert_eq!(add(store, &theirs, &[frame(3)]).await, AddedFrames::NoSession);
    store.delete_session(&session.owner, session.id).await.unwrap();
    assert_eq!(add(store, &session, &[frame(3)]).await, AddedFrames::NoSession);

    assert_eq!(record_of(store, &session).await, None);
}

pub(super) async fn terms_are_changed_by_their_owner_and_only_ever_for_a_shorter_time(
    store: &dyn SessionStore,
) {
    let session = Session { expires_at: None, ..session(&new_owner(), 1) };
    store.create_session(&session).await.unwrap();
    let amend = async |owner: &Owner, consent, expires_at| {
        store.amend_session(owner, session.id, &Amendment { consent, expires_at }).await.unwrap()
    };
    let narrow = consent(&[Purpose::Analysis]);

    assert!(amend(&session.owner, None, Some(at(2_000))).await);
    assert!(amend(&session.owner, None, Some(at(9_000))).await);
    assert!(amend(&session.owner, Some(narrow.clone()), None).await);
    assert!(amend(&session.owner, None, Some(at(1_000))).await);
    assert!(!amend(&new_owner(), Some(consent(&[])), Some(at(1))).await);

    let kept = record_of(store, &session).await.unwrap().session;
    assert_eq!(kept, Session { consent: Some(narrow), expires_at: Some(at(1_000)), ..session.clone() });
    store.delete_session(&session.owner, session.id).await.unwrap();
    assert!(!amend(&session.owner, None, Some(at(1))).await);
}

pub(super) async fn a_session_that_is_claimed_is_anothers_with_all_that_belongs_to_it(
    store: &dyn SessionStore,
) {
    let (from, to) = (new_owner(), new_owner());
    let session = created(store, &from).await;
    let analysis = started(store, &session).await;
    recorded(store, &completed(&analysis, 5)).await;
    store.append_turns(session.id, &[turn(0, "Why?"), answer(1, "So.")]).await.unwrap();
    let before = record_of(store, &session).await.unwrap();

    assert!(store.claim_session(session.id, &from, &to).await.unwrap());
    assert!(store.claim_session(session.id, &from, &to).await.unwrap());

    let claimed = Session { owner: to.clone(), ..session.clone() };
    let kept = record_of(store, &claimed).await.unwrap();
    assert_eq!(kept, SessionRecord { session: claimed.clone(), ..before });
    assert_eq!(store.list_sessions(&to, None, 9).await.unwrap(), [kept]);
    assert_eq!(record_of(store, &session).await, None);
    assert_eq!(store.list_sessions(&from, None, 9).await.unwrap(), []);
    assert_eq!(store.delete_session(&from, session.id).await.unwrap(), 0);
    let again = started(store, &claimed).await;
    let unfinished = store.unfinished_analyses(at(0)).await.unwrap();
    assert!(unfinished.contains(&(to.clone(), again)));
    assert_eq!(store.delete_session(&to, session.id).await.unwrap(), 3 + 3 + 2);
    assert_eq!(record_of(store, &claimed).await, None);
}

pub(super) async fn small_records_about_a_session_are_claimed_with_it(store: &dyn SessionStore) {
    let (from, to) = (new_owner(), new_owner());
    let session = created(store, &from).await;
    let about = entry_about(&session);
    assert_eq!(store.exchange_entry(None, &about).await.unwrap(), Exchanged::Put);

    assert!(store.claim_session(session.id, &from, &to).await.unwrap());

    let kept = store.entry(about.kind, &about.name).await.unwrap();
    assert_eq!(kept, Some(Entry { owner: Some(to.clone()), ..about.clone() }));
    store.delete_session(&to, session.id).await.unwrap();
    assert_eq!(store.entry(about.kind, &about.name).await.unwrap(), None);
}

pub(super) async fn whoever_had_a_session_that_was_claimed_neither_takes_it_back_nor_harms_it(
    store: &dyn SessionStore,
) {
    let (from, to) = (new_owner(), new_owner());
    let session = created(store, &from).await;
    let analysis = completed(&started(store, &session).await, 5);
    recorded(store, &analysis).await;
    store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();
    let about = entry_about(&session);
    store.exchange_entry(None, &about).await.unwrap();
    let before = record_of(store, &session).await.unwrap();
    store.claim_session(session.id, &from, &to).await.unwrap();

    assert_eq!(store.delete_session(&from, session.id).await.unwrap(), 0);
    store.create_session(&session).await.unwrap();
    // What a deletion leaves behind may be removed with the next one, whosever that is.
    let other = created(store, &new_owner()).await;
    store.delete_session(&other.owner, other.id).await.unwrap();

    let claimed = Session { owner: to.clone(), ..session.clone() };
    let expected = SessionRecord { session: claimed.clone(), ..before };
    assert_eq!(record_of(store, &claimed).await, Some(expected));
    assert!(store.entry(about.kind, &about.name).await.unwrap().is_some());
    store.delete_session(&to, session.id).await.unwrap();
    store.create_session(&session).await.unwrap();
    assert_eq!(record_of(store, &session).await, None);
    assert_eq!(store.existing_sessions(&[session.id]).await.unwrap(), []);
}

pub(super) async fn a_session_is_claimed_by_whoever_tried_to_delete_it_before_or_had_it_once(
    store: &dyn SessionStore,
) {
    let (one, other) = (new_owner(), new_owner());
    let session = created(store, &one).await;
    assert_eq!(store.delete_session(&other, session.id).await.unwrap(), 0);

    assert!(store.claim_session(session.id, &one, &other).await.unwrap());
    let at_other = Session { owner: other.clone(), ..session.clone() };
    assert_eq!(record_of(store, &at_other).await.unwrap().session, at_other);
    assert!(store.claim_session(session.id, &other, &one).await.unwrap());

    assert_eq!(record_of(store, &session).await.unwrap().session, session);
    assert_eq!(record_of(store, &at_other).await, None);
    assert_eq!(store.delete_session(&one, session.id).await.unwrap(), 3);
}

/// A small record of the owner about their session.
fn entry_about(session: &Session) -> Entry {
    Entry {
        kind: EntryKind::Request,
        name: Uuid::now_v7().to_string(),
        owner: Some(session.owner.clone()),
        session: Some(session.id),
        value: "{}".to_owned(),
        recorded_at: at(0),
    }
}

pub(super) async fn nobody_claims_what_is_not_there_or_anothers(store: &dyn SessionStore) {
    let (owner, thief) = (new_owner(), new_owner());
    let session = created(store, &owner).await;

    assert!(!store.claim_session(session.id, &new_owner(), &thief).await.unwrap());
    assert!(!store.claim_session(SessionId::new(), &owner, &thief).await.unwrap());
    assert!(record_of(store, &session).await.is_some());
    store.delete_session(&owner, session.id).await.unwrap();

    assert!(!store.claim_session(session.id, &owner, &thief).await.unwrap());
    assert_eq!(store.list_sessions(&thief, None, 9).await.unwrap(), []);
}

pub(super) async fn sessions_are_told_once_they_are_to_be_kept_no_longer(store: &dyn SessionStore) {
    let owner = new_owner();
    let made = async |created_at, expires_at| {
        let session = Session { created_at, expires_at, ..session(&owner, 1) };
        store.create_session(&session).await.unwrap();
        session
    };
    let past = made(at(0), Some(at(100))).await;
    let unsaid = made(at(50), None).await;
    let later = made(at(0), Some(at(101))).await;
    let young = made(at(51), None).await;
    let gone = made(at(0), Some(at(1))).await;
    store.delete_session(&owner, gone.id).await.unwrap();

    let expired = store.expired_sessions(at(100), at(50), 10_000).await.unwrap();

    let is_mine = |it: &&(Owner, SessionId)| it.0 == owner;
    let mine: Vec<_> = expired.iter().filter(is_mine).map(|(_, id)| *id).collect();
    assert_eq!(mine, [past.id, unsaid.id]);
    let ids: Vec<_> = expired.iter().map(|(_, id)| *id).collect();
    assert!(ids.is_sorted());
    assert_eq!(store.expired_sessions(at(100), at(50), 1).await.unwrap().len(), 1);
    assert!(![later.id, young.id].iter().any(|it| ids.contains(it)));
}

pub(super) async fn holdings_count_sessions_and_bytes_of_their_owner(store: &dyn SessionStore) {
    let owner = new_owner();
    assert_eq!(store.holdings(&owner).await.unwrap(), Holdings::default());
    let first = created(store, &owner).await;
    let empty = Session { frames: Vec::new(), ..session(&owner, 0) };
    store.create_session(&empty).await.unwrap();
    created(store, &new_owner()).await;
    add(store, &empty, &[frame(5)]).await;

    let holdings = store.holdings(&owner).await.unwrap();

    let bytes = |frames: &[Frame]| frames.iter().map(|it| it.size_bytes).sum::<u64>();
    assert_eq!(holdings, Holdings { sessions: 2, bytes: bytes(&first.frames) + frame(5).size_bytes });
    store.delete_session(&owner, first.id).await.unwrap();
    let left = store.holdings(&owner).await.unwrap();
    assert_eq!(left, Holdings { sessions: 1, bytes: frame(5).size_bytes });
}
