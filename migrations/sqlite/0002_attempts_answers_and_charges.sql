-- Analyses that outlive their process, answers that are made one at a time, and what things cost.

-- Every recorded state of every analysis, now with its attempt. Rows are only ever added. An end comes after all
-- other states, then the attempt counts, then updated_at; within the same millisecond a state that was given back
-- comes after one that runs. Once an analysis has ended, nothing is added.
CREATE TABLE states_with_attempts (
    state_id    INTEGER PRIMARY KEY,
    session_id  TEXT    NOT NULL REFERENCES sessions (session_id),
    analysis_id TEXT    NOT NULL,
    attempt     INTEGER NOT NULL,  -- how often a process began it, from 1
    updated_at  INTEGER NOT NULL,  -- when the state was recorded, ms
    status      TEXT    NOT NULL,  -- a word
    state       TEXT    NOT NULL,  -- the whole analysis as JSON
    UNIQUE (session_id, analysis_id, attempt, updated_at, status)
) STRICT;
INSERT INTO states_with_attempts
SELECT state_id, session_id, analysis_id, 1, updated_at, status, state FROM analysis_states;
DROP TABLE analysis_states;
ALTER TABLE states_with_attempts RENAME TO analysis_states;

-- What a process left behind is found from here, however much has ended.
CREATE INDEX analysis_states_unfinished ON analysis_states (updated_at, session_id, analysis_id)
WHERE status IN ('processing', 'queued');

-- What a turn has beside its words, as JSON: the frames it speaks of, what was asked of the model for it.
ALTER TABLE turns ADD COLUMN details TEXT;

-- Who answers the next message of a conversation.
CREATE TABLE answer_claims (
    session_id     TEXT    NOT NULL PRIMARY KEY REFERENCES sessions (session_id),
    claim_id       TEXT    NOT NULL,  -- a UUID
    number         INTEGER NOT NULL,  -- the place that the message will have
    message_sha256 TEXT    NOT NULL,  -- in hex
    renewed_at     INTEGER NOT NULL   -- ms
) STRICT, WITHOUT ROWID;

-- What things cost. A charge outlives its session and refers to nothing. Amounts are in millionths of a USD.
CREATE TABLE charges (
    charge_id   TEXT    NOT NULL PRIMARY KEY,  -- the id of the analysis, the answer or the session
    owner       TEXT    NOT NULL,
    kind        TEXT    NOT NULL,  -- a word
    model       TEXT,              -- the model that was asked
    at          INTEGER NOT NULL,  -- when it began, ms; it counts for the month of this time
    is_settled  INTEGER NOT NULL,  -- 1 when it is over; until then its amount is held
    recorded_at INTEGER NOT NULL,  -- when this was written, ms; what is held for longer than a day is held no more
    amount      INTEGER NOT NULL,
    requests                       INTEGER NOT NULL,
    input_tokens                   INTEGER NOT NULL,
    cache_creation_input_tokens    INTEGER NOT NULL,
    cache_creation_5m_input_tokens INTEGER NOT NULL,
    cache_creation_1h_input_tokens INTEGER NOT NULL,
    cache_read_input_tokens        INTEGER NOT NULL,
    output_tokens                  INTEGER NOT NULL,
    cost                           INTEGER,  -- what the model's use came to; NULL when that is not known
    frames      INTEGER NOT NULL,  -- put into storage
    bytes       INTEGER NOT NULL,  -- of them
    class_a     INTEGER NOT NULL,  -- writes and listings
    class_b     INTEGER NOT NULL   -- reads
) STRICT, WITHOUT ROWID;

-- What is spent and held in a month is added up from here alone.
CREATE INDEX charges_by_time ON charges (at, owner, is_settled, recorded_at, amount);
