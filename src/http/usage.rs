//! What the caller used in a month, beside what is free and what may be spent.

#![expect(unused_qualifications, reason = "utoipa's macro writes them for query parameters")]

use super::AppState;
use super::auth::MayRead;
use super::error::{ApiError, ProblemBody};
use super::extract::ApiQuery;
use super::upload::invalid;
use crate::analysis::{MicroUsd, Usage};
use crate::coach::CallersMonth;
use crate::ledger::{Month, MonthUsage};
use crate::pricing::StoragePrices;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What was asked of the model, as its provider bills it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageReply {
    /// Requests that the model answered, whole or in part.
    requests: u32,
    /// Tokens read afresh.
    input_tokens: u64,
    /// Tokens written to the prompt cache, for whatever time.
    cache_creation_input_tokens: u64,
    /// Those of them that were written for five minutes.
    cache_creation_5m_input_tokens: u64,
    /// Those of them that were written for an hour.
    cache_creation_1h_input_tokens: u64,
    /// Tokens read from the prompt cache.
    cache_read_input_tokens: u64,
    /// Tokens of the answer, thinking included.
    output_tokens: u64,
    /// What it came to in USD by the prices of then: six decimals, each request rounded up. Null where an analysis is
    /// older than the first prices.
    cost_usd: Option<f64>,
}

impl From<Usage> for UsageReply {
    fn from(usage: Usage) -> Self {
        Self {
            requests: usage.requests,
            input_tokens: usage.input_tokens,
            cache_creation_input_tokens: usage.cache_creation_input_tokens,
            cache_creation_5m_input_tokens: usage.cache_creation_5m_input_tokens,
            cache_creation_1h_input_tokens: usage.cache_creation_1h_input_tokens,
            cache_read_input_tokens: usage.cache_read_input_tokens,
            output_tokens: usage.output_tokens,
            cost_usd: usage.cost.map(MicroUsd::usd),
        }
    }
}

/// Which month.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MonthQuery {
    /// A month in UTC, like `2026-11`; this one when absent.
    #[serde(default)]
    month: Option<String>,
}

/// What the caller used in a month.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MonthReply {
    /// The month, in UTC.
    month: String,
    used: UsedReply,
    /// What is held in USD for what still runs, at the most.
    reserved_usd: f64,
    free_tier: FreeTierReply,
    budget: BudgetReply,
    /// When the next month begins, and counting with it.
    resets_at: DateTime<Utc>,
}

/// What was used, deleted sessions included.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsedReply {
    /// Frames put into storage.
    frames: u64,
    /// Their bytes.
    bytes: u64,
    /// Bytes of frames that are in storage now, whenever they came.
    stored_bytes: u64,
    /// Writes and listings in storage.
    class_a_operations: u64,
    /// Reads from storage.
    class_b_operations: u64,
    /// Analyses, failed ones included.
    analyses: u64,
    /// Answers in conversations.
    answers: u64,
    /// What was asked of the model.
    model: UsageReply,
}

impl From<MonthUsage> for UsedReply {
    fn from(used: MonthUsage) -> Self {
        Self {
            frames: used.storage.frames,
            bytes: used.storage.bytes,
            stored_bytes: used.stored_bytes,
            class_a_operations: used.storage.class_a,
            class_b_operations: used.storage.class_b,
            analyses: used.analyses,
            answers: used.answers,
            model: used.usage.into(),
        }
    }
}

/// What storage has free of charge in a month, for all callers of the account together.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FreeTierReply {
    /// Writes and listings.
    class_a_operations: u64,
    /// Reads.
    class_b_operations: u64,
    /// Gigabytes kept for the month.
    storage_gb_month: u64,
    /// What this caller's use would cost in USD beyond it, were there no other caller and what is stored now stored for
    /// the whole month.
    beyond_usd: f64,
    /// The day of which the prices are.
    prices_as_of: NaiveDate,
}

impl FreeTierReply {
    fn new(prices: &StoragePrices, used: &MonthUsage) -> Self {
        Self {
            class_a_operations: prices.free.class_a,
            class_b_operations: prices.free.class_b,
            storage_gb_month: prices.free.storage_gb_month,
            beyond_usd: prices.cost(&used.storage, used.stored_bytes).usd(),
            prices_as_of: prices.as_of,
        }
    }
}

/// What the model may cost.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BudgetReply {
    /// This caller's budget for the month in USD; null where there is none.
    caller_usd: Option<f64>,
    /// What is left of it, without what is held; null too where something was used whose price is not known.
    caller_remaining_usd: Option<f64>,
    /// Whether there is a budget for all callers together. How much of it is left is not told.
    service_is_limited: bool,
}

impl From<&CallersMonth> for BudgetReply {
    fn from(month: &CallersMonth) -> Self {
        Self {
            caller_usd: month.budgets.caller.map(MicroUsd::usd),
            caller_remaining_usd: month.left().map(MicroUsd::usd),
            service_is_limited: month.budgets.service.is_some(),
        }
    }
}

/// What the caller used in a month, beside what is free of charge and what may be spent.
#[utoipa::path(
    get,
    path = "/api/v1/usage",
    tag = "usage",
    params(MonthQuery),
    responses(
        (status = 200, body = MonthReply),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "month is not acceptable"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down"),
    ),
)]
pub(super) async fn show(
    State(app): State<AppState>,
    MayRead(owner): MayRead,
    ApiQuery(query): ApiQuery<MonthQuery>,
) -> Result<Json<MonthReply>, ApiError> {
    let month = match query.month.as_deref().map(str::parse) {
        None => Month::of(Utc::now()),
        Some(Ok(month)) => month,
        Some(Err(detail)) => return Err(invalid("/query/month", detail.to_owned())),
    };
    let callers = app.coach.usage(&owner, month).await?;
    let used = callers.used;
    Ok(Json(MonthReply {
        month: month.to_string(),
        used: used.into(),
        reserved_usd: used.reserved.usd(),
        free_tier: FreeTierReply::new(&app.storage_prices, &used),
        budget: BudgetReply::from(&callers),
        resets_at: month.end(),
    }))
}
