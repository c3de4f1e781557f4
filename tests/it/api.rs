//! What the service answers, in process and over fakes. Every answer is held to the description of the API.

mod access;
mod analyze;
mod anonymous;
mod browsers;
mod budget;
mod cancel;
mod chat;
mod consent;
mod conversation;
mod costs;
mod docs;
mod durable;
mod events;
mod follow;
mod health;
mod order_of_effects;
mod presigned;
mod problems;
mod retention;
mod sessions;
mod tenants;
mod upload;
mod upload_refusals;
mod usage;
