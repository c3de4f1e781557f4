//! Statements about who answers the next message of a conversation.

use crate::metadata::snowflake::sql_api::Statement;
use crate::session::{AnswerClaim, SessionId};

/// The claim to answer of a session, whoever owns it, and the numbers of its turns, as rows of both.
pub(in crate::metadata::snowflake) fn select_answering(session: SessionId) -> Statement {
    Statement::new(
        "SELECT DISTINCT s.answering, t.number
         FROM sessions AS s
         LEFT JOIN turns AS t ON t.session_id = s.session_id
         WHERE s.session_id = ? AND NOT EXISTS (
             SELECT 1 FROM deletions AS d WHERE d.owner = s.owner AND d.session_id = s.session_id
         )",
    )
    .bind(session.to_string())
}

/// Says who answers the next message, if nobody said so since `expected` was read. Changes one row or none.
pub(in crate::metadata::snowflake) fn exchange_answering(
    session: SessionId,
    expected: Option<&str>,
    answering: &str,
) -> Statement {
    Statement::new(
        "UPDATE sessions SET answering = ? WHERE session_id = ? AND answering IS NOT DISTINCT FROM ?",
    )
    .bind(answering)
    .bind(session.to_string())
    .bind(expected)
}

/// Says that nobody answers the next message, if it was to be answered by this claim.
pub(in crate::metadata::snowflake) fn release_answering(claim: &AnswerClaim) -> Statement {
    Statement::new(
        "UPDATE sessions SET answering = NULL
         WHERE session_id = ? AND CAST(GET_PATH(PARSE_JSON(answering), 'id') AS VARCHAR) = ?",
    )
    .bind(claim.session.to_string())
    .bind(claim.id.to_string())
}
