//! Records in Snowflake, over its SQL REST API.

pub mod account;
pub mod key_pair;
pub mod sql_api;
