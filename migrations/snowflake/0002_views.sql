-- Views for people who ask questions in SQL. A session counts once, and never when it is being deleted. Of each session
-- only the newest complete analysis counts for what was found.

CREATE OR REPLACE VIEW v_sessions
COMMENT = 'A row for each session'
AS
SELECT session_id, owner, created_at, stroke_type, camera_view, title, n_frames
FROM (
    SELECT s.*, ROW_NUMBER() OVER (PARTITION BY s.session_id ORDER BY s.created_at) AS place
    FROM sessions AS s
    WHERE NOT EXISTS (
        SELECT 1 FROM deletions AS d WHERE d.owner = s.owner AND d.session_id = s.session_id
    )
) AS numbered
WHERE place = 1;

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
        ORDER BY n.updated_at DESC, CASE WHEN n.status = 'processing' THEN 1 ELSE 0 END
    ) AS place
    FROM analysis_states AS n
) AS a ON a.session_id = s.session_id
WHERE a.place = 1;

CREATE OR REPLACE VIEW v_findings
COMMENT = 'A row for each finding of the newest complete analysis of each session'
AS
SELECT
    a.owner, a.session_id, a.session_created_at, a.analysis_id,
    CAST(GET_PATH(a.state, 'result.stroke.observed') AS VARCHAR) AS stroke,
    CAST(GET_PATH(f.value, 'code') AS VARCHAR) AS code,
    CAST(GET_PATH(f.value, 'title') AS VARCHAR) AS title,
    CAST(GET_PATH(f.value, 'kind') AS VARCHAR) AS kind,
    CAST(GET_PATH(f.value, 'element') AS VARCHAR) AS element,
    CAST(GET_PATH(f.value, 'side') AS VARCHAR) AS side,
    CAST(GET_PATH(f.value, 'priority') AS VARCHAR) AS priority,
    CAST(GET_PATH(f.value, 'certainty') AS VARCHAR) AS certainty
FROM (
    SELECT c.*, ROW_NUMBER() OVER (PARTITION BY c.session_id ORDER BY c.analysis_id DESC) AS place
    FROM v_analyses AS c
    WHERE c.status = 'complete'
) AS a, TABLE(FLATTEN(INPUT => GET_PATH(a.state, 'result.findings'))) AS f
WHERE a.place = 1;

CREATE OR REPLACE VIEW v_common_findings
COMMENT = 'What is found how often, by the stroke that was seen and the code of the finding'
AS
SELECT
    stroke, code, MAX(title) AS title, kind,
    COUNT(DISTINCT session_id) AS n_sessions,
    COUNT(DISTINCT owner) AS n_owners,
    COUNT(DISTINCT CASE WHEN priority = 'primary' THEN session_id END) AS n_sessions_primary,
    MAX(session_created_at) AS last_seen_at
FROM v_findings
GROUP BY stroke, code, kind;

CREATE OR REPLACE VIEW v_progress
COMMENT = 'A row for each session in which a code was found: in the how many-th session of the owner and stroke, and the how many-th time'
AS
SELECT
    f.owner, f.stroke, f.code, f.title, f.kind, f.session_id, f.session_created_at,
    f.priority, f.certainty, n.session_number,
    ROW_NUMBER() OVER (PARTITION BY f.owner, f.stroke, f.code ORDER BY n.session_number) AS times_found
FROM (
    SELECT
        owner, stroke, code, title, kind, session_id, session_created_at, priority, certainty,
        ROW_NUMBER() OVER (
            PARTITION BY session_id, code
            ORDER BY CASE priority WHEN 'primary' THEN 1 WHEN 'secondary' THEN 2 ELSE 3 END
        ) AS place
    FROM v_findings
) AS f
JOIN (
    SELECT session_id, ROW_NUMBER() OVER (PARTITION BY owner, stroke ORDER BY session_id) AS session_number
    FROM (
        SELECT DISTINCT
            session_id, owner, CAST(GET_PATH(state, 'result.stroke.observed') AS VARCHAR) AS stroke
        FROM v_analyses
        WHERE status = 'complete'
    ) AS analyzed
) AS n ON n.session_id = f.session_id
WHERE f.place = 1;

CREATE OR REPLACE VIEW v_engagement
COMMENT = 'A row for each owner: how much was uploaded, analyzed and asked, and when last'
AS
SELECT
    owner,
    SUM(n_sessions) AS n_sessions,
    SUM(n_frames) AS n_frames,
    SUM(n_analyses) AS n_analyses,
    SUM(n_questions) AS n_questions,
    MIN(happened_at) AS first_seen_at,
    MAX(happened_at) AS last_seen_at
FROM (
    SELECT owner, 1 AS n_sessions, n_frames, 0 AS n_analyses, 0 AS n_questions, created_at AS happened_at
    FROM v_sessions
    UNION ALL
    SELECT owner, 0, 0, 1, 0, updated_at FROM v_analyses
    UNION ALL
    SELECT s.owner, 0, 0, 0, 1, MIN(t.created_at)
    FROM v_sessions AS s
    JOIN turns AS t ON t.session_id = s.session_id
    WHERE t.role = 'user'
    GROUP BY s.owner, t.session_id, t.number
) AS events
GROUP BY owner;

CREATE OR REPLACE VIEW v_model_usage_by_day
COMMENT = 'What analyses asked of the model, by the UTC day on which they ended or were last seen, failed ones included'
AS
SELECT
    TO_DATE(updated_at) AS day,
    CAST(GET_PATH(state, 'result.provenance.model') AS VARCHAR) AS model,
    status,
    COUNT(*) AS n_analyses,
    SUM(CAST(GET_PATH(state, 'usage.requests') AS NUMBER(38, 0))) AS requests,
    SUM(CAST(GET_PATH(state, 'usage.input_tokens') AS NUMBER(38, 0))) AS input_tokens,
    SUM(CAST(GET_PATH(state, 'usage.cache_creation_input_tokens') AS NUMBER(38, 0))) AS cache_creation_input_tokens,
    SUM(CAST(GET_PATH(state, 'usage.cache_read_input_tokens') AS NUMBER(38, 0))) AS cache_read_input_tokens,
    SUM(CAST(GET_PATH(state, 'usage.output_tokens') AS NUMBER(38, 0))) AS output_tokens
FROM v_analyses
GROUP BY 1, 2, 3;
