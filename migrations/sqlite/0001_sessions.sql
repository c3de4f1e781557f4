-- Records of sessions. Ids are UUIDs in their hyphenated lower-case form; those made by the service are of
-- version 7, so the order of their text is the order of their creation. Times are in milliseconds since the
-- Unix epoch, in UTC. A word is the value's name on the wire, such as 'freestyle' or 'processing'.

-- A set of frames of one clip, uploaded together. Its row is the commit point of an upload.
CREATE TABLE sessions (
    session_id  TEXT    NOT NULL PRIMARY KEY,
    owner       TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,  -- when the upload was acknowledged, ms
    stroke_type TEXT    NOT NULL,  -- the declared stroke, a word
    user_notes  TEXT,              -- what the swimmer asks or says
    title       TEXT,
    view        TEXT               -- the declared view of the camera, a word
) STRICT, WITHOUT ROWID;

-- A page of an owner's sessions is read by key from here, however many there are.
CREATE UNIQUE INDEX sessions_by_owner ON sessions (owner, session_id);

-- What is known about each stored frame; the picture itself is in storage.
CREATE TABLE frames (
    session_id   TEXT    NOT NULL REFERENCES sessions (session_id),
    number       INTEGER NOT NULL,  -- place in the session, from 1
    size_bytes   INTEGER NOT NULL,
    width        INTEGER NOT NULL,  -- pixels, after the orientation was applied
    height       INTEGER NOT NULL,  -- pixels, after the orientation was applied
    timestamp_ms INTEGER,           -- time in the clip, ms from its start, when known
    etag         TEXT    NOT NULL,  -- the entity tag in storage, without quotes
    PRIMARY KEY (session_id, number)
) STRICT, WITHOUT ROWID;

-- Every recorded state of every analysis. Rows are only ever added; the latest state of an analysis is the one
-- of the greatest updated_at, and within the same millisecond one that has ended comes after one that runs.
CREATE TABLE analysis_states (
    state_id    INTEGER PRIMARY KEY,
    session_id  TEXT    NOT NULL REFERENCES sessions (session_id),
    analysis_id TEXT    NOT NULL,
    updated_at  INTEGER NOT NULL,  -- when the state was recorded, ms
    status      TEXT    NOT NULL,  -- a word
    state       TEXT    NOT NULL,  -- the whole analysis as JSON
    UNIQUE (session_id, analysis_id, updated_at, status)
) STRICT;

-- The conversation about a session.
CREATE TABLE turns (
    session_id TEXT    NOT NULL REFERENCES sessions (session_id),
    number     INTEGER NOT NULL,  -- place in the conversation, from 0
    role       TEXT    NOT NULL,  -- who said it, a word
    content    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,  -- when it was recorded, ms
    PRIMARY KEY (session_id, number)
) STRICT;

-- Deletions of the last day, so that a creation which is still under way when its session is deleted does not
-- bring it back. The owner is part of the key: nobody can forbid an id to another.
CREATE TABLE deletions (
    owner      TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    deleted_at INTEGER NOT NULL,  -- ms
    PRIMARY KEY (owner, session_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX deletions_by_time ON deletions (deleted_at);
