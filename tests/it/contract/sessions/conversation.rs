//! Turns of conversation, and who answers the next message.

use super::*;

pub(super) async fn turns_of_one_write_are_seen_together(store: &dyn SessionStore) {
    const N_WRITES: u32 = 20;
    let session = created(store, &new_owner()).await;
    let write = async {
        for number in (0..2 * N_WRITES).step_by(2) {
            let pair = [turn(number, "Why?"), turn(number + 1, "Because.")];
            store.append_turns(session.id, &pair).await.unwrap();
        }
    };
    let read = async {
        loop {
            let n_turns = record_of(store, &session).await.unwrap().turns.len();
            assert_eq!(n_turns % 2, 0, "half of a write was seen");
            if n_turns == 2 * N_WRITES as usize {
                break;
            }
        }
    };

    tokio::join!(write, read);
}

pub(super) async fn a_turn_whose_number_is_taken_is_left_as_it_is(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    store.append_turns(session.id, &[turn(0, "first")]).await.unwrap();

    let later = [turn(0, "second"), turn(1, "second")];
    store.append_turns(session.id, &later).await.unwrap();

    let turns = record_of(store, &session).await.unwrap().turns;
    assert_eq!(turns, [turn(0, "first"), turn(1, "second")]);
}

/// Nobody's claim is stale yet at this time.
async fn claimed(store: &dyn SessionStore, claim: &AnswerClaim) -> ClaimedAnswer {
    store.claim_answer(claim, long_ago()).await.unwrap()
}

pub(super) async fn of_many_who_want_to_answer_at_once_one_may(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let claims: Vec<_> = (0..20).map(|_| claim(&session, 0)).collect();

    let outcomes = join_all(claims.iter().map(|it| claimed(store, it))).await;

    let mut holders = Vec::new();
    for (claim, outcome) in claims.into_iter().zip(&outcomes) {
        match outcome {
            ClaimedAnswer::Claimed => holders.push(claim),
            other => assert!(matches!(other, ClaimedAnswer::Taken(_)), "{other:?}"),
        }
    }
    assert_eq!(holders.len(), 1);
    let told: Vec<_> = outcomes.iter().filter(|it| **it != ClaimedAnswer::Claimed).collect();
    assert!(told.iter().all(|it| **it == ClaimedAnswer::Taken(holders[0].clone())), "{told:?}");
}

pub(super) async fn whoever_may_answer_renews_that_and_is_told_to_others(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let first = claim(&session, 0);
    let renewed = AnswerClaim { renewed_at: at(30_000), ..first.clone() };

    let outcomes =
        [claimed(store, &first).await, claimed(store, &first).await, claimed(store, &renewed).await];
    let other = store.claim_answer(&claim(&session, 0), at(30_000)).await.unwrap();

    assert_eq!(outcomes, [ClaimedAnswer::Claimed, ClaimedAnswer::Claimed, ClaimedAnswer::Claimed]);
    assert_eq!(other, ClaimedAnswer::Taken(renewed));
}

pub(super) async fn the_right_to_answer_is_lost_when_it_is_stale(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let [first, second] = [claim(&session, 0), claim(&session, 0)];
    assert_eq!(claimed(store, &first).await, ClaimedAnswer::Claimed);

    let before_stale = store.claim_answer(&second, at(0)).await.unwrap();
    let when_stale = store.claim_answer(&second, at(1)).await.unwrap();
    let renewal = claimed(store, &first).await;

    assert_eq!(before_stale, ClaimedAnswer::Taken(first));
    assert_eq!(when_stale, ClaimedAnswer::Claimed);
    assert_eq!(renewal, ClaimedAnswer::Taken(second));
}

pub(super) async fn the_right_to_answer_is_given_back_by_its_holder_alone(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let [holder, other] = [claim(&session, 0), claim(&session, 0)];
    assert_eq!(claimed(store, &holder).await, ClaimedAnswer::Claimed);

    store.release_answer(&other).await.unwrap();
    let before = claimed(store, &other).await;
    store.release_answer(&AnswerClaim { renewed_at: at(9), ..holder.clone() }).await.unwrap();
    let after = claimed(store, &other).await;
    store.release_answer(&holder).await.unwrap();

    assert_eq!(before, ClaimedAnswer::Taken(holder.clone()));
    assert_eq!(after, ClaimedAnswer::Claimed);
    assert_eq!(claimed(store, &holder).await, ClaimedAnswer::Taken(other));
}

pub(super) async fn a_message_that_was_answered_frees_the_right_to_answer_the_next(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    assert_eq!(claimed(store, &claim(&session, 0)).await, ClaimedAnswer::Claimed);
    store.append_turns(session.id, &[turn(0, "Why?"), answer(1, "Because.")]).await.unwrap();

    let next = claim(&session, 2);
    let outcomes = [claimed(store, &next).await, claimed(store, &claim(&session, 2)).await];

    assert_eq!(outcomes, [ClaimedAnswer::Claimed, ClaimedAnswer::Taken(next)]);
}

pub(super) async fn a_place_that_is_taken_by_a_turn_cannot_be_answered(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let holder = claim(&session, 0);
    assert_eq!(claimed(store, &holder).await, ClaimedAnswer::Claimed);
    store.append_turns(session.id, &[turn(0, "Why?"), answer(1, "Because.")]).await.unwrap();

    assert_eq!(claimed(store, &holder).await, ClaimedAnswer::Answered);
    assert_eq!(claimed(store, &claim(&session, 1)).await, ClaimedAnswer::Answered);
}

pub(super) async fn nobody_answers_in_a_session_that_was_deleted(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let holder = claim(&session, 0);
    assert_eq!(claimed(store, &holder).await, ClaimedAnswer::Claimed);
    let removed = store.delete_session(&session.owner, session.id).await.unwrap();

    store.release_answer(&holder).await.unwrap();

    assert_eq!(removed, 1 + 2, "session, frames");
    assert_eq!(claimed(store, &holder).await, ClaimedAnswer::NoSession);
}
