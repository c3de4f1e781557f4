//! One suite for each trait, run on every implementation.

mod sessions;
mod storage;
