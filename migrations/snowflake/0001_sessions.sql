-- Records of sessions. Ids are UUIDs in their hyphenated lower-case form. Those made by the service are of version 7,
-- so the order of their text is the order of their creation. Times are UTC, to the millisecond. A word is the value's
-- name on the wire, such as 'freestyle' or 'processing'.
--
-- Snowflake enforces no key and lets INSERTs run side by side, so every write looks for its key first, and every reader
-- counts a key once. Tables are transient and without Time Travel, so that what a swimmer deletes is gone at once.
--
-- Every statement here can be repeated.

CREATE TRANSIENT TABLE IF NOT EXISTS sessions (
    session_id VARCHAR NOT NULL COMMENT 'UUID of version 7',
    owner VARCHAR NOT NULL COMMENT 'Whose it is',
    created_at TIMESTAMP_NTZ(3) NOT NULL COMMENT 'When the upload was acknowledged, UTC',
    stroke_type VARCHAR NOT NULL COMMENT 'The declared stroke, a word',
    user_notes VARCHAR COMMENT 'What the swimmer asks or says',
    title VARCHAR COMMENT 'A name that the uploader gave it',
    camera_view VARCHAR COMMENT 'The declared view of the camera, a word',
    n_frames NUMBER(5, 0) NOT NULL COMMENT 'Number of frames',
    frames VARIANT NOT NULL COMMENT 'Array of {number, size_bytes, width, height, timestamp_ms, etag}, pictures are in storage',
    started VARCHAR COMMENT 'First state of the analysis that was started last, as JSON. To start one is to exchange this value'
)
DATA_RETENTION_TIME_IN_DAYS = 0
COMMENT = 'Frames of one clip, uploaded together. The row is the commit point of an upload';

CREATE TRANSIENT TABLE IF NOT EXISTS analysis_states (
    session_id VARCHAR NOT NULL COMMENT 'The session that is looked at',
    owner VARCHAR NOT NULL COMMENT 'Whose it is',
    analysis_id VARCHAR NOT NULL COMMENT 'UUID of version 7',
    updated_at TIMESTAMP_NTZ(3) NOT NULL COMMENT 'When the state was recorded, UTC',
    status VARCHAR NOT NULL COMMENT 'processing, complete or failed',
    state VARCHAR NOT NULL COMMENT 'The whole analysis as JSON, kept as text since VARIANT loses the spelling of numbers'
)
DATA_RETENTION_TIME_IN_DAYS = 0
COMMENT = 'Every state of every analysis. Rows are only added. The latest is of the greatest updated_at, and in one millisecond an end comes after processing';

CREATE TRANSIENT TABLE IF NOT EXISTS turns (
    session_id VARCHAR NOT NULL COMMENT 'The session that is spoken about',
    owner VARCHAR NOT NULL COMMENT 'Whose it is',
    number NUMBER(10, 0) NOT NULL COMMENT 'Place in the conversation, from 0',
    role VARCHAR NOT NULL COMMENT 'user or assistant',
    content VARCHAR NOT NULL COMMENT 'What was said',
    created_at TIMESTAMP_NTZ(3) NOT NULL COMMENT 'When it was recorded, UTC',
    write_id VARCHAR NOT NULL COMMENT 'UUID of the write. Where two wrote one number at once, the lesser one counts'
)
DATA_RETENTION_TIME_IN_DAYS = 0
COMMENT = 'The conversation about a session. Rows are only added';

CREATE TRANSIENT TABLE IF NOT EXISTS deletions (
    session_id VARCHAR NOT NULL COMMENT 'The session that was deleted',
    owner VARCHAR NOT NULL COMMENT 'In whose name, since nobody can delete what is of another',
    deleted_at TIMESTAMP_NTZ(3) NOT NULL COMMENT 'When, UTC'
)
DATA_RETENTION_TIME_IN_DAYS = 0
COMMENT = 'Deletions of at least the last day. Readers hide what is named here, and writers add nothing to it';
