//! The catalogue: faults, drills, and which camera view can show what.
//!
//! The data lies in `catalog/` as files that a coach can edit; they are built in and checked as a whole.

use crate::analysis::{Element, FindingKind, Medium, ObservedStroke, View, Visibility};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use thiserror::Error;
use utoipa::ToSchema;

/// The code of a finding for which the catalogue has none.
pub const OTHER: &str = "OTHER";

const HEAD: &str = include_str!("../catalog/catalog.toml");
const DRILLS: &str = include_str!("../catalog/drills.toml");
const VIEWS: &str = include_str!("../catalog/views.toml");
const FAULTS: [(&str, &str); 5] = [
    ("faults/freestyle.toml", include_str!("../catalog/faults/freestyle.toml")),
    ("faults/backstroke.toml", include_str!("../catalog/faults/backstroke.toml")),
    ("faults/breaststroke.toml", include_str!("../catalog/faults/breaststroke.toml")),
    ("faults/butterfly.toml", include_str!("../catalog/faults/butterfly.toml")),
    ("faults/starts_and_turns.toml", include_str!("../catalog/faults/starts_and_turns.toml")),
];

/// All that the service may say about technique.
///
/// # Invariant
/// Every drill that a fault names exists, targets it and is for its stroke, every fault has one, and every
/// element has a sight.
#[derive(Debug)]
pub struct Catalog {
    version: String,
    status: String,
    faults: BTreeMap<String, Fault>,
    drills: BTreeMap<String, Drill>,
    sights: BTreeMap<String, Sight>,
}

/// What is wrong with the catalogue's files.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// A file is not what it should be.
    #[error("catalog/{file}: {source}")]
    File {
        /// Which file.
        file: &'static str,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Entries do not fit together.
    #[error("catalog: {0}")]
    Entry(String),
}

/// Something that can go wrong.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Its code, such as `FR-CATCH-DROPPED-ELBOW`.
    pub code: String,
    /// Its name.
    pub title: String,
    /// The element that it is about.
    pub element: Element,
    /// Fault, rule risk or load risk.
    #[serde(default = "plain_fault")]
    pub kind: FindingKind,
    /// What must be seen to tell it, where that is not the element's own sight.
    #[serde(default)]
    pub sight: Option<String>,
    /// How it looks.
    pub seen_as: String,
    /// What it costs.
    pub cost: String,
    /// Words to swim by.
    pub cue: String,
    /// Ids of the drills against it, the best first.
    pub drills: Vec<String>,
    /// Where it is treated.
    pub sources: Vec<String>,
    /// Who checked the entry; empty until somebody did.
    pub reviewed_by: String,
    /// The stroke that it belongs to, which its file says; `None` for starts, turns and what lies between.
    #[serde(default)]
    pub stroke: Option<ObservedStroke>,
}

/// A drill.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// Its id, such as `front_scull`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The strokes that it is for.
    pub strokes: Vec<ObservedStroke>,
    /// Codes of the faults that it helps against.
    pub targets: Vec<String>,
    /// From 1 (anybody) to 3 (advanced).
    pub level: u8,
    /// What is needed.
    pub equipment: Vec<String>,
    /// How it is done.
    pub how: String,
    /// How much of it.
    pub dose: String,
    /// What it should feel like.
    pub feel: String,
    /// What to mind.
    pub watch_out: String,
    /// Where it is treated.
    pub sources: Vec<String>,
    /// Who checked the entry; empty until somebody did.
    pub reviewed_by: String,
}

/// Something that can be seen, and how well each view shows it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sight {
    name: String,
    /// The element of technique that it shows, where it is not a narrower sight of some faults.
    #[serde(default)]
    element: Option<Element>,
    side_above: Shown,
    front_above: Shown,
    side_under: Shown,
    front_under: Shown,
    rear_under: Shown,
    overhead: Shown,
}

/// How well a view shows a sight, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Shown {
    Clear,
    Partial,
    No,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: String,
    status: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultFile {
    stroke: FileStroke,
    fault: Vec<Fault>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FileStroke {
    Freestyle,
    Backstroke,
    Breaststroke,
    Butterfly,
    Any,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DrillFile {
    drill: Vec<Drill>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewFile {
    sight: Vec<Sight>,
}

impl Catalog {
    /// The catalogue that was built in.
    pub fn embedded() -> Result<Self, CatalogError> {
        let head: Head = parse("catalog.toml", HEAD)?;
        let mut catalog = Self {
            version: head.version,
            status: head.status,
            faults: BTreeMap::new(),
            drills: BTreeMap::new(),
            sights: BTreeMap::new(),
        };
        for sight in parse::<ViewFile>("views.toml", VIEWS)?.sight {
            insert(&mut catalog.sights, sight.name.clone(), sight)?;
        }
        for drill in parse::<DrillFile>("drills.toml", DRILLS)?.drill {
            insert(&mut catalog.drills, drill.id.clone(), drill)?;
        }
        for (name, text) in FAULTS {
            let file: FaultFile = parse(name, text)?;
            for mut fault in file.fault {
                if fault.stroke.is_some() {
                    return Err(CatalogError::Entry(format!(
                        "{} names a stroke, which {name} does",
                        fault.code
                    )));
                }
                fault.stroke = file.stroke.observed();
                insert(&mut catalog.faults, fault.code.clone(), fault)?;
            }
        }
        catalog.check()?;
        Ok(catalog)
    }

    /// The version, which changes with every entry.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What is said wherever the catalogue is shown.
    pub fn status(&self) -> &str {
        &self.status
    }

    /// All faults, in order of their codes.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.values()
    }

    /// All drills, in order of their ids.
    pub fn drills(&self) -> impl Iterator<Item = &Drill> {
        self.drills.values()
    }

    /// What can be seen, in order of names.
    pub fn sights(&self) -> impl Iterator<Item = &Sight> {
        self.sights.values()
    }

    /// A fault by its code.
    pub fn fault(&self, code: &str) -> Option<&Fault> {
        self.faults.get(code)
    }

    /// The faults that can be seen in a stroke: its own, and those of starts and turns. Where the stroke is
    /// not known, all.
    pub fn faults_for(&self, stroke: ObservedStroke) -> impl Iterator<Item = &Fault> {
        self.faults.values().filter(move |it| it.belongs_to(stroke))
    }

    /// A drill by its id.
    pub fn drill(&self, id: &str) -> Option<&Drill> {
        self.drills.get(id)
    }

    /// How well a view can show an element at most.
    pub fn element_visibility(&self, element: Element, view: View, medium: Medium) -> Visibility {
        // The check of the catalogue makes sure that every element has one.
        let sight = self.sights.values().find(|it| it.element == Some(element));
        sight.map_or(Visibility::NotVisible, |it| it.visibility(view, medium))
    }

    /// How well a view can show a fault at most.
    pub fn fault_visibility(&self, fault: &Fault, view: View, medium: Medium) -> Visibility {
        match fault.sight.as_ref().and_then(|it| self.sights.get(it)) {
            Some(sight) => sight.visibility(view, medium),
            None => self.element_visibility(fault.element, view, medium),
        }
    }

    fn check(&self) -> Result<(), CatalogError> {
        let wrong = |problem: String| Err(CatalogError::Entry(problem));
        for fault in self.faults.values() {
            let code = &fault.code;
            if fault.drills.is_empty() {
                return wrong(format!("{code} has no drill"));
            }
            if let Some(id) = fault.drills.iter().find(|it| !self.targets(it, code)) {
                return wrong(format!("{code} names {id}, which does not exist or does not target it"));
            }
            let is_for_another = |id: &&String| {
                let drill = self.drills.get(*id);
                drill.is_some_and(|it| fault.stroke.is_some_and(|stroke| !it.strokes.contains(&stroke)))
            };
            if let Some(id) = fault.drills.iter().find(is_for_another) {
                return wrong(format!("{code} names {id}, which is not for its stroke"));
            }
            if let Some(sight) = fault.sight.as_ref().filter(|it| !self.sights.contains_key(*it)) {
                return wrong(format!("{code} names the sight {sight}, which does not exist"));
            }
            if fault.kind == FindingKind::Strength {
                return wrong(format!("{code} is a strength; the catalogue lists what can go wrong"));
            }
        }
        for drill in self.drills.values() {
            if let Some(code) = drill.targets.iter().find(|it| !self.faults.contains_key(*it)) {
                return wrong(format!("{} targets {code}, which does not exist", drill.id));
            }
        }
        for element in Element::ALL {
            if self.sights.values().filter(|it| it.element == Some(*element)).count() != 1 {
                return wrong(format!("{element:?} must have exactly one sight"));
            }
        }
        Ok(())
    }

    fn targets(&self, drill: &str, code: &str) -> bool {
        self.drills.get(drill).is_some_and(|it| it.targets.iter().any(|it| it == code))
    }
}

impl Fault {
    /// Whether it can be seen in this stroke.
    pub fn belongs_to(&self, stroke: ObservedStroke) -> bool {
        match (self.stroke, stroke) {
            (None, _) | (_, ObservedStroke::Medley | ObservedStroke::Unknown) => true,
            (Some(own), seen) => own == seen,
        }
    }
}

impl Sight {
    fn visibility(&self, view: View, medium: Medium) -> Visibility {
        let above = matches!(medium, Medium::AboveWater | Medium::Both | Medium::Unknown);
        let under = matches!(medium, Medium::Underwater | Medium::Both | Medium::Unknown);
        let best = |above_water: &[Shown], underwater: &[Shown]| {
            let above_water = above_water.iter().filter(|_| above);
            let underwater = underwater.iter().filter(|_| under);
            above_water.chain(underwater).min().copied().unwrap_or(Shown::No)
        };
        let shown = match view {
            View::Side => best(&[self.side_above], &[self.side_under]),
            View::Front => best(&[self.front_above], &[self.front_under]),
            // The table has no view from behind above water. It shows what the front shows, from the far side
            // of head and arms, so never clearly.
            View::Rear => best(&[self.front_above.max(Shown::Partial)], &[self.rear_under]),
            View::Overhead => self.overhead,
            // Between two views neither is seen at its angle.
            View::Oblique => best(&[self.side_above, self.front_above], &[self.side_under, self.front_under])
                .max(Shown::Partial),
            View::Mixed | View::Unknown => best(
                &[self.side_above, self.front_above, self.overhead],
                &[self.side_under, self.front_under, self.rear_under],
            ),
        };
        match if view == View::Unknown { shown.max(Shown::Partial) } else { shown } {
            Shown::Clear => Visibility::Clear,
            Shown::Partial => Visibility::Partial,
            Shown::No => Visibility::NotVisible,
        }
    }
}

impl FileStroke {
    fn observed(&self) -> Option<ObservedStroke> {
        match self {
            Self::Freestyle => Some(ObservedStroke::Freestyle),
            Self::Backstroke => Some(ObservedStroke::Backstroke),
            Self::Breaststroke => Some(ObservedStroke::Breaststroke),
            Self::Butterfly => Some(ObservedStroke::Butterfly),
            Self::Any => None,
        }
    }
}

fn plain_fault() -> FindingKind {
    FindingKind::Fault
}

fn parse<T: serde::de::DeserializeOwned>(file: &'static str, text: &str) -> Result<T, CatalogError> {
    toml::from_str(text).map_err(|error| CatalogError::File { file, source: Box::new(error) })
}

fn insert<T>(map: &mut BTreeMap<String, T>, name: String, entry: T) -> Result<(), CatalogError> {
    match map.entry(name) {
        Entry::Occupied(taken) => Err(CatalogError::Entry(format!("{} is there twice", taken.key()))),
        Entry::Vacant(free) => {
            free.insert(entry);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalog_fits_together() {
        let catalog = Catalog::embedded().unwrap();

        assert_eq!(catalog.faults_for(ObservedStroke::Freestyle).count(), 23 + 16);
        assert!(catalog.fault("BK-SITTING").is_some_and(|it| !it.belongs_to(ObservedStroke::Butterfly)));
    }

    #[test]
    fn a_view_shows_what_the_table_says_and_no_more() {
        let catalog = Catalog::embedded().unwrap();
        let shown = |element, view, medium| catalog.element_visibility(element, view, medium);

        assert_eq!(shown(Element::Catch, View::Side, Medium::AboveWater), Visibility::NotVisible);
        assert_eq!(shown(Element::Catch, View::Side, Medium::Underwater), Visibility::Clear);
        assert_eq!(shown(Element::Catch, View::Side, Medium::Both), Visibility::Clear);
        assert_eq!(shown(Element::Catch, View::Oblique, Medium::Underwater), Visibility::Partial);
        assert_eq!(shown(Element::Catch, View::Unknown, Medium::Unknown), Visibility::Partial);
        assert_eq!(shown(Element::ExitRecovery, View::Rear, Medium::AboveWater), Visibility::Partial);
        assert_eq!(shown(Element::ExitRecovery, View::Front, Medium::Underwater), Visibility::NotVisible);
    }

    #[test]
    fn a_fault_may_need_a_better_view_than_its_element() {
        let catalog = Catalog::embedded().unwrap();
        let snaking = catalog.fault("FR-SNAKING").unwrap();

        assert_eq!(
            catalog.element_visibility(snaking.element, View::Side, Medium::Underwater),
            Visibility::Clear
        );
        assert_eq!(catalog.fault_visibility(snaking, View::Side, Medium::Underwater), Visibility::NotVisible);
    }
}
