//! The pages for strangers say what is there: every route, every setting, every frame of the example.

use std::collections::BTreeSet;
use std::path::Path;
use swimcoach::analysis::Finding;
use swimcoach::http::openapi;
use swimcoach::jpeg::{self, Admitted, JpegLimits};

const README: &str = include_str!("../../README.md");
const API: &str = include_str!("../../docs/api.md");
const ARCHITECTURE: &str = include_str!("../../docs/architecture.md");
const COST: &str = include_str!("../../docs/cost.md");
const OPERATIONS: &str = include_str!("../../docs/operations.md");
const PAGES: [(&str, &str); 9] = [
    ("README.md", README),
    ("docs/access.md", include_str!("../../docs/access.md")),
    ("docs/api.md", API),
    ("docs/architecture.md", ARCHITECTURE),
    ("docs/cost.md", COST),
    ("docs/operations.md", OPERATIONS),
    ("docs/privacy.md", include_str!("../../docs/privacy.md")),
    ("docs/snowflake.md", include_str!("../../docs/snowflake.md")),
    ("docs/storage.md", include_str!("../../docs/storage.md")),
];
const DOCKERFILE: &str = include_str!("../../Dockerfile");
const DOCKERIGNORE: &str = include_str!("../../.dockerignore");
const TEMPLATE: &str = include_str!("../../.env.template");

#[test]
fn every_route_is_described_and_no_other() {
    let mut served = BTreeSet::new();
    for (path, item) in openapi().paths.paths {
        let methods = [
            ("GET", item.get),
            ("POST", item.post),
            ("PUT", item.put),
            ("PATCH", item.patch),
            ("DELETE", item.delete),
        ];
        served.extend(methods.iter().filter(|(_, it)| it.is_some()).map(|(it, _)| format!("{it} {path}")));
    }

    let headings = API.lines().filter_map(|it| it.strip_prefix("### `")?.strip_suffix('`'));
    let described: BTreeSet<String> = headings.map(str::to_owned).collect();

    assert_eq!(described, served);
}

#[test]
fn a_setting_that_a_page_names_is_one_of_the_template() {
    let known: BTreeSet<&str> =
        TEMPLATE.lines().filter_map(|it| Some(it.trim_start_matches('#').split_once('=')?.0)).collect();
    let prefixes = [
        "R2_",
        "SNOWFLAKE_",
        "ANTHROPIC_",
        "MAX_",
        "PRICES_",
        "SHUTDOWN_",
        "LOG_",
        "METRICS_",
        "STALE_",
        "BUDGET_",
        "STORAGE_",
        "MODERATION_",
    ];
    for (page, text) in PAGES {
        let words = text.split(|it: char| !it.is_ascii_uppercase() && !it.is_ascii_digit() && it != '_');
        for word in words.filter(|word| prefixes.iter().any(|it| word.starts_with(it) && it != word)) {
            assert!(known.contains(word), "{page} speaks of {word}");
        }
    }
}

#[test]
fn a_file_that_a_page_links_to_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, text) in PAGES {
        let folder = root.join(page).parent().unwrap().to_owned();
        let targets = text.split("](").skip(1).filter_map(|it| it.split(')').next());
        for target in targets.filter(|it| !it.contains("://")) {
            let file = target.split('#').next().unwrap_or_default();
            assert!(folder.join(file).exists(), "{page} links to {target}");
        }
    }
}

#[test]
fn the_example_frames_pass_the_door_as_they_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/frames");
    let mut n_frames = 0;

    for entry in std::fs::read_dir(folder).unwrap() {
        let file = std::fs::read(entry.unwrap().path()).unwrap();
        let Ok(Admitted::Ready(frame)) = jpeg::admit(file.clone().into(), &JpegLimits::default()) else {
            panic!("an example frame is refused or turned");
        };
        assert!(frame.bytes == file);
        n_frames += 1;
    }

    assert_eq!(n_frames, 12);
}

#[test]
fn a_test_that_the_architecture_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for folder in ["src", "tests"] {
        read_rust(&root.join(folder), &mut code);
    }

    let names = ARCHITECTURE.split('`').skip(1).step_by(2).filter(|it| 3 < it.matches('_').count());

    for name in names.filter(|it| !it.contains(['.', '*', ' '])) {
        assert!(code.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}

fn read_rust(folder: &Path, code: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_rust(&path, code);
        } else if path.extension().is_some_and(|it| it == "rs") {
            code.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_finding_of_the_readme_is_one_that_the_service_could_publish() {
    let json = README.split("```json").nth(1).and_then(|it| it.split("```").next()).unwrap();
    let finding: Finding = serde_json::from_str(json).unwrap();

    let faults = include_str!("../../catalog/faults/freestyle.toml");
    let drills = include_str!("../../catalog/drills.toml");
    assert!(faults.contains(&format!("code = {:?}\ntitle = {:?}", finding.code, finding.title.unwrap())));
    for drill in finding.drills {
        assert!(drills.contains(&format!("id = {:?}\nname = {:?}", drill.id, drill.name)));
    }
}

#[test]
fn every_code_of_a_problem_is_described_and_no_other() {
    let is_code = |it: &&str| {
        3 < it.len() && it.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
    };
    // Every second piece between quotation marks is a text; of those that look like codes one is a field's name.
    let texts = |source: &'static str| source.split('"').skip(1).step_by(2).filter(is_code);
    let sources = [include_str!("../../src/http/error.rs"), include_str!("../../src/jpeg/error.rs")];
    let known: BTreeSet<&str> = sources.into_iter().flat_map(texts).filter(|it| *it != "type").collect();

    let (_, errors) = API.split_once("## Errors").unwrap();
    let (errors, _) = errors.split_once("\n## ").unwrap();
    let rows = errors.lines().filter_map(|it| it.strip_prefix("| ")?.split_once(" | ")?.1.split_once(" |"));
    let described: BTreeSet<&str> = rows
        .flat_map(|(codes, _)| codes.split('`').skip(1).step_by(2))
        .filter(is_code)
        .filter(|it| *it != "code")
        .collect();

    let unknown: Vec<_> = described.difference(&known).collect();
    assert_eq!(unknown, [&""; 0], "they are described, and nothing answers so");
    let untold: Vec<_> = known.iter().filter(|it| !API.contains(&format!("`{it}`"))).collect();
    assert_eq!(untold, [&""; 0], "they are answered, and nothing is said of them");
}

#[test]
fn the_image_is_built_from_everything_that_the_code_is() {
    let folder = |text: &str| text.trim_start_matches("../").split_once('/').map(|(it, _)| it.to_owned());
    let mut code = String::new();
    read_rust(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut code);
    let included =
        ["include_str!(\"../", "include_str!(\"../../", "#[folder = \""].into_iter().flat_map(|it| {
            let paths: Vec<String> = code.split(it).skip(1).filter_map(folder).collect();
            paths
        });
    // The tests are in none of it, and a file beside its module is within src.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built_in: BTreeSet<String> =
        included.filter(|it| root.join(it).is_dir() && it != "tests").chain(["src".to_owned()]).collect();
    assert!(built_in.len() >= 5, "{built_in:?}");

    let copied =
        DOCKERFILE.lines().filter_map(|it| it.strip_prefix("COPY ")).filter(|it| !it.starts_with("--"));
    let copied: BTreeSet<&str> =
        copied.filter_map(|it| it.rsplit_once(' ')).flat_map(|it| it.0.split(' ')).collect();
    let let_in: BTreeSet<&str> = DOCKERIGNORE.lines().filter_map(|it| it.strip_prefix('!')).collect();

    assert_eq!(let_in, copied);
    let missing: Vec<_> = built_in.iter().filter(|it| !copied.contains(it.as_str())).collect();
    assert_eq!(missing, [&""; 0]);
}
