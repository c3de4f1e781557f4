//! Rows: cells of every type, partitions, and results that are not whole.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{connect, statement};
use crate::support::snowflake_server::{HANDLE, Reply, STATEMENTS, SnowflakeServer, result};
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use std::time::Duration;
use swimcoach::metadata::snowflake::sql_api::{DmlStats, ResultSet, Row};
use swimcoach::upstream::{UpstreamError, UpstreamErrorKind};

async fn one_row(columns: &[&str], cells: Value) -> ResultSet {
    let server = SnowflakeServer::start([Reply::rows(columns, &json!([cells]))]).await;
    server.client().execute("SELECT", &statement()).await.unwrap()
}

#[tokio::test]
async fn cells_of_every_type_are_read_by_the_name_of_their_column_in_any_case() {
    let columns =
        ["ID fixed", "Note TEXT", "NONE text", "OK boolean", "DAY date", "AT timestamp_ntz", "V VARIANT"];
    let cells =
        json!(["18446744073709551615", "水泳", null, "TRUE", "18262", "1616173619.123456789", "{\"a\":[1]}"]);
    let set = one_row(&columns, cells).await;
    let row = set.rows().next().unwrap();

    assert_eq!(row.fixed::<u64>("id").unwrap(), u64::MAX);
    assert_eq!(row.text("NOTE").unwrap(), "水泳");
    assert_eq!(row.optional_text("note").unwrap(), Some("水泳"));
    assert_eq!(row.optional_text("none").unwrap(), None);
    assert_eq!(row.optional_fixed::<i64>("none").unwrap(), None);
    assert_eq!(row.optional_timestamp("none").unwrap(), None);
    assert!(row.is_null("none").unwrap());
    assert!(row.boolean("ok").unwrap());
    assert_eq!(Some(row.date("day").unwrap()), NaiveDate::from_ymd_opt(2020, 1, 1));
    assert_eq!(row.timestamp("at").unwrap(), DateTime::from_timestamp(1_616_173_619, 123_456_789).unwrap());
    assert_eq!(row.json::<Value>("v").unwrap(), json!({"a": [1]}));
    assert_eq!(set.len(), 1);
}

#[tokio::test]
async fn times_are_exact_to_the_nanosecond_in_each_form_that_snowflake_documents() {
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    for (kind, cell, expected) in [
        ("timestamp_ntz", "1795564799.999999999", at("2026-11-24T23:59:59.999999999Z")),
        ("TIMESTAMP_LTZ", "1616173619.000000000", at("2021-03-19T17:06:59Z")),
        ("timestamp_tz", "1616173619.000000000 960", at("2021-03-19T17:06:59Z")),
        ("timestamp_ntz", "1616173619123456789", at("2021-03-19T17:06:59.123456789Z")),
        ("timestamp_ntz", "-0.500000000", at("1969-12-31T23:59:59.5Z")),
        ("timestamp_ntz", "253402300799.000000000", at("9999-12-31T23:59:59Z")),
    ] {
        let set = one_row(&[&format!("AT {kind}")], json!([cell])).await;

        assert_eq!(set.rows().next().unwrap().timestamp("at").unwrap(), expected, "{kind} {cell}");
    }
}

#[tokio::test]
async fn a_cell_that_is_not_what_it_is_read_as_is_an_invalid_response_that_does_not_quote_it() {
    type Read = fn(&Row<'_>) -> Result<(), UpstreamError>;
    let reads: [(&str, Value, Read); 9] = [
        ("A text", json!("secret"), |it| it.fixed::<i64>("a").map(drop)),
        ("A fixed", json!("-1"), |it| it.fixed::<u64>("a").map(drop)),
        ("A text", json!("secret"), |it| it.boolean("a").map(drop)),
        ("A text", Value::Null, |it| it.text("a").map(drop)),
        ("A text", json!("secret"), |it| it.text("b").map(drop)),
        ("A fixed", json!("1616173619"), |it| it.timestamp("a").map(drop)),
        ("A timestamp_ntz", json!("1.5secret"), |it| it.timestamp("a").map(drop)),
        ("A fixed", json!("18262"), |it| it.date("a").map(drop)),
        ("A variant", json!("{\"a\": \"secret\"}"), |it| it.json::<Vec<u8>>("a").map(drop)),
    ];
    for (column, cell, read) in reads {
        let set = one_row(&[column], json!([cell])).await;

        let error = read(&set.rows().next().unwrap()).unwrap_err();

        assert_eq!(error.kind, UpstreamErrorKind::InvalidResponse);
        let why = error.source.to_string();
        assert!(why.contains("column") && why.contains(HANDLE) && !why.contains("secret"), "{why}");
    }
}

#[tokio::test]
async fn what_a_statement_changed_is_counted() {
    let mut answer = result(&["number of rows inserted fixed"], &json!([["2"]]), &[1]);
    answer["stats"] =
        json!({"numRowsInserted": 2, "numRowsUpdated": 1, "numRowsDeleted": 3, "numDuplicateRowsUpdated": 0});
    let server = SnowflakeServer::start([Reply::json(200, &answer), Reply::done()]).await;
    let client = server.client();

    let changed = client.execute("MERGE", &statement()).await.unwrap();
    let read = client.execute("SELECT", &statement()).await.unwrap();

    assert_eq!(changed.stats(), DmlStats { inserted: 2, updated: 1, deleted: 3 });
    assert_eq!(read.stats(), DmlStats::default());
}

/// Three rows in the first partition and in each of the others.
fn partitioned(n_partitions: usize) -> Reply {
    let rows = json!([["0-0"], ["0-1"], ["0-2"]]);
    Reply::json(200, &result(&["N text"], &rows, &vec![3; n_partitions]))
}

fn partition(number: usize) -> Reply {
    let rows: Vec<_> = (0..3).map(|row| json!([format!("{number}-{row}")])).collect();
    let body = gzip(json!({ "data": rows }).to_string().as_bytes());
    Reply::bytes(200, body).header("content-encoding", "gzip")
}

#[tokio::test]
async fn partitions_come_packed_and_several_at_once_and_rows_stay_in_order() {
    let server = SnowflakeServer::answering(|received| match received.query("partition") {
        None => partitioned(9),
        // The earlier one comes the later.
        Some(number) => {
            let number: usize = number.parse().unwrap();
            partition(number).after(Duration::from_millis(10 * (9 - number as u64)))
        }
    })
    .await;

    let set = server.client().execute("SELECT", &statement()).await.unwrap();

    let cells: Vec<_> = set.rows().map(|it| it.text("n").unwrap().to_owned()).collect();
    let expected: Vec<_> =
        (0..9).flat_map(|number| (0..3).map(move |row| format!("{number}-{row}"))).collect();
    assert_eq!(cells, expected);
    let received = server.received();
    assert_eq!(received.len(), 9);
    assert!(
        received[1..]
            .iter()
            .all(|it| it.method == "GET" && it.url.path() == format!("{STATEMENTS}/{HANDLE}"))
    );
}

#[tokio::test]
async fn a_partition_that_fails_for_a_moment_is_asked_for_again_and_the_statement_is_not() {
    let replies = [partitioned(2), Reply::html(503), Reply::html(429), partition(1)];
    let server = SnowflakeServer::start(replies).await;

    let set = server.client().execute("SELECT", &statement()).await.unwrap();

    assert_eq!(set.len(), 6);
    assert_eq!(server.received().iter().filter(|it| it.method == "POST").count(), 1);
}

#[tokio::test]
async fn a_result_that_is_not_whole_is_a_failure_and_never_fewer_rows() {
    let too_few = result(&["N text"], &json!([["1"]]), &[2]);
    let short_row = result(&["N text", "M text"], &json!([["1"]]), &[1]);
    let mut other_format = result(&["N text"], &json!([["1"]]), &[1]);
    other_format["resultSetMetaData"]["format"] = json!("arrowv1");
    let mut bad_handle = result(&["N text"], &json!([["1"]]), &[1]);
    bad_handle["statementHandle"] = json!("../../elsewhere");
    let replies = [&too_few, &short_row, &other_format, &bad_handle].map(|it| Reply::json(200, it));
    for reply in replies.into_iter().chain([Reply::html(200), Reply::json(200, &json!({"data": []}))]) {
        let server = SnowflakeServer::start([reply]).await;

        let error = server.client().execute("SELECT", &statement()).await.unwrap_err();

        assert_eq!(error.kind, UpstreamErrorKind::InvalidResponse, "{error:?}");
    }
}

#[tokio::test]
async fn a_result_larger_than_the_limit_is_refused_however_it_comes() {
    let rows: Vec<_> = (0..100).map(|_| json!(["a cell of some length"])).collect();
    let at_once = Reply::rows(&["N text"], &json!(rows));
    let announced = Reply::json(200, &result(&["N text"], &json!([["1"]]), &[1, 200]));
    let in_a_partition = [
        Reply::json(200, &result(&["N text"], &json!([["1"]]), &[1, 1])),
        Reply::bytes(200, gzip(&vec![b' '; 3000])).header("content-encoding", "gzip"),
    ];
    let in_words =
        Reply::json(200, &json!({"code": "391908", "statementHandle": HANDLE, "message": "too large"}));
    for replies in [vec![at_once], vec![announced], in_a_partition.to_vec(), vec![in_words]] {
        let server = SnowflakeServer::start(replies).await;
        let mut settings = server.settings();
        settings.limits.max_result_bytes = 1000;

        let error = connect(&settings).execute("SELECT", &statement()).await.unwrap_err();

        assert_eq!(error.kind, UpstreamErrorKind::TooLarge, "{error:?}");
    }
}

/// The gzip format with the bytes stored as they are.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    let checksum = bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |it, _| (it >> 1) ^ (0xEDB8_8320 * (it & 1)))
    });
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(bytes);
    packed.extend((!checksum).to_le_bytes());
    packed.extend(u32::from(length).to_le_bytes());
    packed
}
