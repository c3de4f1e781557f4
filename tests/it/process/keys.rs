//! API keys from the command line, and a service that asks for them.

use super::{IN_MEMORY, PATIENCE, Service, output, swimcoach, text};
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

/// A service in memory but for its records, which are in a file with keys.
struct Club {
    folder: TempDir,
}

impl Club {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let file = self.folder.path().join("records.db").display().to_string();
        let audit = self.folder.path().join("audit.jsonl").display().to_string();
        let mut settings: Vec<_> = IN_MEMORY
            .iter()
            .filter(|(name, _)| *name != "SNOWFLAKE_MOCK_MODE")
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        settings.push(("DATABASE_URL", format!("sqlite://{file}")));
        settings.push(("API_KEYS", "true".to_owned()));
        settings.push(("AUDIT_LOG", audit));
        settings
    }

    /// What a command about keys writes.
    async fn key(&self, arguments: &[&str]) -> (bool, String) {
        let settings = self.settings();
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let output = output(&[&["key"], arguments].concat(), &settings).await;
        (output.status.success(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    }

    /// Makes a key; its id and the key itself.
    async fn created(&self, arguments: &[&str]) -> (String, String) {
        let (is_done, said) = self.key(&[&["create", "--owner", "club"], arguments].concat()).await;
        assert!(is_done, "{said}");
        let id = said.split_whitespace().next().unwrap().to_owned();
        let shown = said.lines().find(|it| it.starts_with("swc_")).unwrap().to_owned();
        (id, shown)
    }

    async fn serve(&self) -> Service {
        let settings = self.settings();
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Service::start(&settings).await
    }
}

async fn status(service: &Service, key: &str) -> StatusCode {
    let request = service.client.get(service.url("/api/v1/sessions")).bearer_auth(key);
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn keys_that_are_made_beside_the_service_open_it_and_are_shown_once() {
    let club = Club::new();
    let service = club.serve().await;
    let (id, shown) = club.created(&["--name", "the page"]).await;
    let (reader, _) = club.created(&["--scope", "read", "--expires-in-days", "30"]).await;

    let (_, listed) = club.key(&["list"]).await;
    let (_, rotated) = club.key(&["rotate", &id, "--grace-hours", "1"]).await;
    let (_, revoked) = club.key(&["revoke", &reader]).await;
    let (is_done, unknown) = club.key(&["revoke", "0123456789abcdef"]).await;

    assert_eq!(status(&service, &shown).await, StatusCode::OK);
    assert_eq!(status(&service, "swc_nothing").await, StatusCode::UNAUTHORIZED);
    assert!(listed.contains(&id) && listed.contains("the page") && !listed.contains("swc_"), "{listed}");
    let new = rotated.lines().find(|it| it.starts_with("swc_")).unwrap();
    assert_eq!(status(&service, new).await, StatusCode::OK);
    assert!(revoked.contains("revoked"), "{revoked}");
    assert!(!is_done && unknown.contains("there is no key"), "{unknown}");
    let file = std::fs::read(club.folder.path().join("records.db")).unwrap();
    let secret = shown.splitn(3, '_').nth(2).unwrap();
    assert!(!file.windows(secret.len()).any(|it| it == secret.as_bytes()), "the file holds a secret");
}

#[tokio::test]
async fn the_audit_says_who_did_what_and_holds_no_credential() {
    let club = Club::new();
    let (_, shown) = club.created(&[]).await;
    let mut service = club.serve().await;
    assert_eq!(status(&service, &shown).await, StatusCode::OK);
    assert_eq!(status(&service, "swc_nothing").await, StatusCode::UNAUTHORIZED);
    service.process.kill().await.unwrap();

    let audit = std::fs::read_to_string(club.folder.path().join("audit.jsonl")).unwrap();

    let lines: Vec<Value> = audit.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{audit}");
    assert_eq!(lines[0]["owner"], "key:club");
    assert_eq!(lines[0]["action"], "GET /api/v1/sessions");
    assert_eq!(lines[0]["status"], 200);
    assert!(!audit.contains("swc_"));
}

#[tokio::test]
async fn a_key_is_not_made_in_records_that_are_gone_at_once_or_for_an_owner_without_a_name() {
    let in_memory = output(&["key", "create", "--owner", "club"], &IN_MEMORY).await;
    let (is_done, said) = Club::new().key(&["create", "--owner", "a/b"]).await;
    let without_records = tokio::time::timeout(PATIENCE, swimcoach(&["key", "list"], &[]).output()).await;

    assert!(!in_memory.status.success());
    assert!(text(&in_memory.stderr).contains("DATABASE_URL"));
    assert!(!is_done && said.contains("letters"), "{said}");
    assert!(!without_records.unwrap().unwrap().status.success());
}
