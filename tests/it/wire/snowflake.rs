//! The client of Snowflake's SQL API: what it sends and how it reads what comes back.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod credentials;
mod failures;
#[cfg(feature = "live")]
mod live;
mod rows;

use crate::support::snowflake_server::{HANDLE, Reply, STATEMENTS, SnowflakeServer};
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::future::join_all;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use swimcoach::metadata::snowflake::sql_api::{Bind, SqlApi, SqlApiSettings, Statement};
use swimcoach::upstream::UpstreamErrorKind;
use uuid::Uuid;

/// A statement for tests in which it does not matter.
fn statement() -> Statement {
    Statement::new("SELECT 1")
}

/// A client of these settings.
fn connect(settings: &SqlApiSettings) -> SqlApi {
    SqlApi::connect(settings).unwrap()
}

#[tokio::test]
async fn a_statement_is_sent_with_everything_that_snowflake_requires() {
    let server = SnowflakeServer::start([Reply::done()]).await;
    let insert = Statement::new("INSERT INTO t SELECT ?, PARSE_JSON(?)").bind("a").bind(None::<&str>);

    let done = server.client().execute("INSERT", &insert).await.unwrap();

    assert_eq!(done.query_id(), HANDLE);
    let received = &server.received()[0];
    assert_eq!((received.method.as_str(), received.url.path()), ("POST", STATEMENTS));
    assert!(received.query("requestId").unwrap().parse::<Uuid>().is_ok());
    assert_eq!(received.query("retry"), None, "searching for the id costs time on a first try");
    assert_eq!(received.query("nullable"), None);
    for (name, value) in [
        ("authorization", "Bearer a-token"),
        ("x-snowflake-authorization-token-type", "PROGRAMMATIC_ACCESS_TOKEN"),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("user-agent", concat!("swimcoach/", env!("CARGO_PKG_VERSION"))),
        ("accept-encoding", "gzip"),
    ] {
        assert_eq!(received.header(name), Some(value), "{name}");
    }
    assert_eq!(
        received.json(),
        json!({
            "statement": "INSERT INTO t SELECT ?, PARSE_JSON(?)", "timeout": 30,
            "database": "DB", "schema": "COACH", "warehouse": "WH", "role": "COACH_ROLE",
            "bindings": {"1": {"type": "TEXT", "value": "a"}, "2": {"type": "TEXT", "value": null}},
            "parameters": {"timezone": "UTC", "query_tag": "swimcoach-test"},
        })
    );
}

#[tokio::test]
async fn every_value_is_bound_as_a_string_in_the_unit_of_its_type() {
    let server = SnowflakeServer::start([Reply::done()]).await;
    let time: DateTime<Utc> = "2026-11-24T23:59:59.123456789Z".parse().unwrap();
    let far: DateTime<Utc> = "9999-12-31T23:59:59Z".parse().unwrap();
    let before_the_epoch: DateTime<Utc> = "1969-12-31T23:59:59.5Z".parse().unwrap();
    let values = [
        (Bind::from("'; --"), json!({"type": "TEXT", "value": "'; --"})),
        (Bind::from(-7_i64), json!({"type": "FIXED", "value": "-7"})),
        (Bind::from(true), json!({"type": "BOOLEAN", "value": "true"})),
        (Bind::from(time), json!({"type": "TIMESTAMP_NTZ", "value": "1795564799123456789"})),
        (Bind::from(far), json!({"type": "TIMESTAMP_NTZ", "value": "253402300799000000000"})),
        (Bind::from(before_the_epoch), json!({"type": "TIMESTAMP_NTZ", "value": "-500000000"})),
        (Bind::from(NaiveDate::from_ymd_opt(2020, 1, 1)), json!({"type": "DATE", "value": "1577836800000"})),
        (Bind::from(None::<DateTime<Utc>>), json!({"type": "TIMESTAMP_NTZ", "value": null})),
        (Bind::from(None::<i64>), json!({"type": "FIXED", "value": null})),
    ];
    let insert = values.iter().fold(Statement::new("INSERT"), |it, value| it.bind(value.0.clone()));

    server.client().execute("INSERT", &insert).await.unwrap();

    let bindings = &server.received()[0].json()["bindings"];
    for (index, (_, expected)) in values.iter().enumerate() {
        assert_eq!(&bindings[(index + 1).to_string()], expected);
    }
    assert_eq!(bindings.as_object().unwrap().len(), values.len());
}

#[tokio::test]
async fn a_statement_that_needs_no_warehouse_names_none_so_that_none_is_woken() {
    let server = SnowflakeServer::start([Reply::done()]).await;

    server.client().execute("SHOW", &statement().without_warehouse()).await.unwrap();

    assert_eq!(server.received()[0].json().get("warehouse"), None);
}

#[tokio::test]
async fn the_users_own_role_counts_where_no_setting_names_one() {
    let server = SnowflakeServer::start([Reply::done()]).await;
    let client = connect(&SqlApiSettings { role: None, ..server.settings() });

    client.execute("SELECT", &statement()).await.unwrap();

    assert_eq!(server.received()[0].json().get("role"), None);
}

#[tokio::test]
async fn a_base_url_may_have_a_path() {
    let server = SnowflakeServer::start([Reply::done()]).await;
    let mut settings = server.settings();
    settings.base_url = settings.base_url.join("/gateway/").unwrap();

    connect(&settings).execute("SELECT", &statement()).await.unwrap();

    assert_eq!(server.received()[0].url.path(), format!("/gateway{STATEMENTS}"));
}

#[tokio::test]
async fn a_statement_that_snowflake_could_not_run_again_is_not_sent() {
    let server = SnowflakeServer::start([]).await;
    let large = Statement::new("SELECT ?").bind("x".repeat(1_000_000));

    let error = server.client().execute("SELECT", &large).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::TooLarge);
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_the_limit() {
    let wait = Duration::from_millis(60);
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&arrivals);
    let server = SnowflakeServer::answering(move |_| {
        log.lock().unwrap().push(Instant::now());
        Reply::done().after(wait)
    })
    .await;
    let mut settings = server.settings();
    settings.limits.max_in_flight = 1;
    let client = connect(&settings);

    let statement = statement();
    let runs = (0..4).map(|_| client.execute("SELECT", &statement));
    let results = join_all(runs).await;

    assert!(results.iter().all(Result::is_ok));
    let arrivals = arrivals.lock().unwrap();
    assert!(arrivals.windows(2).all(|it| wait <= it[1] - it[0]), "{arrivals:?}");
}

#[tokio::test]
async fn a_wait_between_tries_takes_no_place_among_requests_in_flight() {
    let server = SnowflakeServer::answering({
        let asked = AtomicUsize::new(0);
        move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::html(429).header("retry-after", "1"),
            _ => Reply::done(),
        }
    })
    .await;
    let mut settings = server.settings();
    settings.limits.max_in_flight = 1;
    let client = connect(&settings);
    let [one, other] = [Statement::new("SELECT 1"), Statement::new("SELECT 2")];

    let (first, second) = tokio::join!(client.execute("SELECT", &one), client.execute("SELECT", &other));

    first.unwrap();
    second.unwrap();
    let order = server
        .received()
        .iter()
        .map(|it| it.json()["statement"].as_str().unwrap().to_owned())
        .collect::<Vec<_>>();
    assert_eq!(order, ["SELECT 1", "SELECT 2", "SELECT 1"]);
}

#[tokio::test]
async fn a_check_does_not_wait_behind_slow_statements() {
    let server = SnowflakeServer::answering(|request| {
        let is_slow = request.json()["statement"] == "SELECT 'slow'";
        Reply::done().after(if is_slow { Duration::from_secs(10) } else { Duration::ZERO })
    })
    .await;
    let mut settings = server.settings();
    settings.limits.max_in_flight = 1;
    let client = connect(&settings);
    let slow = Statement::new("SELECT 'slow'");
    let check = statement().without_warehouse();

    tokio::select! {
        biased;
        _ = client.execute("SELECT", &slow) => panic!("the slow statement was first"),
        result = client.execute("check", &check) => drop(result.unwrap()),
    }
}

#[tokio::test]
async fn neither_values_nor_tokens_are_shown() {
    let server = SnowflakeServer::start([Reply::rows(&["NOTE text"], &json!([["my knee hurts"]]))]).await;
    let statement = Statement::new("SELECT ?").bind("my knee hurts").bind(4711_i64);
    let client = server.client();

    let set = client.execute("SELECT", &statement).await.unwrap();

    let rows: Vec<_> = set.rows().collect();
    for shown in [format!("{statement:?}"), format!("{client:?}"), format!("{set:?} {rows:?}")] {
        for secret in ["knee", "4711", "a-token"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
