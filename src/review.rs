//! Model output to published analysis.

/// stub
#[derive(Debug, Clone, PartialEq)]
pub struct ModelAnalysis {}
/// stub
#[derive(Debug, Clone, PartialEq)]
pub struct ModelNotesAnswer {}
