//! The settings: what the loader asks for, what it refuses, and that `.env.template` tells the same.

use secrecy::ExposeSecret;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use swimcoach::analysis::MicroUsd;
use swimcoach::config::{ModelSettings, RecordSettings, ServerSettings, Settings, StorageSettings};
use swimcoach::metrics::StorageMetrics;
use swimcoach::session::{FrameNumber, SessionId};
use swimcoach::storage::r2::R2StorageClient;
use swimcoach::storage::{FramePath, StorageClient};

const TEMPLATE: &str = include_str!("../../.env.template");

/// Enough for a run without accounts.
const MOCKS: [(&str, &str); 3] =
    [("R2_MOCK_MODE", "true"), ("SNOWFLAKE_MOCK_MODE", "true"), ("ANTHROPIC_MOCK_MODE", "true")];

/// Enough for a run with accounts and a file of records.
const ACCOUNTS: [(&str, &str); 6] = [
    ("R2_ACCOUNT_ID", "0123456789abcdef0123456789abcdef"),
    ("R2_ACCESS_KEY_ID", "access-key-id"),
    ("R2_SECRET_ACCESS_KEY", "r2-secret-value"),
    ("R2_BUCKET_NAME", "frames"),
    ("DATABASE_URL", "sqlite://records.db"),
    ("ANTHROPIC_API_KEY", "sk-ant-secret-value"),
];

/// Enough for records in Snowflake, so that the loader asks for all that goes with a private key.
const KEY_PAIR: [(&str, &str); 4] = [
    ("SNOWFLAKE_ACCOUNT", "myorg-myaccount"),
    ("SNOWFLAKE_PRIVATE_KEY_PATH", "key.p8"),
    ("SNOWFLAKE_WAREHOUSE", "COACH_WH"),
    ("SNOWFLAKE_DATABASE", "SWIMCOACH"),
];

/// What is read only to be refused, since the first version had it.
const REFUSED: [&str; 1] = ["SNOWFLAKE_PASSWORD"];

/// The settings that these variables make, the later of two counting.
fn load(variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    Settings::load(&|name| variables.get(name).map(|it| (*it).to_owned())).map_err(|error| error.problems)
}

/// The settings of a run without accounts and with these variables.
fn mocks_with(variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    load(&[&MOCKS, variables].concat())
}

/// The settings of a run with accounts and with these variables.
fn accounts_with(variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    load(&[&ACCOUNTS, variables].concat())
}

/// The one problem that these settings have.
#[track_caller]
fn only_problem(settings: Result<Settings, Vec<String>>) -> String {
    let problems = settings.expect_err("the settings should be refused");
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.concat()
}

/// A line of the template.
struct Line {
    name: &'static str,
    value: &'static str,
    /// Whether it stands for the default and changes nothing.
    is_comment: bool,
}

fn template() -> Vec<Line> {
    let lines = TEMPLATE.lines().filter_map(|line| {
        let (is_comment, line) = line.strip_prefix('#').map_or((false, line), |rest| (true, rest));
        let (name, value) = line.split_once('=')?;
        let is_name = |it: u8| it.is_ascii_uppercase() || it.is_ascii_digit() || it == b'_';
        name.bytes().all(is_name).then_some(Line { name, value, is_comment })
    });
    lines.collect()
}

/// The names that the loader asks for when `answer` answers.
fn asked(answer: &dyn Fn(&str) -> Option<String>) -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    let _any = Settings::load(&|name| {
        names.borrow_mut().insert(name.to_owned());
        answer(name)
    });
    names.into_inner()
}

/// Every name that the loader ever asks for: it is answered in each way that may lead it into another
/// branch, until it asks for nothing new.
fn every_name_asked_for() -> BTreeSet<String> {
    const VALUES: [&str; 3] = ["true", "1", "0.0.0.0"];
    let mut known = asked(&|_| None);
    known.extend(asked(&|name| KEY_PAIR.iter().find(|it| it.0 == name).map(|it| it.1.to_owned())));
    loop {
        let mut found = known.clone();
        for value in VALUES {
            let answered = || Some(value.to_owned());
            found.extend(asked(&|_| answered()));
            found.extend(asked(&|name| (!name.ends_with("_MOCK_MODE")).then(answered).flatten()));
            for one in &known {
                found.extend(asked(&|name| (name == one).then(answered).flatten()));
                found.extend(asked(&|name| (name != one).then(answered).flatten()));
            }
        }
        if found == known {
            return known;
        }
        known = found;
    }
}

#[test]
fn the_template_names_exactly_the_settings_that_are_read() {
    let told = template();
    let told: BTreeSet<String> = told.iter().map(|it| it.name).chain(REFUSED).map(str::to_owned).collect();

    assert_eq!(every_name_asked_for(), told);
}

#[test]
fn the_template_names_each_setting_once() {
    let names: Vec<&str> = template().iter().map(|it| it.name).collect();

    let once: BTreeSet<&str> = names.iter().copied().collect();

    assert_eq!(names.len(), once.len(), "{names:?}");
}

#[test]
fn what_the_template_shows_as_defaults_are_the_defaults() {
    let shown: Vec<(&str, &str)> =
        template().iter().filter(|it| it.is_comment).map(|it| (it.name, it.value)).collect();
    let overridden = |variables: &[(&'static str, &'static str)]| {
        let kept = |it: &&(&str, &str)| variables.iter().all(|(name, _)| *name != it.0);
        let shown: Vec<(&str, &str)> = shown.iter().filter(kept).copied().collect();
        load(&[&shown, variables].concat())
    };

    let (mocks, accounts) = (overridden(&MOCKS), overridden(&ACCOUNTS));

    assert_eq!(format!("{mocks:?}"), format!("{:?}", load(&MOCKS)));
    assert_eq!(format!("{accounts:?}"), format!("{:?}", load(&ACCOUNTS)));
}

#[test]
fn a_copy_of_the_template_asks_for_what_only_its_user_can_know() {
    let copied: Vec<(&str, &str)> =
        template().iter().filter(|it| !it.is_comment).map(|it| (it.name, it.value)).collect();

    let problems = load(&copied).unwrap_err();

    let names: Vec<&str> = problems.iter().filter_map(|it| it.split(' ').next()).collect();
    let asked_for =
        ["R2_ACCOUNT_ID", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET_NAME", "ANTHROPIC_API_KEY"];
    assert_eq!(names, asked_for);
}

#[test]
fn a_copy_of_the_template_that_is_filled_in_is_enough() {
    let copied = template().into_iter().filter(|it| !it.is_comment).map(|it| (it.name, it.value));
    let filled: Vec<(&str, &str)> = copied.chain(ACCOUNTS).collect();

    assert!(load(&filled).is_ok());
}

#[test]
fn all_problems_are_told_at_once() {
    let wrong = [
        ("PORT", "port"),
        ("HOST", "localhost"),
        ("CORS_ORIGINS", "https://*.pages.dev"),
        ("R2_ACCOUNT_ID", "my-account"),
        ("DATABASE_URL", "postgres://records"),
        ("ANTHROPIC_MAX_TOKENS", "0"),
        ("MAX_FRAMES_PER_UPLOAD", "0"),
        ("MAX_RUNNING_ANALYSES", "many"),
        ("LOG_LEVEL", "loud=very"),
        ("LOG_FORMAT", "xml"),
    ];

    let problems = accounts_with(&wrong).unwrap_err();

    for (name, _) in wrong {
        assert_eq!(problems.iter().filter(|it| it.starts_with(name)).count(), 1, "{name} in {problems:?}");
    }
    assert_eq!(problems.len(), wrong.len(), "{problems:?}");
}

#[test]
fn no_secret_is_in_what_is_printed_of_settings_or_of_their_problems() {
    let secrets = ["r2-secret-value", "sk-ant-secret-value"];

    let whole = accounts_with(&[]).unwrap();
    let broken = accounts_with(&[("PORT", "port"), ("R2_BUCKET_NAME", "")]).unwrap_err();

    for secret in secrets {
        assert!(!format!("{whole:?} {whole:#?} {broken:?}").contains(secret), "{secret}");
    }
}

#[test]
fn nothing_falls_back_to_memory_or_to_no_model() {
    let problems = load(&[]).unwrap_err();

    let says = |name: &str| problems.iter().any(|it| it.starts_with(&format!("{name} is not set")));
    for name in ["R2_ACCOUNT_ID", "SNOWFLAKE_ACCOUNT", "ANTHROPIC_API_KEY"] {
        assert!(says(name), "{name} in {problems:?}");
    }
    for (missing, _) in ACCOUNTS {
        assert!(only_problem(accounts_with(&[(missing, "")])).contains(missing));
        assert!(only_problem(accounts_with(&[(missing, "  ")])).contains(missing));
    }
}

#[test]
fn a_mock_mode_is_on_only_where_it_says_so() {
    for on in ["true", "TRUE", "1", "yes", " true "] {
        let settings = accounts_with(&[("R2_MOCK_MODE", on), ("ANTHROPIC_MOCK_MODE", on)]).unwrap();
        assert!(matches!(settings.storage, StorageSettings::Mock), "{on}");
        assert!(matches!(settings.model, ModelSettings::Mock), "{on}");
    }
    for off in ["false", "False", "0", "no", ""] {
        let settings = accounts_with(&[("R2_MOCK_MODE", off), ("ANTHROPIC_MOCK_MODE", off)]).unwrap();
        assert!(matches!(settings.storage, StorageSettings::R2(_)), "{off}");
        assert!(matches!(settings.model, ModelSettings::Claude(_)), "{off}");
    }
    for unclear in ["ja", "on", "2"] {
        let problem = only_problem(accounts_with(&[("R2_MOCK_MODE", unclear)]));
        assert_eq!(problem, "R2_MOCK_MODE is true or false");
    }
}

#[test]
fn an_account_names_its_endpoint_and_an_endpoint_counts_more() {
    let endpoint = |variables: &[(&str, &str)]| match accounts_with(variables).unwrap().storage {
        StorageSettings::R2(r2) => r2.endpoint.to_string(),
        StorageSettings::Mock => panic!("the storage should be R2"),
    };

    assert_eq!(endpoint(&[]), "https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com/");
    let eu = "https://0123456789abcdef0123456789abcdef.eu.r2.cloudflarestorage.com/";
    assert_eq!(endpoint(&[("R2_ENDPOINT", eu)]), eu);
    assert_eq!(endpoint(&[("R2_ENDPOINT", eu), ("R2_ACCOUNT_ID", "")]), eu);
}

#[tokio::test]
async fn an_endpoint_with_a_path_means_the_same_with_and_without_its_last_slash() {
    let path = FramePath::new(SessionId::new(), FrameNumber::FIRST);
    let mut objects = BTreeSet::new();

    for endpoint in ["http://127.0.0.1:9/under/a/path", "http://127.0.0.1:9/under/a/path/"] {
        let StorageSettings::R2(r2) = accounts_with(&[("R2_ENDPOINT", endpoint)]).unwrap().storage else {
            panic!("the storage should be R2");
        };
        let client = R2StorageClient::connect(&r2, StorageMetrics::default());
        let url = client.presigned_get(&path, Duration::from_mins(1)).await.unwrap();
        objects.insert(url.path().to_owned());
    }

    assert_eq!(objects, BTreeSet::from([format!("/under/a/path/frames/{path}")]));
}

#[test]
fn an_endpoint_that_is_no_url_is_one_problem_and_not_two() {
    let problem = only_problem(accounts_with(&[("R2_ENDPOINT", "my bucket"), ("R2_ACCOUNT_ID", "")]));

    assert!(problem.starts_with("R2_ENDPOINT must be a URL"), "{problem}");
}

#[test]
fn the_service_is_not_reachable_from_other_machines_unless_somebody_says_that_it_may() {
    for inside in ["127.0.0.1", "127.1.2.3", "::1"] {
        assert!(mocks_with(&[("HOST", inside)]).is_ok(), "{inside}");
    }
    for outside in ["0.0.0.0", "::", "192.168.1.20", "2001:db8::1"] {
        let problem = only_problem(mocks_with(&[("HOST", outside)]));
        assert!(problem.contains("ALLOW_UNAUTHENTICATED=true"), "{problem}");
        let allowed = mocks_with(&[("HOST", outside), ("ALLOW_UNAUTHENTICATED", "true")]).unwrap();
        assert_eq!(allowed.server.host.to_string(), outside);
        let signing_in = accounts_with(&[("HOST", outside), ("API_KEYS", "true")]).unwrap();
        assert_eq!(signing_in.server.host.to_string(), outside);
        // Anybody may make anonymous sessions, so they are no sign-in.
        assert!(accounts_with(&[("HOST", outside), ("ANONYMOUS_SESSIONS", "true")]).is_err());
    }
    assert_eq!(only_problem(mocks_with(&[("HOST", "coach.example")])), "HOST must be an IP address");
}

#[test]
fn a_way_to_sign_in_that_could_not_work_or_would_let_in_strangers_is_refused_in_words() {
    let clerk = ("OIDC_ISSUER", "https://clerk.coach.example");
    let page = ("OIDC_AUTHORIZED_PARTIES", "https://coach.example");
    for (settings, names) in [
        (&[("API_KEYS", "true")][..], "DATABASE_URL"),
        (&[("ANONYMOUS_SESSIONS", "true")], "API_KEYS=true or OIDC_ISSUER"),
        (&[clerk], "OIDC_AUDIENCE or OIDC_AUTHORIZED_PARTIES"),
        (&[clerk, ("OIDC_AUTHORIZED_PARTIES", " , ")], "OIDC_AUDIENCE or OIDC_AUTHORIZED_PARTIES"),
        (&[("OIDC_ISSUER", "http://clerk.coach.example"), page], "OIDC_ISSUER must be an https URL"),
        (&[("OIDC_ISSUER", "clerk.coach.example"), page], "OIDC_ISSUER must be an https URL"),
        (&[("OIDC_ISSUER", "https://clerk.coach.example/?a=b"), page], "OIDC_ISSUER must be an https URL"),
        (&[clerk, page, ("OIDC_JWKS_URL", "http://clerk.coach.example/jwks")], "OIDC_JWKS_URL must be https"),
        (&[("OIDC_CLIENT_ID", "page")], "OIDC_CLIENT_ID needs OIDC_ISSUER"),
    ] {
        let problem = only_problem(mocks_with(settings));

        assert!(problem.contains(names), "{settings:?}: {problem}");
    }
    let settings = mocks_with(&[clerk, page, ("ANONYMOUS_SESSIONS", "true")]).unwrap();
    assert!(settings.access.signs_in() && settings.access.anonymous);
    assert_eq!(settings.access.oidc.unwrap().authorized_parties, ["https://coach.example"]);
    assert!(mocks_with(&[("OIDC_ISSUER", "http://127.0.0.1:9100"), ("OIDC_AUDIENCE", "swimcoach")]).is_ok());
}

#[test]
fn a_service_on_every_address_is_reached_by_loopback_and_any_other_where_it_listens() {
    for (host, reached) in [
        ("", "127.0.0.1:8001"),
        ("0.0.0.0", "127.0.0.1:8001"),
        ("127.0.0.2", "127.0.0.2:8001"),
        ("::", "[::1]:8001"),
        ("2001:db8::1", "[2001:db8::1]:8001"),
    ] {
        let variables = [("HOST", host), ("PORT", "8001"), ("ALLOW_UNAUTHENTICATED", "true")];
        let lookup = |name: &str| variables.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());

        let server = ServerSettings::load(&lookup).unwrap();

        assert_eq!(server.local_address().to_string(), reached);
    }
}

#[test]
fn an_origin_that_lets_in_strangers_is_refused() {
    for wide in [
        "*",
        "https://*",
        "https://*.pages.dev",
        "https://*.*.pages.dev",
        "https://*.example.com",
        "http://*.my-app.pages.dev",
        "https://coach.example/",
        "https://coach.example/path",
        "coach.example",
        "null",
    ] {
        let problem = only_problem(mocks_with(&[("CORS_ORIGINS", wide)]));
        assert!(problem.starts_with("CORS_ORIGINS: "), "{problem}");
    }
}

#[test]
fn origins_are_separated_by_commas_and_each_lets_in_its_own_pages_only() {
    let origins = "https://coach.example, http://localhost:5173,,https://*.my-app.pages.dev";

    let cors = mocks_with(&[("CORS_ORIGINS", origins)]).unwrap().server.cors;

    let allows = |origin: &str| cors.iter().any(|it| it.allows(&origin.parse().unwrap()));
    for welcome in [
        "https://coach.example",
        "http://localhost:5173",
        "https://my-app.pages.dev",
        "https://6f2a.my-app.pages.dev",
    ] {
        assert!(allows(welcome), "{welcome}");
    }
    for stranger in [
        "http://coach.example",
        "https://coach.example:8443",
        "https://evil-coach.example",
        "http://localhost:5174",
        "http://my-app.pages.dev",
        "https://evil-my-app.pages.dev",
        "https://a.b.my-app.pages.dev",
        "https://my-app.pages.dev.evil.example",
        "null",
    ] {
        assert!(!allows(stranger), "{stranger}");
    }
}

#[test]
fn a_number_out_of_its_range_is_refused_and_its_ends_are_not() {
    for (name, low, high) in [
        ("PORT", 0, 65_535),
        ("SHUTDOWN_DRAIN_SECONDS", 0, 300),
        ("SHUTDOWN_TIMEOUT_SECONDS", 1, 3600),
        ("R2_MAX_IN_FLIGHT", 1, 1024),
        ("ANTHROPIC_MAX_TOKENS", 1024, 128_000),
        ("MAX_FRAMES_PER_UPLOAD", 1, 9999),
        ("MAX_FRAME_SIZE_MB", 1, 7),
        ("MAX_UPLOAD_SIZE_MB", 1, 1024),
        ("UPLOAD_MEMORY_MB", 1, 65_536),
        ("MOCK_STORAGE_MB", 1, 65_536),
        ("MAX_RUNNING_ANALYSES", 1, 256),
        ("MAX_WAITING_ANALYSES", 0, 10_000),
        ("MAX_ANALYSES_OF_CALLER", 1, 10_256),
        ("MAX_CONNECTIONS", 16, 65_536),
    ] {
        // The two settings that are compared with each other.
        let fitting = match name {
            "MAX_UPLOAD_SIZE_MB" => ("UPLOAD_MEMORY_MB", "65536"),
            _ => ("MAX_UPLOAD_SIZE_MB", "1"),
        };
        let with = |number: i64| mocks_with(&[fitting, (name, &number.to_string())]);

        assert!(with(low).is_ok() && with(high).is_ok(), "{name}");
        assert!(only_problem(with(low - 1)).starts_with(name));
        assert!(only_problem(with(high + 1)).starts_with(name));
    }
}

#[test]
fn a_number_that_is_no_number_or_far_too_large_is_a_problem_like_any_other() {
    for name in ["MAX_FRAME_SIZE_MB", "MAX_UPLOAD_SIZE_MB", "MAX_RUNNING_ANALYSES"] {
        for number in ["18446744073709551615", "1e3", "-1", "4.5", "5 MB"] {
            let problem = only_problem(mocks_with(&[(name, number)]));
            assert!(problem.starts_with(&format!("{name} must be a whole number from 1 to ")), "{problem}");
        }
    }
}

#[test]
fn minutes_and_money_may_have_digits_after_the_point_but_no_more_than_are_kept() {
    let stale_after =
        |text| mocks_with(&[("STALE_JOB_THRESHOLD_MINUTES", text)]).map(|it| it.jobs.stale_after);
    let budget = |text| mocks_with(&[("BUDGET_USD_PER_MONTH", text)]).map(|it| it.budgets.service);

    for (text, milliseconds) in
        [("", 60_000), ("0.05", 3000), ("0.050", 3000), ("1.5", 90_000), ("1440", 86_400_000)]
    {
        assert_eq!(stale_after(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
    }
    for (text, micro_usd) in [("0", 0), ("12", 12_000_000), ("0.000001", 1), ("007.50", 7_500_000)] {
        assert_eq!(budget(text).unwrap(), Some(MicroUsd(micro_usd)), "{text}");
    }
    for wrong in
        ["0.049", "1440.001", "1e1", "-1", "+1", ".5", "1.", "1,5", "NaN", "1.0000", "99999999999999999999"]
    {
        let problem = stale_after(wrong).unwrap_err().concat();
        let expected = "STALE_JOB_THRESHOLD_MINUTES must be minutes from 0.05 to 1440, with 3 digits after the point at most";
        assert_eq!(problem, expected, "{wrong}");
    }
    for wrong in ["-1", "1000000.000001", "0.0000001", "1e3", "$5", "5 USD"] {
        let problem = budget(wrong).unwrap_err().concat();
        let expected =
            "BUDGET_USD_PER_MONTH must be USD from 0 to 1000000, with 6 digits after the point at most";
        assert_eq!(problem, expected, "{wrong}");
    }
}

#[test]
fn a_budget_is_there_only_where_it_is_set_and_each_is_its_own() {
    let budgets = |variables: &[(&str, &str)]| mocks_with(variables).unwrap().budgets;

    assert!(!budgets(&[]).are_set());
    let caller = budgets(&[("BUDGET_USD_PER_CALLER_AND_MONTH", "2.5")]);
    assert_eq!((caller.caller, caller.service), (Some(MicroUsd(2_500_000)), None));
    let service = budgets(&[("BUDGET_USD_PER_MONTH", "0")]);
    assert_eq!((service.caller, service.service), (None, Some(MicroUsd(0))));
}

#[test]
fn a_lone_caller_may_have_all_places_unless_fewer_are_set() {
    let of_caller = |variables: &[(&str, &str)]| mocks_with(variables).unwrap().jobs.max_of_caller;
    let places = [("MAX_RUNNING_ANALYSES", "2"), ("MAX_WAITING_ANALYSES", "5")];

    assert_eq!(of_caller(&[]), 36);
    assert_eq!(of_caller(&places), 7);
    assert_eq!(of_caller(&[&places[..], &[("MAX_ANALYSES_OF_CALLER", "3")]].concat()), 3);
}

#[test]
fn records_are_asked_for_what_was_left_behind_in_idle_times_too_unless_that_wakes_a_warehouse() {
    let snowflake = [
        ("DATABASE_URL", ""),
        ("SNOWFLAKE_ACCOUNT", "myorg-myaccount"),
        ("SNOWFLAKE_TOKEN", "token"),
        ("SNOWFLAKE_WAREHOUSE", "COACH_WH"),
        ("SNOWFLAKE_DATABASE", "SWIMCOACH"),
    ];

    assert!(mocks_with(&[]).unwrap().jobs.scan_when_idle);
    assert!(accounts_with(&[]).unwrap().jobs.scan_when_idle);
    assert!(!accounts_with(&snowflake).unwrap().jobs.scan_when_idle);
}

#[test]
fn the_largest_upload_must_fit_into_the_memory_of_all() {
    let problem = only_problem(mocks_with(&[("MAX_UPLOAD_SIZE_MB", "65"), ("UPLOAD_MEMORY_MB", "64")]));

    assert!(problem.starts_with("UPLOAD_MEMORY_MB must be at least MAX_UPLOAD_SIZE_MB"), "{problem}");
}

#[test]
fn a_key_is_not_sent_in_clear_to_another_machine() {
    for near in ["http://127.0.0.1:8199", "http://localhost:8199", "http://[::1]:8199"] {
        assert!(accounts_with(&[("ANTHROPIC_BASE_URL", near)]).is_ok(), "{near}");
    }
    for far in ["http://api.anthropic.com", "http://gateway.internal", "ftp://api.anthropic.com"] {
        let problem = only_problem(accounts_with(&[("ANTHROPIC_BASE_URL", far)]));
        assert!(problem.starts_with("ANTHROPIC_BASE_URL must be https"), "{problem}");
    }
}

#[test]
fn records_lie_where_the_url_says_and_nowhere_else() {
    let records = |url: &str| accounts_with(&[("DATABASE_URL", url)]).map(|it| it.records);

    for (url, file) in [
        ("sqlite://records.db", "records.db"),
        ("sqlite:///var/lib/it.db", "/var/lib/it.db"),
        ("sqlite:records.db", "records.db"),
    ] {
        let kept = records(url).unwrap();
        assert!(matches!(&kept, RecordSettings::File(path) if path == Path::new(file)), "{url}: {kept:?}");
    }
    assert!(matches!(records("sqlite://:memory:"), Ok(RecordSettings::InMemory)));
    for wrong in ["postgres://host/db", "records.db", "sqlite://", "sqlite:", "sqlite://it.db?mode=ro"] {
        assert!(
            records(wrong).unwrap_err().concat().starts_with("DATABASE_URL must be sqlite://"),
            "{wrong}"
        );
    }
}

#[test]
fn the_demo_keeps_everything_in_memory_and_to_this_machine() {
    let settings = Settings::demo().unwrap();

    assert!(matches!(settings.storage, StorageSettings::Mock));
    assert!(matches!(settings.model, ModelSettings::Mock));
    assert!(matches!(settings.records, RecordSettings::InMemory));
    assert!(settings.server.host.is_loopback());
}

#[test]
fn a_model_without_a_price_is_refused_in_a_sentence_that_says_what_to_set() {
    let problem = only_problem(accounts_with(&[("ANTHROPIC_MODEL", "claude-of-tomorrow")]));

    assert!(
        problem.contains("ANTHROPIC_MODEL=claude-of-tomorrow") && problem.contains("PRICES_PATH"),
        "{problem}"
    );
}

#[test]
fn a_file_of_prices_counts_instead_of_the_built_in_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.toml");
    let path = path.to_str().unwrap();
    let built_in = include_str!("../../prices/claude.toml");
    std::fs::write(path, built_in.replace("claude-opus-5-5", "claude-of-tomorrow")).unwrap();

    let given = [("PRICES_PATH", path), ("ANTHROPIC_MODEL", "claude-of-tomorrow")];
    assert!(accounts_with(&given).is_ok());
    let left_out = [("PRICES_PATH", path), ("ANTHROPIC_MODEL", "claude-opus-5-5")];
    assert!(only_problem(accounts_with(&left_out)).contains("claude-opus-5-5"));
}

#[test]
fn everything_that_is_wrong_with_a_file_of_prices_is_told_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.toml");
    let path = path.to_str().unwrap();
    let built_in = include_str!("../../prices/claude.toml");
    std::fs::write(path, built_in.replace("\"12.50\"", "\"cheap\"").replace("2026-11-23", "today")).unwrap();

    let problems = accounts_with(&[("PRICES_PATH", path)]).unwrap_err();
    let missing = only_problem(mocks_with(&[("PRICES_PATH", "/nowhere/prices.toml")]));

    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().all(|it| it.starts_with(&format!("PRICES_PATH={path}: "))), "{problems:?}");
    assert!(missing.contains("cannot be read"), "{missing}");
}

#[test]
fn a_file_of_storage_prices_counts_instead_of_the_built_in_ones_and_what_is_wrong_with_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("storage.toml");
    let path = path.to_str().unwrap();
    let prices = || mocks_with(&[("STORAGE_PRICES_PATH", path)]).map(|it| it.storage_prices);
    let built_in = include_str!("../../prices/r2.toml");
    std::fs::write(path, built_in.replace("\"4.50\"", "\"9\"")).unwrap();

    let of_the_file = prices().unwrap();
    std::fs::write(path, built_in.replace("\"4.50\"", "\"cheap\"").replace("2026-11-23", "today")).unwrap();
    let problems = prices().unwrap_err();

    assert_eq!(of_the_file.class_a, 9000);
    assert_eq!(mocks_with(&[]).unwrap().storage_prices.class_a, 4500);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems.iter().all(|it| it.starts_with(&format!("STORAGE_PRICES_PATH={path}: "))),
        "{problems:?}"
    );
    let missing = only_problem(mocks_with(&[("STORAGE_PRICES_PATH", "/nowhere/storage.toml")]));
    assert!(missing.contains("cannot be read"), "{missing}");
}

#[test]
fn a_secret_may_be_in_a_file_and_what_is_wrong_with_that_is_told_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (secret, empty) = (path("secret", "sk-ant-secret-value\n"), path("empty", " \n"));
    let missing = folder.path().join("missing").display().to_string();
    let load = |file: &str, direct: Option<&str>| {
        Settings::load(&|name| match name {
            "R2_MOCK_MODE" | "SNOWFLAKE_MOCK_MODE" => Some("true".to_owned()),
            "ANTHROPIC_API_KEY_FILE" => Some(file.to_owned()),
            "ANTHROPIC_API_KEY" => direct.map(str::to_owned),
            _ => None,
        })
    };

    let ModelSettings::Claude(claude) = load(&secret, None).unwrap().model else { panic!("no model") };

    assert_eq!(claude.api_key.expose_secret(), "sk-ant-secret-value");
    for (file, direct, what) in [
        (&secret, Some("another-secret-value"), "both set"),
        (&empty, None, "is empty"),
        (&missing, None, "cannot be read"),
    ] {
        let problems = load(file, direct).unwrap_err().to_string();
        assert!(problems.contains("ANTHROPIC_API_KEY_FILE") && problems.contains(what), "{problems}");
        assert!(!problems.contains("secret-value"), "{problems}");
    }
}
