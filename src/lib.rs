//! SwimCoach takes frames of a swimmer's video, keeps them, has Claude look at them, and gives back a
//! technique analysis whose every claim cites frames.
//!
//! The modules in reading order: nouns first, then what each dependency needs, then the story, then HTTP.
//! Imports point from later lines to earlier ones and never back, but for the first lines of nouns, which know
//! each other.

pub mod consent;
pub mod access;
pub mod session;
pub mod analysis;
pub mod events;
pub mod ledger;
pub mod upstream;
pub mod metrics;
pub mod jpeg;
pub mod capture;
pub mod catalog;
pub mod pricing;
pub mod review;
pub mod storage;
pub mod moderation;
pub mod metadata;
pub mod identity;
pub mod vision;
pub mod config;
pub mod jobs;
pub mod audit;
pub mod telemetry;
pub mod coach;
pub mod http;
pub mod run;
pub mod doctor;
pub mod admin;
