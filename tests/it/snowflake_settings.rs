//! What the settings of Snowflake become, and what is said about those that make no sense.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::PathBuf;
use swimcoach::config::{RecordSettings, Settings, SettingsError};
use swimcoach::metadata::snowflake::key_pair::{Credentials, Secret};
use swimcoach::metadata::snowflake::sql_api::SqlApiSettings;

/// Everything that Snowflake needs, with a token.
const WITH_TOKEN: [(&str, &str); 4] = [
    ("SNOWFLAKE_ACCOUNT", "myorg-my_account"),
    ("SNOWFLAKE_TOKEN", "a-secret"),
    ("SNOWFLAKE_WAREHOUSE", "coach_wh"),
    ("SNOWFLAKE_DATABASE", "swimcoach"),
];

fn load(given: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::load(&|name| {
        let value = given.iter().rev().find(|it| it.0 == name).map(|it| it.1.to_owned());
        value.or_else(|| matches!(name, "R2_MOCK_MODE" | "ANTHROPIC_MOCK_MODE").then(|| "true".to_owned()))
    })
}

fn snowflake(more: &[(&str, &str)]) -> SqlApiSettings {
    match load(&[&WITH_TOKEN, more].concat()).unwrap().records {
        RecordSettings::Snowflake(settings) => settings,
        other => panic!("{other:?}"),
    }
}

fn problems(given: &[(&str, &str)]) -> Vec<String> {
    load(given).unwrap_err().problems
}

/// The one problem, which must speak of all of these words.
fn assert_problem(given: &[(&str, &str)], words: &[&str]) {
    let problems = problems(given);
    assert_eq!(problems.len(), 1, "{problems:?}");
    for word in words {
        assert!(problems[0].contains(word), "{word}: {problems:?}");
    }
}

#[test]
fn an_account_and_a_token_are_enough_for_snowflake() {
    let settings = snowflake(&[]);

    assert_eq!(settings.base_url.as_str(), "https://myorg-my-account.snowflakecomputing.com/");
    assert!(matches!(settings.credentials, Credentials::AccessToken(Secret::Text(_))));
    assert_eq!(settings.schema, "PUBLIC");
    assert_eq!(settings.role, None);
    assert_eq!(settings.query_tag, "swimcoach");
}

#[test]
fn names_of_objects_are_in_upper_case_unless_they_are_quoted() {
    let settings = snowflake(&[("SNOWFLAKE_SCHEMA", "\"my \"\"Schema\""), ("SNOWFLAKE_ROLE", "coach_role")]);

    assert_eq!(settings.warehouse, "COACH_WH");
    assert_eq!(settings.database, "SWIMCOACH");
    assert_eq!(settings.schema, "my \"Schema");
    assert_eq!(settings.role.as_deref(), Some("COACH_ROLE"));
    assert_problem(
        &[&WITH_TOKEN[..], &[("SNOWFLAKE_SCHEMA", "a-b")]].concat(),
        &["SNOWFLAKE_SCHEMA", "quotes"],
    );
}

#[test]
fn a_private_key_signs_for_the_account_and_a_user() {
    let key_pair = [
        ("SNOWFLAKE_TOKEN", ""),
        ("SNOWFLAKE_PRIVATE_KEY_PATH", "/keys/rsa_key.p8"),
        ("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "open"),
        ("SNOWFLAKE_USER", "svc_user"),
    ];

    let Credentials::KeyPair { account, user, private_key: Secret::File(path), passphrase: Some(_) } =
        snowflake(&key_pair).credentials
    else {
        panic!("no key pair");
    };

    assert_eq!((account.as_str(), user.as_str()), ("MYORG-MY_ACCOUNT", "svc_user"));
    assert_eq!(path, PathBuf::from("/keys/rsa_key.p8"));
}

#[test]
fn whoever_lacks_credentials_or_has_two_kinds_of_them_is_told() {
    let with = |more: &[(&'static str, &'static str)]| [&WITH_TOKEN[..], more].concat();

    assert_problem(&with(&[("SNOWFLAKE_TOKEN", "")]), &["SNOWFLAKE_PRIVATE_KEY_PATH", "SNOWFLAKE_TOKEN"]);
    assert_problem(&with(&[("SNOWFLAKE_OAUTH_TOKEN", "x")]), &["SNOWFLAKE_TOKEN and SNOWFLAKE_OAUTH_TOKEN"]);
    assert_problem(&with(&[("SNOWFLAKE_PASSWORD", "x")]), &["SNOWFLAKE_PASSWORD", "no passwords"]);
}

#[test]
fn a_private_key_without_account_or_user_is_a_problem_each() {
    let given = [
        ("SNOWFLAKE_BASE_URL", "http://127.0.0.1:8085"),
        ("SNOWFLAKE_PRIVATE_KEY_BASE64", "AAAA"),
        ("SNOWFLAKE_WAREHOUSE", "WH"),
        ("SNOWFLAKE_DATABASE", "DB"),
    ];

    let problems = problems(&given);

    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("SNOWFLAKE_ACCOUNT"));
    assert!(problems[1].contains("SNOWFLAKE_USER"));
}

#[test]
fn all_problems_with_snowflake_are_told_at_once() {
    let given = [
        ("SNOWFLAKE_ACCOUNT", "https://example.com/x"),
        ("SNOWFLAKE_PASSWORD", "x"),
        ("SNOWFLAKE_MAX_IN_FLIGHT", "0"),
        ("SNOWFLAKE_JOURNAL_MAX_WRITES", "many"),
        ("METRICS_ADDR", "9100"),
    ];

    let told = problems(&given).join("\n");

    for name in [
        "SNOWFLAKE_ACCOUNT:",
        "SNOWFLAKE_PASSWORD",
        "SNOWFLAKE_PRIVATE_KEY_PATH",
        "SNOWFLAKE_WAREHOUSE",
        "SNOWFLAKE_DATABASE",
        "SNOWFLAKE_MAX_IN_FLIGHT",
        "SNOWFLAKE_JOURNAL_MAX_WRITES",
        "METRICS_ADDR",
    ] {
        assert!(told.contains(name), "{name}: {told}");
    }
}

#[test]
fn a_file_and_snowflake_at_once_are_a_problem_and_not_a_choice() {
    let both = [&WITH_TOKEN[..], &[("DATABASE_URL", "sqlite://x.db")]].concat();

    assert_problem(&both, &["DATABASE_URL", "SNOWFLAKE_ACCOUNT"]);
}

#[test]
fn mock_mode_and_a_file_leave_an_account_alone() {
    let mock = load(&[&WITH_TOKEN[..], &[("SNOWFLAKE_MOCK_MODE", "true")]].concat()).unwrap();
    let file = load(&[("DATABASE_URL", "sqlite://x.db"), ("SNOWFLAKE_TOKEN", "x")]).unwrap();

    assert!(matches!(mock.records, RecordSettings::InMemory));
    assert!(matches!(file.records, RecordSettings::File(path) if path.as_os_str() == "x.db"));
}

#[test]
fn no_records_at_all_are_a_problem_that_names_every_way_out() {
    assert_problem(&[], &["SNOWFLAKE_ACCOUNT", "DATABASE_URL", "SNOWFLAKE_MOCK_MODE"]);
}

#[test]
fn a_token_does_not_travel_in_clear() {
    let with_url = |url| [&WITH_TOKEN[..], &[("SNOWFLAKE_BASE_URL", url)]].concat();

    assert_problem(&with_url("http://snowflake.example"), &["SNOWFLAKE_BASE_URL", "https"]);
    assert_eq!(
        snowflake(&[("SNOWFLAKE_BASE_URL", "http://127.0.0.1:1")]).base_url.as_str(),
        "http://127.0.0.1:1/"
    );
}

#[test]
fn a_url_that_ends_with_a_question_is_refused() {
    for url in ["https://snowflake.example/?a=b", "https://snowflake.example/path#part"] {
        assert_problem(
            &[&WITH_TOKEN[..], &[("SNOWFLAKE_BASE_URL", url)]].concat(),
            &["SNOWFLAKE_BASE_URL", "path"],
        );
    }
}

#[test]
fn secrets_are_not_shown() {
    let key =
        [("SNOWFLAKE_TOKEN", ""), ("SNOWFLAKE_PRIVATE_KEY_BASE64", "a-secret"), ("SNOWFLAKE_USER", "u")];
    let passphrase = [&key[..], &[("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "a-secret")]].concat();

    for settings in [snowflake(&[]), snowflake(&passphrase)] {
        assert!(!format!("{settings:?}").contains("a-secret"));
    }
}

#[test]
fn a_journal_is_kept_unless_it_is_turned_off() {
    let journal = |given: &[(&str, &str)]| load(&[&WITH_TOKEN[..], given].concat()).unwrap().journal;

    assert_eq!(journal(&[]).path, Some(PathBuf::from("swimcoach-journal.db")));
    assert_eq!(journal(&[]).max_writes, 10_000);
    assert_eq!(journal(&[("SNOWFLAKE_JOURNAL", "off")]).path, None);
    assert_eq!(journal(&[("SNOWFLAKE_JOURNAL", "/var/j.db")]).path, Some(PathBuf::from("/var/j.db")));
}

#[test]
fn metrics_are_given_out_only_where_an_address_says_so() {
    let metrics = |given: &[(&str, &str)]| load(&[&WITH_TOKEN[..], given].concat()).unwrap().server.metrics;

    assert_eq!(metrics(&[]), None);
    assert_eq!(metrics(&[("METRICS_ADDR", "127.0.0.1:9100")]), Some("127.0.0.1:9100".parse().unwrap()));
}
