//! The rules of a bucket, on a stand-in that keeps what it is told: neither R2's emulator nor the server of the other
//! tests has rules.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::misbehaving::{Misbehaving, Received, Reply};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use swimcoach::metrics::StorageMetrics;
use swimcoach::storage::r2::{R2Limits, R2Settings, R2StorageClient};
use swimcoach::upstream::UpstreamErrorKind;

/// A rule as R2 makes it for every bucket.
const FOREIGN: &str = "<Rule><ID>Default Multipart Abort Rule</ID><Status>Enabled</Status>\
    <Filter><Prefix></Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>7\
    </DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>";
/// A rule of ours as an earlier run may have left it.
const OLD: &str = "<Rule><ID>swimcoach-frames</ID><Status>Disabled</Status><Filter><Prefix>frames/</Prefix>\
    </Filter><Expiration><Days>30</Days></Expiration></Rule>";

/// A bucket that has rules, or none, and takes others.
async fn bucket(rules: Option<String>) -> (Misbehaving, Arc<Mutex<Option<String>>>) {
    let document = |rules: String| format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
    let kept = Arc::new(Mutex::new(rules.map(document)));
    let shared = Arc::clone(&kept);
    let server = Misbehaving::start(move |_, request: &Received| {
        assert!(request.target.contains("lifecycle"), "{}", request.target);
        if request.method == "PUT" {
            *shared.lock().unwrap() = Some(String::from_utf8(request.body.clone()).unwrap());
            return Reply::answer(200, "");
        }
        match &*shared.lock().unwrap() {
            Some(rules) => Reply::answer(200, rules.clone()),
            None => Reply::answer(404, "<Error><Code>NoSuchLifecycleConfiguration</Code></Error>"),
        }
    });
    (server.await, kept)
}

fn client(server: &Misbehaving) -> R2StorageClient {
    let settings = R2Settings {
        endpoint: server.url(),
        bucket: "frames-test".to_owned(),
        access_key_id: "AKTEST".to_owned(),
        secret_access_key: "sktest".into(),
        limits: R2Limits::default(),
    };
    R2StorageClient::connect(&settings, StorageMetrics::default())
}

#[tokio::test]
async fn our_rules_are_set_beside_those_of_others_and_in_the_place_of_older_ones() {
    for rules in [None, Some(FOREIGN.to_owned()), Some(format!("{OLD}{FOREIGN}"))] {
        let has_foreign = rules.is_some();
        let (server, kept) = bucket(rules).await;
        let storage = client(&server);

        let there = storage.lifecycle().await.unwrap();
        let wanted = there.with_ours(90).unwrap();
        assert!(!there.does_the_same_as(&wanted));
        storage.put_lifecycle(&wanted).await.unwrap();

        let put = kept.lock().unwrap().clone().unwrap();
        for (id, prefix, days) in [("frames", "frames/", 97), ("pending", "pending/", 1)] {
            let rule =
                put.split("<Rule>").find(|it| it.contains(&format!("<ID>swimcoach-{id}</ID>"))).unwrap();
            assert!(rule.contains("<Status>Enabled</Status>"), "{rule}");
            assert!(rule.contains(&format!("<Prefix>{prefix}</Prefix>")), "{rule}");
            assert!(rule.contains(&format!("<Expiration><Days>{days}</Days></Expiration>")), "{rule}");
            assert!(rule.contains("<DaysAfterInitiation>1<"), "{rule}");
        }
        assert_eq!(put.contains("<ID>Default Multipart Abort Rule</ID>"), has_foreign, "{put}");
        assert_eq!(put.matches("<Rule>").count(), if has_foreign { 3 } else { 2 });
        let set = storage.lifecycle().await.unwrap();
        assert!(set.does_the_same_as(&wanted) && set.does_the_same_as(&set.with_ours(90).unwrap()));
        assert!(!set.does_the_same_as(&set.with_ours(30).unwrap()));
    }
}

#[tokio::test]
async fn a_token_that_may_not_see_the_rules_is_told_from_a_bucket_without_any() {
    let denied = "<Error><Code>AccessDenied</Code></Error>";
    let server = Misbehaving::start(move |_, _| Reply::answer(403, denied)).await;
    let storage = client(&server);

    let read = storage.lifecycle().await.unwrap_err();

    assert_eq!(read.kind, UpstreamErrorKind::Unauthorized);
}

/// What `swimcoach lifecycle` says, run as an operator runs it.
async fn run(server: &Misbehaving, arguments: &'static [&'static str]) -> (bool, String) {
    let endpoint = server.url().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output: Output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swimcoach"));
        command.arg("lifecycle").args(arguments).env_clear().current_dir(folder.path());
        command.envs([
            ("R2_ENDPOINT", endpoint.as_str()),
            ("R2_ACCESS_KEY_ID", "AKTEST"),
            ("R2_SECRET_ACCESS_KEY", "sktest"),
            ("R2_BUCKET_NAME", "frames-test"),
            ("SNOWFLAKE_MOCK_MODE", "true"),
            ("ANTHROPIC_MOCK_MODE", "true"),
        ]);
        command.output().unwrap()
    })
    .await
    .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_what_would_be_set_sets_it_and_sees_that_it_is() {
    let (server, kept) = bucket(Some(format!("{OLD}{FOREIGN}"))).await;
    let before = kept.lock().unwrap().clone();

    let shown = run(&server, &["show"]).await;
    let tried = run(&server, &["apply", "--dry-run"]).await;
    let untouched = kept.lock().unwrap().clone() == before;
    let applied = run(&server, &["apply"]).await;
    let again = run(&server, &["apply"]).await;
    let shown_again = run(&server, &["show"]).await;

    assert!(!shown.0 && shown.1.contains("removed after 30 days, switched off"), "{shown:?}");
    assert!(tried.0 && tried.1.contains("would set:") && untouched, "{tried:?}");
    assert!(applied.0 && applied.1.contains("removed after 97 days"), "{applied:?}");
    assert!(applied.1.contains("Default Multipart Abort Rule"), "{applied:?}");
    assert!(again.0 && again.1.contains("as they should be"), "{again:?}");
    assert!(shown_again.0, "{shown_again:?}");
    let puts = server.received().iter().filter(|it| it.method == "PUT").count();
    assert_eq!(puts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_whose_token_may_not_is_told_which_may() {
    let server =
        Misbehaving::start(|_, _| Reply::answer(403, "<Error><Code>AccessDenied</Code></Error>")).await;

    let refused = run(&server, &["apply"]).await;

    assert!(!refused.0 && refused.1.contains("Admin Read & Write"), "{refused:?}");
}
