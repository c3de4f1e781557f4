//! The capture check.
