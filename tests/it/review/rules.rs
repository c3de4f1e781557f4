//! Evidence, view, catalogue, order.

use super::*;
use swimcoach::analysis::{ContentFlag, Dropped, SwimmerCount, Visible};
use swimcoach::review::{Category, ModelNotesAnswer, feedback, review_notes};

#[test]
fn the_example_of_an_answer_is_published_as_a_coach_would_sign_it() {
    let published = published(&ModelAnalysis::parse(EXAMPLE).unwrap());

    assert_eq!(published.summary, "Level body line; the right catch slips.");
    assert_eq!(published.findings.len(), 1);
    let finding = &published.findings[0];
    assert_eq!((finding.id.as_str(), finding.code.as_str()), ("f1", "FR-CATCH-DROPPED-ELBOW"));
    assert_eq!(finding.title.as_deref(), Some("Dropped elbow in the catch"));
    assert_eq!((finding.side, finding.priority), (Side::Right, Priority::Primary));
    assert_eq!(finding.evidence.len(), 1);
    assert_eq!((finding.evidence[0].frame, finding.evidence[0].timestamp_ms), (number(8), Some(700)));
    let drills: Vec<&str> = finding.drills.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(drills, ["front_scull", "fist", "single_arm_free"]);
    assert!(finding.drills.iter().all(|it| !it.name.is_empty() && !it.dose.is_empty()));
    assert_eq!(published.elements.len(), 1);
    assert_eq!((published.elements[0].element, published.elements[0].rating), (Element::Catch, Some(2)));
    assert_eq!(published.cannot_tell, ["recovery", "hand entry width"]);
    assert_eq!(published.dropped, Dropped::default());
    let feedback = feedback(&published);
    assert_eq!((feedback.len(), feedback[0].category), (1, Category::CatchAndPull));
    assert_eq!(feedback[0].drill_suggestions[0], "Front scull (6x25)");
}

#[test]
fn a_claim_that_cites_no_frame_is_dropped_and_counted() {
    let no_frame = ModelFinding { evidence: Vec::new(), ..dropped_elbow() };
    let mut answer = with([no_frame]);
    answer.elements = vec![rated(Element::Catch, Visibility::Clear, &[])];

    let published = published(&answer);

    assert!(published.findings.is_empty() && published.elements.is_empty());
    assert_eq!(published.dropped.no_evidence, 2);
}

#[test]
fn a_claim_that_cites_only_frames_that_were_never_sent_is_dropped_and_each_is_counted() {
    let imagined = ModelFinding { evidence: cites([0, -8, 16, i64::MAX]), ..dropped_elbow() };

    let published = published(&with([imagined]));

    assert!(published.findings.is_empty());
    assert_eq!((published.dropped.no_evidence, published.dropped.unknown_frame), (1, 4));
}

#[test]
fn of_the_cited_frames_those_that_were_sent_are_published_once_each_in_order_with_their_times() {
    let finding = ModelFinding { evidence: cites([9, 99, 3, 9]), ..dropped_elbow() };

    let published = published(&with([finding]));

    let evidence: Vec<_> = published.findings[0]
        .evidence
        .iter()
        .map(|it| (it.frame, it.timestamp_ms, it.seen.as_str()))
        .collect();
    assert_eq!(evidence, [(number(3), Some(200), "seen in 3"), (number(9), Some(800), "seen in 9")]);
    assert_eq!(published.dropped.unknown_frame, 1);
}

#[test]
fn a_finding_about_what_the_view_cannot_show_is_dropped_and_counted() {
    let mut from_above = with([dropped_elbow(), fault("OTHER", Element::Kick)]);
    from_above.capture.medium = Medium::AboveWater;
    from_above.elements = vec![rated(Element::Pull, Visibility::Clear, &[1])];

    let published = published(&from_above);

    assert!(published.findings.is_empty() && published.elements.is_empty());
    assert_eq!(published.dropped.outside_view, 3);
}

#[test]
fn a_fault_that_needs_another_sight_than_its_element_is_held_to_that_sight() {
    // From the side the width of the entry cannot be seen, and how the hand lies can in part.
    let answer = with([
        fault("FR-ENTRY-CROSSOVER", Element::Entry),
        fault("FR-ENTRY-OVERREACH", Element::Entry),
        fault("FR-SNAKING", Element::BodyPosition),
    ]);

    let published = published(&answer);

    let codes: Vec<&str> = published.findings.iter().map(|it| it.code.as_str()).collect();
    assert_eq!(codes, ["FR-ENTRY-OVERREACH"]);
    assert_eq!(published.dropped.outside_view, 2);
}

#[test]
fn a_finding_is_held_to_the_element_of_its_code_and_not_to_the_one_that_the_model_names() {
    let mut from_above = with([fault("FR-CATCH-DROPPED-ELBOW", Element::Breathing)]);
    from_above.capture.medium = Medium::AboveWater;

    assert_eq!(published(&from_above).dropped.outside_view, 1);

    let from_below = with([fault("FR-CATCH-DROPPED-ELBOW", Element::Breathing)]);
    assert_eq!(published(&from_below).findings[0].element, Element::Catch);
}

#[test]
fn a_claim_about_what_the_model_itself_calls_not_visible_is_dropped_and_counted() {
    let mut answer = with([dropped_elbow()]);
    answer.elements = vec![
        rated(Element::Catch, Visibility::Clear, &[8]),
        rated(Element::Catch, Visibility::NotVisible, &[]),
    ];

    let published = published(&answer);

    assert!(published.findings.is_empty() && published.elements.is_empty());
    assert_eq!(published.dropped.outside_view, 2);
}

#[test]
fn an_element_is_never_seen_better_than_its_view_allows() {
    let mut answer = silent();
    answer.elements = vec![
        rated(Element::Rotation, Visibility::Clear, &[1]),
        rated(Element::Kick, Visibility::Partial, &[1]),
        rated(Element::Kick, Visibility::Clear, &[2]),
    ];

    let published = published(&answer);

    let seen: Vec<_> = published.elements.iter().map(|it| (it.element, it.visibility)).collect();
    assert_eq!(seen, [(Element::Rotation, Visibility::Partial), (Element::Kick, Visibility::Partial)]);
    assert_eq!((published.dropped.repeated, published.dropped.outside_view), (1, 0));
}

#[test]
fn timing_is_not_judged_from_fewer_than_six_frames_in_a_cycle_and_hardly_where_nobody_knows() {
    let late_breath = || fault("OTHER", Element::Timing);
    let mut sparse = with([late_breath()]);
    sparse.cycles = figures::entries([1, 6, 11]);
    let mut dense = with([late_breath()]);
    dense.cycles = figures::entries([1, 8, 15]);
    dense.elements = vec![rated(Element::Timing, Visibility::Clear, &[1])];
    let mut unknown = silent();
    unknown.elements = vec![rated(Element::Timing, Visibility::Clear, &[1])];
    let slow = frames_at((0..15).map(|it| Some(it * 200)));

    let sparse = published_of(&sparse, &slow);
    let dense = published_of(&dense, &slow);
    let unknown = published_of(&unknown, &slow);

    assert!(sparse.findings.is_empty());
    assert!(warned_of(&sparse, "too_few_frames_per_cycle"));
    assert_eq!((dense.findings.len(), dense.elements[0].visibility), (1, Visibility::Clear));
    assert_eq!(unknown.elements[0].visibility, Visibility::Partial);
}

#[test]
fn a_code_that_the_catalogue_does_not_have_becomes_other_and_is_counted() {
    let published = published(&with([fault("FR-MADE-UP", Element::Catch), fault("OTHER", Element::Catch)]));

    assert!(published.findings.iter().all(|it| it.code == "OTHER" && it.title.is_none()));
    assert_eq!((published.findings.len(), published.dropped.unknown_code), (2, 1));
}

#[test]
fn a_code_of_another_stroke_becomes_other_and_is_counted() {
    let answer = with([
        fault("BK-SITTING", Element::BodyPosition),
        fault("UW-NO-KICKS", Element::UnderwaterStreamline),
    ]);

    let freestyle = published(&answer);
    let unknown = published(&ModelAnalysis {
        stroke: swimcoach::review::ModelStroke { observed: ObservedStroke::Unknown, ..answer.stroke.clone() },
        ..answer
    });

    let codes = |it: &PublishedAnalysis| it.findings.iter().map(|it| it.code.clone()).collect::<Vec<_>>();
    assert_eq!(codes(&freestyle), ["OTHER", "UW-NO-KICKS"]);
    assert_eq!(freestyle.dropped.unknown_code, 1);
    assert_eq!(codes(&unknown), ["BK-SITTING", "UW-NO-KICKS"]);
    assert_eq!(unknown.dropped.unknown_code, 0);
}

#[test]
fn a_strength_never_carries_the_name_of_a_fault_or_a_drill_against_it() {
    let praised = ModelFinding { kind: FindingKind::Strength, ..dropped_elbow() };

    let published = published(&with([praised]));

    let finding = &published.findings[0];
    assert_eq!((finding.code.as_str(), &finding.title), ("OTHER", &None));
    assert!(finding.drills.is_empty());
    assert!(feedback(&published).is_empty());
}

#[test]
fn drills_that_do_not_exist_or_do_not_fit_give_way_to_those_of_the_catalogue() {
    let drills = ["no_such_drill", "two_hand_wall_touch"].map(str::to_owned).to_vec();
    let finding = ModelFinding { drills, ..dropped_elbow() };

    let published = published(&with([finding]));

    let drills: Vec<&str> = published.findings[0].drills.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(drills, ["front_scull", "fist", "long_dog"]);
    assert_eq!(published.dropped.unfit_drill, 2);
}

#[test]
fn a_drill_that_is_named_twice_is_published_once_and_more_than_three_are_too_many() {
    let named = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect();
    let twice = ModelFinding { drills: named(&["fist", "fist"]), ..dropped_elbow() };
    let four = ModelFinding {
        drills: named(&["fist", "long_dog", "front_scull", "single_arm_free"]),
        ..dropped_elbow()
    };

    let published = published(&with([twice, four]));

    assert_eq!(published.findings[0].drills.len(), 1);
    assert_eq!(published.findings[1].drills.len(), 3);
    assert_eq!(published.dropped.unfit_drill, 0);
}

#[test]
fn what_the_catalogue_does_not_know_may_only_have_drills_of_its_stroke() {
    let drills = || ["fist", "l_drill"].map(str::to_owned).to_vec();
    let finding = || ModelFinding { drills: drills(), ..fault("OTHER", Element::Catch) };
    let mut medley = with([finding()]);
    medley.stroke.observed = ObservedStroke::Medley;

    let freestyle = published(&with([finding()]));
    let medley = published(&medley);

    assert_eq!((freestyle.findings[0].drills.len(), freestyle.dropped.unfit_drill), (1, 1));
    assert_eq!((medley.findings[0].drills.len(), medley.dropped.unfit_drill), (2, 0));
}

#[test]
fn there_is_one_primary_finding_and_at_most_two_secondary_ones_and_strengths_come_last() {
    use Priority::{Primary, Refinement, Secondary};
    let all_primary = (0..6).map(|_| dropped_elbow()).chain([strength()]);
    let mut answer = with(all_primary);
    answer.findings.rotate_right(1);

    let published = published(&answer);

    let order: Vec<_> = published.findings.iter().map(|it| (it.id.as_str(), it.kind, it.priority)).collect();
    let fault = FindingKind::Fault;
    assert_eq!(
        order,
        [
            ("f1", fault, Primary),
            ("f2", fault, Secondary),
            ("f3", fault, Secondary),
            ("f4", fault, Refinement),
            ("f5", fault, Refinement),
            ("f6", fault, Refinement),
            ("f7", FindingKind::Strength, Refinement),
        ]
    );
    assert_eq!(published.dropped.priority_lowered, 6);
}

#[test]
fn the_focus_of_the_model_is_the_primary_finding_where_it_stands() {
    let focus = fault("FR-HIPS-LOW", Element::BodyPosition);
    let answer = |focus: ModelFinding| ModelAnalysis { primary_focus: 1, ..with([dropped_elbow(), focus]) };

    let stands = published(&answer(focus.clone()));
    let falls = published(&answer(ModelFinding { evidence: Vec::new(), ..focus }));

    assert_eq!(stands.findings[0].code, "FR-HIPS-LOW");
    assert_eq!(stands.findings[1].priority, Priority::Secondary);
    assert_eq!(falls.findings[0].code, "FR-CATCH-DROPPED-ELBOW");
    assert_eq!(falls.findings[0].priority, Priority::Primary);
}

#[test]
fn without_a_focus_the_surest_of_the_most_urgent_is_the_primary_finding() {
    let with_order = |code: &str, priority, certainty| ModelFinding {
        priority,
        certainty,
        ..fault(code, Element::BodyPosition)
    };
    let answer = with([
        with_order("FR-ROT-FLAT", Priority::Refinement, Certainty::High),
        with_order("FR-HEAD-HIGH", Priority::Secondary, Certainty::Low),
        with_order("FR-HIPS-LOW", Priority::Secondary, Certainty::High),
    ]);

    for focus in [-1, 3, i64::MIN, i64::MAX] {
        let published = published(&ModelAnalysis { primary_focus: focus, ..answer.clone() });

        let codes: Vec<&str> = published.findings.iter().map(|it| it.code.as_str()).collect();
        assert_eq!(codes, ["FR-HIPS-LOW", "FR-HEAD-HIGH", "FR-ROT-FLAT"]);
    }
}

#[test]
fn a_matter_of_rules_is_worded_as_a_risk_whatever_the_model_calls_it() {
    let mut answer = with([fault("BR-KICK-SCISSOR", Element::Kick)]);
    answer.stroke.observed = ObservedStroke::Breaststroke;

    let published = published(&answer);

    assert_eq!(published.findings[0].kind, FindingKind::RuleRisk);
    assert!(published.findings[0].why_it_matters.ends_with("it is a risk, not a verdict."));
}

#[test]
fn a_matter_of_load_is_worded_as_no_diagnosis_whatever_the_model_calls_it() {
    let published = published(&with([fault("FR-ENTRY-THUMB-FIRST", Element::Entry)]));

    assert_eq!(published.findings[0].kind, FindingKind::LoadRisk);
    assert!(published.findings[0].why_it_matters.contains("no diagnosis"));
}

#[test]
fn frames_that_are_not_fit_for_coaching_give_no_word_about_technique() {
    let mut answer = ModelAnalysis::parse(EXAMPLE).unwrap();
    answer.cycles = figures::entries([1, 13]);
    answer.summary = "A dog swims, and its elbow drops.".to_owned();
    let flagged = ContentFlag::ALL
        .iter()
        .filter(|it| **it != ContentFlag::None)
        .map(|flag| ModelAnalysis { content_flag: *flag, ..answer.clone() });
    let mut unseen = answer.clone();
    unseen.capture.swimmer_visible = Visible::No;
    let mut nobody = answer.clone();
    nobody.capture.swimmer_visible = Visible::Partly;
    nobody.capture.swimmer_count = SwimmerCount::None;

    for answer in flagged.chain([unseen, nobody]) {
        let published = published(&answer);

        assert!(published.elements.is_empty() && published.findings.is_empty());
        assert!(published.metrics.is_empty() && published.cannot_tell.is_empty());
        assert_eq!(published.capture.frames_per_cycle, None);
        assert!(!published.summary.contains("elbow") && published.summary.contains("nothing is said"));
        assert_eq!((published.dropped.outside_view, published.dropped.unused_event), (2, 2));
        assert_eq!(published.filming_advice, answer.filming_advice);
    }
}

#[test]
fn the_stroke_that_is_seen_counts_and_a_difference_is_told() {
    let answer = with([dropped_elbow()]);

    let differs = published_with(&answer, &fifteen_frames(), Stroke::Butterfly, &[], &[]);
    let same = published(&answer);
    let mixed = published_with(&answer, &fifteen_frames(), Stroke::Mixed, &[], &[]);

    assert!(warned_of(&differs, "stroke_differs"));
    assert_eq!(differs.findings[0].code, "FR-CATCH-DROPPED-ELBOW");
    assert_eq!(differs.stroke.declared, Stroke::Butterfly);
    assert!(!warned_of(&same, "stroke_differs") && !warned_of(&mixed, "stroke_differs"));
}

#[test]
fn a_swimmer_who_is_seen_and_not_counted_is_told_of_and_findings_stand_by_their_frames() {
    let mut answer = with([dropped_elbow()]);
    answer.capture.swimmer_visible = Visible::Yes;
    answer.capture.swimmer_count = SwimmerCount::None;

    let published = published(&answer);

    assert!(warned_of(&published, "swimmer_uncertain"));
    assert_eq!(published.findings.len(), 1);
}

#[test]
fn several_swimmers_are_told_of() {
    let mut answer = with([dropped_elbow()]);
    answer.capture.swimmer_count = SwimmerCount::Several;

    assert!(warned_of(&published(&answer), "several_swimmers"));
}

#[test]
fn what_the_capture_check_found_comes_first_and_is_not_said_twice() {
    let warning = Warning {
        code: "timestamps_missing".to_owned(),
        detail: "No frame has a time.".to_owned(),
        frames: Vec::new(),
    };
    let advice = ["Hold the camera still.".to_owned()];
    let mut answer = silent();
    answer.filming_advice = vec!["Add a front view.".to_owned(), "Hold the camera still.".to_owned()];

    let published = published_with(
        &answer,
        &frames_at([None, None]),
        Stroke::Freestyle,
        std::slice::from_ref(&warning),
        &advice,
    );

    assert_eq!(published.warnings, [warning]);
    assert_eq!(published.filming_advice, ["Hold the camera still.", "Add a front view."]);
}

#[test]
fn the_answer_to_notes_cites_only_frames_that_the_analysis_cites() {
    let published = published(&with([dropped_elbow()]));
    let answer = ModelNotesAnswer {
        text: "See <b>frame 8</b> at https://example.com.".to_owned(),
        frames: vec![8, 8, 9, 99, -1],
    };

    let answer = review_notes(&answer, &published);

    assert_eq!(answer.frames, [number(8)]);
    assert_eq!(answer.text, "See frame 8 at");
}
