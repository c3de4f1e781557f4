//! What things cost.

use crate::analysis::{MicroUsd, Usage};
use crate::ledger::{Charge, Month, MonthUsage, StorageUse};
use crate::metadata::rules::{Taken, day_of};
use crate::metadata::sqlite::columns::{Millis, Word};
use crate::session::Owner;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, Result, Row, params};

/// What is spent and held in a month, and how many analyses of a day count, from one index.
const TAKEN: &str = "SELECT
    coalesce(sum(amount) FILTER (WHERE owner = ?1), 0) AS by_caller,
    coalesce(sum(amount), 0) AS by_service,
    count(*) FILTER (
        WHERE owner = ?1 AND kind = 'analysis' AND ?6 <= at AND at < ?7 AND (NOT is_settled OR 0 < requests)
    ) AS analyses_of_day
FROM charges
WHERE ?2 <= at AND at < ?3 AND charge_id <> ?4 AND (is_settled OR ?5 <= recorded_at)";

/// What is spent and held in the month of a charge, without the charge itself. What was held before `held_since`
/// is held no more.
pub(in crate::metadata::sqlite) fn select_taken(
    db: &Connection,
    charge: &Charge,
    held_since: DateTime<Utc>,
) -> Result<Taken> {
    let (month, day) = (Month::of(charge.at), day_of(charge.at));
    db.prepare_cached(TAKEN)?.query_row(
        params![
            charge.owner.as_str(),
            Millis(month.start()),
            Millis(month.end()),
            Word(charge.id),
            Millis(held_since),
            Millis(day.start),
            Millis(day.end),
        ],
        |row| {
            Ok(Taken {
                by_caller: MicroUsd(row.get("by_caller")?),
                by_service: MicroUsd(row.get("by_service")?),
                analyses_of_day: row.get("analyses_of_day")?,
            })
        },
    )
}

/// Writes a charge in the place of an earlier one of its id, unless that is settled and this one is not, or came
/// to less.
pub(in crate::metadata::sqlite) fn put_charge(
    db: &Connection,
    charge: &Charge,
    now: DateTime<Utc>,
) -> Result<()> {
    let Charge { id, owner, kind, model, at, is_settled, amount, usage, storage } = charge;
    db.prepare_cached(
        "INSERT INTO charges (
             charge_id, owner, kind, model, at, is_settled, recorded_at, amount, requests, input_tokens,
             cache_creation_input_tokens, cache_creation_5m_input_tokens, cache_creation_1h_input_tokens,
             cache_read_input_tokens, output_tokens, cost, frames, bytes, class_a, class_b
         )
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
         ON CONFLICT DO UPDATE SET
             owner = excluded.owner, kind = excluded.kind, model = excluded.model, at = excluded.at,
             is_settled = excluded.is_settled, recorded_at = excluded.recorded_at, amount = excluded.amount,
             requests = excluded.requests, input_tokens = excluded.input_tokens,
             cache_creation_input_tokens = excluded.cache_creation_input_tokens,
             cache_creation_5m_input_tokens = excluded.cache_creation_5m_input_tokens,
             cache_creation_1h_input_tokens = excluded.cache_creation_1h_input_tokens,
             cache_read_input_tokens = excluded.cache_read_input_tokens,
             output_tokens = excluded.output_tokens, cost = excluded.cost, frames = excluded.frames,
             bytes = excluded.bytes, class_a = excluded.class_a, class_b = excluded.class_b
         WHERE NOT is_settled OR excluded.is_settled AND amount < excluded.amount",
    )?
    .execute(params![
        Word(id),
        owner.as_str(),
        Word(kind),
        model,
        Millis(*at),
        is_settled,
        Millis(now),
        amount.0,
        usage.requests,
        usage.input_tokens,
        usage.cache_creation_input_tokens,
        usage.cache_creation_5m_input_tokens,
        usage.cache_creation_1h_input_tokens,
        usage.cache_read_input_tokens,
        usage.output_tokens,
        usage.cost.map(|it| it.0),
        storage.frames,
        storage.bytes,
        storage.class_a,
        storage.class_b,
    ])?;
    Ok(())
}

/// What the owner used in a month. What was held before `held_since` is held no more.
pub(in crate::metadata::sqlite) fn select_usage(
    db: &Connection,
    owner: &Owner,
    month: Month,
    held_since: DateTime<Utc>,
) -> Result<MonthUsage> {
    let (start, end) = (Millis(month.start()), Millis(month.end()));
    let mut total = db
        .prepare_cached(
            "SELECT
                 count(*) FILTER (WHERE kind = 'analysis' AND 0 < requests + class_b + amount) AS analyses,
                 count(*) FILTER (WHERE kind = 'answer' AND 0 < requests + class_b + amount) AS answers,
                 coalesce(sum(requests), 0) AS requests,
                 coalesce(sum(input_tokens), 0) AS input_tokens,
                 coalesce(sum(cache_creation_input_tokens), 0) AS cache_creation_input_tokens,
                 coalesce(sum(cache_creation_5m_input_tokens), 0) AS cache_creation_5m_input_tokens,
                 coalesce(sum(cache_creation_1h_input_tokens), 0) AS cache_creation_1h_input_tokens,
                 coalesce(sum(cache_read_input_tokens), 0) AS cache_read_input_tokens,
                 coalesce(sum(output_tokens), 0) AS output_tokens,
                 CASE WHEN count(*) = count(cost) THEN coalesce(sum(cost), 0) END AS cost,
                 coalesce(sum(frames), 0) AS frames,
                 coalesce(sum(bytes), 0) AS bytes,
                 coalesce(sum(class_a), 0) AS class_a,
                 coalesce(sum(class_b), 0) AS class_b
             FROM charges
             WHERE ?2 <= at AND at < ?3 AND owner = ?1 AND is_settled",
        )?
        .query_row(params![owner.as_str(), start, end], read_settled)?;
    total.reserved = db
        .prepare_cached(
            "SELECT coalesce(sum(amount), 0) FROM charges
             WHERE ?2 <= at AND at < ?3 AND owner = ?1 AND NOT is_settled AND ?4 <= recorded_at",
        )?
        .query_row(params![owner.as_str(), start, end, Millis(held_since)], |row| row.get(0).map(MicroUsd))?;
    // A session whose upload is charged already, since it is being deleted, is stored as long as it is there.
    let (stored_bytes, uploads) = db
        .prepare_cached(
            "SELECT
                 coalesce(sum(f.size_bytes), 0) AS stored_bytes,
                 count(*) FILTER (WHERE s.is_new) AS frames,
                 coalesce(sum(f.size_bytes) FILTER (WHERE s.is_new), 0) AS bytes
             FROM (
                 SELECT session_id, ?2 <= created_at AND created_at < ?3 AND NOT EXISTS (
                     SELECT 1 FROM charges
                     WHERE charge_id = session_id AND kind = 'upload' AND is_settled
                 ) AS is_new
                 FROM sessions WHERE owner = ?1
             ) AS s
             JOIN frames AS f ON f.session_id = s.session_id",
        )?
        .query_row(params![owner.as_str(), start, end], |row| {
            let uploads = StorageUse::of_frames(row.get("frames")?, row.get("bytes")?);
            Ok((row.get("stored_bytes")?, uploads))
        })?;
    total.storage += uploads;
    Ok(MonthUsage { stored_bytes, ..total })
}

/// What charges that are settled came to, as one row.
fn read_settled(row: &Row<'_>) -> Result<MonthUsage> {
    Ok(MonthUsage {
        storage: StorageUse {
            frames: row.get("frames")?,
            bytes: row.get("bytes")?,
            class_a: row.get("class_a")?,
            class_b: row.get("class_b")?,
        },
        analyses: row.get("analyses")?,
        answers: row.get("answers")?,
        usage: Usage {
            requests: row.get("requests")?,
            input_tokens: row.get("input_tokens")?,
            cache_creation_input_tokens: row.get("cache_creation_input_tokens")?,
            cache_creation_5m_input_tokens: row.get("cache_creation_5m_input_tokens")?,
            cache_creation_1h_input_tokens: row.get("cache_creation_1h_input_tokens")?,
            cache_read_input_tokens: row.get("cache_read_input_tokens")?,
            output_tokens: row.get("output_tokens")?,
            cost: row.get::<_, Option<u64>>("cost")?.map(MicroUsd),
        },
        reserved: MicroUsd(0),
        stored_bytes: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::sqlite::connection;

    #[test]
    fn what_is_spent_is_added_up_from_an_index_alone() {
        let db = connection::open_memory(&connection::RECORDS).unwrap();
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {TAKEN}")).unwrap();
        let steps: Vec<String> = plan
            .query_map([rusqlite::types::Null; 7], |row| row.get("detail"))
            .unwrap()
            .collect::<Result<_>>()
            .unwrap();

        assert_eq!(steps, ["SEARCH charges USING COVERING INDEX charges_by_time (at>? AND at<?)"]);
    }
}
