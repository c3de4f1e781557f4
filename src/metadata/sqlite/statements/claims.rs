//! Who answers the next message of a conversation.

use crate::metadata::sqlite::columns::{Millis, Word};
use crate::session::{AnswerClaim, SessionId};
use rusqlite::{Connection, OptionalExtension, Result, params};

/// Whether a place in a conversation is taken by a turn.
pub(in crate::metadata::sqlite) fn has_turn(
    db: &Connection,
    session: SessionId,
    number: u32,
) -> Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM turns WHERE session_id = ?1 AND number = ?2)")?
        .query_row(params![Word(session), number], |row| row.get(0))
}

/// The claim that was made last, unless it was given back.
pub(in crate::metadata::sqlite) fn select_claim(
    db: &Connection,
    session: SessionId,
) -> Result<Option<AnswerClaim>> {
    db.prepare_cached("SELECT * FROM answer_claims WHERE session_id = ?1")?
        .query_row([Word(session)], |row| {
            let (Word(id), Millis(renewed_at)) = (row.get("claim_id")?, row.get("renewed_at")?);
            Ok(AnswerClaim {
                session,
                id,
                number: row.get("number")?,
                message_sha256: row.get("message_sha256")?,
                renewed_at,
            })
        })
        .optional()
}

/// Puts a claim in the place of the one before.
pub(in crate::metadata::sqlite) fn put_claim(db: &Connection, claim: &AnswerClaim) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO answer_claims (session_id, claim_id, number, message_sha256, renewed_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        Word(claim.session),
        Word(claim.id),
        claim.number,
        claim.message_sha256,
        Millis(claim.renewed_at),
    ])?;
    Ok(())
}

/// Removes the claim of this id, if it is the one that was made last.
pub(in crate::metadata::sqlite) fn delete_claim(db: &Connection, claim: &AnswerClaim) -> Result<()> {
    db.prepare_cached("DELETE FROM answer_claims WHERE session_id = ?1 AND claim_id = ?2")?
        .execute(params![Word(claim.session), Word(claim.id)])?;
    Ok(())
}
