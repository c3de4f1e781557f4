//! The catalogue that is built in: whole, within its table of views, and without what it must not teach.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use swimcoach::analysis::{Element, FindingKind, Medium, ObservedStroke, View, Visibility};
use swimcoach::catalog::{Catalog, Fault};

const FREESTYLE: [&str; 23] = [
    "FR-HEAD-HIGH",
    "FR-HIPS-LOW",
    "FR-SNAKING",
    "FR-ROT-FLAT",
    "FR-ROT-OVER",
    "FR-ENTRY-CROSSOVER",
    "FR-ENTRY-THUMB-FIRST",
    "FR-ENTRY-OVERREACH",
    "FR-CATCH-DROPPED-ELBOW",
    "FR-CATCH-PRESS-DOWN",
    "FR-CATCH-OVERGLIDE",
    "FR-PULL-CROSS-MIDLINE",
    "FR-PULL-WIDE",
    "FR-FINISH-SHORT",
    "FR-RECOVERY-LOW-SWING",
    "FR-KICK-BICYCLE",
    "FR-KICK-SCISSOR",
    "FR-KICK-STIFF-ANKLE",
    "FR-KICK-DEEP",
    "FR-BREATH-LIFT",
    "FR-BREATH-LATE",
    "FR-BREATH-HOLD",
    "FR-ASYMMETRY",
];
const BACKSTROKE: [&str; 11] = [
    "BK-SITTING",
    "BK-HEAD-MOVES",
    "BK-ROT-FLAT",
    "BK-ENTRY-OVERREACH",
    "BK-ENTRY-BACK-OF-HAND",
    "BK-CATCH-SHALLOW",
    "BK-PULL-STRAIGHT-ARM",
    "BK-FINISH-SHORT",
    "BK-RECOVERY-BENT",
    "BK-PAUSE-AT-HIP",
    "BK-KNEES-BREAK-SURFACE",
];
const BREASTSTROKE: [&str; 14] = [
    "BR-NO-STREAMLINE",
    "BR-NO-GLIDE",
    "BR-OVERGLIDE",
    "BR-ACCORDION",
    "BR-PULL-TOO-WIDE",
    "BR-PULL-PAST-SHOULDERS",
    "BR-PAUSE-AT-CHEST",
    "BR-ELBOWS-DROP",
    "BR-HEAD-JERK",
    "BR-KICK-SCISSOR",
    "BR-FEET-NOT-TURNED-OUT",
    "BR-KNEES-WIDE",
    "BR-KNEES-UNDER-HIPS",
    "BR-KICK-NO-FINISH",
];
const BUTTERFLY: [&str; 13] = [
    "FL-NO-PRESS",
    "FL-OVER-UNDULATION",
    "FL-BREATH-HIGH",
    "FL-HEAD-LATE-BACK",
    "FL-ENTRY-NARROW",
    "FL-ENTRY-WIDE",
    "FL-CATCH-DROPPED-ELBOW",
    "FL-PULL-SHORT",
    "FL-RECOVERY-DRAG",
    "FL-ONE-KICK",
    "FL-KICK-LATE",
    "FL-KICK-FROM-KNEE",
    "FL-LEGS-ALTERNATE",
];
const STARTS_AND_TURNS: [&str; 16] = [
    "ST-STANCE",
    "ST-LAUNCH-UP",
    "ST-ENTRY-FLAT",
    "UW-STREAMLINE-LOOSE",
    "UW-KICK-TOO-BIG",
    "UW-NO-KICKS",
    "BO-BREATHE-FIRST-STROKE",
    "BO-TOO-DEEP",
    "BO-TOO-SHALLOW",
    "TU-GLIDE-IN",
    "TU-SLOW-TUCK",
    "TU-FEET-HIGH",
    "TU-FEET-DEEP",
    "TU-PUSH-BEFORE-STREAMLINE",
    "TU-ONE-HAND-TOUCH",
    "TU-SLOW-HANDS",
];

/// Every file of the catalogue, as a coach edits it.
const FILES: [&str; 7] = [
    include_str!("../../catalog/drills.toml"),
    include_str!("../../catalog/views.toml"),
    include_str!("../../catalog/faults/freestyle.toml"),
    include_str!("../../catalog/faults/backstroke.toml"),
    include_str!("../../catalog/faults/breaststroke.toml"),
    include_str!("../../catalog/faults/butterfly.toml"),
    include_str!("../../catalog/faults/starts_and_turns.toml"),
];

fn catalog() -> Catalog {
    Catalog::embedded().unwrap()
}

fn all(catalog: &Catalog) -> Vec<&Fault> {
    catalog.faults_for(ObservedStroke::Unknown).collect()
}

#[test]
fn every_fault_of_each_stroke_and_of_starts_and_turns_is_there_and_no_other() {
    use ObservedStroke as S;
    let catalog = catalog();
    for (stroke, codes) in [
        (Some(S::Freestyle), FREESTYLE.as_slice()),
        (Some(S::Backstroke), BACKSTROKE.as_slice()),
        (Some(S::Breaststroke), BREASTSTROKE.as_slice()),
        (Some(S::Butterfly), BUTTERFLY.as_slice()),
        (None, STARTS_AND_TURNS.as_slice()),
    ] {
        let there: BTreeSet<&str> =
            all(&catalog).iter().filter(|it| it.stroke == stroke).map(|it| it.code.as_str()).collect();

        assert_eq!(there, codes.iter().copied().collect(), "{stroke:?}");
    }
}

#[test]
fn every_fault_says_how_it_looks_what_it_costs_what_to_think_of_and_what_to_practise() {
    for fault in all(&catalog()) {
        let code = &fault.code;
        for text in [&fault.title, &fault.seen_as, &fault.cost, &fault.cue] {
            assert!(8 <= text.len() && !text.ends_with('.'), "{code}: {text}");
        }
        assert!(fault.cue.split_whitespace().count() <= 10, "{code}: a cue is at most ten words");
        assert!((1..=4).contains(&fault.drills.len()), "{code}");
        assert!(!fault.sources.is_empty(), "{code} has no source");
    }
}

#[test]
fn every_drill_that_a_fault_names_exists_helps_against_it_and_is_for_its_stroke() {
    let catalog = catalog();
    for fault in all(&catalog) {
        for id in &fault.drills {
            let drill = catalog.drill(id).unwrap();
            assert!(drill.targets.contains(&fault.code), "{id} does not target {}", fault.code);
            assert!(
                fault.stroke.is_none_or(|it| drill.strokes.contains(&it)),
                "{id} is not for {}",
                fault.code
            );
        }
    }
}

#[test]
fn every_drill_says_how_how_much_what_to_feel_and_what_to_mind() {
    let catalog = catalog();
    let ids: BTreeSet<&String> = all(&catalog).into_iter().flat_map(|it| &it.drills).collect();

    assert!(60 < ids.len());
    for id in ids {
        let drill = catalog.drill(id).unwrap();
        for text in [&drill.name, &drill.how, &drill.dose, &drill.feel, &drill.watch_out] {
            assert!(3 <= text.len(), "{id}: {text:?}");
        }
        assert!((1..=3).contains(&drill.level), "{id}");
        assert!(
            drill.targets.iter().all(|it| catalog.fault(it).is_some()),
            "{id} targets what does not exist"
        );
        assert!(!drill.strokes.is_empty() && !drill.sources.is_empty(), "{id}");
    }
}

#[test]
fn what_a_referee_may_see_differently_is_marked_as_a_risk() {
    let catalog = catalog();
    let risks: BTreeSet<&str> = all(&catalog)
        .iter()
        .filter(|it| it.kind == FindingKind::RuleRisk)
        .map(|it| it.code.as_str())
        .collect();

    assert_eq!(
        risks,
        BTreeSet::from([
            "BR-FEET-NOT-TURNED-OUT",
            "BR-KICK-SCISSOR",
            "FL-LEGS-ALTERNATE",
            "TU-ONE-HAND-TOUCH"
        ])
    );
}

#[test]
fn each_view_shows_what_the_table_of_views_says() {
    use Visibility::{Clear, NotVisible as No, Partial};
    enum Row {
        Of(Element),
        Fault(&'static str),
    }
    use Row::{Fault, Of};
    let views = [
        (View::Side, Medium::AboveWater),
        (View::Front, Medium::AboveWater),
        (View::Side, Medium::Underwater),
        (View::Front, Medium::Underwater),
        (View::Rear, Medium::Underwater),
        (View::Overhead, Medium::AboveWater),
    ];
    let catalog = catalog();
    for (row, expected) in [
        (Of(Element::BodyPosition), [Partial, No, Clear, Partial, Partial, No]),
        (Of(Element::HeadPosition), [Clear, Partial, Clear, Partial, No, Partial]),
        (Of(Element::Rotation), [Partial, Clear, Partial, Clear, Clear, Partial]),
        (Of(Element::Entry), [No, Clear, No, Clear, Partial, Clear]),
        (Of(Element::Catch), [No, No, Clear, Clear, Partial, No]),
        (Of(Element::Pull), [No, No, Partial, Clear, Clear, No]),
        (Of(Element::PushFinish), [Partial, No, Clear, Partial, Clear, No]),
        (Of(Element::ExitRecovery), [Clear, Clear, No, No, No, Clear]),
        (Of(Element::Kick), [No, No, Clear, Partial, Partial, No]),
        (Fault("BR-FEET-NOT-TURNED-OUT"), [No, No, Partial, Partial, Clear, Partial]),
        (Fault("BR-KNEES-WIDE"), [No, No, Partial, Partial, Clear, Partial]),
        (Of(Element::Breathing), [Clear, Clear, Partial, Partial, No, Partial]),
        (Of(Element::Timing), [Clear, Partial, Clear, Partial, Partial, Partial]),
        (Fault("FR-SNAKING"), [No, Clear, No, Clear, Clear, Clear]),
    ] {
        for ((view, medium), expected) in views.into_iter().zip(expected) {
            let (what, shown) = match row {
                Of(element) => (format!("{element:?}"), catalog.element_visibility(element, view, medium)),
                Fault(code) => {
                    (code.to_owned(), catalog.fault_visibility(catalog.fault(code).unwrap(), view, medium))
                }
            };
            assert_eq!(shown, expected, "{what} from {view:?} {medium:?}");
        }
    }
}

#[test]
fn a_view_between_two_others_never_shows_anything_clearly() {
    let catalog = catalog();
    for element in Element::ALL {
        for view in [View::Oblique, View::Unknown] {
            for medium in Medium::ALL {
                assert_ne!(
                    catalog.element_visibility(*element, view, *medium),
                    Visibility::Clear,
                    "{element:?}"
                );
            }
        }
    }
}

#[test]
fn the_s_shaped_pull_is_not_taught() {
    for file in FILES {
        let text = file.to_lowercase();
        for word in ["s-shape", "s shape", "s-pull", "s pull", "s-curve", "s-pattern", "keyhole", "hourglass"]
        {
            assert!(!text.contains(word), "{word}");
        }
    }
}

#[test]
fn overlap_of_pull_and_kick_in_breaststroke_is_no_matter_of_rules() {
    assert_eq!(catalog().fault("BR-ACCORDION").unwrap().kind, FindingKind::Fault);
}

#[test]
fn no_entry_claims_a_review_that_nobody_made() {
    for fault in all(&catalog()) {
        assert_eq!(fault.reviewed_by, "", "{}: raise the state in catalog/README.md too", fault.code);
    }
}
