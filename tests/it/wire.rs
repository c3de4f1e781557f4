//! Real clients against servers that misbehave.

mod claude;
mod r2;
mod snowflake;
