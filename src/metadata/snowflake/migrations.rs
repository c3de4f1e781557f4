//! The tables and views: what there is, and how it comes about.
//!
//! Snowflake runs each statement that changes a table as a transaction of its own, so a migration that
//! stopped half-way cannot be undone. Instead every statement of it can be repeated, and the migration
//! counts as done when its last statement is. So two that run at once do no harm either.

use super::sql_api::{SqlApi, SqlApiError, Statement};
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use std::collections::HashSet;

const OPERATION: &str = "migrate";

/// Snowflake's codes for "does not exist, or not for this role" and "exists already".
const NO_SUCH_OBJECT: &str = "002003";
const OBJECT_EXISTS: &str = "002002";

/// A change of the tables. One that was released is never edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Its place in the order of all, from 1.
    pub version: u32,
    /// What it is about.
    pub name: &'static str,
    sql: &'static str,
}

/// Every migration in order.
const MIGRATIONS: [Migration; 5] = [
    Migration {
        version: 1,
        name: "sessions",
        sql: include_str!("../../../migrations/snowflake/0001_sessions.sql"),
    },
    Migration {
        version: 2,
        name: "views",
        sql: include_str!("../../../migrations/snowflake/0002_views.sql"),
    },
    Migration { version: 3, name: "cost", sql: include_str!("../../../migrations/snowflake/0003_cost.sql") },
    Migration {
        version: 4,
        name: "attempts, answers and charges",
        sql: include_str!("../../../migrations/snowflake/0004_attempts_answers_and_charges.sql"),
    },
    Migration {
        version: 5,
        name: "terms and entries",
        sql: include_str!("../../../migrations/snowflake/0005_terms_and_entries.sql"),
    },
];

const CREATE_HISTORY: &str = "CREATE TRANSIENT TABLE IF NOT EXISTS schema_migrations (
    version NUMBER(10, 0) NOT NULL COMMENT 'Place in the order of all migrations, from 1',
    name VARCHAR NOT NULL COMMENT 'What it is about',
    applied_at TIMESTAMP_NTZ(3) NOT NULL COMMENT 'When its last statement was done, UTC'
)
COMMENT = 'Migrations that were applied'";

/// Applies what is missing and returns it in order. A dry run changes nothing and returns the same.
pub(super) async fn migrate(api: &SqlApi, dry_run: bool) -> Result<Vec<Migration>, UpstreamError> {
    let applied = applied(api).await?;
    if let Some(unknown) = applied.iter().find(|it| MIGRATIONS.iter().all(|known| known.version != **it)) {
        let why = format!("the tables are of a later version: migration {unknown} is not known here");
        return Err(UpstreamError::new(Service::Records, OPERATION, UpstreamErrorKind::Rejected, why));
    }
    let missing: Vec<_> = MIGRATIONS.into_iter().filter(|it| !applied.contains(&it.version)).collect();
    if dry_run || missing.is_empty() {
        return Ok(missing);
    }
    create(api, CREATE_HISTORY).await?;
    for migration in &missing {
        for statement in statements(migration.sql) {
            create(api, statement).await?;
        }
        api.execute(OPERATION, &insert_migration(migration)).await?;
    }
    Ok(missing)
}

/// The versions that were applied; none where there is not even a history.
async fn applied(api: &SqlApi) -> Result<HashSet<u32>, UpstreamError> {
    let statement = Statement::new("SELECT DISTINCT version FROM schema_migrations");
    match api.execute(OPERATION, &statement).await {
        Ok(set) => set.rows().map(|row| row.fixed("version")).collect(),
        Err(error) if is_without_history(&error) => Ok(HashSet::new()),
        Err(error) => Err(error),
    }
}

/// Runs a statement that makes something unless it is there. Two at once may both find that it is not.
async fn create(api: &SqlApi, statement: &'static str) -> Result<(), UpstreamError> {
    match api.execute(OPERATION, &Statement::new(statement)).await {
        Err(error) if has_code(&error, OBJECT_EXISTS) => Ok(()),
        result => result.map(drop),
    }
}

fn insert_migration(migration: &Migration) -> Statement {
    Statement::new(
        "INSERT INTO schema_migrations (version, name, applied_at)
         SELECT asked.version, asked.name, asked.applied_at
         FROM (SELECT ? AS version, ? AS name, ? AS applied_at) AS asked
         WHERE NOT EXISTS (SELECT 1 FROM schema_migrations AS known WHERE known.version = asked.version)",
    )
    .bind(migration.version)
    .bind(migration.name)
    .bind(chrono::Utc::now())
}

/// The statements of a file. Each but the last ends with a semicolon at the end of a line.
fn statements(sql: &'static str) -> impl Iterator<Item = &'static str> {
    sql.split(";\n").map(str::trim).filter(|it| !it.is_empty())
}

/// Whether the schema is there and has no table of migrations.
fn is_without_history(error: &UpstreamError) -> bool {
    has_code(error, NO_SUCH_OBJECT) && !SqlApiError::behind(error).is_some_and(SqlApiError::is_about_schema)
}

fn has_code(error: &UpstreamError, code: &str) -> bool {
    SqlApiError::behind(error).is_some_and(|it| it.code.as_deref() == Some(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_of_a_migration_can_be_repeated() {
        for migration in MIGRATIONS {
            for statement in statements(migration.sql) {
                let lines = statement.lines().filter(|it| !it.starts_with("--"));
                let first = lines.map(str::trim).find(|it| !it.is_empty()).unwrap();
                let repeatable = ["CREATE TRANSIENT TABLE IF NOT EXISTS ", "CREATE OR REPLACE VIEW "];
                let adds_column = first.starts_with("ALTER TABLE ")
                    && first.split_whitespace().skip(3).take(5).eq("ADD COLUMN IF NOT EXISTS".split(' '));

                assert!(adds_column || repeatable.iter().any(|it| first.starts_with(it)), "{first}");
                assert!(!statement.contains(';'), "{first} is cut in two or is two");
            }
        }
    }

    #[test]
    fn a_schema_that_does_not_exist_is_not_taken_for_one_without_tables() {
        let refused = |message: &str| {
            let refusal = SqlApiError {
                status: 422,
                code: Some(NO_SUCH_OBJECT.to_owned()),
                sql_state: None,
                message: message.to_owned(),
                query_id: None,
            };
            UpstreamError::new(Service::Records, OPERATION, UpstreamErrorKind::NotFound, refusal)
        };

        assert!(is_without_history(&refused("Object 'SCHEMA_MIGRATIONS' does not exist or not authorized.")));
        assert!(!is_without_history(&refused("Schema 'DB.RECORDS' does not exist or not authorized.")));
        assert!(!is_without_history(&refused("Database 'DB' does not exist or not authorized.")));
    }

    #[test]
    fn versions_are_numbered_from_one_without_a_gap() {
        let versions: Vec<_> = MIGRATIONS.iter().map(|it| it.version).collect();

        assert_eq!(versions, (1..=u32::try_from(versions.len()).unwrap()).collect::<Vec<_>>());
    }
}
