-- Analyses that outlive their process, answers that are made one at a time, and what things cost. Every statement here
-- can be repeated.

ALTER TABLE analysis_states ADD COLUMN IF NOT EXISTS attempt NUMBER(10, 0) COMMENT 'How often a process began the analysis, from 1, which NULL means as well';

ALTER TABLE turns ADD COLUMN IF NOT EXISTS details VARCHAR COMMENT 'What a turn has beside its words, as JSON: frames and usage';

ALTER TABLE sessions ADD COLUMN IF NOT EXISTS answering VARCHAR COMMENT 'Who answers the next message of the conversation, as JSON. To take that right is to exchange this value';

CREATE TRANSIENT TABLE IF NOT EXISTS charges (
    charge_id VARCHAR NOT NULL COMMENT 'UUID of the analysis, the answer or the session',
    owner VARCHAR NOT NULL COMMENT 'Who is charged',
    kind VARCHAR NOT NULL COMMENT 'analysis, answer, or upload of a session that was deleted',
    model VARCHAR COMMENT 'The model that was asked',
    began_at TIMESTAMP_NTZ(3) NOT NULL COMMENT 'When it began, UTC. It counts for the month of this time',
    status VARCHAR NOT NULL COMMENT 'held, or settled when it is over',
    amount NUMBER(38, 0) NOT NULL COMMENT 'What it came to, or may come to while it is held, in millionths of a USD',
    requests NUMBER(38, 0) NOT NULL COMMENT 'Requests that the model answered',
    input_tokens NUMBER(38, 0) NOT NULL COMMENT 'Tokens read afresh',
    cache_creation_input_tokens NUMBER(38, 0) NOT NULL COMMENT 'Tokens written to the cache',
    cache_creation_5m_input_tokens NUMBER(38, 0) NOT NULL COMMENT 'Those for five minutes',
    cache_creation_1h_input_tokens NUMBER(38, 0) NOT NULL COMMENT 'Those for an hour',
    cache_read_input_tokens NUMBER(38, 0) NOT NULL COMMENT 'Tokens read from the cache',
    output_tokens NUMBER(38, 0) NOT NULL COMMENT 'Tokens of answers',
    cost NUMBER(38, 0) COMMENT 'What the use of the model came to, in millionths of a USD. NULL when it is not known',
    frames NUMBER(38, 0) NOT NULL COMMENT 'Frames put into storage',
    bytes NUMBER(38, 0) NOT NULL COMMENT 'Their bytes',
    class_a NUMBER(38, 0) NOT NULL COMMENT 'Writes and listings of storage',
    class_b NUMBER(38, 0) NOT NULL COMMENT 'Reads of storage',
    recorded_at TIMESTAMP_NTZ(3) NOT NULL COMMENT 'When the row was written, UTC. What is held for longer than a day is held no more',
    write_id VARCHAR NOT NULL COMMENT 'UUID of the write',
    writer VARCHAR NOT NULL COMMENT 'UUID of the process'
)
DATA_RETENTION_TIME_IN_DAYS = 0
COMMENT = 'What things cost. Rows are only added and outlive their sessions. Of a charge one row counts: of those that are settled the largest, or else the latest that is held and was not withdrawn';

CREATE TRANSIENT TABLE IF NOT EXISTS withdrawals (
    write_id VARCHAR NOT NULL COMMENT 'The row of charges that counts no more',
    withdrawn_at TIMESTAMP_NTZ(3) NOT NULL COMMENT 'When, UTC'
)
DATA_RETENTION_TIME_IN_DAYS = 0
COMMENT = 'Amounts that were to be held and did not fit the budget. Rows are only added';

CREATE OR REPLACE VIEW v_analyses
COMMENT = 'A row for each analysis in its latest state, whose parts are read as state:result.summary and so on'
AS
SELECT
    s.owner, s.session_id, s.created_at AS session_created_at, a.analysis_id, a.status, a.updated_at,
    PARSE_JSON(a.state) AS state
FROM v_sessions AS s
JOIN (
    SELECT n.*, ROW_NUMBER() OVER (
        PARTITION BY n.session_id, n.analysis_id
        ORDER BY CASE n.status WHEN 'complete' THEN 0 WHEN 'failed' THEN 1 ELSE 2 END,
            COALESCE(n.attempt, 1) DESC, n.updated_at DESC, CASE WHEN n.status = 'queued' THEN 0 ELSE 1 END
    ) AS place
    FROM analysis_states AS n
) AS a ON a.session_id = s.session_id
WHERE a.place = 1;

CREATE OR REPLACE VIEW v_charges
COMMENT = 'A row for each charge as it counts: what it came to when settled, or what is held for it. Amount and cost are in millionths of a USD'
AS
SELECT
    charge_id, owner, kind, model, began_at, status, amount, requests, input_tokens, cache_creation_input_tokens,
    cache_creation_5m_input_tokens, cache_creation_1h_input_tokens, cache_read_input_tokens, output_tokens, cost,
    frames, bytes, class_a, class_b, recorded_at
FROM (
    SELECT c.*, ROW_NUMBER() OVER (
        PARTITION BY c.charge_id
        ORDER BY CASE WHEN c.status = 'settled' THEN 0 ELSE 1 END,
            CASE WHEN c.status = 'settled' THEN c.amount ELSE 0 END DESC, c.recorded_at DESC, c.write_id DESC
    ) AS place
    FROM charges AS c
    WHERE NOT EXISTS (SELECT 1 FROM withdrawals AS w WHERE w.write_id = c.write_id)
) AS numbered
WHERE place = 1;

CREATE OR REPLACE VIEW v_model_usage_by_day
COMMENT = 'What was asked of the model, by the UTC day on which it began, failed analyses and deleted sessions included, and what it came to by the prices of then, in millionths of a USD'
AS
SELECT
    TO_DATE(began_at) AS day,
    model,
    kind,
    COUNT(*) AS n_charges,
    SUM(requests) AS requests,
    SUM(input_tokens) AS input_tokens,
    SUM(cache_creation_input_tokens) AS cache_creation_input_tokens,
    SUM(cache_creation_5m_input_tokens) AS cache_creation_5m_input_tokens,
    SUM(cache_creation_1h_input_tokens) AS cache_creation_1h_input_tokens,
    SUM(cache_read_input_tokens) AS cache_read_input_tokens,
    SUM(output_tokens) AS output_tokens,
    SUM(cost) AS cost_micro_usd
FROM v_charges
WHERE status = 'settled' AND kind IN ('analysis', 'answer')
GROUP BY 1, 2, 3;

CREATE OR REPLACE VIEW v_months
COMMENT = 'A row for each owner and UTC month, told by its first day: what was uploaded, analyzed and answered, deleted sessions included, what storage was asked, and what was charged in millionths of a USD'
AS
SELECT
    owner,
    month,
    SUM(n_analyses) AS n_analyses,
    SUM(n_answers) AS n_answers,
    SUM(charged) AS charged_micro_usd,
    SUM(frames) AS frames,
    SUM(bytes) AS bytes,
    SUM(class_a) AS class_a,
    SUM(class_b) AS class_b
FROM (
    SELECT
        owner, TO_DATE(DATE_TRUNC('MONTH', began_at)) AS month,
        CASE WHEN kind = 'analysis' THEN 1 ELSE 0 END AS n_analyses,
        CASE WHEN kind = 'answer' THEN 1 ELSE 0 END AS n_answers,
        amount AS charged, frames, bytes, class_a, class_b
    FROM v_charges
    WHERE status = 'settled'
    UNION ALL
    SELECT
        s.owner, TO_DATE(DATE_TRUNC('MONTH', s.created_at)), 0, 0, 0, 1,
        CAST(GET_PATH(f.value, 'size_bytes') AS NUMBER(38, 0)), 1, 0
    FROM (
        SELECT n.*, ROW_NUMBER() OVER (PARTITION BY n.session_id ORDER BY n.created_at) AS place
        FROM sessions AS n
        WHERE NOT EXISTS (
                SELECT 1 FROM deletions AS d WHERE d.owner = n.owner AND d.session_id = n.session_id
            )
            AND NOT EXISTS (
                SELECT 1 FROM charges AS p
                WHERE p.charge_id = n.session_id AND p.kind = 'upload' AND p.status = 'settled'
            )
    ) AS s, TABLE(FLATTEN(INPUT => s.frames)) AS f
    WHERE s.place = 1
) AS used
GROUP BY owner, month;
