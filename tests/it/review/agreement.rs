//! What is published of several looks at the same frames.

use super::arbitrary::answers;
use super::*;
use crate::support::random::cases;
use proptest::prelude::*;
use proptest::sample::subsequence;
use std::collections::BTreeSet;
use swimcoach::analysis::{ContentFlag, Finding, LookAgreement};
use swimcoach::review::agree;

const ELBOW: (&str, Element) = ("FR-CATCH-DROPPED-ELBOW", Element::Catch);
const HIPS: (&str, Element) = ("OTHER", Element::BodyPosition);
const KICK: (&str, Element) = ("OTHER", Element::Kick);

/// A look that finds these faults, the first of them primary.
fn look(faults: &[(&str, Element)]) -> PublishedAnalysis {
    let found = faults.iter().map(|(code, element)| fault(code, *element));
    published(&ModelAnalysis { primary_focus: 0, ..with(found) })
}

fn agreed(looks: &[PublishedAnalysis]) -> PublishedAnalysis {
    agree(looks.to_vec()).unwrap()
}

/// Codes, elements, how many looks found it, and priorities.
fn shown(analysis: &PublishedAnalysis) -> Vec<(&str, Element, u8, Priority)> {
    let shown = |it: &'_ Finding| (it.element, it.agreement.unwrap().found, it.priority);
    let findings = analysis.findings.iter();
    findings.map(|it| (it.code.as_str(), shown(it).0, shown(it).1, shown(it).2)).collect()
}

/// What a finding claims, whatever its words.
fn claim(finding: &Finding) -> (FindingKind, String, Element, Side) {
    (finding.kind, finding.code.clone(), finding.element, finding.side)
}

#[test]
fn one_look_is_published_as_it_is_and_none_is_nothing() {
    let only = look(&[ELBOW, KICK]);

    assert_eq!(agree(vec![only.clone()]), Some(only));
    assert_eq!(agree(Vec::new()), None);
}

#[test]
fn looks_that_find_the_same_publish_it_with_their_number() {
    let one = look(&[ELBOW, KICK]);

    let result = agreed(&[one.clone(), one.clone(), one.clone()]);

    assert_eq!(
        shown(&result),
        [(ELBOW.0, ELBOW.1, 3, Priority::Primary), (KICK.0, KICK.1, 3, Priority::Secondary)]
    );
    assert!(result.findings.iter().all(|it| it.agreement == Some(LookAgreement { found: 3, of: 3 })));
    assert_eq!(result.summary, one.summary);
    assert_eq!(result.provenance.samples, Some(3));
    assert_eq!(result.dropped.not_shared, 0);
}

#[test]
fn the_look_that_agrees_most_with_the_others_is_published() {
    let mut looks = [look(&[ELBOW, HIPS, KICK]), look(&[ELBOW, HIPS]), look(&[ELBOW])];
    for (note, look) in ["first", "second", "third"].iter().zip(&mut looks) {
        look.cannot_tell = vec![(*note).to_owned()];
    }

    let result = agreed(&looks);

    assert_eq!(result.cannot_tell, ["second"]);
    let found: Vec<_> = shown(&result).iter().map(|it| (it.0, it.2)).collect();
    assert_eq!(found, [(ELBOW.0, 3), (HIPS.0, 2)]);
    assert_eq!(result.dropped.not_shared, 1, "the kick that only the first look found");
}

#[test]
fn of_looks_that_agree_equally_well_the_earliest_is_published() {
    let [one, other] = [look(&[ELBOW]), look(&[KICK])];

    let result = agreed(&[one.clone(), other.clone()]);
    let turned = agreed(&[other, one]);

    assert_eq!(shown(&result), [(ELBOW.0, ELBOW.1, 1, Priority::Primary)]);
    assert_eq!(shown(&turned), [(KICK.0, KICK.1, 1, Priority::Primary)]);
}

#[test]
fn what_most_looks_found_is_added_and_the_summary_is_made_anew() {
    let other = ("OTHER", Element::Pull);
    let looks = [
        look(&[ELBOW, KICK, other]),
        look(&[ELBOW, HIPS]),
        look(&[ELBOW, HIPS, KICK, other, ("OTHER", Element::PushFinish)]),
        look(&[HIPS]),
        look(&[ELBOW]),
    ];

    let result = agreed(&looks);

    let found: Vec<_> = shown(&result).iter().map(|it| (it.0, it.2)).collect();
    assert_eq!(found, [(ELBOW.0, 4), (HIPS.0, 3)]);
    assert_eq!(result.dropped.not_shared, 5);
    let lacking = agreed(&[look(&[ELBOW, KICK]), look(&[HIPS, KICK]), look(&[ELBOW, HIPS])]);
    let found: Vec<_> = shown(&lacking).iter().map(|it| (it.0, it.1, it.2)).collect();
    assert_eq!(
        found,
        [(ELBOW.0, ELBOW.1, 2), (HIPS.0, HIPS.1, 2), (KICK.0, KICK.1, 2)],
        "the first look with what it lacks, which another calls urgent"
    );
    let ids: Vec<_> = lacking.findings.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["f1", "f2", "f3"]);
    assert_eq!(lacking.summary, "To work on first: This is FR-CATCH-DROPPED-ELBOW.");
}

#[test]
fn what_a_minority_found_is_a_refinement_and_comes_behind_what_most_did() {
    let looks = [look(&[KICK, ELBOW]), look(&[ELBOW, HIPS]), look(&[("OTHER", Element::Pull), ELBOW])];

    let result = agreed(&looks);

    assert_eq!(
        shown(&result),
        [(ELBOW.0, ELBOW.1, 3, Priority::Primary), (KICK.0, KICK.1, 1, Priority::Refinement)]
    );
    let lowered_alone: u32 = looks.iter().map(|it| it.dropped.priority_lowered).sum();
    assert_eq!(result.dropped.priority_lowered, lowered_alone + 1);
    assert_eq!(result.summary, "To work on first: This is FR-CATCH-DROPPED-ELBOW.");
}

#[test]
fn where_no_two_looks_agree_nothing_is_the_one_thing_to_work_on() {
    let result = agreed(&[look(&[ELBOW]), look(&[KICK]), look(&[HIPS])]);

    assert_eq!(shown(&result), [(ELBOW.0, ELBOW.1, 1, Priority::Refinement)]);
    assert_eq!(result.summary, "Seen, but not by most looks: This is FR-CATCH-DROPPED-ELBOW.");
}

#[test]
fn a_look_that_sees_another_stroke_or_view_is_not_published_or_added_from() {
    let backstroke = |code: &str| {
        let mut answer = with([fault(code, Element::BodyPosition), fault("OTHER", Element::Kick)]);
        answer.stroke.observed = ObservedStroke::Backstroke;
        published(&answer)
    };
    let looks = [look(&[ELBOW]), backstroke("BK-SITTING"), look(&[ELBOW, KICK])];

    let result = agreed(&looks);

    assert_eq!(result.stroke.observed, ObservedStroke::Freestyle);
    let found: Vec<_> = shown(&result).iter().map(|it| (it.0, it.2)).collect();
    assert_eq!(found, [(ELBOW.0, 2), ("OTHER", 2)], "the kick is taken from a look that sees freestyle");
    assert!(!warned_of(&result, "stroke_differs"));
}

#[test]
fn where_as_many_looks_call_the_frames_unfit_nothing_is_said_about_technique() {
    let unfit = published(&ModelAnalysis {
        content_flag: ContentFlag::UnsuitableForCoaching,
        ..with([dropped_elbow()])
    });
    let fit = look(&[ELBOW]);

    let tie = agreed(&[fit.clone(), unfit.clone()]);
    let fits = agreed(&[unfit.clone(), fit.clone(), fit.clone()]);

    assert_eq!(tie.content_flag, ContentFlag::UnsuitableForCoaching);
    assert_eq!(tie.findings, []);
    assert_eq!(tie.summary, unfit.summary);
    assert_eq!(fits.content_flag, ContentFlag::None);
    assert_eq!(shown(&fits), [(ELBOW.0, ELBOW.1, 2, Priority::Primary)]);
}

#[test]
fn what_limits_any_look_is_told_once_and_what_was_dropped_is_summed() {
    let mut several =
        with([dropped_elbow(), ModelFinding { evidence: Vec::new(), ..fault("OTHER", Element::Kick) }]);
    several.capture.swimmer_count = swimcoach::analysis::SwimmerCount::Several;
    let several = published(&several);
    assert!(warned_of(&several, "claims_left_out"));

    let result = agreed(&[look(&[ELBOW]), several.clone(), several]);

    let codes: Vec<_> = result.warnings.iter().map(|it| it.code.as_str()).collect();
    assert_eq!(codes, ["several_swimmers"], "nothing was left out of the look that is published");
    assert_eq!(result.dropped.no_evidence, 2);
}

/// A few looks at the same frames that find some of the same things, ranked by each in its own way.
fn looks() -> impl Strategy<Value = Vec<PublishedAnalysis>> {
    let pool: Vec<ModelFinding> = [ELBOW, HIPS, KICK, ("OTHER", Element::Pull), ("OTHER", Element::Timing)]
        .into_iter()
        .map(|(code, element)| fault(code, element))
        .chain([strength(), fault("OTHER", Element::Kick)])
        .collect();
    let n_findings = pool.len();
    let one = (subsequence(pool, 0..=n_findings).prop_shuffle(), 0_i64..4, prop::bool::weighted(0.1))
        .prop_map(|(findings, primary_focus, is_backstroke)| {
            let mut answer = ModelAnalysis { primary_focus, ..with(findings) };
            if is_backstroke {
                answer.stroke.observed = ObservedStroke::Backstroke;
            }
            published(&answer)
        });
    let arbitrary = answers().prop_map(|it| published(&it));
    proptest::collection::vec(prop_oneof![19 => one, 1 => arbitrary], 2..=5)
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn any_looks_are_published_within_the_rules(looks in looks()) {
        let result = agreed(&looks);

        // Every finding was in a look, in the same words, and is counted rightly.
        for finding in &result.findings {
            let is_it = |it: &&Finding| {
                Finding { id: it.id.clone(), priority: it.priority, agreement: None, ..finding.clone() } == **it
            };
            prop_assert!(looks.iter().flat_map(|it| &it.findings).any(|it| is_it(&it)));
            let found = looks.iter().filter(|it| it.findings.iter().any(|it| claim(it) == claim(finding))).count();
            let agreement = finding.agreement.unwrap();
            prop_assert_eq!((usize::from(agreement.found), usize::from(agreement.of)), (found, looks.len()));
        }

        // Nothing disappears uncounted.
        let is_published = |it: &&Finding| result.findings.iter().any(|other| claim(it) == claim(other));
        let unpublished = looks.iter().flat_map(|it| &it.findings).filter(|it| !is_published(it)).count();
        prop_assert_eq!(result.dropped.not_shared as usize, unpublished);

        // At most one focus, in order, and none that only a minority found.
        let with = |priority| result.findings.iter().filter(move |it| it.priority == priority);
        prop_assert!(with(Priority::Primary).count() <= 1);
        prop_assert!(with(Priority::Secondary).count() <= 2);
        for finding in with(Priority::Primary).chain(with(Priority::Secondary)) {
            prop_assert!(finding.kind != FindingKind::Strength);
            prop_assert!(looks.len() <= 2 * usize::from(finding.agreement.unwrap().found));
        }
        prop_assert!(result.findings.is_sorted_by_key(|it| (it.kind == FindingKind::Strength, it.priority)));
        let ids: Vec<String> = (1..=result.findings.len()).map(|it| format!("f{it}")).collect();
        prop_assert!(result.findings.iter().map(|it| &it.id).eq(&ids));

        // It is read back as it was written.
        let json = serde_json::to_value(&result).unwrap();
        prop_assert_eq!(serde_json::from_value::<PublishedAnalysis>(json).unwrap(), result);
    }

    #[test]
    fn the_order_of_looks_counts_only_between_those_that_agree_equally_well(
        looks in looks().prop_flat_map(|it| (Just(it.clone()), Just(it).prop_shuffle())),
    ) {
        let (looks, shuffled) = looks;
        let [one, other] = [agreed(&looks), agreed(&shuffled)];
        let claims = |it: &PublishedAnalysis| -> BTreeSet<_> { it.findings.iter().map(claim).collect() };
        let differences = |it: &PublishedAnalysis| -> usize {
            let own = claims(it);
            looks.iter().map(|other| own.symmetric_difference(&claims(other)).count()).sum()
        };

        // Only looks that see the same stroke are compared here.
        let strokes: BTreeSet<_> = looks.iter().map(|it| it.stroke.observed).collect();
        let mut known: Vec<usize> = looks.iter().map(differences).collect();
        known.sort_unstable();
        if strokes.len() == 1 && known[0] < known[1] {
            prop_assert_eq!(claims(&one), claims(&other));
        }
        if strokes.len() == 1 && known.is_sorted_by(|a, b| a < b) {
            prop_assert_eq!(one, other);
        }
    }
}
