//! What holding amounts costs, and what is left of it when two processes do so at once or a statement fails.

use super::*;

#[tokio::test]
async fn an_amount_is_held_in_two_statements_and_without_a_budget_in_one() {
    let (stub, store) = opened().await;
    let owner = new_owner();
    let mut costs = Vec::new();

    for (amount, budgets) in [(100, Budgets::default()), (100, callers(1_000)), (801, callers(1_000))] {
        let before = stub.log().len();
        store.reserve(&charge(&owner, amount), &budgets).await.unwrap();
        costs.push(since(&stub, before).len());
    }

    assert_eq!(costs, [1, 2, 3], "what does not fit is withdrawn");
    assert_eq!(reserved(&store, &owner).await, MicroUsd(200));
}

/// Has two stores hold a hundred each of so many charges at once, within a budget of a thousand.
async fn hold_at_once(stores: [SnowflakeSessionStore; 2], n_charges: u32) {
    let owner = new_owner();
    let charges: Vec<_> = (0..n_charges).map(|_| charge(&owner, 100)).collect();
    let budgets = callers(1_000);

    let reservations =
        charges.iter().zip(stores.iter().cycle()).map(|(it, store)| store.reserve(it, &budgets));
    let outcomes = join_all(reservations).await;

    let is_held = |it: &Result<_, _>| *it.as_ref().unwrap() == Reservation::Held;
    let n_held = outcomes.iter().filter(|it| is_held(it)).count();
    assert!((1..=10).contains(&n_held), "{n_held} are held");
    assert_eq!(reserved(&stores[0], &owner).await, MicroUsd(100 * n_held as u64));
    // Where both withdrew for the sake of each other, there is room left for the next.
    for _ in n_held..10 {
        assert_eq!(stores[1].reserve(&charge(&owner, 100), &budgets).await.unwrap(), Reservation::Held);
    }
    let (scope, budget, taken) = (BudgetScope::Caller, MicroUsd(1_000), MicroUsd(1_000));
    let refused = stores[0].reserve(&charge(&owner, 1), &budgets).await.unwrap();
    assert_eq!(refused, Reservation::OverBudget { scope, budget, taken });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_hold_no_more_together_than_fits_the_budget() {
    let (stub, one) = opened().await;

    hold_at_once([one, stub.store()], 50).await;
}

#[cfg(feature = "live")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_hold_no_more_together_in_the_account_of_the_environment() {
    use swimcoach::config::{RecordSettings, Settings};
    let settings = Settings::load(&|name| match name {
        "R2_MOCK_MODE" | "ANTHROPIC_MOCK_MODE" => Some("true".to_owned()),
        _ => std::env::var(name).ok(),
    });
    let RecordSettings::Snowflake(settings) = settings.unwrap().records else {
        panic!("records are not in Snowflake");
    };
    let stores = [(); 2].map(|()| SnowflakeSessionStore::connect(&settings).unwrap());
    stores[0].migrate(false).await.unwrap();

    hold_at_once(stores, 20).await;
}

#[tokio::test]
async fn what_another_process_withdraws_makes_room_when_it_is_tried_again() {
    let (stub, one) = opened().await;
    let other = stub.store();
    let owner = new_owner();
    other.reserve(&charge(&owner, 600), &callers(1_000)).await.unwrap();
    // It is withdrawn as soon as the first try has added up.
    stub.rows(
        "CREATE TRIGGER withdrawn_meanwhile AFTER INSERT ON withdrawals WHEN 1 = (SELECT count(*) FROM withdrawals)
         BEGIN INSERT INTO withdrawals SELECT write_id, recorded_at FROM charges WHERE amount = 600; END",
    );

    let outcome = one.reserve(&charge(&owner, 500), &callers(1_000)).await.unwrap();

    assert_eq!(outcome, Reservation::Held);
    assert_eq!(reserved(&one, &owner).await, MicroUsd(500));
}

#[tokio::test]
async fn a_reservation_that_failed_half_way_holds_nothing_and_leaves_what_was_held() {
    let (stub, store) = opened().await;
    let owner = new_owner();
    let charge = charge(&owner, 500);
    store.reserve(&charge, &callers(1_000)).await.unwrap();
    let larger = Charge { amount: MicroUsd(900), ..charge };
    stub.fail_next("is_unsure", REFUSED);

    let failure = store.reserve(&larger, &callers(1_000)).await.unwrap_err();

    assert_eq!(failure.operation, "reserve");
    assert_eq!(reserved(&store, &owner).await, MicroUsd(500));
}

#[tokio::test]
async fn what_nobody_settles_is_held_for_a_day() {
    let (stub, store) = opened().await;
    let owner = new_owner();
    store.reserve(&charge(&owner, 1_000), &callers(1_000)).await.unwrap();
    let mut outcomes = Vec::new();

    for seconds in [24 * 3600 - 60, 120] {
        stub.rows(&format!(
            "UPDATE charges SET recorded_at = printf('%010d.000000000', substr(recorded_at, 1, 10) - {seconds})"
        ));
        let reserved = reserved(&store, &owner).await;
        outcomes.push((reserved, store.reserve(&charge(&owner, 1), &callers(1_000)).await.unwrap()));
    }

    let (scope, budget) = (BudgetScope::Caller, MicroUsd(1_000));
    let refused = Reservation::OverBudget { scope, budget, taken: budget };
    assert_eq!(outcomes, [(budget, refused), (MicroUsd(0), Reservation::Held)]);
}

#[tokio::test]
async fn what_was_settled_twice_at_once_counts_once_and_no_number_is_clipped() {
    let (stub, store) = opened().await;
    let owner = new_owner();
    let storage = StorageUse { frames: 0, bytes: 0, class_a: 0, class_b: 15 };
    store.settle(&Charge { storage, ..charge(&owner, 300) }).await.unwrap();
    stub.rows("INSERT INTO charges SELECT * FROM charges");

    let storage = StorageUse { class_b: u64::MAX, ..storage };
    let refused = store.settle(&Charge { storage, ..charge(&owner, 300) }).await.unwrap_err();

    assert_eq!(refused.kind, UpstreamErrorKind::Rejected);
    let usage = store.month_usage(&owner, Month::of(at(0))).await.unwrap();
    assert_eq!((usage.analyses, usage.storage.class_b), (1, 15));
}
