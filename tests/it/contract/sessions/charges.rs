//! Charges: held within budgets, settled once, kept when their session is deleted.

use super::*;

const NO_BUDGET: Budgets = Budgets { caller: None, service: None, analyses_per_day: None };

fn month() -> Month {
    Month::of(at(0))
}

fn callers(budget: u64) -> Budgets {
    Budgets { caller: Some(MicroUsd(budget)), service: None, analyses_per_day: None }
}

async fn used(store: &dyn SessionStore, owner: &Owner) -> MonthUsage {
    store.month_usage(owner, month()).await.unwrap()
}

async fn reserved(store: &dyn SessionStore, charge: &Charge, budgets: &Budgets) -> Reservation {
    store.reserve(charge, budgets).await.unwrap()
}

/// A charge of this amount, over, with something in every count.
fn settled(owner: &Owner, kind: ChargeKind, amount: u64) -> Charge {
    let usage = Usage {
        requests: 1,
        input_tokens: 2,
        cache_creation_input_tokens: 7,
        cache_creation_5m_input_tokens: 3,
        cache_creation_1h_input_tokens: 4,
        cache_read_input_tokens: 9_007_199_254_740_993,
        output_tokens: 5,
        cost: Some(MicroUsd(amount)),
    };
    let storage = StorageUse { frames: 0, bytes: 0, class_a: 1, class_b: 15 };
    Charge { kind, is_settled: true, usage, storage, ..charge(owner, amount) }
}

pub(super) async fn an_amount_is_held_until_its_charge_is_settled(store: &dyn SessionStore) {
    let owner = new_owner();
    let charge = charge(&owner, 500);

    let reservation = reserved(store, &charge, &NO_BUDGET).await;
    let while_held = used(store, &owner).await;
    store.settle(&Charge { amount: MicroUsd(300), ..charge }).await.unwrap();
    let when_settled = used(store, &owner).await;

    assert_eq!(reservation, Reservation::Held);
    assert_eq!(while_held, MonthUsage { reserved: MicroUsd(500), ..MonthUsage::default() });
    assert_eq!(when_settled, MonthUsage { analyses: 1, ..MonthUsage::default() });
}

pub(super) async fn an_amount_that_fits_exactly_is_held_and_one_that_is_larger_is_not(
    store: &dyn SessionStore,
) {
    let owner = new_owner();
    assert_eq!(reserved(store, &charge(&owner, 400), &callers(1_000)).await, Reservation::Held);

    let larger = reserved(store, &charge(&owner, 601), &callers(1_000)).await;
    let exact = reserved(store, &charge(&owner, 600), &callers(1_000)).await;

    let (scope, budget, taken) = (BudgetScope::Caller, MicroUsd(1_000), MicroUsd(400));
    assert_eq!(larger, Reservation::OverBudget { scope, budget, taken });
    assert_eq!(exact, Reservation::Held);
    assert_eq!(used(store, &owner).await.reserved, MicroUsd(1_000));
}

/// Reserves all of these at once; returns how many are held.
async fn reserve_all(store: &dyn SessionStore, charges: &[Charge], budgets: &Budgets) -> usize {
    let outcomes = join_all(charges.iter().map(|it| reserved(store, it, budgets))).await;
    outcomes.into_iter().filter(|it| *it == Reservation::Held).count()
}

pub(super) async fn of_many_reservations_at_once_no_more_are_held_than_fit(store: &dyn SessionStore) {
    let owner = new_owner();
    let charges: Vec<_> = (0..25).map(|_| charge(&owner, 100)).collect();

    let n_held = reserve_all(store, &charges, &callers(1_099)).await;

    assert_eq!(n_held, 10);
    assert_eq!(used(store, &owner).await.reserved, MicroUsd(1_000));
}

pub(super) async fn of_many_reservations_by_all_callers_no_more_are_held_than_fit(store: &dyn SessionStore) {
    // A month in which no other rule charges anything; the store may have been there at an earlier run.
    let at = at(0) + TimeDelta::days(365);
    let charges: Vec<_> = (0..25).map(|_| Charge { at, ..charge(&new_owner(), 100) }).collect();
    let nothing = Budgets { caller: None, service: Some(MicroUsd(0)), analyses_per_day: None };
    let Reservation::OverBudget { scope, taken, .. } = reserved(store, &charges[0], &nothing).await else {
        panic!("something fits a budget of nothing");
    };

    let budgets = Budgets {
        caller: Some(MicroUsd(100)),
        service: Some(taken + MicroUsd(1_099)),
        analyses_per_day: None,
    };
    let n_held = reserve_all(store, &charges, &budgets).await;

    assert_eq!(scope, BudgetScope::Service);
    assert_eq!(n_held, 10);
}

pub(super) async fn no_more_analyses_of_a_caller_are_held_in_a_day_than_may_be(store: &dyn SessionStore) {
    let owner = new_owner();
    let budgets = Budgets { analyses_per_day: Some(3), ..NO_BUDGET };
    let asked = charge(&owner, 1);
    let spent = Usage { requests: 1, ..Usage::default() };
    let answer = Charge { kind: ChargeKind::Answer, usage: spent, ..charge(&owner, 1) };
    let day_before = Charge { at: at(0) - TimeDelta::days(1), usage: spent, ..charge(&owner, 1) };
    let of_another = Charge { usage: spent, ..charge(&new_owner(), 1) };
    for settled in [&charge(&owner, 0), &answer, &day_before, &of_another] {
        store.settle(settled).await.unwrap();
    }
    store.settle(&Charge { usage: spent, ..asked.clone() }).await.unwrap();

    let wanted: Vec<_> = (0..8).map(|_| charge(&owner, 1)).collect();
    let n_held = reserve_all(store, &wanted, &budgets).await;
    let outcome = reserved(store, &charge(&owner, 1), &budgets).await;

    assert_eq!(n_held, 2);
    assert_eq!(outcome, Reservation::EnoughToday { limit: 3 });
    let next_day = Charge { at: at(0) + TimeDelta::days(1), ..charge(&owner, 1) };
    for free in [&asked, &Charge { kind: ChargeKind::Answer, ..charge(&owner, 1) }, &next_day] {
        assert_eq!(reserved(store, free, &budgets).await, Reservation::Held, "{free:?}");
    }
}

pub(super) async fn a_reservation_takes_the_place_of_an_earlier_one_unless_it_is_refused(
    store: &dyn SessionStore,
) {
    let owner = new_owner();
    let first = charge(&owner, 600);
    let [larger, too_large] = [900, 1_001].map(|it| Charge { amount: MicroUsd(it), ..first.clone() });

    let outcomes = [
        reserved(store, &first, &callers(1_000)).await,
        reserved(store, &first, &callers(1_000)).await,
        reserved(store, &larger, &callers(1_000)).await,
        reserved(store, &too_large, &callers(1_000)).await,
    ];

    let (scope, budget, taken) = (BudgetScope::Caller, MicroUsd(1_000), MicroUsd(0));
    let refused = Reservation::OverBudget { scope, budget, taken };
    assert_eq!(outcomes, [Reservation::Held, Reservation::Held, Reservation::Held, refused]);
    assert_eq!(used(store, &owner).await.reserved, MicroUsd(900));
}

pub(super) async fn what_is_settled_counts_against_the_budget_of_its_month_alone(store: &dyn SessionStore) {
    let owner = new_owner();
    let next_month = Charge { at: month().end(), ..charge(&owner, 1_000) };
    store.settle(&charge(&owner, 900)).await.unwrap();

    let this_month = reserved(store, &charge(&owner, 101), &callers(1_000)).await;
    let outcome = reserved(store, &next_month, &callers(1_000)).await;

    let (scope, budget, taken) = (BudgetScope::Caller, MicroUsd(1_000), MicroUsd(900));
    assert_eq!(this_month, Reservation::OverBudget { scope, budget, taken });
    assert_eq!(outcome, Reservation::Held);
    assert_eq!(used(store, &owner).await, MonthUsage { analyses: 1, ..MonthUsage::default() });
    let next = store.month_usage(&owner, Month::of(next_month.at)).await.unwrap();
    assert_eq!(next, MonthUsage { reserved: MicroUsd(1_000), ..MonthUsage::default() });
}

pub(super) async fn a_charge_that_is_settled_is_held_no_more_and_does_not_shrink(store: &dyn SessionStore) {
    let owner = new_owner();
    let charge = charge(&owner, 500);
    let came_to = |amount| Charge { amount: MicroUsd(amount), ..charge.clone() };

    for amount in [300, 700, 400] {
        store.settle(&came_to(amount)).await.unwrap();
    }
    reserved(store, &came_to(50), &callers(1_000)).await;

    let other = Charge { id: ChargeId::new(), ..came_to(301) };
    let (scope, budget, taken) = (BudgetScope::Caller, MicroUsd(1_000), MicroUsd(700));
    let refused = Reservation::OverBudget { scope, budget, taken };
    assert_eq!(reserved(store, &other, &callers(1_000)).await, refused);
    assert_eq!(used(store, &owner).await, MonthUsage { analyses: 1, ..MonthUsage::default() });
}

pub(super) async fn a_month_adds_up_what_its_charges_came_to(store: &dyn SessionStore) {
    let owner = new_owner();
    let before =
        Charge { at: month().start() - TimeDelta::milliseconds(1), ..settled(&owner, ChargeKind::Answer, 1) };
    store.settle(&before).await.unwrap();
    store.settle(&settled(&new_owner(), ChargeKind::Answer, 1)).await.unwrap();
    for (kind, amount) in [(ChargeKind::Analysis, 10), (ChargeKind::Answer, 20), (ChargeKind::Answer, 40)] {
        store.settle(&settled(&owner, kind, amount)).await.unwrap();
    }

    let usage = used(store, &owner).await;

    let expected = MonthUsage {
        storage: StorageUse { frames: 0, bytes: 0, class_a: 3, class_b: 45 },
        analyses: 1,
        answers: 2,
        usage: Usage {
            requests: 3,
            input_tokens: 6,
            cache_creation_input_tokens: 21,
            cache_creation_5m_input_tokens: 9,
            cache_creation_1h_input_tokens: 12,
            cache_read_input_tokens: 27_021_597_764_222_979,
            output_tokens: 15,
            cost: Some(MicroUsd(70)),
        },
        reserved: MicroUsd(0),
        stored_bytes: 0,
    };
    assert_eq!(usage, expected);
}

pub(super) async fn what_was_given_back_without_asking_anything_is_no_analysis_and_no_answer(
    store: &dyn SessionStore,
) {
    let owner = new_owner();

    for kind in [ChargeKind::Analysis, ChargeKind::Answer] {
        store.settle(&Charge { kind, ..charge(&owner, 0) }).await.unwrap();
    }

    assert_eq!(used(store, &owner).await, MonthUsage::default());
}

pub(super) async fn a_cost_that_is_not_known_makes_the_sum_unknown(store: &dyn SessionStore) {
    let owner = new_owner();
    store.settle(&settled(&owner, ChargeKind::Analysis, 10)).await.unwrap();
    let unknown = Usage { cost: None, ..Usage::default() };
    store.settle(&Charge { usage: unknown, ..settled(&owner, ChargeKind::Answer, 0) }).await.unwrap();

    let usage = used(store, &owner).await.usage;

    assert_eq!((usage.requests, usage.cost), (1, None));
}

pub(super) async fn what_a_session_took_stays_counted_once_when_it_is_deleted(store: &dyn SessionStore) {
    let owner = new_owner();
    let earlier = Session { created_at: month().start() - TimeDelta::milliseconds(1), ..session(&owner, 3) };
    store.create_session(&earlier).await.unwrap();
    let session = created(store, &owner).await;
    let mut upload = StorageUse::of_upload(&session);
    let stored_bytes = upload.bytes + StorageUse::of_upload(&earlier).bytes;

    let before = used(store, &owner).await;
    upload.class_a += 1;
    let charge = Charge {
        id: session.id.into(),
        kind: ChargeKind::Upload,
        at: session.created_at,
        model: None,
        storage: upload,
        ..charge(&owner, 0)
    };
    store.settle(&charge).await.unwrap();
    let while_deleted = used(store, &owner).await;
    store.delete_session(&owner, session.id).await.unwrap();
    let after = used(store, &owner).await;

    let stored =
        MonthUsage { storage: StorageUse::of_upload(&session), stored_bytes, ..MonthUsage::default() };
    assert_eq!(before, stored);
    assert_eq!(while_deleted, MonthUsage { storage: upload, ..stored });
    let stored_bytes = StorageUse::of_upload(&earlier).bytes;
    assert_eq!(after, MonthUsage { storage: upload, stored_bytes, ..MonthUsage::default() });
}
