//! Several independent looks at the same frames → one result.
//!
//! Published is one of the looks as a whole: the one whose findings differ least from those of the others, so that
//! its ratings, figures and words belong together. To it is added what most looks found and it did not. What only a
//! few found comes last and is nothing to work on soon. Each finding says how many looks found it.
//!
//! A look that sees another stroke, or the swimmer from another side, speaks of something else: its findings are
//! counted, but only looks that see what most do are published or added from.

use super::{MAX_SECONDARY, MIN_FRAMES_PER_CYCLE, is_about_technique, number_of, summary};
use crate::analysis::{
    ContentFlag, Dropped, Element, Finding, FindingKind, LookAgreement, Medium, ObservedStroke, Priority,
    PublishedAnalysis, Side, View, Warning,
};
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

/// What a finding claims, whatever its words: two looks that claim the same have found the same.
type Claim = (FindingKind, String, Element, Side);

/// What a look sees beside technique, and first whether it says anything about that.
type Sight = (bool, ContentFlag, ObservedStroke, View, Medium);

/// What independent looks at the same frames come to; one look as it is, and nothing where there is none.
///
/// Which look came first counts only between looks that agree equally well with the others.
pub fn agree(mut looks: Vec<PublishedAnalysis>) -> Option<PublishedAnalysis> {
    if looks.len() < 2 {
        return looks.pop();
    }
    let of = u8::try_from(looks.len()).unwrap_or(u8::MAX);
    let claims: Vec<BTreeSet<Claim>> =
        looks.iter().map(|it| it.findings.iter().map(claim).collect()).collect();
    let mut found: BTreeMap<Claim, u8> = BTreeMap::new();
    for claim in claims.iter().flatten() {
        *found.entry(claim.clone()).or_default() += 1;
    }
    let agreement = |it: &Claim| LookAgreement { found: found.get(it).copied().unwrap_or_default(), of };

    let mut alike = most_alike(&looks);
    // The sort is stable: among equals the earlier look counts.
    alike.sort_by_key(|index| differences(&claims, *index));
    let published: Vec<&PublishedAnalysis> = alike.iter().filter_map(|it| looks.get(*it)).collect();
    let [best, others @ ..] = published.as_slice() else { return None };

    let own: BTreeSet<Claim> = best.findings.iter().map(claim).collect();
    let is_shown = |it: &Claim| it.2 != Element::Timing || can_show_timing(best);
    let lacking =
        found.keys().filter(|it| !own.contains(it) && agreement(it).share().is_gt() && is_shown(it));
    let added = lacking.filter_map(|wanted| {
        others.iter().flat_map(|it| &it.findings).find(|it| claim(it) == *wanted).cloned()
    });

    let mut result = PublishedAnalysis { warnings: united(best, others), ..(*best).clone() };
    result.findings.extend(added);
    for finding in &mut result.findings {
        finding.agreement = Some(agreement(&claim(finding)));
    }
    result.dropped = looks.iter().fold(Dropped::default(), |mut sum, it| {
        sum += it.dropped;
        sum
    });
    let standing: BTreeSet<Claim> = result.findings.iter().map(claim).collect();
    let everything = looks.iter().flat_map(|it| &it.findings);
    result.dropped.not_shared += number_of(everything.filter(|it| !standing.contains(&claim(it))).count());
    result.provenance.samples = Some(of);
    rank(&mut result);
    if !says_the_same(&result.findings, &best.findings) {
        result.summary = summary::of_what_stands(&result.findings);
    }
    for (finding, number) in result.findings.iter_mut().zip(1..) {
        finding.id = format!("f{number}");
    }
    Some(result)
}

fn claim(finding: &Finding) -> Claim {
    (finding.kind, finding.code.clone(), finding.element, finding.side)
}

/// The looks that see what most see, in their order. Where as many see something else, those count that say less
/// about technique, and then the earliest.
fn most_alike(looks: &[PublishedAnalysis]) -> Vec<usize> {
    let mut sights: BTreeMap<Sight, Vec<usize>> = BTreeMap::new();
    for (index, look) in looks.iter().enumerate() {
        let capture = &look.capture;
        let is_silent = !is_about_technique(look);
        let sight = (is_silent, look.content_flag, look.stroke.observed, capture.view, capture.medium);
        sights.entry(sight).or_default().push(index);
    }
    let most = sights
        .into_iter()
        .max_by_key(|((is_silent, ..), looks)| (looks.len(), *is_silent, Reverse(looks.first().copied())));
    most.map(|(_, looks)| looks).unwrap_or_default()
}

/// How many claims one look has and another has not, over all pairs with this one.
fn differences(claims: &[BTreeSet<Claim>], index: usize) -> usize {
    let Some(own) = claims.get(index) else { return 0 };
    claims.iter().map(|it| own.symmetric_difference(it).count()).sum()
}

fn can_show_timing(look: &PublishedAnalysis) -> bool {
    look.capture.frames_per_cycle.is_none_or(|it| MIN_FRAMES_PER_CYCLE <= it)
}

/// What limits any of the looks, each once. What was left out of another look limits nothing that is published.
fn united(best: &PublishedAnalysis, others: &[&PublishedAnalysis]) -> Vec<Warning> {
    let mut warnings = best.warnings.clone();
    for warning in others.iter().flat_map(|it| &it.warnings) {
        if warning.code != "claims_left_out" && !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    warnings
}

/// One primary finding and at most two secondary ones: of what most looks found, then of what half of them did. What
/// fewer found is some day's, and strengths come last.
fn rank(result: &mut PublishedAnalysis) {
    let share = |it: &Finding| it.agreement.map_or(Ordering::Greater, LookAgreement::share);
    result.findings.sort_by_key(|it| {
        (it.kind == FindingKind::Strength, Reverse(share(it)), it.priority, Reverse(it.certainty))
    });
    let mut rank = 0;
    for finding in &mut result.findings {
        let is_soon = finding.kind != FindingKind::Strength && share(finding).is_ge();
        let priority = match rank {
            _ if !is_soon => Priority::Refinement,
            0 => Priority::Primary,
            1..=MAX_SECONDARY => finding.priority.max(Priority::Secondary),
            _ => Priority::Refinement,
        };
        rank += usize::from(is_soon);
        result.dropped.priority_lowered += u32::from(finding.priority < priority);
        finding.priority = priority;
    }
    // What half of the looks call urgent may have come before what most call a refinement.
    result.findings.sort_by_key(|it| (it.kind == FindingKind::Strength, it.priority));
}

/// Whether findings are the same ones in the same order with the same priorities, so that words about the one list
/// are true of the other.
fn says_the_same(findings: &[Finding], others: &[Finding]) -> bool {
    let said = |it: &[Finding]| -> Vec<_> { it.iter().map(|it| (claim(it), it.priority)).collect() };
    said(findings) == said(others)
}
