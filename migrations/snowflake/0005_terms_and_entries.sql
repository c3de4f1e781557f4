-- On which terms a session is kept, and small records beside sessions. Every statement here can be repeated.

ALTER TABLE sessions ADD COLUMN IF NOT EXISTS consent VARCHAR COMMENT 'What was agreed to about the pictures, as JSON';

ALTER TABLE sessions ADD COLUMN IF NOT EXISTS expires_at TIMESTAMP_NTZ(3) COMMENT 'Until when the session is kept, UTC';

CREATE TRANSIENT TABLE IF NOT EXISTS entries (
    kind VARCHAR NOT NULL COMMENT 'api_key, request or lease',
    name VARCHAR NOT NULL COMMENT 'Unique within the kind, but for the moment in which two are made at once',
    owner VARCHAR COMMENT 'Whose it is, where it is of one',
    session_id VARCHAR COMMENT 'The session that it is about, with which it is deleted',
    value VARCHAR NOT NULL COMMENT 'What it says, as JSON. To change it is to exchange this value',
    recorded_at TIMESTAMP_NTZ(3) NOT NULL COMMENT 'When it was written, UTC',
    write_id VARCHAR NOT NULL COMMENT 'UUID of the write'
)
DATA_RETENTION_TIME_IN_DAYS = 0
COMMENT = 'Small records beside sessions: API keys as hashes, requests with an idempotency key, what one replica does for all'
