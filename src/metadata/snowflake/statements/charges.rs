//! Statements about charges.

use super::to_the_millisecond;
use crate::ledger::{Charge, Month};
use crate::metadata::rules::day_of;
use crate::metadata::snowflake::rows::word;
use crate::metadata::snowflake::sql_api::{Bind, Statement};
use crate::session::Owner;
use chrono::{DateTime, Utc};
use serde::ser::Error;

/// The charges that began in a month and are `$chosen`, each by the row that counts, with `$columns` of its own. What
/// was held before the third value is held no more.
macro_rules! counted {
    ($columns:literal, $chosen:literal) => {
        concat!(
            "SELECT * FROM (
                SELECT ",
            $columns,
            " ROW_NUMBER() OVER (
                    PARTITION BY c.charge_id
                    ORDER BY CASE WHEN c.status = 'settled' THEN 0 ELSE 1 END,
                        CASE WHEN c.status = 'settled' THEN c.amount ELSE 0 END DESC,
                        c.recorded_at DESC, c.write_id DESC
                ) AS place
                FROM charges AS c
                WHERE c.began_at >= ? AND c.began_at < ? AND (c.status = 'settled' OR c.recorded_at >= ?)
                    AND ",
            $chosen,
            " AND NOT EXISTS (SELECT 1 FROM withdrawals AS w WHERE w.write_id = c.write_id)
            ) AS written
            WHERE place = 1"
        )
    };
}

/// What `$values` add up to, nothing being zero. They are cast before, so that nothing is added up in floating point.
macro_rules! total {
    ($values:literal) => {
        concat!("CAST(COALESCE(SUM(CAST(", $values, " AS NUMBER(38, 0))), 0) AS NUMBER(38, 0))")
    };
}

/// What columns add up to where `is_settled` is 1, each under its own name.
macro_rules! settled {
    ($first:literal $(, $more:literal)*) => {
        concat!(
            "CAST(COALESCE(SUM(CAST(CASE WHEN is_settled = 1 THEN ",
            $first,
            " END AS NUMBER(38, 0))), 0) AS NUMBER(38, 0)) AS ",
            $first
            $(, ", ", settled!($more))*
        )
    };
}

/// Who writes a row, and when.
#[derive(Debug, Clone)]
pub(in crate::metadata::snowflake) struct Written {
    /// A UUID of the write.
    pub(in crate::metadata::snowflake) write_id: String,
    /// A UUID of the process.
    pub(in crate::metadata::snowflake) writer: String,
    /// When.
    pub(in crate::metadata::snowflake) at: DateTime<Utc>,
}

/// Appends what a charge came to or may come to, unless it is settled for as much.
pub(in crate::metadata::snowflake) fn insert_charge(
    charge: &Charge,
    written: &Written,
) -> serde_json::Result<Statement> {
    let Charge { id, owner, kind, model, at, is_settled, amount, usage, storage } = charge;
    let mut statement = Statement::new(
        "INSERT INTO charges (
             charge_id, owner, kind, model, began_at, status, recorded_at, write_id, writer, amount, requests,
             input_tokens, cache_creation_input_tokens, cache_creation_5m_input_tokens,
             cache_creation_1h_input_tokens, cache_read_input_tokens, output_tokens, frames, bytes, class_a,
             class_b, cost
         )
         SELECT asked.*
         FROM (
             SELECT
                 ? AS charge_id, ? AS owner, ? AS kind, ? AS model, ? AS began_at, ? AS status, ? AS recorded_at,
                 ? AS write_id, ? AS writer, ? AS amount, ? AS requests, ? AS input_tokens,
                 ? AS cache_creation_input_tokens, ? AS cache_creation_5m_input_tokens,
                 ? AS cache_creation_1h_input_tokens, ? AS cache_read_input_tokens, ? AS output_tokens,
                 ? AS frames, ? AS bytes, ? AS class_a, ? AS class_b, ? AS cost
         ) AS asked
         WHERE NOT EXISTS (
             SELECT 1 FROM charges AS known
             WHERE known.charge_id = asked.charge_id AND known.status = 'settled'
                 AND known.amount >= asked.amount
         )",
    )
    .bind(id.to_string())
    .bind(owner.as_str())
    .bind(word(kind)?)
    .bind(model.clone())
    .bind(to_the_millisecond(*at))
    .bind(if *is_settled { "settled" } else { "held" })
    .bind(to_the_millisecond(written.at))
    .bind(written.write_id.as_str())
    .bind(written.writer.as_str());
    for number in [
        amount.0,
        usage.requests.into(),
        usage.input_tokens,
        usage.cache_creation_input_tokens,
        usage.cache_creation_5m_input_tokens,
        usage.cache_creation_1h_input_tokens,
        usage.cache_read_input_tokens,
        usage.output_tokens,
        storage.frames,
        storage.bytes,
        storage.class_a,
        storage.class_b,
    ] {
        statement = statement.bind(fixed(number)?);
    }
    Ok(statement.bind(Bind::Fixed(usage.cost.map(|it| fixed(it.0)).transpose()?)))
}

/// Says that a row of charges counts no more, also where it is still to come.
pub(in crate::metadata::snowflake) fn insert_withdrawal(written: &Written) -> Statement {
    Statement::new("INSERT INTO withdrawals (write_id, withdrawn_at) SELECT ?, ?")
        .bind(written.write_id.as_str())
        .bind(to_the_millisecond(written.at))
}

/// What is spent and held in the month of a charge without the charge itself, by its owner and by all. What another
/// process has held since `unsure_since` is told apart: it may be withdrawn yet.
pub(in crate::metadata::snowflake) fn select_taken(
    charge: &Charge,
    held_since: DateTime<Utc>,
    unsure_since: DateTime<Utc>,
    writer: &str,
) -> Statement {
    let (month, day) = (Month::of(charge.at), day_of(charge.at));
    Statement::new(concat!(
        "SELECT ",
        total!("CASE WHEN is_callers = 1 THEN amount END"),
        " AS by_caller, ",
        total!("amount"),
        " AS by_service, ",
        total!("CASE WHEN is_callers = 1 AND is_unsure = 1 THEN amount END"),
        " AS unsure_by_caller, ",
        total!("CASE WHEN is_unsure = 1 THEN amount END"),
        " AS unsure_by_service, ",
        total!("is_of_day"),
        " AS analyses_of_day, ",
        total!("CASE WHEN is_unsure = 1 THEN is_of_day END"),
        " AS unsure_of_day
         FROM (",
        counted!(
            "c.amount, CASE WHEN c.owner = ? THEN 1 ELSE 0 END AS is_callers,
                CASE WHEN c.status = 'held' AND c.recorded_at >= ? AND c.writer <> ? THEN 1 ELSE 0 END AS is_unsure,
                CASE WHEN c.owner = ? AND c.kind = 'analysis' AND c.began_at >= ? AND c.began_at < ?
                    AND (c.status = 'held' OR c.requests > 0) THEN 1 ELSE 0 END AS is_of_day,",
            "c.charge_id <> ?"
        ),
        ") AS counted",
    ))
    .bind(charge.owner.as_str())
    .bind(to_the_millisecond(unsure_since))
    .bind(writer)
    .bind(charge.owner.as_str())
    .bind(day.start)
    .bind(day.end)
    .bind(month.start())
    .bind(month.end())
    .bind(to_the_millisecond(held_since))
    .bind(charge.id.to_string())
}

/// What the owner used in a month, as one row: from charges, and from the sessions that exist. A session whose upload
/// is charged already, since it is being deleted, is stored as long as it is there.
pub(in crate::metadata::snowflake) fn select_usage(
    owner: &Owner,
    month: Month,
    held_since: DateTime<Utc>,
) -> Statement {
    Statement::new(concat!(
        "SELECT *
         FROM (
             SELECT ",
        total!("CASE WHEN kind = 'analysis' AND requests + class_b + amount > 0 THEN is_settled END"),
        " AS analyses, ",
        total!("CASE WHEN kind = 'answer' AND requests + class_b + amount > 0 THEN is_settled END"),
        " AS answers, ",
        total!("CASE WHEN cost IS NULL THEN is_settled END"),
        " AS n_unknown, ",
        total!("CASE WHEN is_settled = 0 THEN amount END"),
        " AS reserved, ",
        settled!("requests", "input_tokens", "cache_creation_input_tokens", "cache_creation_5m_input_tokens"),
        ", ",
        settled!("cache_creation_1h_input_tokens", "cache_read_input_tokens", "output_tokens", "cost"),
        ", ",
        settled!("frames", "bytes", "class_a", "class_b"),
        "
             FROM (",
        counted!("c.*, CASE WHEN c.status = 'settled' THEN 1 ELSE 0 END AS is_settled,", "c.owner = ?"),
        ") AS counted
         ) AS spent
         CROSS JOIN (
             SELECT ",
        total!("size_bytes"),
        " AS stored_bytes, ",
        total!("is_new"),
        " AS new_frames, ",
        total!("CASE WHEN is_new = 1 THEN size_bytes END"),
        " AS new_bytes
             FROM (
                 SELECT s.is_new, CAST(GET_PATH(f.value, 'size_bytes') AS NUMBER(38, 0)) AS size_bytes
                 FROM (
                     SELECT
                         n.frames,
                         CASE WHEN n.created_at >= ? AND n.created_at < ? AND p.charge_id IS NULL
                             THEN 1 ELSE 0 END AS is_new,
                         ROW_NUMBER() OVER (PARTITION BY n.session_id ORDER BY n.created_at) AS place
                     FROM sessions AS n
                     LEFT JOIN (
                         SELECT DISTINCT charge_id FROM charges WHERE kind = 'upload' AND status = 'settled'
                     ) AS p ON p.charge_id = n.session_id
                     WHERE n.owner = ? AND NOT EXISTS (
                         SELECT 1 FROM deletions AS d WHERE d.owner = n.owner AND d.session_id = n.session_id
                     )
                 ) AS s, TABLE(FLATTEN(INPUT => s.frames)) AS f
                 WHERE s.place = 1
             ) AS frames_there
         ) AS stored"
    ))
    .bind(month.start())
    .bind(month.end())
    .bind(to_the_millisecond(held_since))
    .bind(owner.as_str())
    .bind(month.start())
    .bind(month.end())
    .bind(owner.as_str())
}

/// A number that the API can be told.
fn fixed(number: u64) -> serde_json::Result<i64> {
    i64::try_from(number).map_err(Error::custom)
}
