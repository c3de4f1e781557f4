-- Acknowledged writes that the store of records does not have yet. Ids are UUIDs in their hyphenated
-- lower-case form, times are in milliseconds since the Unix epoch, in UTC.
CREATE TABLE writes (
    -- The order in which writes were acknowledged. A number is never given twice: the removal of a write that
    -- reached the store must not hit one that came later.
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id  TEXT    NOT NULL,
    owner       TEXT,              -- whose the session is; known of a creation and a deletion
    kind        TEXT    NOT NULL,  -- a word: 'create_session', 'record_analysis', 'append_turns', 'delete_session'
    content     TEXT    NOT NULL,  -- the whole write as JSON
    recorded_at INTEGER NOT NULL,  -- ms
    set_aside   TEXT               -- in which way the store refused the write for good
) STRICT;

-- What waits of one session is read by key from here, in order.
CREATE INDEX writes_by_session ON writes (session_id, sequence);

-- The creations and deletions of an owner, for lists.
CREATE INDEX writes_by_owner ON writes (owner, session_id) WHERE owner IS NOT NULL;
