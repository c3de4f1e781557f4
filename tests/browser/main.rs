//! The page as people use it: Chromium on one side, the binary on the other, and a stand-in for the model behind it.
//!
//! ```sh
//! tests/run --test browser
//! ```
//!
//! Pictures of every step, and of what a failed test saw last, are left in `target/browser` for people to look at.
//! README.md says what else is in this folder, and how it was made.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod accessibility;
mod deeds;
mod direct;
mod first_visit;
mod interruptions;
mod keyboard;
mod language;
mod offline;
mod parts;
mod sign_in;
mod slow_answers;
mod whole_way;
mod windows;

mod browser;
mod eventually;
mod line;
mod provider;
mod service;
mod steps;
mod webdriver;
#[expect(dead_code, reason = "most of what it can answer is wrong, for other tests")]
#[path = "../it/support/claude_server.rs"]
mod claude_server;
#[path = "../it/support/listening.rs"]
mod listening;
#[expect(dead_code, reason = "its patience is that of tests without a browser")]
#[path = "../it/support/eventually.rs"]
mod waiting;
