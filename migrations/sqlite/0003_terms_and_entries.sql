-- On which terms a session is kept, and small records beside sessions.

-- What was agreed to about the pictures, as JSON, and until when the session is kept, ms; NULL where nobody said.
ALTER TABLE sessions ADD COLUMN consent TEXT;
ALTER TABLE sessions ADD COLUMN expires_at INTEGER;

-- What the sweep removes is found from here.
CREATE INDEX sessions_by_expiry ON sessions (expires_at, created_at);

-- API keys, requests that carry an idempotency key, who does what for all replicas. A row is changed by exchanging
-- its value.
CREATE TABLE entries (
    kind        TEXT    NOT NULL,  -- a word
    name        TEXT    NOT NULL,
    owner       TEXT,              -- whose it is, where it is somebody's
    session_id  TEXT,              -- the session of the owner that it is about, with which it is deleted
    recorded_at INTEGER NOT NULL,  -- when it was written, ms
    value       TEXT    NOT NULL,  -- JSON, up to 256 KiB
    PRIMARY KEY (kind, name)
) STRICT;

CREATE INDEX entries_by_session ON entries (session_id) WHERE session_id IS NOT NULL;

-- What is spent and held in a month, and the analyses of a day, are added up from here alone.
DROP INDEX charges_by_time;
CREATE INDEX charges_by_time ON charges (at, owner, is_settled, recorded_at, amount, kind, requests);
