//! Everything about SwimCoach that is tested from outside, in one binary.

#![expect(clippy::unwrap_used, reason = "clippy allows it in test functions but not in what they call")]

mod api;
mod connections;
mod contract;
mod catalog;
mod frames;
mod process;
mod sqlite;
mod wire;
mod support;
