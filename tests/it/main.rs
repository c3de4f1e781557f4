//! Everything about SwimCoach that is tested from outside, in one binary.

#![expect(clippy::unwrap_used, reason = "clippy allows it in test functions but not in what they call")]

mod api;
mod catalog;
mod connections;
mod contract;
mod docs;
mod frames;
mod fuzz;
mod journal;
mod page;
mod process;
mod prompt;
mod review;
mod settings;
mod snowflake;
mod snowflake_settings;
mod sqlite;
mod wire;
mod support;
