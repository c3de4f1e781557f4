//! The client against whatever the `SNOWFLAKE_…` variables of the environment point at.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use swimcoach::config::{RecordSettings, Settings};
use swimcoach::metadata::snowflake::sql_api::{Bind, ResultSet, SqlApi, SqlApiError, Statement};
use swimcoach::upstream::UpstreamErrorKind;
use uuid::Uuid;

fn client() -> SqlApi {
    let settings = Settings::load(&|name| match name {
        "R2_MOCK_MODE" | "ANTHROPIC_MOCK_MODE" => Some("true".to_owned()),
        _ => std::env::var(name).ok(),
    });
    match settings.unwrap().records {
        RecordSettings::Snowflake(snowflake) => SqlApi::connect(&snowflake).unwrap(),
        other => panic!("records are not in Snowflake: {other:?}"),
    }
}

async fn run(client: &SqlApi, statement: Statement) -> ResultSet {
    client.execute("live", &statement).await.unwrap()
}

#[tokio::test]
async fn values_of_every_type_come_back_as_they_were_bound() {
    let client = client();
    let table = format!("swimcoach_test_{}", Uuid::new_v4().simple());
    let columns =
        "n NUMBER(38,0), s VARCHAR, b BOOLEAN, t TIMESTAMP_NTZ(9), d DATE, v VARIANT, nothing VARCHAR";
    let at: DateTime<Utc> = "2026-11-24T23:59:59.123456Z".parse().unwrap();
    let day = NaiveDate::from_ymd_opt(1969, 12, 31).unwrap();
    let text = "Füße 'ok' -- \"x\" \\ 水泳 🏊🏽‍♀️ ?";
    let binds: [Bind; 7] = [
        i64::MIN.into(),
        text.into(),
        false.into(),
        at.into(),
        day.into(),
        json!({"b": [1, "x", null], "a": 0.1}).to_string().into(),
        None::<&str>.into(),
    ];
    let insert = format!("INSERT INTO {table} SELECT ?, ?, ?, ?, ?, PARSE_JSON(?), ?");
    let insert = binds.into_iter().fold(Statement::new(insert), Statement::bind);

    run(&client, Statement::new(format!("CREATE TABLE {table} ({columns})"))).await;
    let inserted = run(&client, insert).await;
    let set = run(&client, Statement::new(format!("SELECT * FROM {table}"))).await;
    run(&client, Statement::new(format!("DROP TABLE {table}"))).await;

    assert_eq!(inserted.stats().inserted, 1);
    assert_eq!(set.len(), 1);
    let row = set.rows().next().unwrap();
    assert_eq!(row.fixed::<i64>("n").unwrap(), i64::MIN);
    assert_eq!(row.text("s").unwrap(), text);
    assert!(!row.boolean("b").unwrap());
    assert_eq!(row.timestamp("t").unwrap(), at);
    assert_eq!(row.date("d").unwrap(), day);
    assert_eq!(row.json::<Value>("v").unwrap(), json!({"a": 0.1, "b": [1, "x", null]}));
    assert_eq!(row.optional_text("nothing").unwrap(), None);
}

#[tokio::test]
async fn a_result_of_several_partitions_comes_whole_and_in_order() {
    let client = client();
    // Ten to the fifth rows, from nothing but the number ten.
    let ten = "(SELECT column1 AS n FROM VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))";
    let statement = format!(
        "SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n AS n, REPEAT('x', 100) AS x \
         FROM {ten} a, {ten} b, {ten} c, {ten} d, {ten} e ORDER BY 1"
    );

    let set = run(&client, Statement::new(statement)).await;

    let numbers: Vec<u32> = set.rows().map(|it| it.fixed("n").unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..100_000), "{} rows", numbers.len());
}

#[tokio::test]
async fn a_table_that_does_not_exist_is_not_found() {
    let error = client().execute("live", &Statement::new("SELECT * FROM no_such_table")).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::NotFound, "{error:?}");
    let refusal = SqlApiError::behind(&error).unwrap();
    assert_eq!(refusal.code.as_deref(), Some("002003"), "{refusal}");
}

#[tokio::test]
async fn the_session_is_in_utc() {
    let client = client();

    let set = run(&client, Statement::new("SELECT CURRENT_TIMESTAMP()::TIMESTAMP_NTZ AS t")).await;

    let difference = set.rows().next().unwrap().timestamp("t").unwrap() - Utc::now();
    assert!(difference.num_minutes().abs() < 5, "{difference}");
}
