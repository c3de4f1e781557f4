//! What several tests need: fixtures, servers, doubles with two handles (inspect and break).

pub(crate) mod misbehaving;
pub(crate) mod pictures;
pub(crate) mod records;
pub(crate) mod s3_server;
