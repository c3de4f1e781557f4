//! Real clients against servers that misbehave.

mod claude;
mod oidc;
mod r2;
mod snowflake;
