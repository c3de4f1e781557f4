//! Nouns of access: what a caller may do.

use serde::{Deserialize, Serialize};

/// What a caller may do. A key is made with some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read sessions, frames, events and usage.
    Read,
    /// Make sessions, put frames into them, change what is said about them, and claim them.
    Upload,
    /// Ask for what is paid for: analyses and answers. Cancelling belongs to it.
    Ask,
    /// Delete sessions, and everything at once.
    Delete,
    /// Take everything out in one file.
    Export,
    /// Act in the name of the user that `X-User-Id` names.
    Impersonate,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Upload, Self::Ask, Self::Delete, Self::Export, Self::Impersonate];

    /// The name used in keys and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Upload => "upload",
            Self::Ask => "ask",
            Self::Delete => "delete",
            Self::Export => "export",
            Self::Impersonate => "impersonate",
        }
    }
}
