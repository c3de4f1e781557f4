//! Records in Snowflake while it is down: what was acknowledged survives the service, and can be seen and
//! sent by hand.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{Service, output, text};
use crate::support::form::Form;
use crate::support::snowflake_stub::SnowflakeStub;
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

/// Everything but the records, without an account.
const WITHOUT_RECORDS: [(&str, &str); 4] =
    [("R2_MOCK_MODE", "true"), ("ANTHROPIC_MOCK_MODE", "true"), ("PORT", "0"), ("LOG_FORMAT", "json")];

/// Snowflake, and a folder for the journal.
struct Bench {
    snowflake: SnowflakeStub,
    settings: Vec<(&'static str, String)>,
    _folder: TempDir,
}

impl Bench {
    /// With the tables that `swimcoach migrate` makes.
    async fn migrated() -> Self {
        let snowflake = SnowflakeStub::start().await;
        let folder = tempfile::tempdir().unwrap();
        let mut settings = WITHOUT_RECORDS.map(|(name, value)| (name, value.to_owned())).to_vec();
        settings.extend(snowflake.settings());
        settings.push(("SNOWFLAKE_JOURNAL", folder.path().join("journal.db").display().to_string()));
        let bench = Self { snowflake, settings, _folder: folder };
        assert!(bench.says(&["migrate"]).await.starts_with("applied 0001 sessions\napplied 0002 views\n"));
        bench
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    async fn start(&self) -> Service {
        Service::start(&self.settings()).await
    }

    /// What a command says that succeeds.
    async fn says(&self, arguments: &[&str]) -> String {
        let output = output(arguments, &self.settings()).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout).to_owned()
    }

    /// Why a command fails.
    async fn fails(&self, arguments: &[&str]) -> String {
        let output = output(arguments, &self.settings()).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        text(&output.stderr).to_owned()
    }

    /// The only column of a statement's rows.
    fn column(&self, statement: &str) -> Vec<String> {
        let rows = self.snowflake.rows(statement);
        rows.into_iter().map(|row| row.into_iter().next().unwrap().unwrap()).collect()
    }

    /// The sessions in Snowflake's table, each as often as it is there.
    fn sessions(&self) -> Vec<String> {
        self.column("SELECT session_id FROM sessions ORDER BY session_id")
    }
}

async fn delete(service: &Service, session: &str) -> StatusCode {
    let request = service.client.delete(service.url(&format!("/api/v1/sessions/{session}")));
    request.send().await.unwrap().status()
}

/// Waits until so many writes wait in the service's journal.
async fn waits(service: &Service, n: u32) {
    let said = format!("{n} acknowledged writes wait for the store of records");
    service.until("/health/ready", |_, it| it["checks"][1]["error"] == said.as_str()).await;
}

#[tokio::test]
async fn what_was_acknowledged_in_an_outage_survives_a_kill_and_arrives_once_and_in_order() {
    let bench = Bench::migrated().await;
    let mut service = bench.start().await;
    let analyzed = service.upload(Form::frames(15)).await;
    bench.snowflake.go_down_after("INSERT INTO analysis_states");
    service.analyze(&analyzed).await;
    // The look that is kept, what the analysis came to, and its end.
    waits(&service, 3).await;
    let created = [service.upload(Form::frames(2)).await, service.upload(Form::frames(3)).await];
    let deleted = service.upload(Form::frames(2)).await;
    assert_eq!(delete(&service, &deleted).await, StatusCode::OK);
    assert_eq!(bench.sessions(), [analyzed.as_str()]);

    service.signal("KILL");
    service.ended().await;
    bench.snowflake.mend();
    let restarted = bench.start().await;
    restarted.until("/health/ready", |_, it| it["status"] == "ready").await;

    let [first, second] = &created;
    assert_eq!(bench.sessions(), [analyzed.as_str(), first, second]);
    let states = bench.column("SELECT status FROM analysis_states ORDER BY rowid");
    assert_eq!(states, ["processing", "processing", "complete"]);
    assert_eq!(bench.column("SELECT kind FROM charges ORDER BY kind"), ["analysis", "upload"]);
    let (_, detail) = restarted.get(&format!("/api/v1/sessions/{analyzed}")).await;
    assert_eq!(detail["status"], "complete");
    assert_eq!(restarted.get(&format!("/api/v1/sessions/{deleted}")).await.0, StatusCode::NOT_FOUND);
    let (_, listed) = restarted.get("/api/v1/sessions").await;
    let listed: Vec<&Value> = listed.as_array().unwrap().iter().map(|it| &it["session_id"]).collect();
    assert_eq!(listed, [second.as_str(), first.as_str(), analyzed.as_str()]);
}

#[tokio::test]
async fn what_waits_is_listed_beside_the_service_and_sent_by_hand_after_it() {
    let bench = Bench::migrated().await;
    let mut service = bench.start().await;
    bench.snowflake.go_down();
    let created = [service.upload(Form::frames(2)).await, service.upload(Form::frames(3)).await];

    let listed = bench.says(&["journal", "list"]).await;
    let beside = bench.fails(&["journal", "drain"]).await;
    service.signal("KILL");
    service.ended().await;
    let down = bench.fails(&["journal", "drain"]).await;
    let nothing_yet = bench.sessions();
    bench.snowflake.mend();
    let drained = bench.says(&["journal", "drain"]).await;
    let listed_after = bench.says(&["journal", "list"]).await;

    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0], "2 acknowledged writes wait for the store of records");
    for (line, session) in lines[1..].iter().zip(&created) {
        assert!(line.starts_with(&format!("{session} since ")) && line.ends_with(": 1 creation"), "{line}");
    }
    assert_eq!(lines.len(), 3);
    assert!(beside.contains("another process has the journal open"), "{beside}");
    assert!(down.contains("unavailable"), "{down}");
    assert_eq!(nothing_yet, [""; 0]);
    assert_eq!(drained, "2 writes arrived\n");
    assert_eq!(listed_after, "0 acknowledged writes wait for the store of records\n");
    assert_eq!(bench.sessions(), created);
}

#[tokio::test]
async fn where_there_is_no_journal_nothing_is_listed_and_nothing_is_sent() {
    for command in ["list", "drain"] {
        let output = output(&["journal", command], &super::IN_MEMORY).await;

        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).starts_with("there is no journal"), "{output:?}");
    }
}
