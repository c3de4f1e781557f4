//! Small records beside sessions.

use super::*;

/// A small record of a name of its own.
fn entry(value: &str) -> Entry {
    Entry {
        kind: EntryKind::Request,
        name: Uuid::now_v7().to_string(),
        owner: Some(new_owner()),
        session: None,
        value: value.to_owned(),
        recorded_at: at(0),
    }
}

async fn made(store: &dyn SessionStore, entry: &Entry) {
    assert_eq!(store.exchange_entry(None, entry).await.unwrap(), Exchanged::Put);
}

async fn read(store: &dyn SessionStore, entry: &Entry) -> Option<Entry> {
    store.entry(entry.kind, &entry.name).await.unwrap()
}

pub(super) async fn a_small_record_is_read_back_equal(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let whole = Entry { session: Some(session.id), ..entry(DIFFICULT_TEXT) };
    let bare = Entry { kind: EntryKind::ApiKey, owner: None, ..entry("{}") };

    made(store, &whole).await;
    made(store, &bare).await;

    assert_eq!(read(store, &whole).await, Some(whole));
    assert_eq!(read(store, &bare).await, Some(bare));
    assert_eq!(read(store, &entry("")).await, None);
}

pub(super) async fn a_small_record_is_changed_by_whoever_saw_its_value_alone(store: &dyn SessionStore) {
    let first = entry("1");
    let second =
        Entry { value: "2".to_owned(), recorded_at: at(1), owner: Some(new_owner()), ..first.clone() };
    let third = Entry { value: "3".to_owned(), ..first.clone() };
    made(store, &first).await;

    let changed = store.exchange_entry(Some("1"), &second).await.unwrap();
    let late = store.exchange_entry(Some("1"), &third).await.unwrap();
    let blind = store.exchange_entry(None, &third).await.unwrap();

    assert_eq!(changed, Exchanged::Put);
    assert_eq!(late, Exchanged::Changed(Some(second.clone())));
    assert_eq!(blind, Exchanged::Changed(Some(second.clone())));
    assert_eq!(read(store, &second).await, Some(second));
}

pub(super) async fn a_small_record_that_is_gone_is_not_changed(store: &dyn SessionStore) {
    let new = entry("2");

    let outcome = store.exchange_entry(Some("1"), &new).await.unwrap();

    assert_eq!(outcome, Exchanged::Changed(None));
    assert_eq!(read(store, &new).await, None);
}

pub(super) async fn the_same_exchange_again_after_a_lost_answer_is_put(store: &dyn SessionStore) {
    let first = entry("1");
    let second = Entry { value: "2".to_owned(), ..first.clone() };

    made(store, &first).await;
    made(store, &first).await;
    for _ in 0..2 {
        assert_eq!(store.exchange_entry(Some("1"), &second).await.unwrap(), Exchanged::Put);
    }

    assert_eq!(read(store, &second).await, Some(second));
}

pub(super) async fn of_many_who_make_a_small_record_at_once_one_does(store: &dyn SessionStore) {
    let name = entry("").name;
    let wanted: Vec<_> = (0..12).map(|n| Entry { name: name.clone(), ..entry(&n.to_string()) }).collect();

    let outcomes = join_all(wanted.iter().map(|it| store.exchange_entry(None, it))).await;

    let there = store.entry(EntryKind::Request, &name).await.unwrap().unwrap();
    let put: Vec<_> =
        wanted.iter().zip(outcomes).filter(|(_, it)| *it.as_ref().unwrap() == Exchanged::Put).collect();
    assert_eq!(put.len(), 1);
    assert_eq!(*put[0].0, there);
}

pub(super) async fn of_many_who_change_a_small_record_at_once_one_does(store: &dyn SessionStore) {
    let first = entry("first");
    made(store, &first).await;
    let wanted: Vec<_> = (0..12).map(|n| Entry { value: n.to_string(), ..first.clone() }).collect();

    let outcomes = join_all(wanted.iter().map(|it| store.exchange_entry(Some("first"), it))).await;

    let n_put = outcomes.iter().filter(|it| *it.as_ref().unwrap() == Exchanged::Put).count();
    assert_eq!(n_put, 1);
}

pub(super) async fn a_small_record_is_removed_by_whoever_saw_its_value_alone(store: &dyn SessionStore) {
    let entry = entry("1");
    made(store, &entry).await;

    assert!(!store.remove_entry(entry.kind, &entry.name, "2").await.unwrap());
    assert_eq!(read(store, &entry).await.as_ref(), Some(&entry));

    for _ in 0..2 {
        assert!(store.remove_entry(entry.kind, &entry.name, "1").await.unwrap());
        assert_eq!(read(store, &entry).await, None);
    }
    made(store, &entry).await;
}

pub(super) async fn small_records_of_a_kind_are_told_by_name_from_before_a_time(store: &dyn SessionStore) {
    let mut early: Vec<_> = (0..3).map(|n| Entry { recorded_at: at(n), ..entry("early") }).collect();
    early.sort_by(|a, b| a.name.cmp(&b.name));
    let late = Entry { recorded_at: at(3), ..entry("late") };
    let key = Entry { kind: EntryKind::ApiKey, ..entry("key") };
    for entry in early.iter().chain([&late, &key]) {
        made(store, entry).await;
    }
    let is_mine = |it: &Entry| early.iter().chain([&late, &key]).any(|mine| mine.name == it.name);

    let after_all_others = Uuid::now_v7().to_string();
    let all = store.entries(EntryKind::Request, at(3), None).await.unwrap();
    let rest = store.entries(EntryKind::Request, at(3), Some(&early[0].name)).await.unwrap();
    let none = store.entries(EntryKind::Request, at(3), Some(&after_all_others)).await.unwrap();

    let mine: Vec<_> = all.into_iter().filter(is_mine).collect();
    // A store that is shared may have more than it tells at one time.
    assert!(mine.is_empty() || mine == early, "{mine:?}");
    assert_eq!(rest.into_iter().filter(is_mine).collect::<Vec<_>>(), early[1..]);
    assert!(!none.iter().any(is_mine));
}

pub(super) async fn small_records_about_a_session_go_with_it_and_do_not_count(store: &dyn SessionStore) {
    let (deleted, kept) = (created(store, &new_owner()).await, created(store, &new_owner()).await);
    let about = |session: &Session| Entry {
        session: Some(session.id),
        owner: Some(session.owner.clone()),
        ..entry("about")
    };
    let (gone, stays, other) = (about(&deleted), about(&kept), entry("about nothing"));
    for entry in [&gone, &stays, &other] {
        made(store, entry).await;
    }

    let stranger = store.delete_session(&new_owner(), deleted.id).await.unwrap();
    assert_eq!((stranger, read(store, &gone).await.as_ref()), (0, Some(&gone)));
    let removed = store.delete_session(&deleted.owner, deleted.id).await.unwrap();

    assert_eq!(removed, 3);
    assert_eq!(read(store, &gone).await, None);
    let late = Entry { value: "late".to_owned(), ..gone.clone() };
    assert_eq!(store.exchange_entry(Some(&gone.value), &late).await.unwrap(), Exchanged::Changed(None));
    assert_eq!(read(store, &stays).await, Some(stays));
    assert_eq!(read(store, &other).await, Some(other));
}

pub(super) async fn a_small_record_about_a_session_that_was_deleted_meanwhile_is_not_kept(
    store: &dyn SessionStore,
) {
    let session = created(store, &new_owner()).await;
    let begun = Entry { owner: Some(session.owner.clone()), ..entry("begun") };
    let done = Entry { session: Some(session.id), value: "what was shown".to_owned(), ..begun.clone() };
    let another = Entry { name: entry("").name, ..done.clone() };
    made(store, &begun).await;
    store.delete_session(&session.owner, session.id).await.unwrap();

    let late = store.exchange_entry(Some("begun"), &done).await.unwrap();
    let new = store.exchange_entry(None, &another).await.unwrap();

    assert_eq!((late, new), (Exchanged::Put, Exchanged::Put));
    for gone in [&done, &another] {
        assert_eq!(read(store, gone).await, None);
        let listed = store.entries(gone.kind, at(1), Some(&before(&gone.name))).await.unwrap();
        assert!(listed.iter().all(|it| it.name != gone.name), "{listed:?}");
        made(store, &Entry { session: None, ..gone.clone() }).await;
    }
}

/// A name that only what came later than this one follows on.
fn before(name: &str) -> String {
    name.chars().take(name.len() - 1).collect()
}
