//! Real clients against servers that misbehave.

mod claude;
mod oidc;
mod lifecycle;
mod moderation;
mod r2;
mod snowflake;
