//! What several tests need: fixtures, servers, doubles with two handles (inspect and break).

pub(crate) mod app;
pub(crate) mod breakable_records;
pub(crate) mod claude_server;
pub(crate) mod dead_port;
pub(crate) mod event_stream;
pub(crate) mod eventually;
pub(crate) mod faults;
pub(crate) mod faulty_records;
pub(crate) mod faulty_storage;
pub(crate) mod form;
pub(crate) mod hostile;
pub(crate) mod listening;
pub(crate) mod misbehaving;
pub(crate) mod openapi;
pub(crate) mod pictures;
pub(crate) mod random;
pub(crate) mod records;
pub(crate) mod s3_server;
pub(crate) mod scripted_vision;
pub(crate) mod snowflake_server;
pub(crate) mod snowflake_stub;
