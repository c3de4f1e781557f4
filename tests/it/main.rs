//! Everything about SwimCoach that is tested from outside, in one binary.

mod contract;
mod sqlite;
mod wire;
mod support;
