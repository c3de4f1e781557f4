//! Nouns of consent: whose picture it is, who agreed, and to what.
//!
//! Many swimmers are minors. Nothing is shown to a model without a purpose that covers it, and pictures of minors are
//! kept for a shorter time.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// Whose picture it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Of somebody of 18 years or more.
    Adult,
    /// Of somebody from 13 to 17.
    #[serde(rename = "minor_13_17")]
    Minor13To17,
    /// Of a child younger than 13.
    #[serde(rename = "under_13")]
    Under13,
}

impl Subject {
    /// Every subject.
    pub const ALL: [Self; 3] = [Self::Adult, Self::Minor13To17, Self::Under13];

    /// The name used on the wire and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adult => "adult",
            Self::Minor13To17 => "minor_13_17",
            Self::Under13 => "under_13",
        }
    }

    /// Whether it is somebody younger than 18.
    pub fn is_minor(self) -> bool {
        self != Self::Adult
    }
}

/// Who agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The swimmer; an adult only.
    Swimmer,
    /// A parent or guardian of the swimmer.
    Guardian,
    /// The operator of the service says that it was collected elsewhere.
    Operator,
}

/// What was agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Frames are kept and looked at for an analysis of technique.
    Analysis,
    /// Frames are sent to a model that another company runs.
    ThirdPartyAi,
}

/// What was agreed to about the pictures of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Whose pictures they are.
    pub subject: Subject,
    /// Who agreed.
    pub basis: Basis,
    /// To what.
    pub purposes: BTreeSet<Purpose>,
}

impl Consent {
    /// Whether it covers a purpose.
    pub fn covers(&self, purpose: Purpose) -> bool {
        self.purposes.contains(&purpose)
    }
}
