//! What fails: on the way, in Snowflake, and in time. A statement runs once all the same.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{connect, statement};
use crate::support::dead_port::DeadPort;
use crate::support::snowflake_server::{HANDLE, Received, Reply, STATEMENTS, SnowflakeServer};
use serde_json::json;
use std::time::Duration;
use swimcoach::metadata::snowflake::sql_api::{SqlApiError, SqlApiSettings};
use swimcoach::upstream::{UpstreamError, UpstreamErrorKind};

/// The failure of a statement that gets these answers, and what was received.
async fn failure(replies: impl IntoIterator<Item = Reply>) -> (UpstreamError, Vec<Received>) {
    let server = SnowflakeServer::start(replies).await;
    let error = server.client().execute("INSERT", &statement()).await.unwrap_err();
    (error, server.received())
}

/// Settings under which a statement has this long.
fn within(server: &SnowflakeServer, statement_timeout: Duration) -> SqlApiSettings {
    let mut settings = server.settings();
    settings.limits.statement_timeout = statement_timeout;
    settings
}

fn is_cancel(received: &Received) -> bool {
    received.method == "POST" && received.url.path() == format!("{STATEMENTS}/{HANDLE}/cancel")
}

#[tokio::test]
async fn a_statement_whose_answer_was_lost_is_sent_again_as_the_same_one() {
    let busy = || Reply::json(429, &json!({"code": "390505", "message": "Too many requests."}));
    let lock_waiters =
        || Reply::failed("000625", "57014", "number of waiters exceeds the 20 statements limit");
    for lost in [
        Reply::Reset,
        Reply::BreakOff,
        Reply::html(500),
        Reply::html(502),
        Reply::html(503),
        busy(),
        lock_waiters(),
    ] {
        let server = SnowflakeServer::start([lost.clone(), lost, Reply::done()]).await;

        server.client().execute("INSERT", &statement()).await.unwrap();

        let received = server.received();
        let [first, second, third] = &received[..] else { panic!("{received:?}") };
        assert_eq!(first.query("retry"), None);
        for again in [second, third] {
            assert_eq!(again.query("retry").as_deref(), Some("true"));
            assert_eq!(again.query("requestId"), first.query("requestId"));
            assert_eq!(again.body, first.body);
        }
    }
}

#[tokio::test]
async fn every_statement_has_an_id_of_its_own() {
    let server = SnowflakeServer::start([Reply::done(), Reply::done()]).await;
    let client = server.client();

    client.execute("SELECT", &statement()).await.unwrap();
    client.execute("SELECT", &statement()).await.unwrap();

    let received = server.received();
    assert_ne!(received[0].query("requestId"), received[1].query("requestId"));
}

#[tokio::test]
async fn what_fails_for_good_is_not_tried_again_and_keeps_its_codes() {
    use UpstreamErrorKind as K;
    for (reply, expected) in [
        (Reply::failed("001003", "42000", "SQL compilation error"), K::Rejected),
        (Reply::failed("002003", "42S02", "Object 'T' does not exist or not authorized."), K::NotFound),
        (Reply::failed("000606", "57P03", "No active warehouse selected"), K::NotFound),
        (Reply::failed("090105", "22000", "This session does not have a current database."), K::NotFound),
        (Reply::failed("090106", "22000", "This session does not have a current schema."), K::NotFound),
        (Reply::failed("003001", "42501", "Insufficient privileges"), K::Unauthorized),
        (Reply::failed("090073", "22000", "resource monitor has exceeded its quota"), K::Exhausted),
        (Reply::failed("200001", "22000", "A primary key already exists"), K::Rejected),
        (Reply::json(400, &json!({"code": "390142", "message": "no valid payload"})), K::Rejected),
        (Reply::html(403), K::Unauthorized),
        (Reply::html(404), K::NotFound),
        (Reply::html(413), K::TooLarge),
    ] {
        let (error, received) = failure([reply]).await;

        assert_eq!(error.kind, expected, "{error:?}");
        assert_eq!(received.len(), 1);
    }

    let (error, _) = failure([Reply::failed("002003", "42S02", "Object 'T' does not exist.")]).await;
    let refusal = SqlApiError::behind(&error).unwrap();
    assert_eq!((refusal.status, refusal.code.as_deref()), (422, Some("002003")));
    assert_eq!(refusal.sql_state.as_deref(), Some("42S02"));
    assert_eq!(refusal.query_id.as_deref(), Some(HANDLE));
    assert!(refusal.to_string().contains("Object 'T' does not exist"), "{refusal}");
}

#[tokio::test]
async fn a_message_that_quotes_values_is_kept_but_not_shown() {
    let message = "Date 'my knee hurts' is not recognized";

    let (error, _) = failure([Reply::failed("100040", "22007", message)]).await;

    let refusal = SqlApiError::behind(&error).unwrap();
    assert_eq!(refusal.message, message);
    let shown = format!("{error} {error:?} {refusal} {refusal:?}");
    assert!(shown.contains("100040") && !shown.contains("knee"), "{shown}");
}

#[tokio::test]
async fn a_server_that_stays_down_is_given_up_with_what_it_said() {
    let (error, received) = failure([Reply::html(503), Reply::html(503), Reply::html(503)]).await;

    assert_eq!(error.kind, UpstreamErrorKind::Unavailable);
    assert_eq!(error.source.to_string(), "status 503");
    assert_eq!(received.len(), 3);
}

#[tokio::test]
async fn a_wait_that_snowflake_asks_for_is_passed_on_where_it_is_too_long() {
    let (error, received) = failure([Reply::html(429).header("retry-after", "600")]).await;

    let expected = UpstreamErrorKind::RateLimited { retry_after: Some(Duration::from_mins(10)) };
    assert_eq!(error.kind, expected);
    assert_eq!(received.len(), 1);
}

#[tokio::test]
async fn a_statement_that_takes_longer_is_polled_for_and_sent_once() {
    let polls = [Reply::running(), Reply::html(502), Reply::Reset, Reply::html(429), Reply::done()];
    let server = SnowflakeServer::start([Reply::running()].into_iter().chain(polls)).await;

    server.client().execute("INSERT", &statement()).await.unwrap();

    let received = server.received();
    assert_eq!(received.len(), 6);
    assert_eq!(received.iter().filter(|it| it.method == "POST").count(), 1);
    for poll in &received[1..] {
        assert_eq!(
            (poll.method.as_str(), poll.url.path()),
            ("GET", format!("{STATEMENTS}/{HANDLE}").as_str())
        );
        assert_eq!(poll.header("authorization"), Some("Bearer a-token"));
    }
}

#[tokio::test]
async fn a_statement_that_fails_while_it_is_polled_for_is_tried_again_where_that_helps() {
    let waiters = Reply::failed("000625", "57014", "number of waiters exceeds the 20 statements limit");
    let server = SnowflakeServer::start([Reply::running(), waiters, Reply::done()]).await;

    server.client().execute("INSERT", &statement()).await.unwrap();

    assert_eq!(server.received()[2].query("retry").as_deref(), Some("true"));
    let rejected = Reply::failed("001003", "42000", "SQL compilation error");
    let (error, received) = failure([Reply::running(), rejected]).await;
    assert_eq!(error.kind, UpstreamErrorKind::Rejected);
    assert_eq!(received.len(), 2);
}

#[tokio::test]
async fn the_token_is_sent_nowhere_but_to_the_server_of_the_settings() {
    let elsewhere = SnowflakeServer::start([]).await;
    let mut running = json!({"code": "333334", "statementHandle": HANDLE});
    running["statementStatusUrl"] = json!(elsewhere.url.join("steal").unwrap().as_str());
    let redirect = Reply::html(307).header("location", elsewhere.url.as_str());
    let server = SnowflakeServer::start([Reply::json(202, &running), redirect]).await;

    let error = server.client().execute("SELECT", &statement()).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::InvalidResponse);
    assert_eq!(SqlApiError::behind(&error).unwrap().status, 307);
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn a_handle_that_leads_elsewhere_is_not_followed() {
    for handle in ["../../session", "x/../y", "", "a?b", "a b"] {
        let (error, received) = failure([Reply::json(202, &json!({"statementHandle": handle}))]).await;

        assert_eq!(error.kind, UpstreamErrorKind::InvalidResponse);
        assert_eq!(received.len(), 1);
    }
}

#[tokio::test]
async fn a_statement_whose_time_is_over_is_cancelled() {
    let server = SnowflakeServer::answering(|received| {
        if is_cancel(received) {
            Reply::json(200, &json!({"code": "000604", "statementHandle": HANDLE}))
        } else {
            Reply::running()
        }
    })
    .await;
    let settings = within(&server, Duration::from_millis(500));

    let error = connect(&settings).execute("INSERT", &statement()).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::Timeout);
    let received = server.received();
    assert!(is_cancel(received.last().unwrap()), "{received:?}");
    assert_eq!(received.iter().filter(|it| is_cancel(it)).count(), 1);
}

#[tokio::test]
async fn a_statement_may_have_less_time_than_others() {
    let server = SnowflakeServer::answering(|_| Reply::Silence).await;

    let short = statement().within(Duration::from_millis(200));
    let error = server.client().execute("SELECT", &short).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::Timeout);
    assert_eq!(server.received()[0].json()["timeout"], 1, "zero would be a week");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_tried_again_and_then_given_up() {
    let server = SnowflakeServer::answering(|_| Reply::Silence).await;
    let mut settings = server.settings();
    settings.limits.attempt_timeout = Duration::from_millis(100);

    let error = connect(&settings).execute("SELECT", &statement()).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::Timeout);
    assert_eq!(server.received().len(), 3);
}

#[tokio::test]
async fn snowflakes_own_time_limit_is_a_timeout() {
    let cancelled = json!({"code": "000630", "sqlState": "57014", "message": "timeout of 1 second(s)"});
    let (error, _) = failure((0..3).map(|_| Reply::json(408, &cancelled))).await;

    assert_eq!(error.kind, UpstreamErrorKind::Timeout);
    assert_eq!(SqlApiError::behind(&error).unwrap().code.as_deref(), Some("000630"));
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_unavailable_and_its_url_is_not_told() {
    let dead = DeadPort::take();
    let server = SnowflakeServer::start([]).await;
    let mut settings = server.settings();
    settings.base_url = format!("http://{}/private", dead.address()).parse().unwrap();

    let error = connect(&settings).execute("SELECT", &statement()).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::Unavailable);
    assert!(!error.source.to_string().contains("private"), "{error:?}");
}
