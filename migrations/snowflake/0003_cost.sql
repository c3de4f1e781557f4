-- What the model was paid, in millionths of a USD, and for how long tokens were written to its cache.

CREATE OR REPLACE VIEW v_model_usage_by_day
COMMENT = 'What analyses asked of the model, by the UTC day on which they ended or were last seen, failed ones included, and what it came to by the prices of then. Analyses from before there were prices have no cost'
AS
SELECT
    TO_DATE(updated_at) AS day,
    CAST(GET_PATH(state, 'result.provenance.model') AS VARCHAR) AS model,
    status,
    COUNT(*) AS n_analyses,
    SUM(CAST(GET_PATH(state, 'usage.requests') AS NUMBER(38, 0))) AS requests,
    SUM(CAST(GET_PATH(state, 'usage.input_tokens') AS NUMBER(38, 0))) AS input_tokens,
    SUM(CAST(GET_PATH(state, 'usage.cache_creation_input_tokens') AS NUMBER(38, 0))) AS cache_creation_input_tokens,
    SUM(CAST(GET_PATH(state, 'usage.cache_creation_5m_input_tokens') AS NUMBER(38, 0))) AS cache_creation_5m_input_tokens,
    SUM(CAST(GET_PATH(state, 'usage.cache_creation_1h_input_tokens') AS NUMBER(38, 0))) AS cache_creation_1h_input_tokens,
    SUM(CAST(GET_PATH(state, 'usage.cache_read_input_tokens') AS NUMBER(38, 0))) AS cache_read_input_tokens,
    SUM(CAST(GET_PATH(state, 'usage.output_tokens') AS NUMBER(38, 0))) AS output_tokens,
    SUM(CAST(GET_PATH(state, 'usage.cost_micro_usd') AS NUMBER(38, 0))) AS cost_micro_usd
FROM v_analyses
GROUP BY 1, 2, 3;
